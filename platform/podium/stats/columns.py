"""The counts of many cells side by side as numpy's vectors: what the evidence is computed from."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from podium.stats.cells import Cells

Vector = npt.NDArray[np.float64]


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


def log_mean_exp(exponents: Vector, weights: Vector) -> float:
    """Return log Σ weight·e^exponent for weights that sum to 1, without overflow.

    Equal exponents give exactly that exponent, so no evidence is exactly 0 whatever the weights' rounded sum.
    """
    largest = exponents.max()
    return float(largest + np.log1p(weights @ np.expm1(exponents - largest)))
