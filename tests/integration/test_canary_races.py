"""Canaries that are opened and advanced at once: one trial per model, one row per look."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from podium import faults
from podium.canary import store
from podium.canary.entities import CanaryResult, Look
from podium.clock import FakeClock
from podium.db.engine import Database
from podium.errors import CanaryOpen
from tests.canary_world import CanaryWorld

THREADS = 6


@pytest.fixture
def all_at_the_barrier(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(faults, "_armed", {"canary.before_open": f"barrier={THREADS}"})
    monkeypatch.setattr(faults, "_state_folder", tmp_path)


@pytest.mark.usefixtures("all_at_the_barrier")
def test_of_six_runs_one_opens_a_canary(database: Database, clock: FakeClock) -> None:
    world = CanaryWorld(database, clock)
    requests = [
        world.request(world.challenger(), run_id=f"r{number}", step_key=f"r{number}/run_canary")
        for number in range(2, 2 + THREADS)
    ]
    opened: list[CanaryResult] = []
    waiting: list[CanaryOpen] = []

    def race(number: int) -> None:
        try:
            opened.append(world.controller.open(requests[number]))
        except CanaryOpen as error:
            waiting.append(error)

    _at_once(race)
    (winner,) = opened
    assert len(waiting) == THREADS - 1
    for error in waiting:
        assert f"Canary {winner.canary_id} of {world.model} is open" in str(error)
    assert world.challenger_alias == winner.challenger


@pytest.mark.usefixtures("all_at_the_barrier")
def test_six_attempts_with_one_step_key_get_one_canary(database: Database, clock: FakeClock) -> None:
    world = CanaryWorld(database, clock)
    request = world.request(world.challenger())
    opened: list[CanaryResult] = []
    _at_once(lambda _: opened.append(world.controller.open(request)))
    assert len(opened) == THREADS
    assert {result.canary_id for result in opened} == {opened[0].canary_id}


def test_six_attempts_that_play_one_canary_end_it_once(database: Database, clock: FakeClock) -> None:
    world = CanaryWorld(database, clock)
    request = world.request(world.challenger())
    ended: list[CanaryResult] = []
    _at_once(lambda _: ended.append(world.play(request)))
    assert len(ended) == THREADS
    assert set(ended) == {ended[0]}
    assert ended[0].promoted
    assert [state for _, state, _ in world.models.told] == ["applied", "applied"]
    positions = [look.position for look in world.looks(ended[0])]
    assert positions == sorted(set(positions))
    assert positions[-1] == ended[0].position


def test_who_looked_too_late_stores_nothing(database: Database, clock: FakeClock) -> None:
    world = CanaryWorld(database, clock)
    opened = world.controller.open(world.request(world.challenger()))
    seen, traffic = world.stored(opened), world.traffic(opened)
    assert opened.canary_id is not None
    world.controller.advance(opened.canary_id, traffic.cells(200))
    late = Look(100, clock.now(), tuple(traffic.cells(100)), "continue", ())
    with database.write() as connection:
        assert not store.add_look(connection, seen, late, ())
    assert world.stored(opened).position == 200
    assert [look.position for look in world.looks(opened)] == [200]


def _at_once(act: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=act, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
