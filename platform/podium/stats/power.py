"""How many rows a margin needs, and the smallest change that given rows can show.

Normal approximation for a one-sided test at level alpha whose estimate has the variance
`variance_per_row / rows` where the two models are equal: for accuracy the rate of disagreement, for a mean
the variance of the per-row gains, for AUC the rows times DeLong's variance.
"""

import math

from scipy.special import ndtri

from podium.errors import EvaluationError
from podium.stats.paired import check_margin


def required_rows(variance_per_row: float, margin: float, *, alpha: float, power: float) -> int:
    """Return the rows on which an equal model is found not inferior at `margin` with probability `power`.

    n = (z_{1-alpha} + z_power)^2 variance / margin^2, rounded up. A variance of 0 needs 1 row.

    >>> required_rows(0.06, 0.01, alpha=0.05, power=0.8)
    3710
    """
    check_margin(margin)
    return max(1, math.ceil(_quantiles(alpha, power) ** 2 * _checked(variance_per_row) / margin**2))


def smallest_visible(variance_per_row: float, rows: int, *, alpha: float, power: float) -> float:
    """Return the smallest true change that `rows` rows show at level `alpha` with probability `power`.

    >>> round(smallest_visible(0.06, 2000, alpha=0.05, power=0.8), 4)
    0.0136
    """
    if rows < 1:
        raise EvaluationError(f"No change can be seen on {rows} rows; at least 1 is needed.")
    return _quantiles(alpha, power) * math.sqrt(_checked(variance_per_row) / rows)


def _quantiles(alpha: float, power: float) -> float:
    if not (0 < alpha < power < 1):
        raise EvaluationError(f"A test needs 0 < alpha < power < 1, but alpha is {alpha} and power is {power}.")
    return float(ndtri(1 - alpha) + ndtri(power))


def _checked(variance_per_row: float) -> float:
    if not (math.isfinite(variance_per_row) and variance_per_row >= 0):
        raise EvaluationError(f"A variance of {variance_per_row} is impossible; it must be a finite number ≥ 0.")
    return variance_per_row
