"""What a canary counted: exposures and errors of both variants, per recorded probability of assignment.

All that is sequential in `podium.stats` reads these counts and nothing else, so a past decision replays from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from podium.errors import EvaluationError

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cell:
    """Counts of the requests that went to the challenger with one recorded probability, `weight`, in (0, 1).

    An error is counted for the variant that answered. Raises EvaluationError where the counts are impossible.
    """

    weight: float
    challenger_exposures: int
    challenger_errors: int
    champion_exposures: int
    champion_errors: int

    def __post_init__(self) -> None:
        if not 0 < self.weight < 1:
            raise EvaluationError(
                f"A weight of {self.weight} assigns no request at random; it must be a share between 0 and 1."
            )
        if not (
            0 <= self.challenger_errors <= self.challenger_exposures
            and 0 <= self.champion_errors <= self.champion_exposures
        ):
            raise EvaluationError(f"Impossible counts in {self}: each variant needs 0 ≤ errors ≤ exposures.")


Cells = Sequence[Cell]  # in any order; a weight may occur more than once


@dataclass(frozen=True, slots=True)
class Columns:
    """The counts of many cells as vectors of equal length."""

    weight: Vector
    challenger_exposures: Vector
    challenger_errors: Vector
    champion_exposures: Vector
    champion_errors: Vector


def columns(cells: Cells) -> Columns:
    """Return the cells column by column; no cells give vectors of length 0."""
    rows = [
        (cell.weight, cell.challenger_exposures, cell.challenger_errors, cell.champion_exposures, cell.champion_errors)
        for cell in cells
    ]
    return Columns(*np.array(rows, dtype=np.float64).reshape(-1, 5).T)


def check_absolute_margin(margin: float) -> None:
    """Raise EvaluationError unless `margin`, a difference of two error rates, lies strictly between 0 and 1."""
    if not 0 < margin < 1:
        raise EvaluationError(
            f"A margin of {margin} cannot be tested; it must be a share between 0 and 1, such as 0.01."
        )


def log_mean_exp(exponents: Vector, weights: Vector) -> float:
    """Return log Σ weight·e^exponent for weights that sum to 1, without overflow.

    Equal exponents give exactly that exponent, so no evidence is exactly 0 whatever the weights' rounded sum.
    """
    largest = exponents.max()
    return float(largest + np.log1p(weights @ np.expm1(exponents - largest)))
