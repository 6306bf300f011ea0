"""The legal moves of a canary, and the words they are recorded with; pure.

A replay has nothing to shadow: its moves are `pending → ramping →` an end. `pending` is the intent before the alias
`challenger` points at the version; `shadowing` is for live traffic.
"""

from typing import Final

from podium.canary.entities import (
    Canary,
    CanaryRequest,
    Counts,
    State,
    TrafficKind,
    Verdict,
    requests_of,
)
from podium.canary.ports import PromotionAnswer
from podium.errors import EvaluationError, InternalError, UsageError
from podium.stats.cells import Cell

FIRST_MODEL: Final = "first model"

_OPEN: Final[dict[State, frozenset[State]]] = {
    "pending": frozenset({"shadowing", "ramping", "aborted"}),
    "shadowing": frozenset({"ramping", "rolled_back", "aborted", "invalid"}),
    "ramping": frozenset({"promoted", "rolled_back", "inconclusive", "aborted", "invalid"}),
}
_AFTER: Final[dict[Verdict, State]] = {
    "promote": "promoted",
    "roll_back": "rolled_back",
    "inconclusive": "inconclusive",
    "invalid": "invalid",
}


def may_move(state: State, to: State) -> bool:
    """Return whether a canary may go from one state to the other; an ended one goes nowhere.

    >>> may_move("ramping", "promoted"), may_move("pending", "promoted"), may_move("aborted", "ramping")
    (True, False, False)
    """
    return to in _OPEN.get(state, ())


def begun(traffic: TrafficKind) -> State:
    """Return the state in which a canary begins once its alias is set."""
    return "ramping" if traffic == "replay" else "shadowing"


def ended_by(verdict: Verdict, promotion: PromotionAnswer | None) -> State:
    """Return the state that a final verdict leads to; a promotion that did not apply ends the canary `aborted`."""
    if verdict == "continue":
        raise InternalError("A canary that is to continue was about to be ended; this is a bug in Podium.")
    if verdict != "promote":
        return _AFTER[verdict]
    return "promoted" if promotion is not None and promotion.applied else "aborted"


def end_reasons(shown: tuple[str, ...], promotion: PromotionAnswer | None) -> tuple[str, ...]:
    """Return why a canary ended: what its evidence has shown, after why a promotion did not apply."""
    if promotion is None or promotion.applied:
        return shown
    return (*promotion.reasons, *shown)


def outdated(request: CanaryRequest, champion: str) -> str | None:
    """Return why a trial would be in vain because the champion has changed since the challenger was judged."""
    if request.judged_against == champion:
        return None
    against = "no champion" if request.judged_against is None else f"version {request.judged_against}"
    return (
        f"Version {request.challenger} of {request.model} was judged against {against}, but the champion is version "
        f"{champion}: a promotion would be void. Judge it again."
    )


def occupied(other: Canary) -> str:
    """Return why another run must wait for an open canary."""
    if other.awaits_approval:
        return (
            f"Canary {other.canary_id} of {other.model} is decided: version {other.challenger_version} of run "
            f"{other.run_id} becomes champion as soon as promotion {other.promotion_id} is approved. "
            f"`podium promotions show {other.promotion_id}` says by whom."
        )
    return (
        f"Canary {other.canary_id} of {other.model} is open: run {other.run_id} tries version "
        f"{other.challenger_version} ({other.position:,} of {other.horizon:,} requests). Its end makes room; "
        f"`podium canary abort {other.model} --reason TEXT` ends it now."
    )


def abandoned(other: Canary) -> str:
    """Return why a canary is aborted whose run can no longer go on with it."""
    return (
        f"Run {other.run_id} ended without ending its canary, at {other.position:,} of {other.horizon:,} requests; the "
        "next canary of the model put it away."
    )


def version_gone(canary: Canary) -> str:
    """Return why a canary is aborted whose challenger was deleted before the alias reached it."""
    return (
        f"Version {canary.challenger_version} of {canary.model} is gone from the registry, so the alias cannot point "
        "at it. Register it again."
    )


def decision_reason(canary: Canary) -> str:
    """Return the words under which the promotion or the block is recorded: the canary and its evidence."""
    return f"canary {canary.canary_id} of run {canary.run_id}: {' '.join(canary.reasons)}"


def aborted_by(canary: Canary, actor: str, reason: str) -> str:
    """Return why a canary is aborted that a person ends."""
    return f"{actor} aborted it at {canary.position:,} of {canary.horizon:,} requests: {reason}"


def check_request(request: CanaryRequest) -> None:
    """Raise EvaluationError where what is asked for cannot be tried on any traffic."""
    about = f"A canary of version {request.challenger} of {request.model}"
    if not 0 <= request.baseline_error_rate <= 1:  # so is NaN refused
        raise EvaluationError(
            f"{about} needs the champion's error rate before the trial, between 0 and 1, not "
            f"{request.baseline_error_rate}; take it from the evidence that the version was judged by."
        )
    if request.available < 0:
        raise EvaluationError(f"{about} cannot have {request.available:,} requests.")
    if (request.traffic == "replay") != (request.traffic_digest is not None):
        raise EvaluationError(f"{about} names its rows by their digest where it replays rows, and only there.")


def check_same_request(known: Canary, request: CanaryRequest) -> None:
    """Raise UsageError unless `known`, found under the request's step key, is an answer to it."""
    if (known.model, known.challenger_version, known.traffic, known.traffic_digest) != (
        request.model,
        request.challenger,
        request.traffic,
        request.traffic_digest,
    ):
        raise UsageError(
            f"The step key {request.step_key!r} belongs to canary {known.canary_id} of version "
            f"{known.challenger_version} of {known.model}, on the traffic {known.traffic_digest or known.traffic}; "
            "another version or other rows need a run of their own."
        )


def check_counts(canary: Canary, counts: Counts) -> None:
    """Raise EvaluationError unless `counts` can follow those stored: same ramp, nothing taken back."""
    position = requests_of(counts)
    about = f"The counts of canary {canary.canary_id} of {canary.model} at {position:,} requests"
    if position > canary.horizon:
        raise EvaluationError(f"{about} go beyond its horizon of {canary.horizon:,}; count no further than that.")
    weights = tuple(cell.weight for cell in counts)
    if weights != tuple(phase.weight for phase in canary.plan.phases):
        raise EvaluationError(f"{about} are of the weights {weights}, not of its plan's; use one cell for each phase.")
    by_phase = tuple(requests_of([cell]) for cell in counts)
    planned = canary.plan.requests_by_phase(position)
    if by_phase != planned:
        raise EvaluationError(f"{about} are spread over the phases as {by_phase}, where its plan says {planned}.")
    if position < canary.position:
        return  # an older look: what was counted then is stored
    for phase, (before, after) in enumerate(zip(canary.counts, counts, strict=True), start=1):
        for name, was, now in _pairs(before, after):
            if now < was or (position == canary.position and now != was):
                raise EvaluationError(
                    f"{about} contradict those stored at {canary.position:,}: phase {phase} has {now:,} {name} after "
                    f"{was:,}. A replay must send the same rows to models that answer the same row alike."
                )


def _pairs(before: Cell, after: Cell) -> list[tuple[str, int, int]]:
    names = ("challenger_exposures", "challenger_errors", "champion_exposures", "champion_errors")
    return [(name.replace("_", " "), getattr(before, name), getattr(after, name)) for name in names]
