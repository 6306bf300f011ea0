"""What a paired test answers, whichever test it is.

Two models judged the same rows. The *gain* is how much better the candidate is than the champion: positive
is better, whether the metric itself is to be high or low. Who compares decides on these answers and never
needs to know which test gave them.
"""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from podium.errors import EvaluationError

Vector = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Bounds(NamedTuple):
    """Both ends of a two-sided confidence interval."""

    low: float
    high: float


class PairedTest(Protocol):
    """A comparison of two models on the same rows.

    Every `p_…` is one-sided. Where `informative` is false the rows carry no estimate of the gain's spread;
    then the interval and the p-values raise EvaluationError, and the caller must say "unknown".
    """

    @property
    def name(self) -> str:
        """The test and the interval, in words."""

    @property
    def rows(self) -> int:
        """How many rows both models judged."""

    @property
    def gain(self) -> float:
        """How much better the candidate is; negative is worse."""

    @property
    def informative(self) -> bool:
        """Whether the rows can tell the two models apart at all."""

    def interval(self, confidence: float) -> Bounds:
        """Return the two-sided interval of the gain."""

    def p_superior(self) -> float:
        """Return the p-value against "the gain is at most 0"."""

    def p_not_inferior(self, margin: float) -> float:
        """Return the p-value against "the gain is at most -margin"."""

    def p_worse(self) -> float:
        """Return the p-value against "the gain is at least 0"."""

    def rows_needed(self, margin: float, *, alpha: float, power: float) -> int:
        """Return the rows on which an equal candidate is found not inferior with probability `power`."""

    def smallest_visible(self, *, alpha: float, power: float) -> float:
        """Return the smallest gain that these rows show with probability `power`."""


def finite_vector(values: npt.ArrayLike, what: str) -> Vector:
    """Return `values` as a non-empty vector of finite floats, else raise EvaluationError naming `what`."""
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise EvaluationError(f"The {what} have the shape {vector.shape}; one number per row is needed.")
    if vector.size == 0:
        raise EvaluationError(f"There are no {what}: 0 rows < 1 required.")
    unknown = int(vector.size - np.isfinite(vector).sum())
    if unknown:
        raise EvaluationError(
            f"{unknown:,} of {vector.size:,} {what} are NaN or infinite; remove those rows or repair their source."
        )
    return vector


def check_confidence(confidence: float) -> None:
    """Raise EvaluationError unless `confidence` lies strictly between 0 and 1."""
    if not 0 < confidence < 1:
        raise EvaluationError(f"A confidence of {confidence} is no probability between 0 and 1; 0.95 is usual.")


def check_margin(margin: float) -> None:
    """Raise EvaluationError unless `margin` is a positive, finite number."""
    if not (np.isfinite(margin) and margin > 0):
        raise EvaluationError(f"A margin of {margin} accepts no harm at all; it must be a finite number > 0.")
