"""`podium models scan`: what a version is made of, and whether this project would load it."""

import pickle
from typing import Any

import cloudpickle
import pytest
import sqlalchemy as sa

from podium.db.schema import model_version
from podium.ids import digest_bytes
from podium.registry import packaging
from podium.registry.memory_registry import MemoryRegistry
from podium.wiring.project import open_project
from tests.promotion_world import World
from tests.unit.cli.conftest import InProcess


@pytest.fixture
def world(podium: InProcess, monkeypatch: pytest.MonkeyPatch) -> World:
    registry = MemoryRegistry()
    monkeypatch.setattr("podium.wiring.project.build_registry", lambda *_: registry)
    project = open_project(podium.project)
    return World(project.database, registry, project.clock)


def pickled(world: World, data: bytes) -> str:
    """Register a version that is a pickle with these bytes; return its number."""
    logged = world.register()
    registry = world.registry
    assert isinstance(registry, MemoryRegistry)
    files = registry.stored[logged.source]
    files.pop("model.skops")
    files["model.cloudpickle"] = data
    with world.database.write() as connection:
        digests = {name: digest_bytes(content) for name, content in files.items()}
        digest = packaging.digest_of_files(digests, "")
        connection.execute(sa.update(model_version).values(digest=digest))
    return logged.version


def test_a_version_of_reviewed_types_is_clean(podium: InProcess, world: World) -> None:
    version = world.candidate()
    answer = podium("models", "scan", "flight_delay", version)
    assert (answer.code, answer.err) == (0, "")
    assert "Version 1 of flight_delay is stored by skops: all that it is made of was reviewed." in answer.out
    assert podium("models", "scan", "flight_delay", version, "--json").document == {
        "model": "flight_delay",
        "version": "1",
        "serialization": "skops",
        "verdict": "clean",
        "imports": [],
        "problems": [],
        "made_by_run": True,
        "loads": True,
        "objection": None,
    }


def test_a_damaged_model_is_named_by_its_file(podium: InProcess, world: World) -> None:
    version = world.candidate()
    registry = world.registry
    assert isinstance(registry, MemoryRegistry)
    registry.stored[registry.get_version(world.model, version).source]["model.skops"] = b"PK damaged"
    answer = podium("models", "scan", "flight_delay", version)
    assert answer.code == 1
    assert "Not loaded: " in answer.out
    assert "(model.skops was changed)" in " ".join(answer.out.split())


def test_a_dangerous_pickle_exits_1_and_is_told(podium: InProcess, world: World) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return eval, ("1",)

    version = pickled(world, pickle.dumps(Hostile()))
    answer = podium("models", "scan", "flight_delay", version)
    assert answer.code == 1
    assert "it is dangerous" in answer.out
    assert "dangerous" in answer.out
    assert "builtins.eval" in answer.out
    assert "Not loaded: its pickle is dangerous: it imports builtins.eval." in " ".join(answer.out.split())
    document = podium("models", "scan", "flight_delay", version, "--json").document
    assert document["imports"] == [{"name": "builtins.eval", "judgement": "dangerous"}]
    allowed = podium("models", "scan", "flight_delay", version, "--json", PODIUM_MODELS='{"pickle": "allow"}')
    assert (allowed.code, allowed.document["loads"]) == (1, True), "it is dangerous whatever the project allows"


def test_code_of_its_own_is_loaded_where_a_run_made_it(podium: InProcess, world: World) -> None:
    version = pickled(world, cloudpickle.dumps(lambda: None))
    made = podium("models", "scan", "flight_delay", version, "--json")
    assert (made.code, made.document["verdict"], made.document["loads"]) == (0, "own_code", True)
    refused = podium("models", "scan", "flight_delay", version, "--json", PODIUM_MODELS='{"pickle": "refuse"}')
    assert (refused.code, refused.document["loads"]) == (1, False)
    with world.database.write() as connection:
        connection.execute(sa.delete(model_version))
    stray = podium("models", "scan", "flight_delay", version, "--json")
    assert (stray.code, stray.document["made_by_run"]) == (1, False)
    assert "no run of this project made it" in stray.document["objection"]


def test_files_that_changed_are_told_with_their_names(podium: InProcess, world: World) -> None:
    version = world.register()
    assert isinstance(world.registry, MemoryRegistry)
    world.registry.stored[version.source]["requirements.txt"] += b"#"
    answer = podium("models", "scan", "flight_delay", version.version, "--json")
    assert answer.code == 1
    assert "(requirements.txt was changed)" in answer.document["objection"]


def test_a_version_that_is_not_there_is_no_usage(podium: InProcess, world: World) -> None:
    answer = podium("models", "scan", "flight_delay", "9")
    assert answer.code == 2
    assert "no version 9 of model flight_delay" in answer.complaint
