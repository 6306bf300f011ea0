"""Rows kept for it, sent as requests in time order: the traffic of models that have no live one."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from podium.canary.entities import CanaryResult
from podium.canary.ports import Traffic
from podium.errors import EvaluationError
from podium.stats.cells import Cell, Cells


class ReplayTraffic:
    """Routes recorded requests, whose answers by both variants are known, and counts what each would have shown.

    `challenger_wrong` and `champion_wrong` say of each request, in time order, whether that variant's answer is an
    error. `weights` are the phases as pairs of probability and requests; requests beyond them go to nobody. The
    assignment of request i depends on `seed` (hexadecimal) and i alone, so a restarted attempt makes the same ones.
    Raises EvaluationError where the answers are not one boolean of each variant for each request.
    """

    def __init__(
        self,
        challenger_wrong: npt.NDArray[np.bool_],
        champion_wrong: npt.NDArray[np.bool_],
        *,
        weights: Sequence[tuple[float, int]],
        seed: str,
    ) -> None:
        _check_answers(challenger_wrong, champion_wrong)
        self._weights = tuple(weight for weight, _ in weights)
        sizes = [requests for _, requests in weights]
        begins = np.cumsum([0, *sizes])
        self.available = min(len(challenger_wrong), int(begins[-1]))
        self._begins = np.minimum(begins, self.available)
        probabilities = np.repeat(self._weights, sizes)[: self.available]
        assigned = np.random.default_rng(int(seed, 16)).random(self.available) < probabilities
        wrong = np.where(assigned, challenger_wrong[: self.available], champion_wrong[: self.available])
        self._challenger_exposures = _running(assigned)
        self._challenger_errors = _running(assigned & wrong)
        self._errors = _running(wrong)

    def cells(self, until: int) -> Cells:
        """Return the counts of the first `until` requests, one cell for each phase, in order."""
        ends = np.minimum(self._begins, min(max(until, 0), self.available))
        return tuple(
            self._cell(weight, int(begin), int(end))
            for weight, begin, end in zip(self._weights, ends[:-1], ends[1:], strict=True)
        )

    def _cell(self, weight: float, begin: int, end: int) -> Cell:
        exposures = int(self._challenger_exposures[end] - self._challenger_exposures[begin])
        errors = int(self._challenger_errors[end] - self._challenger_errors[begin])
        all_errors = int(self._errors[end] - self._errors[begin])
        return Cell(weight, exposures, errors, end - begin - exposures, all_errors - errors)


def play(opened: CanaryResult, traffic: Traffic, advance: Callable[[str, Cells], CanaryResult]) -> CanaryResult:
    """Let an opened canary look at its traffic until it ends or awaits approval; one that has ended stays as it is.

    One that was interrupted first shows its counts so far again, which completes what the interruption left
    undone, and goes on from there.
    """
    if opened.ended or opened.awaits_approval or opened.canary_id is None:
        return opened
    latest = opened
    interrupted_at = [opened.position] if opened.position else []
    for position in (*interrupted_at, *opened.plan.looks(opened.horizon, after=opened.position)):
        latest = advance(opened.canary_id, traffic.cells(position))
        if latest.ended or latest.awaits_approval:
            break
    return latest


def _running(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return how many flags are set before each position, and in all."""
    return np.concatenate(([0], np.cumsum(flags, dtype=np.int64)))


def _check_answers(challenger_wrong: npt.NDArray[np.bool_], champion_wrong: npt.NDArray[np.bool_]) -> None:
    for variant, wrong in (("challenger", challenger_wrong), ("champion", champion_wrong)):
        if wrong.dtype != np.bool_ or wrong.ndim != 1:
            raise EvaluationError(
                f"The {variant}'s answers are an array of {wrong.dtype} with {wrong.ndim} dimensions; a replay needs "
                "one boolean for each request: whether the answer is wrong."
            )
    if len(challenger_wrong) != len(champion_wrong):
        raise EvaluationError(
            f"The challenger answered {len(challenger_wrong):,} requests and the champion {len(champion_wrong):,}; a "
            "replay needs the answers of both to the same requests."
        )
