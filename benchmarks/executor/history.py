"""100,000 finished runs in the database: what claiming a new run and listing runs costs, against hardly any.

One run of the chain is really executed, and its rows are then copied so many times, each copy a minute older and for
an earlier day: runs with their steps, attempts, outputs, events and ledger entries. The small database holds as many
runs as a list shows, so that both lists are equally long.
"""

import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy as sa

from benchmarks.executor.chain import ADD_ONE, LENGTH, chain_source
from benchmarks.executor.figures import Bar, Figure, Part, timed
from benchmarks.executor.idle import STAMP
from benchmarks.executor.options import Options
from benchmarks.executor.projects import BenchProject, executing, served
from podium.db.schema import attempt, event, ledger_entry, output, run, step_run
from podium.execution import queries
from podium.wiring.documents import run_documents

MANY = 100_000
LISTED = 50
REPEATS = 40
LIMIT = 1.5

_COPIED = (run, step_run, attempt, output, event, ledger_entry)
_NAMING = ("run_id", "step_run_id", "attempt_id", "entry_id", "idempotency_key", "subject_id")
"""Columns that name a row, or a row of another of these tables: in a copy they end with its number."""
_BLOCK = 5_000

Database = Callable[[], tuple[float, float, float]]
"""A database to be timed: milliseconds to start a run, to claim it, and to list runs."""


def measure(options: Options) -> Part:
    """Time both databases in turn."""
    with ExitStack() as stack:
        few, many = (stack.enter_context(_database(options, copies)) for copies in (LISTED, MANY))
        few(), many()  # warm
        timings = [(few(), many()) for _ in range(REPEATS)]
    figures, bars = [], []
    for position, name in enumerate(("starting a run", "claiming it, until its step runs", "`runs list`")):
        small, large = (statistics.median(each[which][position] for each in timings) for which in (0, 1))
        figures += [
            Figure(f"{name}, {LISTED} runs", small, "ms", 1.0),
            Figure(f"{name}, {MANY:,} runs", large, "ms", large / small),
        ]
        if position > 0:
            bars.append(Bar(f"{name}, {MANY:,} ÷ {LISTED} runs", LIMIT, large / small))
    return Part(f"{MANY:,} finished runs in the database", figures, bars, [f"medians of {REPEATS}, SQLite"])


@contextmanager
def _database(options: Options, copies: int) -> Iterator[Database]:
    """Open a project whose database holds so many finished runs."""
    bench = BenchProject(options.folder / f"{copies}-runs", ADD_ONE + chain_source("chain", LENGTH) + STAMP)
    with executing(bench, "chain") as execute:
        finished = execute(bench.start("chain"))
    bench.check([finished], LENGTH)
    copy_run(bench.project.settings.home / "podium.db", finished.run_id, copies)

    def list_runs() -> None:
        with bench.project.database.read() as connection:
            found = run_documents(connection, queries.list_runs(connection, limit=LISTED))
        assert len(found) == LISTED

    def times() -> tuple[float, float, float]:
        asked = time.time_ns()
        started = bench.start("stamped")
        ready = time.time_ns()
        server.finish([started])
        stamp = int((bench.root / f"stamp-{started.interval.name}").read_text())
        return (ready - asked) / 1e6, (stamp - ready) / 1e6, 1000 * timed(list_runs)

    with served(bench) as server:
        yield times


def copy_run(path: Path, run_id: str, copies: int) -> None:
    """Copy the rows of a finished run so many times in the SQLite file at `path`, without an fsync for each block."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA synchronous = OFF")
    for first in range(1, copies + 1, _BLOCK):
        last = min(first + _BLOCK - 1, copies)
        database.execute("BEGIN IMMEDIATE")
        for table in _COPIED:
            database.execute(_copying(table), {"run_id": run_id, "first": first, "last": last})
        database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def _copying(table: sa.Table) -> str:
    """Return the statement that copies a run's rows of a table as the copies numbered :first to :last."""
    columns = [column for column in table.columns if column.autoincrement is not True]
    values = ", ".join(_value(column) for column in columns)
    if "run_id" in table.columns:
        of_run = "run_id = :run_id"
    else:
        of_run = "step_run_id IN (SELECT step_run_id FROM step_run WHERE run_id = :run_id)"
    return (  # nobody's text but the schema's
        "WITH RECURSIVE copy (nth) AS (SELECT :first UNION ALL SELECT nth + 1 FROM copy WHERE nth < :last) "  # noqa: S608
        f"INSERT INTO {table.name} ({', '.join(column.name for column in columns)}) "
        f"SELECT {values} FROM copy CROSS JOIN {table.name} WHERE {of_run}"
    )


def _value(column: sa.Column[object]) -> str:
    if column.name in _NAMING:
        return f"{column.name} || '-' || nth"
    if column.name in ("interval_start", "interval_end"):
        return _earlier(column.name, "days")
    if column.name.endswith("_at") or column.name in ("charge_start", "charge_end"):
        return _earlier(column.name, "minutes")
    return column.name


def _earlier(column: str, units: str) -> str:
    """Return an instant as it is stored, so many days or minutes earlier as the copy's number is."""
    return f"strftime('%Y-%m-%dT%H:%M:%f000Z', {column}, '-' || nth || ' {units}')"
