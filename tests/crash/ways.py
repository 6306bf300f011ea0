"""Every way in which a soak has runs die or the world around them fail: how often, on which pipeline, and how."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import get_args

from tests.crash import kills, outages, projects, scenarios
from tests.crash.kills import Part
from tests.crash.projects import CrashProject, Template
from tests.postgresql_on_tcp import TcpServer

DATABASES = ("sqlite", "postgresql")
Prepare = Callable[[Path], Template]

RANDOM_MOMENT = "random moment"
SERVER, SERVER_AT_RANDOM, CUT = "database server", "database server at random moments", "connections cut"
FULL_DISK, TWO_WORKERS = "full disk", "two workers at once"
_SERVER_KILLS = 4
_FULL = {"sqlite": (150_000, "What was not committed is undone"), "postgresql": (4096, "free some space")}

ON_MORTAL_SERVER = (SERVER, SERVER_AT_RANDOM, CUT)
ONE_BY_ONE = (*ON_MORTAL_SERVER, TWO_WORKERS)
"""What would disturb others that are played at the same time."""


@dataclass(frozen=True)
class Stage:
    """What a scenario is played on: a fresh project, its own chance, a PostgreSQL that may be killed.

    `months` is of how many runs two workers claim at once.
    """

    project: CrashProject
    random: Random
    mortal: TcpServer
    months: int


Way = Callable[[Stage, str], list[str] | None]
"""Plays on a stage, on a database of this kind; returns what is wrong, None where the run was faster than its kill."""


def _of_points(play: Callable[[CrashProject, Sequence[str]], list[str]], *points: str) -> Way:
    return lambda stage, _: play(stage.project, points)


def _of_run(point: str) -> Way:
    rescues = point.startswith("rescue")  # in a run that did not die before, nobody is rescued
    return _of_points(scenarios.one_after_the_other, *(["attempt.after_start"] if rescues else []), point)


def _of_cancel(point: str) -> Way:
    cancels = point.startswith("cancel")
    return _of_points(scenarios.cancelled, *([] if cancels else ["cancel at act.after_commit"]), point)


def _at_a_random_moment(part: kills.Victims) -> Way:
    return lambda stage, _: scenarios.random_kill(stage.project, stage.random, part)


def _of_project(play: Callable[[CrashProject], list[str]]) -> Way:
    return lambda stage, _: play(stage.project)


LIGHT: Mapping[str, Way] = {
    **{point: _of_run(point) for point in scenarios.RUN_POINTS},
    **{point: _of_cancel(point) for point in scenarios.CANCEL_POINTS},
    **{point: _of_points(scenarios.worker_stopped, point) for point in scenarios.STOP_POINTS},
    **{part: _of_project(partial(scenarios.part_killed, part=part)) for part in get_args(Part)},
    **{f"{part} at a random moment": _at_a_random_moment(part) for part in scenarios.RANDOM_PARTS},
    "worker": _of_project(scenarios.worker_killed),
}
HEAVY: Mapping[str, Way] = {
    point: _of_points(scenarios.one_after_the_other, point)
    for point in (*scenarios.MODEL_POINTS, *scenarios.CANARY_POINTS)
}
SLOTS: Mapping[str, Way] = {
    f"slot at {point}": _of_project(partial(scenarios.slot_killed, point=point)) for point in scenarios.CANARY_POINTS
}
OUTAGES: Mapping[str, Way] = {
    "worker frozen": _of_project(outages.worker_frozen),
    "step of a frozen worker": _of_project(outages.frozen_and_written),
    "clock that jumps": _of_project(outages.clock_jumped),
    FULL_DISK: lambda stage, database: outages.disk_full(stage.project, *_FULL[database]),
}
OTHERS: Mapping[str, Way] = {
    RANDOM_MOMENT: lambda stage, _: scenarios.random_kill(stage.project, stage.random),
    TWO_WORKERS: lambda stage, _: outages.two_workers(stage.project, stage.months),
    SERVER: lambda stage, _: outages.database_killed(stage.project, stage.mortal),
    SERVER_AT_RANDOM: lambda stage, _: outages.database_killed_at_random(
        stage.project, stage.mortal, stage.random, _SERVER_KILLS
    ),
    CUT: lambda stage, _: outages.connections_cut(stage.project, stage.mortal),
}
WAYS: Mapping[str, Way] = {**LIGHT, **HEAVY, **SLOTS, **OUTAGES, **OTHERS}


@dataclass(frozen=True)
class Scenario:
    """One story of a run: it dies in one way, or an outage befalls it."""

    way: str
    database: str
    number: int

    @property
    def kind(self) -> str:
        """What it is counted as."""
        return f"{self.way}, {self.database}"

    @property
    def name(self) -> str:
        """What repeats it."""
        return f"{self.way}/{self.database}/{self.number}"

    @property
    def kills(self) -> int:
        """How often something is killed in it; what freezes, jumps or is cut off is not."""
        if self.way == SERVER_AT_RANDOM:
            return _SERVER_KILLS
        return 0 if self.way in (*OUTAGES, TWO_WORKERS, CUT) else 1

    @property
    def prepare(self) -> Prepare:
        """What makes the template of its project."""
        if self.way in (*scenarios.CANARY_POINTS, *SLOTS) or (self.way == RANDOM_MOMENT and self.number % 2):
            return projects.tried
        return projects.digits if self.way in (*scenarios.MODEL_POINTS, RANDOM_MOMENT) else projects.counting

    def play(self, stage: Stage) -> list[str] | None:
        """Play it; return what is wrong, None where the run ended before its kill came."""
        return WAYS[self.way](stage, self.database)


def scenarios_of(moments: int, repeats: int) -> list[Scenario]:
    """Return every scenario: so many random moments; what is light twice as often as what trains models.

    Slots die once at each point of a canary, and two workers race once on each database.
    """
    both = [
        *((way, 2 * repeats) for way in LIGHT),
        *((way, repeats) for way in (*HEAVY, *OUTAGES)),
        *((way, 1) for way in (*SLOTS, TWO_WORKERS)),
    ]
    on_one = [(RANDOM_MOMENT, "sqlite", moments), *((way, "postgresql", repeats) for way in ON_MORTAL_SERVER)]
    places = [*on_one, *((way, database, times) for way, times in both for database in DATABASES)]
    return [Scenario(way, database, number) for way, database, times in places for number in range(1, times + 1)]
