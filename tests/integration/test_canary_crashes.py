"""A process that dies anywhere in a canary leaves nothing that the next one does not complete."""

import itertools
from dataclasses import dataclass
from typing import Any

import pytest

from podium import faults
from podium.canary import controller
from podium.canary.entities import CanaryResult
from podium.clock import FakeClock
from podium.db.engine import Database
from podium.errors import Conflict, ServiceUnavailable
from podium.faults import FaultRaised
from podium.registry.memory_registry import MemoryRegistry
from tests.canary_world import CanaryWorld

CANARY_POINTS = {point for point in faults.POINTS if point.startswith("canary.")}
ERROR_RATES = {"promoted": 0.05, "rolled_back": 0.5}


@dataclass
class Deaths:
    """Stands in for `faults.reach`: dies at the n-th point that is reached, whichever it is, and only there."""

    at: int
    reached: int = 0
    died_at: str | None = None

    def __call__(self, point: str) -> None:
        self.reached += 1
        if self.reached == self.at:
            self.died_at = point
            raise FaultRaised(f"died at {point}")


def told(world: CanaryWorld, ended: CanaryResult) -> dict[str, Any]:
    """Everything a canary leaves behind, without the names and times that differ between two of them."""
    shown = world.show()
    for name in ("canary_id", "promotion_id", "opened_at", "ended_at", "model", "run_id"):
        shown[name] = shown[name] is not None
    return {
        "show": shown,
        "looks": [(look.position, look.counts, look.verdict, look.evidence) for look in world.looks(ended)],
        "history": world.models.told,
        "aliases": (world.champion, world.challenger_alias),
        "outcome": world.run_outcome(world.model),
        "replays": world.replayed(ended).ok,
    }


@pytest.mark.parametrize("end", ERROR_RATES)
def test_a_death_at_any_point_changes_nothing_in_the_end(
    database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(controller, "_seed_of", lambda _: "5eed")  # so that all canaries route alike
    undisturbed = _play(CanaryWorld(database, clock, "undisturbed"), ERROR_RATES[end], Deaths(at=0), monkeypatch)
    assert undisturbed["show"]["state"] == end
    died_at = set()
    for number in itertools.count(1):
        deaths = Deaths(at=number)
        after = _play(CanaryWorld(database, clock, f"dies-{number}"), ERROR_RATES[end], deaths, monkeypatch)
        if deaths.died_at is None:
            break
        died_at.add(deaths.died_at)
        assert after == undisturbed, f"death number {number}, at {deaths.died_at}"
    assert died_at >= (CANARY_POINTS if end == "promoted" else CANARY_POINTS - {"canary.after_promotion"})


def _play(world: CanaryWorld, error_rate: float, deaths: Deaths, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Play a canary, once more after a death; return what it leaves behind."""
    request = world.request(world.challenger(), step_key=f"{world.model}/run_canary", run_id=world.model)
    with monkeypatch.context() as patch:
        patch.setattr(faults, "reach", deaths)
        try:
            ended = world.play(request, error_rate=error_rate)
        except FaultRaised:
            ended = world.play(request, error_rate=error_rate)
    return told(world, ended)


def test_a_first_model_is_promoted_once_wherever_its_process_dies(
    database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in itertools.count(1):
        world = CanaryWorld(database, clock, f"dies-{number}", has_champion=False)
        request = world.request(world.challenger(), judged_against=None, step_key=world.model)
        deaths = Deaths(at=number)
        with monkeypatch.context() as patch:
            patch.setattr(faults, "reach", deaths)
            try:
                world.play(request)
            except FaultRaised:
                assert world.play(request).reasons == ("first model",)
        assert world.champion == request.challenger
        assert world.models.told == [("promote", "applied", request.challenger)]
        if deaths.died_at is None:
            break
    assert number > len({"canary.before_open", "canary.after_promotion"})


def test_what_a_dead_run_had_decided_is_completed_before_the_next_canary(
    database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = CanaryWorld(database, clock)
    first = world.challenger()
    next_one = world.request(world.challenger(), run_id="r3", step_key="r3/run_canary")
    monkeypatch.setattr(faults, "_armed", {"canary.after_promotion": "raise"})
    with pytest.raises(FaultRaised):
        world.play(world.request(first))
    monkeypatch.setattr(faults, "_armed", {})
    world.ended_runs.add("r2")

    ended = world.controller.open(next_one)
    assert world.run_outcome("r2") == "promoted"
    assert (world.champion, ended.state) == (first, "aborted")
    assert f"but the champion is version {first}" in ended.reasons[0]


def test_a_decided_canary_cannot_be_aborted(
    database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = CanaryWorld(database, clock)
    monkeypatch.setattr(faults, "_armed", {"canary.after_promotion": "raise"})
    with pytest.raises(FaultRaised):
        world.play(world.request(world.challenger()))
    monkeypatch.setattr(faults, "_armed", {})
    with pytest.raises(Conflict, match="its evidence had decided, and it ended promoted"):
        world.controller.abort(world.model, reason="too late", actor="grace")
    assert world.run_outcome("r2") == "promoted"


def test_a_registry_that_does_not_answer_leaves_the_canary_to_be_taken_up(
    database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = CanaryWorld(database, clock)
    request = world.request(world.challenger())

    def silent(*arguments: object) -> None:
        raise ServiceUnavailable("MLflow does not answer.")

    for method in ("set_alias", "delete_alias"):
        with monkeypatch.context() as patch:
            patch.setattr(MemoryRegistry, method, silent)
            with pytest.raises(ServiceUnavailable):
                world.play(request, error_rate=0.5)
    ended = world.play(request, error_rate=0.5)
    assert (ended.state, world.challenger_alias) == ("rolled_back", None)
    assert world.replayed(ended).ok
