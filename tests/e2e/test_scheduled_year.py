"""A year of real flights, retrained by its monthly schedule: the clock is told, everything else is real."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from podium.clock import SystemClock
from podium.db.schema import run
from podium.execution import queries
from podium.scheduling import documents
from podium.scheduling.scheduler import Fired, Scheduler
from podium.scheduling.schedules import Schedules
from podium.wiring.admission import ExecutorAdmission
from podium.wiring.code_watch import CodeWatch
from podium.wiring.documents import run_documents
from podium.wiring.project import Project, open_project
from podium.wiring.runs import serving
from tests.e2e.command import ROOT
from tests.execution_world import check_books


@dataclass
class ShiftedClock(SystemClock):
    """The machine's clock, set to another time."""

    ahead: timedelta = field(default_factory=timedelta)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def set(self, to: datetime) -> None:
        """Set it forward."""
        self.ahead = to - datetime.now(UTC)


@dataclass
class Year:
    """What the year left behind."""

    project: Project
    fired: list[Fired] = field(default_factory=list)

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The runs' documents, in the order of their intervals."""
        with self.project.database.read() as connection:
            run_ids = list(connection.scalars(sa.select(run.c.run_id).order_by(run.c.interval_start)))
            return run_documents(connection, run_ids)


def is_any_open(project: Project) -> bool:
    with project.database.read() as connection:
        return bool(queries.list_runs(connection, state="queued") or queries.list_runs(connection, state="running"))


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Year]:
    """From January 2013 to the first days of 2014; from May to July nobody was there."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PODIUM_HOME", str(tmp_path_factory.mktemp("state")))
    clock = ShiftedClock()
    clock.set(datetime(2013, 1, 31, tzinfo=UTC))
    project = open_project(ROOT, clock)
    made = Year(project)
    schedules = Schedules(project.database, clock)
    code = CodeWatch(project, (schedules.take_up,), made.fired.append)
    scheduler = Scheduler(project.database, ExecutorAdmission(project.execution), clock, made.fired.append)
    with serving(project, lambda _: None) as worker:
        code.advance()
        schedules.pause("minutes_late", reason="one team's year is enough", actor="ada")
        while clock.now() < datetime(2014, 1, 2, tzinfo=UTC):
            with project.database.read() as connection:
                told = {each["pipeline"]: each for each in documents.schedule_documents(connection, clock.now())}
            due = datetime.fromisoformat(told["flight_delay"]["next_fires_at"])
            if due.month == 6:  # an outage until the middle of August
                due = datetime(2013, 8, 15, tzinfo=UTC)
            clock.set(due)
            scheduler.advance()
            worker.serve(lambda: not is_any_open(project))
            if due.year == 2014:
                break
    yield made
    project.close()
    patch.undo()


def test_each_month_ran_once_at_six_in_the_morning_in_new_york_and_the_missed_ones_as_the_policy_says(
    year: Year,
) -> None:
    assert [each["interval_name"] for each in year.runs] == [
        *("2013-01", "2013-02", "2013-03", "2013-04", "2013-07", "2013-08", "2013-09"),
        *("2013-10", "2013-11", "2013-12"),
    ]
    assert {each["trigger"] for each in year.runs} == {"schedule"}
    with year.project.database.read() as connection:
        ticks = documents.tick_documents(connection, "flight_delay", 20)
    assert [(each["due_at"], each["fate"], each["ticks"], each["late"]) for each in reversed(ticks)] == [
        ("2013-02-01T11:00:00Z", "run", None, False),
        ("2013-03-01T11:00:00Z", "run", None, False),
        ("2013-04-01T10:00:00Z", "run", None, False),
        ("2013-05-01T10:00:00Z", "run", None, False),
        ("2013-06-01T10:00:00Z", "missed", 2, True),
        ("2013-08-01T10:00:00Z", "run", None, True),
        ("2013-09-01T10:00:00Z", "run", None, False),
        ("2013-10-01T10:00:00Z", "run", None, False),
        ("2013-11-01T10:00:00Z", "run", None, False),
        ("2013-12-01T11:00:00Z", "run", None, False),
        ("2014-01-01T11:00:00Z", "run", None, False),
    ]


def test_the_month_without_a_history_failed_and_the_champion_went_from_one_month_to_the_next(year: Year) -> None:
    first, *others = year.runs
    assert first["state"] == "failed"
    assert "history of flight_delay" in first["reason"]
    assert [each["state"] for each in others] == ["succeeded"] * 9
    champion = None
    for each in others:
        assert each["model"]["champion_before"] == champion
        assert (each["outcome"] == "promoted") == (each["model"]["champion_after"] != champion)
        champion = each["model"]["champion_after"]
    assert others[0]["outcome"] == "promoted"
    assert sum(each["outcome"] == "promoted" for each in others) >= 2


def test_every_run_was_paid_for_at_the_time_it_ran_at(year: Year) -> None:
    assert all(Decimal(each["cost_usd"]) > 0 and each["unpriced_entries"] == 0 for each in year.runs)
    check_books(year.project.database)
