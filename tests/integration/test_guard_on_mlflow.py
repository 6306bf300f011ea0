"""Guard and doctor of a project on a real MLflow, in which somebody works with MLflow's own client and with `rm`."""

import itertools
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import mlflow
import pytest

from podium.clock import FakeClock, SystemClock
from podium.registry.doctor import Finding
from podium.registry.entities import CHALLENGER, CHAMPION
from podium.registry.guard import Guard, Sight
from podium.registry.trust import Trust
from podium.settings import REVIEWED_TYPES, GuardSettings, Settings
from podium.wiring.doctor import model_findings
from podium.wiring.guard import Watch, guard_of
from podium.wiring.project import Project
from podium.wiring.scheduler import scheduling
from tests.promotion_world import World

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One project for the module: making MLflow's tables takes seconds. Tests use models of their own."""
    opened = project_in(tmp_path_factory.mktemp("guarded"))
    yield opened
    opened.close()


def project_in(folder: Path, **changes: Any) -> Project:
    return Project(Settings(root=folder, home=folder / ".podium", **changes), FakeClock())


@pytest.fixture
def world(project: Project) -> World:
    return World(project.database, project.registry, project.clock, f"delay-{next(_numbers)}")


@pytest.fixture(scope="module")
def client(project: Project) -> Any:
    """MLflow's own client, as a notebook has it."""
    return mlflow.MlflowClient(tracking_uri=project.settings.effective_tracking_uri)


def look(world: World, policy: str) -> list[tuple[str, str]]:
    """What a guard sees and does, of the test's model."""
    guard = Guard(
        world.database,
        world.registry,
        world.clock,
        "restore" if policy == "restore" else "alert",
        reconcile=world.service.reconcile,
        trust=Trust(REVIEWED_TYPES),
    )
    return [(sight.kind, sight.text) for sight in guard.look() if sight.model == world.model]


def findings(project: Project, world: World, *, every: bool = False) -> list[Finding]:
    return list(model_findings(project, world.model, every=every, say=lambda _: None))


def stored(world: World, version: str) -> Path:
    """The folder of a version's files."""
    return Path(urlparse(world.registry.get_version(world.model, version).source).path)


def test_an_alias_moved_in_mlflow_is_noticed_and_restored(project: Project, world: World, client: Any) -> None:
    first, second = world.champions(2)
    client.set_registered_model_alias(world.model, CHAMPION, first)
    (finding,) = findings(project, world)
    assert (finding.check, finding.object) == ("champion", "alias champion")
    assert [kind for kind, _ in look(world, "restore")] == ["noticed", "restored"]
    assert str(client.get_model_version_by_alias(world.model, CHAMPION).version) == second
    assert findings(project, world) == []
    assert world.told[-2:] == [("watch", "noticed", first), ("watch", "restored", second)]
    assert world.verify().ok


def test_an_alias_removed_in_mlflow_is_put_back(project: Project, world: World, client: Any) -> None:
    (version,) = world.champions(1)
    client.delete_registered_model_alias(world.model, CHAMPION)
    assert [kind for kind, _ in look(world, "restore")] == ["noticed", "restored"]
    assert str(client.get_model_version_by_alias(world.model, CHAMPION).version) == version


def test_a_champion_deleted_in_mlflow_is_told_with_what_to_do(project: Project, world: World, client: Any) -> None:
    first, second = world.champions(2)
    client.delete_model_version(world.model, second)
    (_, text), (left, _) = look(world, "restore")
    assert f"Version {second} is gone from the registry." in text
    assert left == "not_restored"
    found = {finding.object: finding for finding in findings(project, world)}
    assert set(found) == {"alias champion", f"version {second}"}
    assert f"`podium rollback {world.model} --to {first} --reason …`" in found["alias champion"].repair
    assert world.rollback(to=first).applied


def test_a_version_registered_in_mlflow_and_made_champion_there(project: Project, world: World, client: Any) -> None:
    (version,) = world.champions(1)
    source = world.registry.get_version(world.model, version).source
    foreign = str(client.create_model_version(world.model, source).version)
    client.set_registered_model_alias(world.model, CHAMPION, foreign)
    ((kind, text),) = look(world, "alert")
    assert kind == "noticed"
    assert f"Podium has no version {foreign} on record" in text
    assert {finding.object for finding in findings(project, world)} == {"alias champion", f"version {foreign}"}
    assert world.rollback(to=version).applied
    assert findings(project, world) == []


def test_one_flipped_byte_of_a_former_champion_is_found(project: Project, world: World) -> None:
    first, _ = world.champions(2)
    file = stored(world, first) / "model.skops"
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (finding,) = findings(project, world)
    assert (finding.check, finding.object) == ("files", f"version {first}")
    assert "model.skops was changed" in finding.problem
    assert world.registry.get_version(world.model, first).source in finding.repair


def test_a_removed_folder_is_found_of_every_version_when_all_are_asked_for(project: Project, world: World) -> None:
    (champion,) = world.champions(1)
    other = world.candidate(champion=champion, month=2)
    shutil.rmtree(stored(world, other))
    assert findings(project, world) == []
    (finding,) = findings(project, world, every=True)
    assert (finding.check, finding.object) == ("files", f"version {other}")
    assert "No model files are stored" in finding.problem


def test_what_the_next_mlflow_gc_would_remove(project: Project, world: World, client: Any) -> None:
    world.champions(1)
    found = client.get_model_version(world.model, "1")
    client.delete_run(found.run_id)
    (finding,) = findings(project, world)
    assert finding.check == "deleted"
    uri = project.settings.effective_tracking_uri
    assert finding.repair == f"`MLFLOW_TRACKING_URI={uri} mlflow runs restore --run-id {found.run_id}` brings it back."
    client.restore_run(found.run_id)
    model_id = stored(world, "1").parent.name
    client.delete_logged_model(model_id)
    (finding,) = findings(project, world)
    assert f"its logged model {model_id} is deleted in MLflow" in finding.problem
    assert "Let nobody run `mlflow gc`" in finding.repair


def test_a_challenger_set_in_mlflow(project: Project, world: World, client: Any) -> None:
    (champion,) = world.champions(1)
    client.set_registered_model_alias(world.model, CHALLENGER, champion)
    (finding,) = findings(project, world)
    assert (finding.check, finding.object) == ("alias", "alias challenger")
    assert look(world, "restore") == []  # only a canary makes or reads that alias


def test_a_project_without_a_model_asks_no_mlflow(tmp_path: Path) -> None:
    fresh = project_in(tmp_path)
    assert guard_of(fresh).look() == []
    assert list(model_findings(fresh, None, every=False, say=lambda _: None)) == []
    fresh.close()
    assert not (tmp_path / ".podium" / "mlflow.db").exists()


def test_a_store_that_is_gone_is_no_store_without_champions(world: World, project: Project, tmp_path: Path) -> None:
    world.champions(1)
    moved = Project(
        project.settings.model_copy(update={"mlflow_tracking_uri": f"sqlite:///{tmp_path / 'lost.db'}"}), FakeClock()
    )
    told: list[Sight] = []
    watch = Watch(guard_of(moved), 60.0, told.append)
    assert [watch.advance() for _ in range(3)] == [60.0, 60.0, 60.0]
    assert [sight.kind for sight in told] == ["unknown"]  # told once
    assert "lost.db is not there" in told[0].text
    found = list(model_findings(moved, world.model, every=False, say=lambda _: None))
    assert [finding.check for finding in found] == ["registry"]
    moved.close()
    assert not (tmp_path / "lost.db").exists()
    assert world.told == [("promote", "applied", "1")]


def test_a_scheduler_notices(project: Project, world: World, client: Any) -> None:
    first, second = world.champions(2)
    client.set_registered_model_alias(world.model, CHAMPION, first)
    guard = GuardSettings(champion_moved="restore", poll="1s")
    hosting = Project(project.settings.model_copy(update={"guard": guard}), SystemClock())
    restored = threading.Event()
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if f"Brought champion of {world.model} back" in text:
            restored.set()

    with scheduling(hosting, say) as scheduler:
        scheduler.run(lambda _: restored.wait(60))
    hosting.close()
    assert restored.is_set(), said
    assert world.champion == second
    assert any(text.startswith(f"guard: Somebody moved champion of {world.model}") for text in said)
