"""Thousands of finished runs: no series more than a hundred had, and nothing read from end to end that grows."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.bench_scrape import START, exporter_of, fill
from podium.db import migrate
from podium.db.engine import Database
from podium.notify import outbox
from podium.notify.entities import Alert, Subject
from tests import series_at_scale

MANY = 2_000  # `make soak` plays ten thousand, as the bar has it
GROWING = (
    *("run", "step_run", "attempt", "event", "ledger_entry", "output", "run_cost"),
    *("schedule_tick", "alert", "alert_delivery"),
)


def test_thousands_of_runs_leave_the_series_as_they_are(database: Database) -> None:
    assert series_at_scale.problems(database, MANY) == []


def test_no_scrape_reads_a_table_that_grows_with_runs_from_end_to_end(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'podium.db'}", tmp_path)
    migrate.ensure(database)
    fill(database, series_at_scale.FEW)
    failure = Alert("one", "run_failed", Subject("flight_delay"), "failure", "body", START, ("oncall",))
    with database.write() as connection:
        outbox.add(connection, failure, START)
    statements: list[tuple[str, Any]] = []

    @sa.event.listens_for(database.engine, "before_cursor_execute")
    def note(_c: object, _k: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    exporter_of(database).render()
    noted = list(statements)
    assert len(noted) > 10
    with database.read() as connection:
        plans = {
            statement: [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            for statement, parameters in noted
        }
    # By a partial index, of what is open alone, or in the order of ids up to a LIMIT of one.
    allowed = (
        "SCAN run USING INDEX uq_run_open_interval",
        "SCAN run USING INDEX ix_run_open_model",
        "SCAN attempt USING INDEX uq_attempt_running",
        "SCAN ledger_entry USING INDEX sqlite_autoindex",
    )
    scans = [
        (detail, statement)
        for statement, details in plans.items()
        for detail in details
        if detail.startswith(tuple(f"SCAN {table}" for table in GROWING))
        and detail.split(" ")[1] in GROWING
        and not detail.startswith(allowed)
    ]
    database.close()
    assert scans == []
