"""Is the challenger worse by less than a margin? Evidence by betting on the assignment, valid at every look.

With A = 1 where the challenger answers, π the recorded probability of that, Y = 1 for an error and m a number fixed
beforehand, let

    g = (A − π)(Y − m) − δπ(1 − π).

Given the past, A has the mean π and does not depend on how each variant would answer. So the mean of g is
π(1 − π)(Δ − δ), where Δ is the challenger's error rate less the champion's at that moment: m and the base rate
cancel. Where Δ ≥ δ this is not negative, so for each constant λ ≥ 0 that keeps 1 − λg positive the factor 1 − λg
has a mean of at most 1, and the product over all requests is a supermartingale. So is a mixture over λ; by Ville's
inequality it ever reaches 1/α with probability at most α, however often one looks. As m is constant, the product
follows from counts; the closer m is to the true rate, the less g varies and the sooner evidence gathers. λ may
differ between weights, because a weight is known before its requests come. Waudby-Smith & Ramdas, "Estimating means
of bounded random variables by betting", arXiv 2010.09686; the off-policy form is arXiv 2210.10768.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from podium.errors import EvaluationError
from podium.stats.cells import Cells, check_absolute_margin
from podium.stats.columns import log_mean_exp

BETS = np.geomspace(1 / 2, 2, 5)  # multiples of the bet that would suit an equal challenger
EQUAL_SHARES = np.full(BETS.size, 1 / BETS.size)
BOLDEST = 0.95  # of the bet that one request could ruin


def log_e_within_margin(cells: Cells, *, margin: float, centre: float) -> float:
    """Return the log e-value against "the challenger's error rate is higher by `margin` or more" (absolute).

    `centre`, in [0, 1], is the error rate expected of the champion, fixed before the first request; a wrong one costs
    power, never validity.

    >>> from podium.stats.cells import Cell
    >>> round(log_e_within_margin([Cell(0.5, 20_000, 1000, 20_000, 1000)], margin=0.01, centre=0.05), 2)
    9.37
    """
    check_absolute_margin(margin)
    if not 0 <= centre <= 1:
        raise EvaluationError(f"A centre of {centre} is no error rate; it must lie in [0, 1].")
    times = [
        times
        for cell in cells
        for times in (
            cell.challenger_errors,
            cell.challenger_exposures - cell.challenger_errors,
            cell.champion_errors,
            cell.champion_exposures - cell.champion_errors,
        )
    ]
    log_factors = _log_factors(tuple(cell.weight for cell in cells), margin, centre)
    return log_mean_exp(log_factors @ np.array(times, dtype=np.float64), EQUAL_SHARES)


@lru_cache(maxsize=64)
def _log_factors(weights: tuple[float, ...], margin: float, centre: float) -> npt.NDArray[np.float64]:
    """Return ln(1 − λg) with a row for each bet; its columns are variant × outcome for one weight after another."""
    weight = np.array(weights)
    assigned = np.stack([1 - weight, -weight], axis=1)  # A − π by weight and variant
    residual = np.array([1 - centre, -centre])  # Y − m by outcome
    gains = np.multiply.outer(assigned, residual) - (margin * weight * (1 - weight))[:, None, None]
    # λ = δ/(variance of Y) lets the evidence for an equal challenger grow fastest, whatever the weight. A champion with
    # less than one margin of errors is given the variance of one margin.
    best = margin / max(centre * (1 - centre), margin * (1 - margin))
    bets = np.minimum.outer(BETS * best, BOLDEST / gains.max(axis=(1, 2)))
    log_factors: npt.NDArray[np.float64] = np.log1p(-bets[:, :, None, None] * gains).reshape(BETS.size, -1)
    log_factors.setflags(write=False)
    return log_factors
