"""Does the traffic go where the recorded weights say? Sample-ratio mismatch, valid at every look.

Under the recorded probability π the assignments of a cell are independent coin flips. Their likelihood under a
probability drawn from a Beta distribution centred at π, over that under π, is a martingale (Lindon & Malek,
"Anytime-valid inference for multinomial count data", NeurIPS 2022); so is the product over the cells, which follow
one another.
"""

import numpy as np
from scipy.special import betaln

from podium.stats.cells import Cells
from podium.stats.columns import columns

CONCENTRATION = 100.0  # the prior counts as this many requests: deviations of about √(π(1 − π)/100)


def log_e_sample_ratio(cells: Cells) -> float:
    """Return the log e-value against "each request went to the challenger with its recorded probability".

    No exposures are no evidence: 0.0.

    >>> from podium.stats.cells import Cell
    >>> round(log_e_sample_ratio([Cell(0.25, 1400, 0, 3600, 0)]), 2)
    9.47
    """
    counts = columns(cells)
    challenger, champion = CONCENTRATION * counts.weight, CONCENTRATION * (1 - counts.weight)
    prior = betaln(challenger, champion)
    posterior = betaln(challenger + counts.challenger_exposures, champion + counts.champion_exposures)
    log_weights = np.log(counts.weight), np.log1p(-counts.weight)
    recorded = counts.challenger_exposures * log_weights[0] + counts.champion_exposures * log_weights[1]
    return float((posterior - prior - recorded).sum())
