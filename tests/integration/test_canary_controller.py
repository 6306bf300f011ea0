"""A canary from its opening to its end, on both databases, with the real promotion service."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import sqlalchemy as sa

from podium.canary import store
from podium.canary.entities import CanaryResult
from podium.canary.plan import CanaryPlan, Phase
from podium.clock import FakeClock
from podium.dag import values
from podium.db.engine import Database
from podium.db.schema import canary, canary_look
from podium.errors import CanaryOpen, EvaluationError, NotFound, UsageError
from podium.registry.entities import CHALLENGER
from podium.stats.cells import Cell
from tests.canary_world import PLAN, CanaryWorld


@pytest.fixture
def world(database: Database, clock: FakeClock) -> CanaryWorld:
    return CanaryWorld(database, clock)


# What a canary comes to


def test_an_equal_challenger_becomes_champion(world: CanaryWorld) -> None:
    version = world.challenger()
    ended = world.play(world.request(version))
    assert ended.promoted
    assert (world.champion, world.challenger_alias) == (version, None)
    assert (ended.champion, ended.challenger, ended.state) == (world.first, version, "promoted")
    assert 0 < ended.position <= ended.horizon == PLAN.requests
    assert ended.challenger_exposures + ended.champion_exposures == ended.position
    assert world.run_outcome("r2") == "promoted"

    told = world.models.history[-1]
    assert (told.state, told.from_version, told.to_version, told.actor) == ("applied", world.first, version, "ada")
    assert f"canary {ended.canary_id} of run r2: The challenger's error rate is not higher by 0.100" in told.reason
    assert world.stored(ended).promotion_id == told.promotion_id


def test_a_worse_challenger_is_rolled_back_before_the_horizon(world: CanaryWorld) -> None:
    ended = world.play(world.request(world.challenger()), error_rate=0.5)
    assert ended.state == "rolled_back"
    assert ended.position < ended.horizon
    assert (world.champion, world.challenger_alias) == (world.first, None)
    assert world.run_outcome("r2") == "rolled_back"
    assert "errs more often: e-value" in ended.reasons[0]
    assert "≥ 20 allowed" in ended.reasons[0]
    assert [state for _, state, _ in world.models.told] == ["applied", "blocked"], "it moves no champion"


def test_a_version_that_its_canary_rolled_back_is_blocked_with_the_reason_until_somebody_unblocks_it(
    world: CanaryWorld,
) -> None:
    version = world.challenger()
    ended = world.play(world.request(version), error_rate=0.5)
    refused = world.models.promote(version)
    assert refused.state == "refused"
    assert f"canary {ended.canary_id} of run r2: The challenger errs more often" in refused.reasons[0]
    world.models.unblock(version)
    assert world.models.promote(version).applied


def test_too_few_requests_are_inconclusive_and_say_how_many_it_would_take(world: CanaryWorld) -> None:
    plan = PLAN.model_copy(update={"margin": 0.01})
    ended = world.play(world.request(world.challenger(), plan=plan, available=730))
    assert (ended.state, ended.position, ended.horizon) == ("inconclusive", 730, 730)
    assert (world.champion, world.challenger_alias) == (world.first, None)
    assert world.run_outcome("r2") == "inconclusive"
    assert ended.reasons[-1].startswith("730 requests < ")
    assert "needed for a margin of 0.010 at the observed error rate of 0.0" in ended.reasons[-1]


def test_no_traffic_is_inconclusive(world: CanaryWorld) -> None:
    ended = world.play(world.request(world.challenger(), available=0))
    assert (ended.state, ended.position, ended.horizon) == ("inconclusive", 0, 0)
    assert "its error rate is unknown" in ended.reasons[0]
    assert world.champion == world.first
    assert [look.position for look in world.looks(ended)] == [0]


def test_traffic_that_goes_elsewhere_than_recorded_is_invalid(world: CanaryWorld) -> None:
    opened = world.controller.open(world.request(world.challenger()))
    assert opened.canary_id is not None
    cells = [Cell(0.2, 150, 0, 150, 0), Cell(0.5, 0, 0, 0, 0)]
    ended = world.controller.advance(opened.canary_id, cells)
    assert ended.state == "invalid"
    assert "The challenger got 150 of 300 requests where the recorded weights say 60" in ended.reasons[0]
    assert (world.champion, world.challenger_alias) == (world.first, None)
    assert world.run_outcome("r2") == "inconclusive"


def test_the_first_model_is_promoted_at_once(database: Database, clock: FakeClock) -> None:
    world = CanaryWorld(database, clock, has_champion=False)
    version = world.models.candidate()
    request = world.request(version, judged_against=None)
    for _ in range(2):  # a restarted attempt gets the same answer
        result = world.play(request)
        assert result.promoted
        assert (result.canary_id, result.champion, result.reasons) == (None, None, ("first model",))
        assert world.champion == version
    (entry,) = world.models.history
    assert entry.reason == "first model"
    assert world.run_outcome("r2") is None, "there was no canary: the registry's promotion is the outcome"


def test_a_first_model_that_may_not_be_champion_says_why(database: Database, clock: FakeClock) -> None:
    world = CanaryWorld(database, clock, has_champion=False)
    version = world.models.candidate(verdict="failed", reasons=("AUC 0.51 < 0.58 required.",))
    result = world.play(world.request(version, judged_against=None))
    assert (result.state, result.canary_id) == ("aborted", None)
    assert "AUC 0.51 < 0.58 required." in result.reasons[0]
    assert world.champion is None


# What is not tried, because no trial could make it champion


def not_tried(world: CanaryWorld, version: str, **changes: Any) -> str:
    """Ask for the canary of a version that may not become champion, and return the reason it got."""
    champion = world.champion
    ended = world.play(world.request(version, **changes))
    assert (ended.state, ended.position, world.looks(ended)) == ("aborted", 0, [])
    assert (world.champion, world.challenger_alias) == (champion, None)
    assert world.run_outcome("r2") == "inconclusive"
    assert world.play(world.request(version, **changes)) == ended
    (reason,) = ended.reasons
    return reason


def test_the_champion_itself_is_not_tried(world: CanaryWorld) -> None:
    assert "is champion of flight_delay already" in not_tried(world, world.first)


def test_a_blocked_version_is_not_tried(world: CanaryWorld) -> None:
    second = world.challenger()
    world.models.promote(second)
    world.models.rollback()
    assert f"`podium models unblock {world.model} --version {second} --reason TEXT`" in not_tried(world, second)


def test_a_version_that_failed_the_gate_is_not_tried(world: CanaryWorld) -> None:
    failed = world.models.candidate(champion=world.first, month=2, verdict="failed", reasons=("AUC 0.51 < 0.58.",))
    assert "verdict on version 2 of flight_delay is failed: AUC 0.51 < 0.58." in not_tried(world, failed)


def test_a_version_of_older_data_is_not_tried_against_a_champion_that_may_know_the_rows(world: CanaryWorld) -> None:
    third = world.models.candidate(champion=world.first, month=3)
    world.models.promote(third)
    older = world.models.candidate(champion=third, month=2)
    assert "a run brings back no older data" in not_tried(world, older)


def test_a_version_that_was_judged_against_another_champion_is_not_tried(world: CanaryWorld) -> None:
    late = world.challenger()
    second = world.challenger()
    world.models.promote(second)
    assert f"was judged against version {world.first}, but the champion is version {second}" in not_tried(world, late)


def test_a_champion_that_moved_since_the_stage_looked_makes_the_trial_vain(
    database: Database, clock: FakeClock
) -> None:
    world = CanaryWorld(database, clock, promoter=Refusing())
    reason = not_tried(world, world.challenger(), judged_against="7")
    assert f"was judged against version 7, but the champion is version {world.first}" in reason


def test_a_version_that_nobody_registered_is_not_tried(world: CanaryWorld) -> None:
    assert "Podium did not register it" in not_tried(world, "17")


def test_a_version_that_is_gone_ends_its_canary(database: Database, clock: FakeClock) -> None:
    world = CanaryWorld(database, clock, promoter=Refusing())
    ended = world.play(world.request("17"))
    assert ended.state == "aborted"
    assert "Version 17 of flight_delay is gone from the registry" in ended.reasons[0]


# One open canary per model


def test_another_runs_open_canary_must_be_waited_for(world: CanaryWorld) -> None:
    opened = world.controller.open(world.request(world.challenger()))
    other = world.request(world.challenger(), run_id="r3", step_key="r3/run_canary")
    with pytest.raises(CanaryOpen, match=rf"Canary {opened.canary_id} of flight_delay is open: run r2 tries version 2"):
        world.controller.open(other)
    world.play(world.request(opened.challenger), error_rate=0.5)
    assert world.play(other).promoted


def test_a_canary_whose_run_has_ended_makes_room(world: CanaryWorld) -> None:
    left = world.controller.open(world.request(world.challenger()))
    world.ended_runs.add("r2")
    version = world.challenger()
    opened = world.controller.open(world.request(version, run_id="r3", step_key="r3/run_canary"))
    assert (opened.state, world.challenger_alias) == ("ramping", version)
    aborted = world.stored(left)
    assert (aborted.state, aborted.ended) == ("aborted", True)
    assert aborted.reasons[0].startswith("Run r2 ended without ending its canary, at 0 of 1,200 requests")


def test_the_same_step_gets_the_same_canary(world: CanaryWorld, clock: FakeClock) -> None:
    request = world.request(world.challenger())
    opened = world.controller.open(request)
    clock.advance(60)
    assert world.controller.open(request) == opened
    ended = world.play(request, error_rate=0.5)
    clock.advance(60)
    assert world.controller.open(request) == ended
    with pytest.raises(UsageError, match=f"belongs to canary {opened.canary_id}"):
        world.controller.open(replace(request, traffic_digest="8" * 64))


def test_the_plan_of_the_opening_holds_for_a_restarted_attempt(world: CanaryWorld) -> None:
    request = world.request(world.challenger())
    opened = world.controller.open(request)
    assert world.controller.open(replace(request, plan=CanaryPlan(), available=9_000)) == opened


def test_the_alias_is_set_again_when_it_was_moved_before_a_restart(world: CanaryWorld) -> None:
    request = world.request(world.challenger())
    world.controller.open(request)
    world.registry.delete_alias(world.model, CHALLENGER)
    world.controller.open(request)
    assert world.challenger_alias == request.challenger


def test_an_alias_that_somebody_moved_on_is_left_alone(world: CanaryWorld) -> None:
    request = world.request(world.challenger())
    opened = world.controller.open(request)
    other = world.challenger()
    world.registry.set_alias(world.model, CHALLENGER, other)
    assert opened.canary_id is not None
    world.controller.abort(world.model, reason="wrong data", actor="grace")
    assert world.challenger_alias == other


# Looks


def test_a_look_is_stored_once_and_its_counts_are_the_canarys(world: CanaryWorld) -> None:
    opened = world.controller.open(world.request(world.challenger()))
    traffic = world.traffic(opened)
    assert opened.canary_id is not None
    for position in (100, 200, 200, 100, 0):
        result = world.controller.advance(opened.canary_id, traffic.cells(position))
    assert (result.state, result.position) == ("ramping", 200)
    assert [look.position for look in world.looks(opened)] == [100, 200]
    assert world.stored(opened).counts == tuple(traffic.cells(200)) == world.looks(opened)[-1].counts
    assert result.reasons[0].startswith("200 of 1,200 requests: e-value")


def test_counts_that_contradict_those_stored_are_an_error(world: CanaryWorld) -> None:
    opened = world.controller.open(world.request(world.challenger()))
    assert opened.canary_id is not None
    world.controller.advance(opened.canary_id, [Cell(0.2, 20, 2, 80, 4), Cell(0.5, 0, 0, 0, 0)])
    with pytest.raises(EvaluationError, match="phase 1 has 1 challenger errors after 2"):
        world.controller.advance(opened.canary_id, [Cell(0.2, 40, 1, 160, 8), Cell(0.5, 0, 0, 0, 0)])
    assert [look.position for look in world.looks(opened)] == [100]


def test_an_unknown_canary_is_not_found(world: CanaryWorld) -> None:
    with pytest.raises(NotFound, match="no canary 0000"):
        world.controller.advance("0000", [])


@pytest.mark.parametrize("error_rate", [0.05, 0.12, 0.5])
def test_every_past_decision_replays_from_the_stored_counters(world: CanaryWorld, error_rate: float) -> None:
    ended = world.play(world.request(world.challenger()), error_rate=error_rate)
    replayed = world.replayed(ended)
    assert replayed.ok
    assert replayed.looks == len(world.looks(ended)) > 0


def test_a_changed_counter_does_not_replay(world: CanaryWorld) -> None:
    ended = world.play(world.request(world.challenger()), error_rate=0.5)
    last = world.looks(ended)[-1]
    first, *others = store.counts_document(last.counts)
    document = [{**first, "challenger_errors": first["challenger_errors"] - 1}, *others]
    with world.database.write() as connection:
        where = (canary_look.c.canary_id == ended.canary_id, canary_look.c.position == last.position)
        connection.execute(sa.update(canary_look).where(*where).values(counts=document))
    assert world.replayed(ended).first_difference == last.position


# Promotion


@dataclass
class Refusing:
    """A promotion service that says no."""

    asked: list[dict[str, Any]] = field(default_factory=list)

    promotion_id = "p1"
    applied = False
    awaits_approval = False
    reasons = ("The champion was frozen.",)

    def reconcile(self, model: str) -> None:
        del model

    def objection(self, model: str, version: str) -> None:
        del model, version

    def block(self, model: str, version: str, **arguments: Any) -> None:
        del model, version, arguments

    def answer_to(self, idempotency_key: str) -> None:
        del idempotency_key

    def withdraw(self, idempotency_key: str, *, reason: str) -> None:
        del idempotency_key, reason

    def promote(self, model: str, version: str, **arguments: Any) -> "Refusing":
        self.asked.append({"model": model, "version": version, **arguments})
        return self


def test_a_promotion_that_does_not_apply_aborts_the_canary_with_its_reasons(
    database: Database, clock: FakeClock
) -> None:
    promoter = Refusing()
    world = CanaryWorld(database, clock, promoter=promoter)
    ended = world.play(world.request(world.challenger()))
    assert (ended.state, ended.reasons[0]) == ("aborted", "The champion was frozen.")
    assert "is not higher by" in ended.reasons[1]
    (asked,) = promoter.asked
    assert (asked["expect_champion"], asked["idempotency_key"], asked["run_id"]) == (world.first, "r2/run_canary", "r2")
    assert (world.stored(ended).promotion_id, world.challenger_alias) == ("p1", None)
    assert world.run_outcome("r2") is None, "the registry knows what a refused promotion means for its run"


def test_a_champion_that_moved_during_the_canary_is_not_replaced(world: CanaryWorld) -> None:
    request = world.request(world.challenger())
    world.controller.open(request)
    second = world.challenger()
    world.models.promote(second)
    ended = world.play(request)
    assert (ended.state, world.champion) == ("aborted", second)
    assert (
        f"The champion of flight_delay is version {second}, not version {world.first} as expected" in ended.reasons[0]
    )


# Abort and show


def test_a_person_aborts_an_open_canary(world: CanaryWorld) -> None:
    opened = world.controller.open(world.request(world.challenger()))
    ended = world.controller.abort(world.model, reason="wrong rows", actor="grace")
    assert (ended.canary_id, ended.state) == (opened.canary_id, "aborted")
    assert ended.reasons == ("grace aborted it at 0 of 1,200 requests: wrong rows",)
    assert (world.champion, world.challenger_alias) == (world.first, None)
    assert opened.canary_id is not None
    assert world.controller.advance(opened.canary_id, world.traffic(opened).cells(100)) == ended
    with pytest.raises(NotFound, match="has no open canary"):
        world.controller.abort(world.model, reason="again", actor="grace")


def test_a_pending_canary_can_be_aborted(world: CanaryWorld) -> None:
    opened = world.controller.open(world.request(world.challenger()))
    with world.database.write() as connection:
        connection.execute(sa.update(canary).values(state="pending"))
    assert world.controller.abort(world.model, reason="wrong rows", actor="grace").state == "aborted"
    assert world.stored(opened).ended


def test_show_tells_an_open_canary_in_the_interfaces_names(world: CanaryWorld) -> None:
    with pytest.raises(NotFound, match="never had a canary"):
        world.show()
    opened = world.controller.open(world.request(world.challenger()))
    assert opened.canary_id is not None
    assert (world.show()["verdict"], world.show()["evidence"]) == (None, [])
    cells = world.traffic(opened).cells(300)
    world.controller.advance(opened.canary_id, cells)
    shown = world.show()
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    assert (shown["model"], shown["champion"], shown["challenger"]) == (world.model, world.first, opened.challenger)
    assert (shown["phase"], shown["weight_percent"], shown["position"], shown["looks"]) == ("ramping", 50.0, 300, 1)
    assert shown["exposures"] == {
        "champion": sum(cell.champion_exposures for cell in cells),
        "challenger": sum(cell.challenger_exposures for cell in cells),
    }
    assert [row["guardrail"] for row in shown["evidence"]] == ["sample_ratio", "error_rate", "error_rate_margin"]
    assert shown["evidence"][0].keys() >= {"guardrail", "e_value", "threshold", "estimate", "low", "high"}
    assert (shown["verdict"], shown["ended_at"]) == ("continue", None)
    assert len(shown["reasons"]) == 1


def test_show_tells_the_last_canary_when_none_is_open(world: CanaryWorld, clock: FakeClock) -> None:
    world.play(world.request(world.challenger()), error_rate=0.5)
    clock.advance(60)
    ended = world.play(world.request(world.challenger(), run_id="r3", step_key="r3/run_canary"))
    shown = world.show()
    assert (shown["canary_id"], shown["state"], shown["verdict"]) == (ended.canary_id, "promoted", "promote")
    assert shown["weight_percent"] is None
    assert shown["ended_at"].endswith("Z")


def test_a_result_is_an_artifact(world: CanaryWorld) -> None:
    ended = world.play(world.request(world.challenger()))
    assert isinstance(ended, CanaryResult)
    assert values.decode(values.encode(ended)) == ended


def test_the_database_refuses_a_second_open_canary(world: CanaryWorld) -> None:
    opened = world.controller.open(world.request(world.challenger()))
    second = replace(world.stored(opened), canary_id="other", step_key="other")
    with pytest.raises(sa.exc.IntegrityError), world.database.write() as connection:
        store.add(connection, second)


def test_phases_that_were_never_reached_are_counted_as_zeros(world: CanaryWorld) -> None:
    plan = CanaryPlan(phases=(Phase(weight_percent=10, requests=50), Phase(weight_percent=50, requests=50)))
    ended = world.play(world.request(world.challenger(), plan=plan, available=40))
    assert world.stored(ended).counts[1] == Cell(0.5, 0, 0, 0, 0)
