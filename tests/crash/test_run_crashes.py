"""A whole `podium run` killed with SIGKILL, then run again: it ends as if nothing had happened.

Where several deaths are one test, they are of one run: what a death leaves is taken up by a process that dies of the
next. `make soak` has a run of its own for each of them, on both databases; and it alone has whole runs die at the
points of registration and promotion, where test_promotion_crashes.py kills what a run's stages call.
"""

from pathlib import Path
from random import Random
from typing import get_args

import pytest

from podium import faults
from tests.crash import projects, scenarios
from tests.crash.kills import Part
from tests.crash.projects import Template
from tests.crash.scenarios import (
    ACT_POINTS,
    BESIDE_RUNS,
    CANARY_POINTS,
    CANCEL_POINTS,
    COLLECTION_POINTS,
    MODEL_POINTS,
    RUN_POINTS,
    STOP_POINTS,
)


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return projects.counting(tmp_path_factory.mktemp("counting"))


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return projects.tried(tmp_path_factory.mktemp("tried"))


def test_every_point_is_one_that_something_dies_at() -> None:
    points = {*RUN_POINTS, *STOP_POINTS, *ACT_POINTS, *MODEL_POINTS, *CANARY_POINTS, *COLLECTION_POINTS, *BESIDE_RUNS}
    assert points == faults.POINTS


def test_a_run_that_dies_at_every_point_ends_as_if_nothing_had_happened(
    counting: Template, tmp_path: Path, database_url: str
) -> None:
    # The last deaths each come after one more attempt's end, so that the very last ones' are an item's.
    points = [*RUN_POINTS, *["attempt.after_end"] * 3]
    assert scenarios.one_after_the_other(counting.project(tmp_path / "project", database_url), points) == []


def test_a_worker_that_dies_while_it_stops_leaves_nothing_to_clean_up(counting: Template, tmp_path: Path) -> None:
    assert scenarios.worker_stopped(counting.project(tmp_path / "project"), STOP_POINTS) == []


def test_a_command_that_dies_while_it_cancels_or_resumes_has_done_so_or_not(counting: Template, tmp_path: Path) -> None:
    assert scenarios.cancelled(counting.project(tmp_path / "project"), CANCEL_POINTS) == []


@pytest.mark.parametrize("part", get_args(Part))
def test_whatever_part_of_a_run_is_killed_inside_a_step_nothing_stays_alive_and_nothing_is_lost(
    counting: Template, tmp_path: Path, part: Part
) -> None:
    assert scenarios.part_killed(counting.project(tmp_path / "project"), part) == []


def test_a_run_whose_worker_is_killed_is_ended_by_the_next_worker(counting: Template, tmp_path: Path) -> None:
    assert scenarios.worker_killed(counting.project(tmp_path / "project")) == []


def test_a_run_that_dies_again_and_again_in_its_canary_has_one_canary_and_makes_one_move(
    tried: Template, tmp_path: Path
) -> None:
    # Every other point: the controller itself dies at each in test_canary_crashes.py, and whole runs do in the soak.
    assert scenarios.one_after_the_other(tried.project(tmp_path / "project"), CANARY_POINTS[::2]) == []


def test_a_step_that_is_killed_during_its_canary_goes_on_with_it(tried: Template, tmp_path: Path) -> None:
    assert scenarios.slot_killed(tried.project(tmp_path / "project"), "canary.after_look") == []


def test_a_run_killed_at_a_random_moment_ends_as_if_nothing_had_happened(tried: Template, tmp_path: Path) -> None:
    random = Random(1)  # noqa: S311 - a kill's moment is no secret
    verdicts = (scenarios.random_kill(tried.project(tmp_path / str(number)), random) for number in range(10))
    assert next(verdict for verdict in verdicts if verdict is not None) == []
