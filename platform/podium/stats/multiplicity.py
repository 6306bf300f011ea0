"""p-values adjusted for how many questions were asked.

Both functions take p-values in any order and return adjusted ones in that order: compare each with the
level alpha. No p-values, no adjusted ones.
"""

import numpy as np
import numpy.typing as npt

from podium.errors import EvaluationError
from podium.stats.paired import Vector


def holm(p_values: npt.ArrayLike) -> Vector:
    """Return p-values adjusted so that even one false alarm in the family has probability ≤ alpha.

    Holm, Scandinavian Journal of Statistics 6 (1979) 65-70; holds under any dependence.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    values = _checked(p_values)
    order = np.argsort(values)
    steps = np.arange(values.size, 0, -1) * values[order]
    return _in_order(np.maximum.accumulate(steps), order)


def benjamini_hochberg(p_values: npt.ArrayLike) -> Vector:
    """Return p-values adjusted so that the expected share of false alarms among the alarms is ≤ alpha.

    Benjamini & Hochberg, JRSS B 57 (1995) 289-300; for independent or positively dependent tests.

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.04, 0.04]
    """
    values = _checked(p_values)
    order = np.argsort(values)
    steps = values.size / np.arange(1, values.size + 1) * values[order]
    return _in_order(np.minimum.accumulate(steps[::-1])[::-1], order)


def _checked(p_values: npt.ArrayLike) -> Vector:
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1:
        raise EvaluationError(f"The p-values have the shape {values.shape}; a flat list is needed.")
    if not np.all((values >= 0) & (values <= 1)):
        raise EvaluationError(f"Not every p-value lies between 0 and 1: {values.tolist()}.")
    return values


def _in_order(steps: Vector, order: npt.NDArray[np.intp]) -> Vector:
    adjusted = np.empty_like(steps)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
