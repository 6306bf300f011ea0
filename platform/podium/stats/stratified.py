"""The difference of two error rates, weight by weight: the estimate and the test at a canary's horizon.

While the weights ramp, pooled rates would compare the challenger's later traffic with the champion's earlier traffic.
So each cell is compared with itself, and the differences are averaged with the Mantel-Haenszel weights n₁n₀/(n₁ + n₀).
Those follow from the exposures; weights from the observed errors would lean towards the cells that happen to look good.
Greenland & Robins, Biometrics 41 (1985) 55-68.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from podium.stats.cells import Cell, Cells, check_absolute_margin
from podium.stats.columns import Vector, columns


@dataclass(frozen=True, slots=True)
class Difference:
    """The challenger's error rate less the champion's, over cells in which both have exposures."""

    cells: tuple[Cell, ...]

    @property
    def estimate(self) -> float:
        """The average difference, absolute: positive where the challenger errs more."""
        counts = columns(self.cells)
        rates = (
            counts.challenger_errors / counts.challenger_exposures,
            counts.champion_errors / counts.champion_exposures,
        )
        return float(self._importance() @ (rates[0] - rates[1]))

    @property
    def standard_error(self) -> float:
        """The spread of the estimate, > 0.

        Each rate is taken with one error and one success more (Agresti & Caffo, The American Statistician 54 (2000)
        280-288), so that a variant without errors is not taken for one that cannot err.
        """
        counts = columns(self.cells)
        return self._spread(
            (counts.challenger_errors + 1) / (counts.challenger_exposures + 2),
            (counts.champion_errors + 1) / (counts.champion_exposures + 2),
        )

    def z(self, margin: float) -> float:
        """Return by how many standard errors the estimate exceeds `margin`, in (0, 1).

        The standard error is the one that rates exactly `margin` apart would have, fitted to each cell's total of
        errors (Dunnett & Gent, Biometrics 33 (1977) 593-602). With few errors the observed rates would not do: too few
        errors of the challenger would lower both the estimate and its standard error.
        """
        check_absolute_margin(margin)
        counts = columns(self.cells)
        errors = counts.challenger_errors + counts.champion_errors
        exposures = counts.challenger_exposures + counts.champion_exposures
        champion_rate = np.clip((errors - margin * counts.challenger_exposures) / exposures, 0, 1 - margin)
        return (self.estimate - margin) / self._spread(champion_rate + margin, champion_rate)

    def p_value(self, margin: float) -> float:
        """Return the one-sided p-value against "the challenger's error rate is higher by `margin` or more".

        It holds for one look, at a horizon fixed beforehand.
        """
        return float(ndtr(self.z(margin)))

    def _importance(self) -> Vector:
        """Return the share of each cell in the average."""
        counts = columns(self.cells)
        harmonic = 1 / (1 / counts.challenger_exposures + 1 / counts.champion_exposures)
        shares: Vector = harmonic / harmonic.sum()
        return shares

    def _spread(self, challenger_rate: Vector, champion_rate: Vector) -> float:
        """Return the standard error of the average where the variants have these rates."""
        counts = columns(self.cells)
        variances = (
            challenger_rate * (1 - challenger_rate) / counts.challenger_exposures
            + champion_rate * (1 - champion_rate) / counts.champion_exposures
        )
        return math.sqrt(self._importance() ** 2 @ variances)


def stratified_difference(cells: Cells) -> Difference | None:
    """Return the difference over the cells in which both variants have exposures; None where there is none.

    The error rate of both rose from 3 to 8 % while the weight rose, which makes the pooled challenger 2.8 points worse:

    >>> from podium.stats.cells import Cell
    >>> difference = stratified_difference([Cell(0.05, 400, 12, 7600, 228), Cell(0.5, 4000, 320, 4000, 320)])
    >>> difference.estimate, round(difference.standard_error, 4), round(difference.p_value(0.01), 4)
    (0.0, 0.0053, 0.0305)
    """
    compared = tuple(cell for cell in cells if cell.challenger_exposures and cell.champion_exposures)
    return Difference(compared) if compared else None
