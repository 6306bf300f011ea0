"""What a canary counted: exposures and errors of both variants, per recorded probability of assignment.

All that is sequential in `podium.stats` reads these counts and nothing else, so a past decision replays from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from podium.errors import EvaluationError


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


def check_absolute_margin(margin: float) -> None:
    """Raise EvaluationError unless `margin`, a difference of two error rates, lies strictly between 0 and 1."""
    if not 0 < margin < 1:
        raise EvaluationError(
            f"A margin of {margin} cannot be tested; it must be a share between 0 and 1, such as 0.01."
        )
