"""What `podium models` says of a model with many versions; its registry is the twin in memory."""

import pytest

from podium.clock import FakeClock
from podium.db.engine import Database
from podium.registry.memory_registry import MemoryRegistry
from podium.wiring import project
from tests.promotion_world import World
from tests.unit.cli.conftest import InProcess


@pytest.fixture
def world(podium: InProcess, monkeypatch: pytest.MonkeyPatch) -> World:
    """Twenty-five versions of flight_delay, of which the first is champion."""
    assert podium("models", "list").code == 0  # makes the database
    registry = MemoryRegistry()
    monkeypatch.setattr(project, "build_registry", lambda *_: registry)
    home = podium.project / ".podium"
    world = World(Database(f"sqlite:///{home / 'podium.db'}", home / "locks"), registry, FakeClock())
    world.champions(1)
    for _ in range(24):
        world.candidate(champion="1")
    return world


def shown(podium: InProcess, *options: str) -> list[str]:
    document = podium("models", "show", "flight_delay", *options, "--json").document
    assert document["versions_total"] == 25
    return [each["version"] for each in document["versions"]]


@pytest.mark.usefixtures("world")
def test_the_newest_versions_and_the_champion_are_shown(podium: InProcess) -> None:
    newest = [str(number) for number in range(25, 0, -1)]
    assert shown(podium) == [*newest[:20], "1"]
    assert shown(podium, "--limit", "3") == ["25", "24", "23", "1"]
    assert shown(podium, "--all") == newest
    answer = podium("models", "show", "flight_delay", "--limit", "3")
    assert answer.out.splitlines()[0] == "flight_delay: champion 1, challenger none"
    assert len(answer.out.splitlines()) == 3 + 4
    assert answer.err == "21 of 25 versions are not shown; `--all` shows every one.\n"
    assert podium("models", "show", "flight_delay", "--all").err == ""


@pytest.mark.usefixtures("world")
def test_the_list_counts_every_version(podium: InProcess) -> None:
    assert podium("models", "list").out.splitlines()[-1].split()[:4] == ["flight_delay", "1", "–", "25"]


def test_the_newest_facts_alone_are_shown_where_that_is_asked(podium: InProcess, world: World) -> None:
    for version in ("2", "3"):
        world.service.block(world.model, version, actor="grace", actor_verified=False, reason="it is slow")
    every = podium("models", "history", "flight_delay", "--json").document
    assert [entry["id"] for entry in every] == [1, 2, 3]
    assert podium("models", "history", "flight_delay", "--limit", "2", "--json").document == every[1:]


def test_the_newest_version_is_promoted_where_none_is_named(podium: InProcess, world: World) -> None:
    document = podium("promote", "flight_delay", "--reason", "monthly", "--json").document
    assert (document["state"], document["to_version"]) == ("applied", "25")
    assert world.champion == "25"


def test_a_model_with_its_champion_alone_has_nothing_to_promote(
    podium: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert podium("models", "list").code == 0
    registry = MemoryRegistry()
    monkeypatch.setattr(project, "build_registry", lambda *_: registry)
    home = podium.project / ".podium"
    World(Database(f"sqlite:///{home / 'podium.db'}", home / "locks"), registry, FakeClock()).champions(1)
    answer = podium("promote", "flight_delay", "--reason", "monthly")
    assert answer.code != 0
    assert "flight_delay has no version to promote besides its champion" in answer.err
