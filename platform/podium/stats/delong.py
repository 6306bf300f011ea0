"""AUC of two models on the same rows: DeLong's test in O(n log n).

DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988) 837-845, computed from midranks as in Sun & Xu, IEEE
Signal Processing Letters 21 (2014) 1389-1393. Equal scores count one half.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from podium.errors import EvaluationError
from podium.stats import power as planning
from podium.stats.paired import Bounds, Mask, Vector, check_confidence, check_margin, finite_vector

# The structural components are multiples of 1/(2 rows of a class), so a true variance is at least about
# 1/(4 rows^4); below this bound only rounding is left, for any number of rows up to ten million.
_ROUNDING = 1e-30


@dataclass(frozen=True, slots=True)
class PairedAuc:
    """Two AUCs, their variances and covariance; a `PairedTest` of their difference."""

    candidate: float
    champion: float
    candidate_variance: float
    champion_variance: float
    covariance: float
    gain_variance: float
    positives: int
    negatives: int

    name: ClassVar[str] = "DeLong"

    @property
    def rows(self) -> int:
        """How many rows both models scored."""
        return self.positives + self.negatives

    @property
    def gain(self) -> float:
        """The candidate's AUC less the champion's."""
        return self.candidate - self.champion

    @property
    def informative(self) -> bool:
        """Whether some row contributes differently to the two AUCs: equal rankings say nothing."""
        return self.gain_variance > _ROUNDING

    @property
    def z(self) -> float:
        """The gain in standard errors."""
        return self.gain / self._standard_error()

    def interval(self, confidence: float) -> Bounds:
        """Return the normal interval of the gain, cut at the possible extremes -1 and 1."""
        check_confidence(confidence)
        reach = float(ndtri((1 + confidence) / 2)) * self._standard_error()
        return Bounds(max(self.gain - reach, -1.0), min(self.gain + reach, 1.0))

    def p_superior(self) -> float:
        """Return the one-sided p-value against "no better"."""
        return float(ndtr(-self.z))

    def p_worse(self) -> float:
        """Return the one-sided p-value against "no worse"."""
        return float(ndtr(self.z))

    def p_not_inferior(self, margin: float) -> float:
        """Return the one-sided p-value against "at least `margin` lower"."""
        check_margin(margin)
        return float(ndtr(-(self.gain + margin) / self._standard_error()))

    def rows_needed(self, margin: float, *, alpha: float, power: float) -> int:
        """Return the rows that `margin` needs at the present share of positives."""
        return planning.required_rows(self._variance_per_row(), margin, alpha=alpha, power=power)

    def smallest_visible(self, *, alpha: float, power: float) -> float:
        """Return the smallest gain in AUC that these rows show with probability `power`."""
        return planning.smallest_visible(self._variance_per_row(), self.rows, alpha=alpha, power=power)

    def _variance_per_row(self) -> float:
        return self._standard_error() ** 2 * self.rows

    def _standard_error(self) -> float:
        if not self.informative:
            raise EvaluationError(
                f"The two AUCs ({self.candidate:.6g} and {self.champion:.6g}) have no spread on these "
                f"{self.rows:,} rows: every row counts alike for both models, so no test can tell them apart."
            )
        return math.sqrt(self.gain_variance)


def auc(positive: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the probability that a positive row scores above a negative one.

    `positive` marks the rows of the positive class; a single class raises EvaluationError.

    >>> auc([False, True, False, True], [0.1, 0.4, 0.4, 0.8])
    0.875
    """
    marks = _classes(positive, least=1)
    (of_positives, _) = _components(marks, _scores(scores, marks, "scores"))
    return float(of_positives.mean())


def compare_auc(positive: npt.ArrayLike, candidate_scores: npt.ArrayLike, champion_scores: npt.ArrayLike) -> PairedAuc:
    """Return the comparison of two models' AUCs from their scores of the same rows.

    `positive` marks the rows of the positive class. Raises EvaluationError where lengths differ, a score is
    not finite, or a class has fewer than 2 rows (one row has no spread).
    """
    marks = _classes(positive, least=2)
    candidate = _components(marks, _scores(candidate_scores, marks, "scores of the candidate"))
    champion = _components(marks, _scores(champion_scores, marks, "scores of the champion"))
    (over_positives, over_negatives) = zip(candidate, champion, strict=True)
    covariance: Vector = np.cov(*over_positives) / marks.sum() + np.cov(*over_negatives) / (~marks).sum()
    # From the per-row differences: subtracting covariances would leave rounding where the models are equal.
    gain_variance = sum(
        float(np.subtract(*pair).var(ddof=1)) / pair[0].size for pair in (over_positives, over_negatives)
    )
    return PairedAuc(
        candidate=float(candidate[0].mean()),
        champion=float(champion[0].mean()),
        candidate_variance=float(covariance[0, 0]),
        champion_variance=float(covariance[1, 1]),
        covariance=float(covariance[0, 1]),
        gain_variance=float(gain_variance),
        positives=candidate[0].size,
        negatives=candidate[1].size,
    )


def _components(positive: Mask, scores: Vector) -> tuple[Vector, Vector]:
    """Return each positive's share of negatives below it, and each negative's share of positives above it.

    A row of equal score counts one half. One sort serves both classes.
    """
    order = np.argsort(scores)
    arranged, marks = scores[order], positive[order]
    starts = np.flatnonzero(np.concatenate(([True], arranged[1:] != arranged[:-1])))
    ends = np.append(starts[1:], scores.size)
    up_to = np.concatenate(([0], np.cumsum(marks)))
    positives_below = (up_to[starts] + up_to[ends]) / 2
    negatives_below = (starts + ends) / 2 - positives_below
    equal = ends - starts
    shares: Vector = np.empty(scores.size)
    shares[order] = np.where(
        marks,
        np.repeat(negatives_below / (scores.size - up_to[-1]), equal),
        np.repeat(1 - positives_below / up_to[-1], equal),
    )
    return shares[positive], shares[~positive]


def _classes(positive: npt.ArrayLike, *, least: int) -> Mask:
    marks = finite_vector(positive, "class marks")
    if not bool(((marks == 0) | (marks == 1)).all()):
        raise EvaluationError("The class marks are not all 0 or 1: AUC needs two classes, positive is 1.")
    positives = int(marks.sum())
    negatives = marks.size - positives
    if min(positives, negatives) < least:
        raise EvaluationError(
            f"AUC needs rows of both classes: {positives:,} positive and {negatives:,} negative rows, "
            f"{min(positives, negatives)} < {least} required."
        )
    return marks.astype(np.bool_)


def _scores(scores: npt.ArrayLike, positive: Mask, what: str) -> Vector:
    values = finite_vector(scores, what)
    if values.size != positive.size:
        raise EvaluationError(f"There are {values.size:,} {what} for {positive.size:,} rows; both must be equal.")
    return values
