"""A whole `podium run` killed with SIGKILL, then run again: it ends as if nothing had happened."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import get_args

import pytest
import sqlalchemy as sa

from tests.crash import projects, scenarios
from tests.crash.kills import Part
from tests.crash.projects import Template
from tests.crash.scenarios import MODEL_POINTS, RUN_POINTS

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return projects.counting(tmp_path_factory.mktemp("counting"))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return projects.digits(tmp_path_factory.mktemp("digits"))


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    url = sa.make_url(postgresql_server).set(drivername="postgresql+psycopg")
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    name = f"crash_{next(_numbers)}"
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE template_podium"))
    yield url.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.mark.parametrize("point", RUN_POINTS)
def test_a_run_killed_at_a_point_ends_as_if_nothing_had_happened(
    counting: Template, tmp_path: Path, point: str
) -> None:
    assert scenarios.one_after_the_other(counting.project(tmp_path / "project"), [point]) == []


@pytest.mark.parametrize("point", ["run.after_create", "attempt.after_start", "attempt.before_end"])
def test_a_run_killed_at_a_point_goes_on_from_postgresql(
    counting: Template, tmp_path: Path, postgresql_url: str, point: str
) -> None:
    assert scenarios.one_after_the_other(counting.project(tmp_path / "project", postgresql_url), [point]) == []


@pytest.mark.parametrize("part", get_args(Part))
def test_whatever_part_of_a_run_is_killed_inside_a_step_nothing_stays_alive_and_nothing_is_lost(
    counting: Template, tmp_path: Path, part: Part
) -> None:
    assert scenarios.part_killed(counting.project(tmp_path / "project"), part) == []


def test_a_run_that_dies_at_every_step_of_registration_and_promotion_makes_one_version_and_one_move(
    digits: Template, tmp_path: Path
) -> None:
    # One run that dies nine times: what a death leaves is taken up by a process that dies of the next. `make soak` has
    # a run of its own for each point.
    assert scenarios.one_after_the_other(digits.project(tmp_path / "project"), MODEL_POINTS) == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_run_killed_at_a_random_moment_ends_as_if_nothing_had_happened(
    digits: Template, tmp_path: Path, seed: int
) -> None:
    random = Random(seed)  # noqa: S311 - a kill's moment is no secret
    verdicts = (scenarios.random_kill(digits.project(tmp_path / str(number)), random) for number in range(10))
    assert next(verdict for verdict in verdicts if verdict is not None) == []
