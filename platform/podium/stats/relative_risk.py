"""Does the challenger err more often? Evidence from the errors alone, valid at every look.

Let a request go to the challenger with the recorded probability π, and let the challenger err r times as often
as the champion would. Whatever the base rate is at that moment, an error that happens is then the challenger's
with probability q(r) = πr/(1 − π + πr). So the variants of the errors, one after another, are a game with known
odds, and the likelihood ratio of r against r₀,

    log E_r = Σ over errors [A·ln(r/r₀) − ln((1 − π + πr)/(1 − π + πr₀))],   A = 1 for the challenger's,

is a martingale where the true relative risk is r₀, and for r > r₀ a supermartingale where it is lower, because
E_r grows with A and q with the true risk. So is every mixture over r > r₀; by Ville's inequality it ever reaches
1/α with probability at most α, however often one looks and however the base rate moves. This is the one-sided
form of Lindon & Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022.

The other direction is the same game seen from the champion: variants exchanged, π for 1 − π, 1/r for r.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from podium.errors import EvaluationError
from podium.stats.cells import Cells
from podium.stats.columns import Vector, columns, log_mean_exp
from podium.stats.paired import Bounds

SMALLEST_CHANGE = 0.2
GRID = np.geomspace(0.03, math.log(4), 24)  # ln(r/r₀) of the alternatives
STEPS = np.expm1(GRID)
WIDE = math.log(2)  # spread of the half of the mixture that sees gross failures soon
FARTHEST = 40.0  # a relative risk beyond e^±40 is no finding


@dataclass(frozen=True, slots=True)
class _Game:
    """Whose errors they were, seen from one variant; one entry per cell."""

    own_errors: Vector
    errors: Vector  # of both variants
    log_odds: Vector  # of the assignment to this variant

    def log_e(self, log_ratio: float, prior: Vector) -> float:
        """Return the log e-value against "this variant errs at most e^log_ratio times as often as the other"."""
        # With r = r₀·e^b the second term of the formula is ln(1 + q(r₀)·(e^b − 1)).
        own_share = expit(self.log_odds + log_ratio)
        return log_mean_exp(self.own_errors.sum() * GRID - self.errors @ np.log1p(np.outer(own_share, STEPS)), prior)

    def least_plausible(self, threshold: float, prior: Vector) -> float:
        """Return the greatest log ratio that is rejected as too low at `threshold` > 0; −∞ where none is."""

        def excess(log_ratio: float) -> float:
            return self.log_e(log_ratio, prior) - threshold

        if excess(-FARTHEST) < 0:
            return -math.inf
        if excess(FARTHEST) > 0:
            return FARTHEST
        return float(brentq(excess, -FARTHEST, FARTHEST, xtol=1e-9))


def log_e_worse(cells: Cells, *, ratio: float = 1.0, smallest_change: float = SMALLEST_CHANGE) -> float:
    """Return the log e-value against "the challenger errs at most `ratio` times as often as the champion".

    `smallest_change` is the relative change beyond `ratio` to be most sensitive to, 0.2 for errors that are 20 %
    more frequent. Where nobody erred there is no evidence: 0.0.

    >>> from podium.stats.cells import Cell
    >>> round(log_e_worse([Cell(0.5, 1000, 80, 1000, 50)]), 2)
    2.45
    """
    return _challenger(cells).log_e(_log_of(ratio), _prior(smallest_change))


def log_e_better(cells: Cells, *, ratio: float, smallest_change: float = SMALLEST_CHANGE) -> float:
    """Return the log e-value against "the challenger errs at least `ratio` times as often as the champion"."""
    return _champion(cells).log_e(-_log_of(ratio), _prior(smallest_change))


def relative_risk_interval(cells: Cells, *, alpha: float, smallest_change: float = SMALLEST_CHANGE) -> Bounds:
    """Return the interval that holds the true relative risk at all looks together with probability 1 − alpha.

    It is made of the ratios that neither one-sided test rejects at alpha/2. Both log e-values are monotone in the
    ratio and at most 0 at the likeliest one, so the interval is never empty. An end that the errors do not bound
    is 0 or infinite.

    >>> from podium.stats.cells import Cell
    >>> relative_risk_interval([Cell(0.5, 100, 0, 100, 3)], alpha=0.05)
    Bounds(low=0.0, high=inf)
    """
    if not 0 < alpha < 1:
        raise EvaluationError(f"An alpha of {alpha} is no probability between 0 and 1; 0.05 is usual.")
    threshold, prior = math.log(2 / alpha), _prior(smallest_change)
    return Bounds(
        math.exp(_challenger(cells).least_plausible(threshold, prior)),
        math.exp(-_champion(cells).least_plausible(threshold, prior)),
    )


def _challenger(cells: Cells) -> _Game:
    counts = columns(cells)
    return _Game(
        counts.challenger_errors, counts.challenger_errors + counts.champion_errors, np.asarray(logit(counts.weight))
    )


def _champion(cells: Cells) -> _Game:
    counts = columns(cells)
    return _Game(
        counts.champion_errors, counts.challenger_errors + counts.champion_errors, -np.asarray(logit(counts.weight))
    )


@lru_cache(maxsize=64)
def _prior(smallest_change: float) -> Vector:
    """Return the weights of GRID, which sum to 1.

    Half the mass is half-normal with the spread ln(1 + smallest_change), half with the spread ln 2; the factor GRID
    is the width of each step, as the grid is logarithmic.
    """
    if not 0.01 <= smallest_change <= 3:
        raise EvaluationError(
            f"A smallest change of {smallest_change} lies outside the alternatives, 0.01 to 3; 0.2 is most sensitive "
            "to errors that are 20 % more frequent."
        )
    halves = [GRID * np.exp(-((GRID / spread) ** 2) / 2) for spread in (math.log1p(smallest_change), WIDE)]
    prior: Vector = np.mean([half / half.sum() for half in halves], axis=0)
    prior.setflags(write=False)
    return prior


def _log_of(ratio: float) -> float:
    if not (math.isfinite(ratio) and ratio > 0):
        raise EvaluationError(f"A relative risk of {ratio} cannot be tested; it must be a finite number > 0.")
    return math.log(ratio)
