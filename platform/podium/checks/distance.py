"""How far two sets of shares lie apart, and how far chance alone can put them.

The distance is the total variation distance `½ Σ |p − q|`: the share of rows that would need another category for
the two to have the same shares (Levin & Peres, Markov Chains and Mixing Times, 2nd ed. 2017, section 4.1). It lies
in [0, 1], and a category that one side lacks makes it no infinity. The population stability index was not taken: its
unit says nothing to a person, a new category makes it infinite, and the usual limits 0.1 and 0.25 come with no error
rate (Yurdakul & Naranjo, Statistical properties of the population stability index, Journal of Risk Model
Validation, 2020).

Two samples of one population differ by chance. `chance_distance` bounds by how much, without simulation. The mean is
at most `½ Σ √(p(1−p)/n + q(1−q)/m)`, since a mean absolute deviation is at most the standard deviation (Berend &
Kontorovich, Statistics & Probability Letters 83, 2013, sharpen that). And since one row moves the distance by at most
1/n or 1/m, it exceeds its mean by `√(ln(1/α)(1/n + 1/m)/2)` with probability α at most (McDiarmid, On the method of
bounded differences, 1989). The shares put in are those observed. Rows are taken as independent draws.
"""

import math

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

_MOST_ROWS = 10**12  # asked for: as good as endless


def total_variation(current: Counts, reference: Counts) -> float:
    """Return the distance of the shares of two arrays of counts, category by category; neither may be all zero.

    Counted in whole numbers, so that a distance of exactly a tenth is 0.1 and the order of categories changes nothing.

    >>> total_variation(np.array([5, 5]), np.array([6, 4]))
    0.1
    """
    rows, reference_rows = int(current.sum()), int(reference.sum())
    return int(np.abs(current * reference_rows - reference * rows).sum()) / (2 * rows * reference_rows)


def chance_distance(current: Shares, reference: Shares, rows: int, reference_rows: int, alpha: float) -> float:
    """Return the distance that samples of these sizes exceed with probability `alpha` at most, were nothing different.

    >>> shares = np.full(4, 0.25)
    >>> round(chance_distance(shares, shares, 1_000, 10_000, alpha=0.01), 3)
    0.079
    """
    variances = current * (1 - current) / rows + reference * (1 - reference) / reference_rows
    tail = math.sqrt(math.log(1 / alpha) * (1 / rows + 1 / reference_rows) / 2)
    return float(np.sqrt(variances).sum()) / 2 + tail


def rows_needed(current: Shares, reference: Shares, reference_rows: int, distance: float, alpha: float) -> int | None:
    """Return the fewest rows with which chance stays within `distance`; None where the reference has too few itself.

    >>> shares = np.full(4, 0.25)
    >>> rows_needed(shares, shares, 10_000, 0.1, alpha=0.01), rows_needed(shares, shares, 10, 0.1, alpha=0.01)
    (603, None)
    """

    def enough(rows: int) -> bool:
        return chance_distance(current, reference, rows, reference_rows, alpha) <= distance

    if not enough(_MOST_ROWS):
        return None
    low, high = 0, 1
    while not enough(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
