"""Paired bootstrap of a mean: for any metric that every row contributes a number to.

Bias-corrected and accelerated (BCa): Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter
14. Of a mean, the jackknife that gives the acceleration is the third moment of the rows themselves, so BCa
costs nothing more than percentiles and is used for any number of rows. p-values invert the interval.

Of very many rows a resample draws how often each bin of gains occurs, instead of row after row: see `_binned_means`.
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
_BINS = 1024
_ROWS_TO_BIN = 32 * _BINS  # from here on bins are drawn
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
    is never copied per resample, and beyond some ten thousand rows no resample is drawn row by row. Raises
    EvaluationError where a gain is not finite or there are none.
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
    if distinct.size * _ROWS_PER_VALUE <= values.size:
        return _drawn_means(distinct, np.zeros(distinct.size), counts, generator, resamples)
    if values.size >= _ROWS_TO_BIN:
        return _binned_means(values, generator, resamples)
    at_once = max(1, _DRAWS_AT_ONCE // values.size)
    means = np.empty(resamples)
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        rows = generator.integers(0, values.size, size=(size, values.size))
        means[start : start + size] = values[rows].mean(axis=1)
    return means


def _binned_means(values: Vector, generator: np.random.Generator, resamples: int) -> Vector:
    """Return the means of resamples of so many rows that the sum of those drawn from one bin is normal.

    How often each bin is drawn is exact; only where within its bin a row lies is not drawn row by row. Bins of equal
    width bound that by a thousandth of the range for every row, so that an outlier is a bin of its own: the skewness
    that goes amiss is below `bin's width / (standard deviation * sqrt(rows))`, for any distribution.
    """
    places = (values - values.min()) / np.ptp(values)
    bins = np.minimum((places * _BINS).astype(np.intp), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    filled = counts > 0
    means = np.bincount(bins, values, minlength=_BINS)[filled] / counts[filled]
    deviations = values - means[(np.cumsum(filled) - 1)[bins]]
    variances = np.bincount(bins, deviations**2, minlength=_BINS)[filled] / counts[filled]
    return _drawn_means(means, variances, counts[filled], generator, resamples)


def _drawn_means(
    means: Vector, variances: Vector, counts: npt.NDArray[np.intp], generator: np.random.Generator, resamples: int
) -> Vector:
    """Return the means of resamples of groups of rows with these means, variances and numbers of rows.

    How often each group is drawn is all that a resample's mean depends on, but for the spread within the groups.
    """
    rows = int(counts.sum())
    at_once = max(1, _DRAWS_AT_ONCE // means.size)
    found = np.empty(resamples)
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        drawn = generator.multinomial(rows, counts / rows, size=size)
        found[start : start + size] = drawn @ means / rows
        if variances.any():
            found[start : start + size] += np.sqrt(drawn @ variances) / rows * generator.standard_normal(size)
    return found
