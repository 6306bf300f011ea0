"""The database server killed, connections cut, a full disk, a clock that jumps, a worker that freezes, two that race.

Each run ends as if nothing had happened and nobody helps. `make soak` has more of each, for longer.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from podium.db import migrate
from podium.db.engine import Database
from tests.crash import outages, projects
from tests.crash.projects import CrashProject, Template
from tests.postgresql_on_tcp import TcpServer, tcp_server

DISK_BYTES = 150_000


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return projects.counting(tmp_path_factory.mktemp("counting"))


@pytest.fixture(scope="module")
def mortal_server() -> Iterator[TcpServer]:
    """A PostgreSQL that nobody minds to be killed."""
    with tcp_server(major=16) as server:
        yield server


@pytest.fixture
def on_mortal_server(
    counting: Template, tmp_path: Path, mortal_server: TcpServer, request: pytest.FixtureRequest
) -> CrashProject:
    url = mortal_server.create(f"mortal_{abs(hash(request.node.name))}")
    database = Database(url, tmp_path)
    migrate.upgrade(database)
    database.close()
    return counting.project(tmp_path / "project", url)


def test_a_worker_rides_out_the_death_of_its_database(on_mortal_server: CrashProject, mortal_server: TcpServer) -> None:
    assert outages.database_killed(on_mortal_server, mortal_server) == []


def test_a_run_whose_connections_are_cut_all_the_time_ends(
    on_mortal_server: CrashProject, mortal_server: TcpServer
) -> None:
    assert outages.connections_cut(on_mortal_server, mortal_server) == []


def test_a_worker_that_froze_past_its_lease_can_write_nothing_and_loses_its_slots(
    counting: Template, tmp_path: Path, database_url: str
) -> None:
    if database_url:  # where it may be frozen amid a transaction; 30 s is as long as this waits otherwise
        database_url += "&options=-c%20idle_in_transaction_session_timeout%3D1000"
    assert outages.worker_frozen(counting.project(tmp_path / "project", database_url)) == []


def test_what_a_step_of_a_frozen_worker_came_to_is_not_written(counting: Template, tmp_path: Path) -> None:
    assert outages.frozen_and_written(counting.project(tmp_path / "project")) == []


def test_a_clock_that_jumps_loses_no_lease_on_one_host(counting: Template, tmp_path: Path) -> None:
    assert outages.clock_jumped(counting.project(tmp_path / "project")) == []


def test_a_full_disk_of_the_database_loses_nothing(counting: Template, tmp_path: Path) -> None:
    project = counting.project(tmp_path / "project")
    assert outages.disk_full(project, DISK_BYTES, "What was not committed is undone") == []


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_full_disk_of_the_artifacts_loses_nothing(counting: Template, tmp_path: Path, database_url: str) -> None:
    project = counting.project(tmp_path / "project", database_url)
    assert outages.disk_full(project, 4096, "is full; free some space, then resume the run") == []


def test_two_workers_that_claim_at_once_execute_each_attempt_once(
    counting: Template, tmp_path: Path, database_url: str
) -> None:
    assert outages.two_workers(counting.project(tmp_path / "project", database_url), months=24) == []
