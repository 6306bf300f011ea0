"""`podium models live`, `adopt`, `provenance`, `verify --expect-head`, and a rollback that offers another version."""

import json
from collections.abc import Iterator

import pytest

from podium.clock import FakeClock
from podium.registry.entities import CHAMPION
from podium.registry.memory_registry import MemoryRegistry
from podium.registry.packaging import requirements_of
from podium.wiring import project as wiring
from podium.wiring.project import open_project
from tests.promotion_world import SAMPLE, World, estimator
from tests.unit.cli.conftest import InProcess


@pytest.fixture
def world(podium: InProcess, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The command's project with a registry in memory: two champions, a day apart."""
    registry = MemoryRegistry()
    monkeypatch.setattr(wiring, "build_registry", lambda *_: registry)
    opened = open_project(podium.project)
    world = World(opened.database, registry, clock)
    first = world.candidate()
    world.promote(first)
    clock.advance(24 * 3600)
    world.promote(world.candidate(champion=first))
    yield world
    opened.close()


def foreign(world: World, model: str) -> str:
    logged = world.registry.log_model(
        estimator(), SAMPLE, model=model, key=model, requirements=requirements_of(estimator()), tags={}
    )
    return world.registry.create_version(model, logged, key=model, tags={})


def test_who_was_live_is_told_for_a_moment_and_for_now(podium: InProcess, world: World) -> None:
    first, second = world.history
    now = podium("models", "live", "flight_delay", "--json").document
    assert (now["version"], now["since"], now["until"], now["at"]) == ("2", now["since"], None, None)
    between = f"{first.at:%Y-%m-%dT%H:%M:%S}"
    then = podium("models", "live", "flight_delay", "--at", between, "--json").document
    assert (then["version"], then["fact"], then["actor"]) == ("1", "applied", "ada")
    assert then["until"] == now["since"]
    shown = podium("models", "live", "flight_delay", "--at", between).out.splitlines()
    assert shown[0] == f"flight_delay: version 1 at {then['at']}"
    assert shown[1] == f"  champion since {then['since']} until {then['until']}"
    assert shown[2] == "  applied by ada (entry 1, promote): monthly retraining"
    before = podium("models", "live", "flight_delay", "--at", "1999-01-01T00:00:00+02:00")
    assert before.code == 0
    assert before.out == (
        "flight_delay: no version was champion at 1998-12-31T22:00:00.000000Z; the history knows of none that early.\n"
    )
    assert second.to_version == "2"


def test_a_moment_that_is_none_and_a_model_that_is_none_are_refused(podium: InProcess, world: World) -> None:
    wrong = podium("models", "live", "flight_delay", "--at", "yesterday")
    assert (wrong.code, wrong.out) == (2, "")
    assert "'yesterday' is no moment; write it as 2026-03-01" in wrong.complaint
    late = podium("models", "live", "flight_delay", "--at", "2999-01-01")
    assert (late.code, "2999-01-01 is still to come" in late.complaint) == (2, True)
    for command in (("live", "nobody"), ("provenance", "nobody", "1")):
        unknown = podium("models", *command)
        assert unknown.code == 2
        assert "no model 'nobody' on Podium's record; the models are flight_delay" in unknown.complaint


def test_the_head_that_verify_prints_is_what_it_takes(podium: InProcess, world: World) -> None:
    head = podium("models", "verify", "flight_delay", "--json").document["head"]
    assert f"head {head}" in podium("models", "verify", "flight_delay").out.splitlines()
    assert podium("models", "verify", "flight_delay", "--expect-head", head).code == 0
    other = podium("models", "verify", "flight_delay", "--expect-head", "2:" + "ab" * 32)
    assert other.code == 1
    assert "Entry 2 is another one now" in " ".join(other.out.split())
    assert podium("models", "verify", "flight_delay", "--expect-head", "newest").code == 2


def test_a_model_of_before_podium_is_adopted_and_shown(podium: InProcess, world: World) -> None:
    version = foreign(world, "arrivals")
    world.registry.set_alias("arrivals", "production", version)
    said = ("--reason", "served before Podium")
    nothing = podium("models", "adopt", "arrivals", *said)
    assert nothing.code == 2
    assert "its aliases are: production (version 1)" in nothing.complaint
    both = podium("models", "adopt", "arrivals", *said, "--champion-alias", "a", "--champion-version", "1")
    assert both.code == 2
    adopted = podium("models", "adopt", "arrivals", "--champion-alias", "production", *said)
    assert adopted.code == 0, adopted
    assert "arrivals: the alias champion was set to version 1; it had none." in adopted.out.splitlines()
    assert "arrivals: champion on record none → 1" in adopted.out.splitlines()
    assert world.registry.alias("arrivals", CHAMPION) == "1"
    again = podium("models", "adopt", "arrivals", *said, "--json").document
    assert (again["entry"], [each["outcome"] for each in again["versions"]]) == (None, ["known"])

    (row,) = (line.split() for line in podium("models", "show", "arrivals").out.splitlines() if line.startswith("1 "))
    assert row[:5] == ["1", "champion", "–", "–", "adopted"]
    (shown,) = podium("models", "show", "arrivals", "--json").document["versions"]
    assert (shown["origin"], shown["verdict"], shown["interval"], shown["run_id"]) == ("adopted", None, None, None)
    assert ["arrivals", "1"] in [line.split()[:2] for line in podium("models", "list").out.splitlines()]
    (entry,) = podium("models", "history", "arrivals", "--json").document
    assert (entry["action"], entry["state"], entry["reason"]) == ("adopt", "adopted", "served before Podium")
    live = podium("models", "live", "arrivals", "--json").document
    assert (live["version"], live["fact"]) == ("1", "adopted")
    tree = podium("models", "provenance", "arrivals", "1").out
    assert tree.startswith("arrivals version 1: adopted, champion, production\n")
    assert "nobody knows what data, code and run made it" in tree


def test_a_version_that_cannot_be_adopted_exits_one(podium: InProcess, world: World) -> None:
    version = foreign(world, "arrivals")
    assert isinstance(world.registry, MemoryRegistry)
    world.registry.stored.pop(world.registry.get_version("arrivals", version).source)
    lost = podium("models", "adopt", "arrivals", "--all", "--reason", "x")
    assert lost.code == 1
    assert "refused" in lost.out
    assert "No model files are stored" in " ".join(lost.out.split())


def test_provenance_is_a_tree_a_document_and_a_file(podium: InProcess, world: World) -> None:
    document = podium("models", "provenance", "flight_delay", "2", "--json").document
    assert (document["model"], document["version"], document["origin"]) == ("flight_delay", "2", "run")
    assert document["promotions"][0]["actor"] == "ada"
    lines = podium("models", "provenance", "flight_delay", "2").out.splitlines()
    branches = [line.lstrip("├└─ ") for line in lines[1:] if line[0] in "├└"]
    assert branches == [
        "unknown",
        "data",
        "code",
        "evidence",
        "promotions and sign-off",
        "model",
        "champion",
        "history",
        "document",
    ]
    assert lines[0] == "flight_delay version 2: run, champion"
    assert any("promote 1 → 2: applied, asked for by ada (not verified)" in line for line in lines)
    assert lines[-1].strip() == f"digest {document['document_digest']}"

    file = podium.project / "two.json"
    written = podium("models", "provenance", "flight_delay", "2", "--output", str(file))
    assert written.out == f"{file}: provenance of flight_delay version 2, {document['document_digest']}\n"
    assert json.loads(file.read_text()) == document
    assert [path.name for path in podium.project.iterdir() if path.name.endswith(".new")] == []
    offline = podium("models", "provenance", "flight_delay", "2", "--offline", "--json").document
    assert offline["files"]["registry_asked"] is False
    missing = podium("models", "provenance", "flight_delay", "2", "--output", str(podium.project / "no" / "x.json"))
    assert missing.code == 1


def test_a_rollback_that_is_refused_says_the_command_that_would_do(podium: InProcess, world: World) -> None:
    third = world.candidate(champion="2")
    world.promote(third)
    assert isinstance(world.registry, MemoryRegistry)
    world.registry.stored.pop(world.registry.get_version("flight_delay", "2").source)
    refused = podium("rollback", "flight_delay", "--reason", "false alarms", "--json")
    assert refused.code == 3
    assert (refused.document["to_version"], refused.document["next_valid"]) == ("2", "1")
    told = podium("rollback", "flight_delay", "--reason", "false alarms")
    assert told.code == 3
    assert "`podium rollback flight_delay --to 1 --reason TEXT` leads there." in told.complaint
    assert podium("rollback", "flight_delay", "--to", "1", "--reason", "false alarms").code == 0
