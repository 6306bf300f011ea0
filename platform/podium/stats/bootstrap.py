"""Paired bootstrap of a mean: for any metric that every row contributes a number to.

Bias-corrected and accelerated (BCa): Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter
14. Of a mean, the jackknife that gives the acceleration is the third moment of the rows themselves, so BCa
costs nothing more than percentiles and is used for any number of rows. p-values invert the interval.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from podium.errors import EvaluationError
from podium.stats import power as planning
from podium.stats.paired import Bounds, Vector, check_confidence, check_margin, finite_vector

RESAMPLES = 2000
_DRAWS_AT_ONCE = 2_000_000  # numbers drawn per block: 16 MB of indices and 16 MB of gains
_ROWS_PER_VALUE = 32  # a multinomial count costs about as much as drawing this many rows
_ROUNDING = 1e-12  # a spread below this share of the largest gain is what subtraction leaves behind


@dataclass(frozen=True, eq=False, slots=True)
class PairedMeans:
    """The mean gain per row with its resampled means; a `PairedTest` of that mean."""

    gain: float
    rows: int
    variance_per_row: float
    replicates: Vector  # sorted; empty where all rows gain the same
    acceleration: float
    tie: float  # replicates this near to a number count as equal to it

    name: ClassVar[str] = "paired bootstrap (BCa)"

    @property
    def informative(self) -> bool:
        """Whether the rows' gains differ at all: equal ones carry no spread to resample."""
        return self.replicates.size > 0

    def interval(self, confidence: float) -> Bounds:
        """Return the BCa interval of the mean gain."""
        check_confidence(confidence)
        bias = self._bias()
        tails = ndtri(np.array([(1 - confidence) / 2, (1 + confidence) / 2]))
        shares = ndtr(bias + (bias + tails) / (1 - self.acceleration * (bias + tails)))
        low, high = np.quantile(self.replicates, shares)
        return Bounds(float(low), float(high))

    def p_superior(self) -> float:
        """Return the one-sided p-value against "no better"; never below 1/(resamples + 1)."""
        return self._p_at_most(0.0)

    def p_worse(self) -> float:
        """Return the one-sided p-value against "no worse"."""
        return 1 - self._p_at_most(0.0)

    def p_not_inferior(self, margin: float) -> float:
        """Return the one-sided p-value against "at least `margin` worse"."""
        check_margin(margin)
        return self._p_at_most(-margin)

    def rows_needed(self, margin: float, *, alpha: float, power: float) -> int:
        """Return the rows that `margin`, in the metric's unit, needs."""
        self._check_informative()
        return planning.required_rows(self.variance_per_row, margin, alpha=alpha, power=power)

    def smallest_visible(self, *, alpha: float, power: float) -> float:
        """Return the smallest mean gain that these rows show with probability `power`."""
        self._check_informative()
        return planning.smallest_visible(self.variance_per_row, self.rows, alpha=alpha, power=power)

    def _p_at_most(self, gain: float) -> float:
        """Return the level at which the BCa interval's lower end reaches `gain`."""
        bias = self._bias()
        distance = self._normal_share_below(gain) - bias
        return float(ndtr(distance / (1 + self.acceleration * distance) - bias))

    def _bias(self) -> float:
        self._check_informative()
        return self._normal_share_below(self.gain)

    def _normal_share_below(self, gain: float) -> float:
        """Return the normal quantile of the share of replicates below `gain`, ties counted half."""
        size = self.replicates.size
        below = np.searchsorted(self.replicates, gain - self.tie, side="left")
        up_to = np.searchsorted(self.replicates, gain + self.tie, side="right")
        share = (float(below) + float(up_to)) / (2 * size)
        return float(ndtri(min(max(share, 1 / (size + 1)), size / (size + 1))))

    def _check_informative(self) -> None:
        if not self.informative:
            raise EvaluationError(
                f"All {self.rows:,} rows gain the same ({self.gain:.6g}); without spread no test can tell "
                "the models apart."
            )


def compare_means(gains: npt.ArrayLike, generator: np.random.Generator, *, resamples: int = RESAMPLES) -> PairedMeans:
    """Return the comparison of two models from each row's gain (the champion's loss less the candidate's).

    The same generator state gives the same answer. Memory stays near 32 MB beyond a few times `gains`, which
    is never copied per resample. Raises EvaluationError where a gain is not finite or there are none.
    """
    values = finite_vector(gains, "gains per row")
    if resamples < 100:
        raise EvaluationError(f"{resamples} resamples < 100 required to place the ends of an interval.")
    mean, spread = float(values.mean()), float(values.max()) - float(values.min())
    if spread <= _ROUNDING * float(np.abs(values).max()):
        return PairedMeans(mean, values.size, 0.0, np.empty(0), 0.0, 0.0)
    if not math.isfinite(spread * spread):
        raise EvaluationError(f"The gains per row spread over {spread:.3g}, too wide for their variance; rescale them.")
    standard = (values - mean) / spread  # so that neither squares nor cubes overflow or vanish
    squares = float(standard @ standard)
    return PairedMeans(
        gain=mean,
        rows=values.size,
        variance_per_row=spread * spread * squares / (values.size - 1),
        replicates=np.sort(_resampled_means(values, generator, resamples)),
        acceleration=float(np.sum(standard**3)) / (6 * math.pow(squares, 1.5)),
        tie=_ROUNDING * spread,
    )


def _resampled_means(values: Vector, generator: np.random.Generator, resamples: int) -> Vector:
    distinct, counts = np.unique(values, return_counts=True)
    few = distinct.size * _ROWS_PER_VALUE <= values.size
    at_once = max(1, _DRAWS_AT_ONCE // (distinct.size if few else values.size))
    means = np.empty(resamples)
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        if few:  # how often each distinct value is drawn is all that a resample's mean depends on
            drawn = generator.multinomial(values.size, counts / values.size, size=size)
            means[start : start + size] = drawn @ distinct / values.size
        else:
            rows = generator.integers(0, values.size, size=(size, values.size))
            means[start : start + size] = values[rows].mean(axis=1)
    return means
