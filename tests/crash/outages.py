"""What happens around a run while it goes on: its database dies, its disk fills, its clock jumps, its worker freezes.

Nobody helps: each ends as if nothing had happened, by the checker's verdict.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any

import psutil
import sqlalchemy as sa

from podium.dag.interval import Interval
from podium.db.schema import attempt, run, worker
from podium.execution.entities import Actor
from podium.wiring.checks import violations
from podium.wiring.plans import load_plans
from tests.crash import kills
from tests.crash.projects import CrashProject
from tests.crash.scenarios import Crashes
from tests.postgresql_on_tcp import TcpServer

_HOUR = 3600.0
_SHORT_LEASE_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0


def database_killed(project: CrashProject, server: TcpServer) -> list[str]:
    """Kill the whole database server inside a step; the step ends while nobody can write that down."""
    crashes = Crashes(project)
    run_id = project.leave_to_a_worker()
    with kills.held(project.root) as hold, crashes.working() as worker:
        hold.wait()
        server.kill()
        hold.let_go()
        crashes.expect(worker, "waits for the database")
        server.start()
        crashes.expect(worker, "answers again")
        crashes.expect(worker, f"{run_id} succeeded")
    return [*crashes.end(), *_attempts_but_the_first(project)]


def database_killed_at_random(project: CrashProject, server: TcpServer, random: Random, kills_in_all: int) -> list[str]:
    """Kill the database server again and again while a worker executes a run."""
    crashes = Crashes(project)
    run_id = project.leave_to_a_worker()
    with crashes.working() as worker:
        # One that starts meanwhile says that no database answers, and ends.
        crashes.expect(worker, "worker started")
        for _ in range(kills_in_all):
            time.sleep(random.uniform(0.0, 2 * project.template.seconds))
            server.kill()
            server.start()
        _wait_until(project, lambda connection: _state(connection, run_id) == "succeeded")
    return crashes.end()


def connections_cut(project: CrashProject, server: TcpServer) -> list[str]:
    """Cut every connection to the database ten times a second while a worker executes a run."""
    crashes = Crashes(project)
    run_id = project.leave_to_a_worker()
    ended = sa.select(run.c.ended_at).where(run.c.run_id == run_id)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'podium'"
    deadline = time.monotonic() + _PATIENCE_SECONDS
    with crashes.working() as worker:
        crashes.expect(worker, "worker started")
        with server.administered(project.database_url) as connection:
            while connection.scalar(ended) is None and time.monotonic() < deadline:
                connection.exec_driver_sql(cut)
                time.sleep(0.1)
    return crashes.end()


def worker_frozen(project: CrashProject) -> list[str]:
    """Freeze a worker of another host inside a step, past its lease; it wakes when another one has done its work."""
    crashes = Crashes(project)
    run_id = project.leave_to_a_worker()
    elsewhere = {"machine": {"host": "elsewhere"}, "lease_seconds": _SHORT_LEASE_SECONDS}
    with kills.held(project.root) as hold, crashes.working(**elsewhere) as frozen:
        hold.wait()
        with _no_writer_on_sqlite(project):
            slots = kills.freeze(frozen.pid)
        hold.let_go()
        with crashes.working() as awake:
            crashes.expect(awake, f"{run_id} succeeded")
        crashes.look_at_what_had_ended()
        kills.thaw(frozen.pid)
        _, alive = psutil.wait_procs(slots, timeout=_PATIENCE_SECONDS)  # stopped as it is, it can only be killed
        crashes.problems += [f"the slot {slot.pid} of a zombie is alive" for slot in alive]
    problems = crashes.end()
    with project.opened() as opened, opened.database.read() as connection:
        lost = connection.scalar(sa.select(sa.func.count()).where(attempt.c.state == "lost"))
    return [*problems, *([] if lost else ["no attempt of the frozen worker was lost"])]


def frozen_and_written(project: CrashProject) -> list[str]:
    """Freeze a worker of another host alone: its step ends meanwhile, and it writes that when it wakes, in vain."""
    crashes = Crashes(project)
    run_id = project.leave_to_a_worker()
    elsewhere = {"machine": {"host": "elsewhere"}, "lease_seconds": _SHORT_LEASE_SECONDS}
    with kills.held(project.root) as hold, crashes.working(**elsewhere) as frozen:
        hold.wait()
        supervisor = psutil.Process(frozen.pid)
        with _no_writer_on_sqlite(project):
            supervisor.suspend()
        hold.let_go()
        with crashes.working() as awake:
            crashes.expect(awake, f"{run_id} succeeded")
        crashes.look_at_what_had_ended()
        supervisor.resume()
    return crashes.end()


def clock_jumped(project: CrashProject) -> list[str]:
    """Set the clock of a worker forward by an hour and back by two, inside a step, beside one whose clock is right."""
    crashes = Crashes(project)
    run_id = project.leave_to_a_worker()
    off = project.root / "off"
    off.write_text("0")
    with kills.held(project.root) as hold, crashes.working(machine={"clock": str(off)}) as jumping:
        hold.wait()
        with crashes.working() as beside:
            crashes.expect(beside, "worker started")
            for seconds in (_HOUR, -_HOUR):
                _replace(off, str(seconds))
                _wait_until(project, partial(_beats_at, crashes, seconds))
        hold.let_go()
        crashes.expect(jumping, f"{run_id} succeeded")
    return [*crashes.end(), *_attempts_but_the_first(project)]


def disk_full(project: CrashProject, bytes_per_file: int, words: str) -> list[str]:
    """Execute a run where no file may grow beyond this; it says so, and the next try goes on where it stopped."""
    crashes = Crashes(project)
    with project.go_on(machine={"file_bytes": bytes_per_file}, lease_seconds=_SHORT_LEASE_SECONDS) as process:
        said = process.communicate()[1]
    if process.returncode != 1 or words not in said:
        crashes.problems.append(f"exit {process.returncode} where the disk is full: {said}")
    crashes.look_around()
    return crashes.end()


def two_workers(project: CrashProject, months: int) -> list[str]:
    """Have two workers claim of many runs at once; each attempt is executed once, by one of them."""
    crashes = Crashes(project)
    with crashes.working(), crashes.working():
        _wait_until(project, _has_two_workers)  # or the first has done all of it before the second has begun
        with project.opened() as opened:
            plan = load_plans(opened).plan(project.template.pipeline)
            opened.require_prices(plan)
            for number in range(months):
                month = Interval.parse(f"{2000 + number // 12}-{number % 12 + 1:02}", "UTC")
                opened.execution.start(plan, month, parameters={}, actor=Actor("tester"))
        _wait_until(project, _has_no_open_run, patience_seconds=_PATIENCE_SECONDS + 2.0 * months)
    executed = len((project.root / "added").read_text().split())
    with project.opened() as opened:
        found = [str(violation) for violation in violations(opened)]
        with opened.database.read() as connection:
            states = list(connection.execute(sa.select(attempt.c.state, sa.func.count()).group_by(attempt.c.state)))
            workers = connection.scalar(sa.select(sa.func.count(attempt.c.worker_id.distinct())))
    if [tuple(row) for row in states] != [("succeeded", 9 * months)] or executed != 4 * months:
        found.append(f"{months} runs have the attempts {states} and added {executed} times")
    if workers != 2:
        found.append(f"{workers} of two workers had a part in it")
    return [*crashes.problems, *found]


@contextmanager
def _no_writer_on_sqlite(project: CrashProject) -> Iterator[None]:
    """Let nobody be amid a write on SQLite: whoever is frozen there blocks all. PostgreSQL ends such a session."""
    with project.opened() as opened, opened.database.write():
        yield


def _attempts_but_the_first(project: CrashProject) -> list[str]:
    """What should not be where no process died: nothing is tried twice."""
    with project.opened() as opened, opened.database.read() as connection:
        rows = connection.execute(sa.select(attempt.c.log, attempt.c.state).where(attempt.c.number > 1))
        return [f"{row.log} is a second attempt, {row.state}" for row in rows]


def _beats_at(crashes: Crashes, off_seconds: float, connection: sa.Connection) -> bool:
    """Whether the running attempt's last heartbeat is of a clock that is off by this."""
    with crashes.project.opened() as opened:
        now = opened.clock.now()
    beats = connection.scalars(sa.select(attempt.c.heartbeat_at).where(attempt.c.state == "running")).all()
    return any(abs(beat - now - timedelta(seconds=off_seconds)) < timedelta(minutes=1) for beat in beats)


def _state(connection: sa.Connection, run_id: str) -> Any:
    return connection.scalar(sa.select(run.c.state).where(run.c.run_id == run_id))


def _has_two_workers(connection: sa.Connection) -> bool:
    return connection.scalar(sa.select(sa.func.count()).select_from(worker)) == 2


def _has_no_open_run(connection: sa.Connection) -> bool:
    return not connection.scalar(sa.select(sa.func.count()).where(run.c.state.in_(("queued", "running"))))


def _wait_until(
    project: CrashProject, true: Callable[[sa.Connection], bool], patience_seconds: float = _PATIENCE_SECONDS
) -> None:
    """Ask the database until something is true of it."""
    deadline = time.monotonic() + patience_seconds
    with project.opened() as opened:
        while True:
            with opened.database.read() as connection:
                if true(connection):
                    return
            assert time.monotonic() < deadline, f"it did not come about within {patience_seconds:g} s"
            time.sleep(0.05)


def _replace(file: Any, text: str) -> None:
    """Write a file at once: who reads it meanwhile has the old text or the new."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(file)
