"""The watch over pipeline files: what is edited, copied and broken, and what is to become of schedules and triggers."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from podium.clock import FakeClock
from podium.dag.plan import Plan
from podium.errors import ServiceUnavailable
from podium.scheduling.scheduler import Fired
from podium.scheduling.schedules import Schedules
from podium.wiring.code_watch import CodeWatch
from podium.wiring.project import Project, open_project
from podium.wiring.scheduler import triggers_of

FLOW = """
from podium import Interval, NewFiles, Schedule, Trigger, pipeline, step
from shared import EVERY

@step
def nothing(hour: Interval) -> None: ...

@pipeline(
    model="flow", team="research", environment="dev", grain="hour", schedule=Schedule(every=EVERY),
    triggers=[Trigger("arrived", any_of=[NewFiles("data/*.csv", every="1s")])],
)
def flow(hour: Interval) -> None:
    nothing(hour)
"""


@dataclass
class World:
    """A project with one pipeline, and a watch over it that makes real schedules and triggers."""

    project: Project
    clock: FakeClock
    told: list[Fired] = field(default_factory=list)
    is_away: bool = False
    edits: int = 0

    def __post_init__(self) -> None:
        self.write("shared.py", "EVERY = '1h'\n")
        self.write("pipelines/flow.py", FLOW)
        schedules, triggers = Schedules(self.project.database, self.clock), triggers_of(self.project)
        self.watch = CodeWatch(self.project, (self.answer, schedules.take_up, triggers.take_up), self.told.append)

    def answer(self, _plans: Sequence[Plan], _broken_files: Sequence[str]) -> list[Fired]:
        if self.is_away:
            raise ServiceUnavailable("The database does not answer.")
        return []

    def write(self, name: str, text: str) -> None:
        """Write a file, at a time of its own however coarse those of the file system are."""
        path = self.project.settings.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        self.edits += 1
        os.utime(path, (self.edits, self.edits))

    def look(self) -> list[tuple[str, str]]:
        """Look once; return what that changed or found wrong."""
        self.told.clear()
        self.watch.advance()
        return [(each.pipeline, each.kind) for each in self.told]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("PODIUM_HOME", str(tmp_path / "state"))
    root = tmp_path / "project"
    (root / "pipelines").mkdir(parents=True)
    (root / "podium.toml").write_text('project = "watched"\n')
    clock = FakeClock()
    project = open_project(root, clock)
    yield World(project, clock)
    project.close()


ADDED = [("flow", "added"), ("flow.arrived", "added")]


def test_a_stray_copy_of_a_file_leaves_the_schedule_and_the_triggers_of_the_original(world: World) -> None:
    assert world.look() == ADDED
    world.write("pipelines/flow_new.py", FLOW)
    assert world.look() == [("", "problem")]
    assert "defined in pipelines/flow.py and in pipelines/flow_new.py" in world.told[0].text
    (world.project.settings.root / "pipelines" / "flow_new.py").unlink()
    assert world.look() == []


def test_a_shared_module_that_broke_is_taken_up_as_soon_as_it_is_mended(world: World) -> None:
    assert world.look() == ADDED
    world.write("shared.py", "EVERY = \n")
    assert world.look() == [("", "problem")]
    assert world.look() == []
    world.write("shared.py", "EVERY = '2h'\n")
    assert world.look() == [("flow", "changed")]
    assert world.look() == []


def test_a_load_that_the_database_kept_from_its_end_is_made_up_for_at_the_next_look(world: World) -> None:
    world.is_away = True
    with pytest.raises(ServiceUnavailable):
        world.look()
    world.is_away = False
    assert world.look() == ADDED
