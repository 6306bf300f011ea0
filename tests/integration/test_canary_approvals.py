"""A canary whose promotion people have to approve: decided, open until they have, and ended by what they decide."""

import itertools
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from podium import faults
from podium.canary import store as canaries
from podium.canary.entities import CanaryRequest, CanaryResult
from podium.clock import FakeClock
from podium.db.engine import Database
from podium.errors import CanaryOpen, Conflict, PromotionOpen, Refused
from podium.faults import FaultRaised
from podium.registry import store
from podium.registry.approval import ApprovalRule
from podium.registry.entities import Promotion
from tests.canary_world import PLAN, ROWS, CanaryWorld

RULE = ApprovalRule(1, ("bo", "cy"), timedelta(days=7))


def governed(database: Database, clock: FakeClock, model: str = "flight_delay", **options: Any) -> CanaryWorld:
    """A world whose promotions need approval from now on: the first champion needed none."""
    world = CanaryWorld(database, clock, model, **options)
    world.models.approval_rule = lambda _: RULE
    return world


@pytest.fixture
def world(database: Database, clock: FakeClock) -> CanaryWorld:
    return governed(database, clock)


def decided(world: CanaryWorld, challenger: str | None = None) -> CanaryResult:
    """Play a canary of an equal challenger until it waits for people."""
    result = world.play(world.request(challenger or world.challenger()))
    assert result.awaits_approval
    assert not result.ended
    return result


def promotion_of(world: CanaryWorld) -> Promotion:
    found = world.models.service.answer_to("r2/run_canary")
    assert found is not None
    return found


def again(world: CanaryWorld, result: CanaryResult) -> CanaryResult:
    """What the step's next attempt finds."""
    return world.play(world.request(result.challenger))


def test_a_decided_canary_stays_open_with_its_alias_and_looks_no_more(world: CanaryWorld) -> None:
    result = decided(world)
    looks = world.looks(result)
    assert (looks[-1].verdict, world.stored(result).state) == ("promote", "ramping")
    assert (world.champion, world.challenger_alias) == (world.first, result.challenger)
    assert again(world, result) == result
    assert result.canary_id is not None
    more = world.traffic(result).cells(result.horizon)
    assert world.controller.advance(result.canary_id, more).position == result.position
    assert world.looks(result) == looks
    shown = world.show()
    assert (shown["awaits_approval"], shown["promotion_id"]) == (True, result.promotion_id)
    assert world.models.told[-1] == ("promote", "proposed", result.challenger)


def test_an_approval_ends_it_promoted(world: CanaryWorld) -> None:
    result = decided(world)
    assert world.models.approved_by(result.promotion_id, "bo").applied
    ended = again(world, result)
    assert (ended.state, ended.promotion_id, ended.awaits_approval) == ("promoted", result.promotion_id, False)
    assert (world.champion, world.challenger_alias) == (result.challenger, None)
    assert world.run_outcome("r2") == "promoted"
    assert world.models.history[-1].approvers == ("bo",)
    assert world.replayed(ended).ok


def test_a_rejection_ends_it_aborted_with_who_and_why(world: CanaryWorld) -> None:
    result = decided(world)
    world.models.rejected_by(result.promotion_id, "cy")
    ended = again(world, result)
    assert ended.state == "aborted"
    assert "cy rejected it" in ended.reasons[0]
    assert (world.champion, world.challenger_alias) == (world.first, None)
    assert world.run_outcome("r2") is None, "the registry says what a refused promotion means for its run"


def test_its_run_is_inconclusive_when_nobody_answers(world: CanaryWorld, clock: FakeClock) -> None:
    result = decided(world)
    clock.advance(7 * 86_400)
    ended = again(world, result)
    assert ended.state == "aborted"
    assert "expired" in ended.reasons[0]
    with world.database.read() as connection:
        assert store.run_outcome(connection, "r2") == "inconclusive"


def test_a_rollback_does_not_wait_and_ends_the_canary(database: Database, clock: FakeClock) -> None:
    world = CanaryWorld(database, clock)
    second = world.models.candidate(champion=world.first)
    world.models.promote(second)
    world.models.approval_rule = lambda _: RULE
    result = world.play(world.request(world.challenger(), judged_against=second))
    assert result.awaits_approval
    assert world.models.rollback().applied
    ended = world.play(world.request(result.challenger, judged_against=second))
    assert ended.state == "aborted"
    assert "rolled flight_delay back to version 1" in ended.reasons[0]
    assert (world.champion, world.challenger_alias) == (world.first, None)


def test_aborting_it_withdraws_the_promotion(world: CanaryWorld) -> None:
    result = decided(world)
    aborted = world.controller.abort(world.model, reason="the feed was wrong", actor="dee")
    assert aborted.state == "aborted"
    assert "dee aborted it" in aborted.reasons[0]
    assert promotion_of(world).state == "void"
    with pytest.raises(Refused, match="awaits no approval: it is void"):
        world.models.approved_by(result.promotion_id, "bo")
    assert world.champion == world.first


def test_an_approved_one_cannot_be_aborted(world: CanaryWorld) -> None:
    result = decided(world)
    world.models.approved_by(result.promotion_id, "bo")
    with pytest.raises(Conflict, match="it ended promoted"):
        world.controller.abort(world.model, reason="too late", actor="dee")


def test_the_next_canary_waits_for_the_approval_and_takes_its_place_when_the_run_is_gone(world: CanaryWorld) -> None:
    result = decided(world)
    next_one = world.request(world.challenger(), run_id="r3", step_key="r3/run_canary")
    with pytest.raises(CanaryOpen, match=f"as soon as promotion {result.promotion_id} is approved"):
        world.controller.open(next_one)
    world.ended_runs.add("r2")
    opened = world.controller.open(next_one)
    assert (opened.state, world.challenger_alias) == ("ramping", next_one.challenger)
    gone = promotion_of(world)
    assert gone.state == "void"
    assert "Run r2 ended without ending its canary" in gone.reasons[0]
    assert world.stored(result).state == "aborted"


def decided_behind_another(world: CanaryWorld) -> tuple[CanaryRequest, Promotion]:
    """A canary whose evidence has decided while a person's promotion awaits approval, and that promotion."""
    request = world.request(world.challenger())
    opened = world.controller.open(request)
    other = world.models.promote(world.challenger(), key="person")
    assert other.awaits_approval
    for _ in range(2):  # the next attempt finds it decided, and waits too
        with pytest.raises(PromotionOpen, match=f"Promotion {other.promotion_id} of flight_delay"):
            world.play(request)
        assert world.stored(opened).state == "ramping"
    return request, other


def test_a_decided_canary_waits_for_the_end_of_another_promotion(world: CanaryWorld) -> None:
    request, other = decided_behind_another(world)
    world.models.rejected_by(other.promotion_id, "bo")
    result = world.play(request)
    assert result.awaits_approval
    assert world.models.approved_by(result.promotion_id, "cy").applied


def test_a_decided_canary_that_could_not_ask_yet_can_be_aborted(world: CanaryWorld) -> None:
    request, other = decided_behind_another(world)
    aborted = world.controller.abort(world.model, reason="the feed was wrong", actor="dee")
    assert aborted.state == "aborted"
    assert "dee aborted it" in aborted.reasons[0]
    assert world.models.approved_by(other.promotion_id, "bo").applied
    assert world.play(request) == aborted
    assert world.champion != request.challenger


def test_another_run_s_canary_is_told_before_models_are_loaded(world: CanaryWorld) -> None:
    opened = world.controller.open(world.request(world.challenger()))
    later = world.challenger()
    with pytest.raises(CanaryOpen, match=f"Canary {opened.canary_id} of flight_delay is open"):
        world.controller.resume(world.model, "r3/run_canary", later, ROWS)
    world.ended_runs.add("r2")
    assert world.controller.resume(world.model, "r3/run_canary", later, ROWS) is None
    assert world.stored(opened).state == "aborted"


def test_the_end_of_a_canary_is_told_in_its_transaction(world: CanaryWorld) -> None:
    told: list[tuple[str, bool]] = []

    def ended(connection: sa.Connection, model: str, _: datetime) -> None:
        told.append((model, canaries.open_of(connection, model) is None))

    world.ended = ended
    world.controller.open(world.request(world.challenger()))
    assert told == []
    world.controller.abort(world.model, reason="the feed was wrong", actor="dee")
    assert told == [("flight_delay", True)]


def test_what_is_left_to_look_at_is_asked_without_models(world: CanaryWorld) -> None:
    request = world.request(world.challenger())

    def resumed(traffic: str = ROWS) -> CanaryResult | None:
        return world.controller.resume("flight_delay", request.step_key, request.challenger, traffic)

    assert resumed() is None
    world.controller.open(request)
    assert resumed() is None, "it goes on"
    result = world.play(request)
    assert resumed() == result
    assert resumed("8" * 64) is None
    world.models.approved_by(result.promotion_id, "bo")
    known = resumed()
    assert known is not None
    assert known.promoted


@pytest.mark.parametrize("approved", [True, False])
def test_a_first_model_waits_too(database: Database, clock: FakeClock, *, approved: bool) -> None:
    world = governed(database, clock, has_champion=False)
    request = world.request(world.models.candidate(), judged_against=None)
    result = world.play(request)
    assert (result.canary_id, result.state, result.awaits_approval) == (None, "pending", True)
    assert world.play(request) == result
    if approved:
        world.models.approved_by(result.promotion_id, "bo")
    else:
        world.models.rejected_by(result.promotion_id, "bo")
    ended = world.play(request)
    assert ended.state == ("promoted" if approved else "aborted")
    assert ("first model" if approved else "bo rejected it: worse at JFK") == ended.reasons[0]
    assert world.champion == (request.challenger if approved else None)


def test_a_death_at_any_point_changes_nothing_in_the_end(
    database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = PLAN.model_copy(update={"look_every": 600})
    seen: list[Any] = []
    for number in itertools.count():
        world, reached = governed(database, clock, f"dies-{number}"), itertools.count(1)
        request = world.request(
            world.challenger(), plan=small, run_id=world.model, step_key=f"{world.model}/run_canary", draw_key="one"
        )

        def die(point: str, reached: "itertools.count[int]" = reached, number: int = number) -> None:
            if next(reached) == number:
                raise FaultRaised(point)

        with monkeypatch.context() as patch:
            patch.setattr(faults, "reach", die)
            _until(lambda world=world, request=request: world.play(request))
            asked = world.models.service.answer_to(request.step_key)
            assert asked is not None
            if asked.awaits_approval:
                _until(lambda world=world, asked=asked: world.models.approved_by(asked.promotion_id, "bo"))
            _until(lambda world=world, request=request: world.play(request))
        ended = world.play(request)
        seen.append((ended.state, ended.position, world.models.told, world.challenger_alias, world.models.verify().ok))
        if number and next(reached) <= number:
            break
    assert seen == [seen[0]] * len(seen)
    assert seen[0][0] == "promoted"
    assert number > 10


def _until(act: Any) -> None:
    """Do it, and once more after a death; what was decided by the dead process may refuse the second time."""
    try:
        act()
    except FaultRaised:
        with suppress(Refused):
            act()
