from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from podium.canary import transitions
from podium.canary.entities import Canary, CanaryRequest, State, Verdict
from podium.canary.plan import CanaryPlan, Phase
from podium.db.schema.canary import CANARY_ENDED, CANARY_STATES, LOOK_VERDICTS
from podium.errors import EvaluationError, InternalError, UsageError
from podium.stats.cells import Cell

PLAN = CanaryPlan(phases=(Phase(weight_percent=20, requests=300), Phase(weight_percent=50, requests=900)))
NONE = Cell(0.5, 0, 0, 0, 0)
CANARY = Canary(
    canary_id="c1",
    model="flight_delay",
    challenger_version="2",
    champion_version="1",
    traffic="replay",
    traffic_digest="7" * 64,
    plan=PLAN,
    seed="5eed",
    horizon=1_000,
    baseline_error_rate=0.05,
    state="ramping",
    position=100,
    counts=(Cell(0.2, 20, 2, 80, 4), NONE),
    reasons=(),
    promotion_id=None,
    run_id="r2",
    step_key="r2/run_canary",
    actor="ada",
    actor_verified=False,
    opened_at=datetime(2013, 3, 1, tzinfo=UTC),
    paused_at=None,
    ended_at=None,
)
REQUEST = CanaryRequest(
    model="flight_delay",
    challenger="2",
    judged_against="1",
    plan=PLAN,
    available=1_000,
    baseline_error_rate=0.05,
    run_id="r2",
    step_key="r2/run_canary",
    actor="ada",
    actor_verified=False,
    traffic_digest="7" * 64,
)


def test_states_and_verdicts_are_the_databases() -> None:
    assert get_args(State) == CANARY_STATES
    assert get_args(Verdict) == LOOK_VERDICTS


def test_an_ended_canary_goes_nowhere() -> None:
    for state in get_args(State):
        moves = {to for to in get_args(State) if transitions.may_move(state, to)}
        assert (moves == set()) == (state in CANARY_ENDED)
        if moves:
            assert "aborted" in moves
            assert state not in moves


def test_a_replay_has_nothing_to_shadow() -> None:
    assert transitions.begun("replay") == "ramping"
    assert transitions.begun("live") == "shadowing"
    for traffic in ("replay", "live"):
        assert transitions.may_move("pending", transitions.begun(traffic))


class Answer:
    promotion_id = "p1"
    reasons = ("no",)
    awaits_approval = False

    def __init__(self, *, applied: bool) -> None:
        self.applied = applied


def test_every_final_verdict_has_its_end() -> None:
    assert transitions.ended_by("promote", Answer(applied=True)) == "promoted"
    assert transitions.ended_by("promote", Answer(applied=False)) == "aborted"
    assert transitions.ended_by("promote", None) == "aborted"
    ends: tuple[tuple[Verdict, State], ...] = (
        ("roll_back", "rolled_back"),
        ("inconclusive", "inconclusive"),
        ("invalid", "invalid"),
    )
    for verdict, state in ends:
        assert transitions.ended_by(verdict, None) == state
        assert transitions.may_move("ramping", state)
    with pytest.raises(InternalError):
        transitions.ended_by("continue", None)


def test_reasons_of_a_refused_promotion_come_first() -> None:
    assert transitions.end_reasons(("shown",), None) == ("shown",)
    assert transitions.end_reasons(("shown",), Answer(applied=True)) == ("shown",)
    assert transitions.end_reasons(("shown",), Answer(applied=False)) == ("no", "shown")


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (Cell(0.2, 40, 1, 160, 8), "phase 1 has 1 challenger errors after 2"),
        (Cell(0.2, 40, 2, 160, 3), "phase 1 has 3 champion errors after 4"),
        (Cell(0.2, 19, 2, 181, 8), "phase 1 has 19 challenger exposures after 20"),
        (Cell(0.2, 121, 2, 79, 4), "phase 1 has 79 champion exposures after 80"),
        (Cell(0.2, 20, 3, 80, 4), "contradict those stored at 100: phase 1 has 3 challenger errors after 2"),
        (Cell(0.3, 40, 2, 160, 8), "not of its plan's"),
        (Cell(0.2, 60, 2, 260, 8), r"spread over the phases as \(320, 0\), where its plan says \(300, 20\)"),
        (Cell(0.2, 600, 2, 600, 8), "beyond its horizon of 1,000"),
    ],
)
def test_counts_that_cannot_follow_are_an_error(first: Cell, words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        transitions.check_counts(CANARY, (first, NONE))


@pytest.mark.parametrize(
    "counts",
    [
        (Cell(0.2, 20, 2, 80, 4), NONE),
        (Cell(0.2, 10, 9, 40, 0), NONE),
        (Cell(0.2, 60, 2, 240, 4), Cell(0.5, 400, 0, 300, 300)),
    ],
    ids=["the same", "an older look", "the horizon"],
)
def test_counts_that_can_follow_are_not(counts: tuple[Cell, ...]) -> None:
    transitions.check_counts(CANARY, counts)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"baseline_error_rate": float("nan")}, "needs the champion's error rate before the trial"),
        ({"baseline_error_rate": 1.5}, "between 0 and 1, not 1.5"),
        ({"available": -1}, "cannot have -1 requests"),
        ({"traffic_digest": None}, "names its rows by their digest"),
        ({"traffic": "live"}, "names its rows by their digest"),
    ],
)
def test_a_request_that_cannot_be_tried_says_so(changes: dict[str, Any], words: str) -> None:
    transitions.check_request(REQUEST)
    with pytest.raises(EvaluationError, match=words):
        transitions.check_request(replace(REQUEST, **changes))


@pytest.mark.parametrize("changes", [{"model": "other"}, {"challenger": "3"}, {"traffic_digest": "8" * 64}])
def test_a_step_key_belongs_to_one_version_and_its_rows(changes: dict[str, Any]) -> None:
    transitions.check_same_request(CANARY, replace(REQUEST, plan=CanaryPlan(), available=9))
    with pytest.raises(UsageError, match="belongs to canary c1 of version 2 of flight_delay"):
        transitions.check_same_request(CANARY, replace(REQUEST, **changes))


def test_a_challenger_judged_against_another_champion_is_outdated() -> None:
    assert transitions.outdated(REQUEST, "1") is None
    assert "was judged against version 1, but the champion is version 5" in str(transitions.outdated(REQUEST, "5"))
    unjudged = replace(REQUEST, judged_against=None)
    assert "was judged against no champion" in str(transitions.outdated(unjudged, "5"))
