"""Many promotions at once with the same expected champion: one wins, and the others hear who."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from podium import faults
from podium.clock import FakeClock
from podium.db.engine import Database
from podium.registry.entities import Promotion
from podium.registry.memory_registry import MemoryRegistry
from tests import promotion_races_at_scale
from tests.promotion_world import World
from tests.registry_processes import Processes, started

THREADS = 8


@pytest.fixture
def eight_at_the_barrier(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(faults, "_armed", {"promotion.before_compare": f"barrier={THREADS}"})
    monkeypatch.setattr(faults, "_state_folder", tmp_path)


@pytest.mark.usefixtures("eight_at_the_barrier")
def test_of_eight_threads_one_moves_the_champion(database: Database, clock: FakeClock) -> None:
    world = World(database, MemoryRegistry(), clock)
    versions = [world.candidate() for _ in range(THREADS)]
    ended: list[Promotion] = []

    def race(version: str) -> None:
        ended.append(world.promote(version, expect=None, actor=f"actor-{version}"))

    _run([threading.Thread(target=race, args=(version,)) for version in versions])
    (winner,) = (promotion for promotion in ended if promotion.applied)
    assert world.champion == winner.to_version
    losers = [promotion for promotion in ended if promotion is not winner]
    assert len(losers) == THREADS - 1
    for promotion in losers:
        assert promotion.lost_the_swap
        assert f"{winner.actor} promoted version {winner.to_version}" in promotion.reasons[0]
    assert sorted(state for _, state, _ in world.told) == ["applied"] + ["refused"] * (THREADS - 1)
    assert world.verify().ok


@pytest.mark.usefixtures("eight_at_the_barrier")
def test_eight_threads_with_one_key_get_one_promotion(database: Database, clock: FakeClock) -> None:
    world = World(database, MemoryRegistry(), clock)
    version = world.candidate()
    ended: list[Promotion] = []
    _run(
        [
            threading.Thread(target=lambda: ended.append(world.promote(version, expect=None, key="step-7")))
            for _ in range(THREADS)
        ]
    )
    assert len(ended) == THREADS
    assert {promotion.promotion_id for promotion in ended} == {ended[0].promotion_id}
    assert world.told == [("promote", "applied", version)]


def _run(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with started(tmp_path_factory.mktemp("races")) as running:
        yield running


def test_of_eight_processes_one_moves_the_champion_in_mlflow_and_another_is_killed(
    processes: Processes, database: Database, tmp_path: Path
) -> None:
    raced = promotion_races_at_scale.race(
        database, processes, tmp_path, model=f"raced-{database.engine.dialect.name}", rounds=2, seed=2026
    )
    assert raced.problems == []
    assert raced.counts == {"rounds": 2, "killed": 1, "moves": 2}
