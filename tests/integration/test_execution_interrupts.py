"""Supervisors that are interrupted or killed, that share a run, or that lose an attempt."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from podium.execution import queries
from podium.execution.entities import Assignment, AttemptEnd, AttemptError, Happening
from podium.execution.meter import Usage
from podium.execution.slots import SlotHandle, Slots
from podium.execution.worker import Worker
from podium.execution.workers import WorkerOptions
from podium.wiring.runs import foreground
from podium.wiring.stage_services import slot_configuration
from tests.execution_world import (
    ONE_STEP,
    FlowProject,
    attempts,
    is_gone,
    only,
)


@pytest.fixture
def flow(tmp_path: Path) -> FlowProject:
    return FlowProject(tmp_path / "flows")


def interrupt() -> None:
    raise KeyboardInterrupt


HANGING = """
import ctypes

@step
def done() -> int:
    with open("done", "a") as file:
        file.write("x")
    return 1

@step
def it(done: int) -> int:
    if Path("go on").exists():
        return done + 1
    child = subprocess.Popen(["sleep", "600"])
    Path("child").write_text(f"{os.getpid()} {child.pid}")
    with open("hanging", "w"):
        ctypes.PyDLL(None).pause()  # deep in native code: no other thread of this process runs
    return 0
---
def flow(day: Interval) -> None:
    it(done())
"""


class TestInterrupts:
    def check_that_it_goes_on(self, flow: FlowProject, first_end: str) -> None:
        """What hung is gone, and the run goes on to its end without doing again what was done."""
        assert flow.document(flow.start())["state"] == "running"
        assert [process for process in (flow.root / "child").read_text().split() if not is_gone(int(process))] == []
        (flow.root / "go on").touch()
        document = flow.execute(flow.start())
        assert document["state"] == "succeeded"
        assert flow.value(document, "it") == 2
        assert (flow.root / "done").read_text() == "x"
        assert [each["state"] for each in attempts(document, "it")] == [first_end, "succeeded"]

    def test_an_interrupt_leaves_nothing_running_and_the_run_claimable(self, flow: FlowProject) -> None:
        flow.write(HANGING)
        run = flow.start()
        os.mkfifo(flow.root / "hanging")

        def interrupt_once_it_hangs(happening: Happening) -> None:
            if (happening.kind, happening.step) == ("attempt.started", "it"):
                reader = threading.Thread(target=(flow.root / "hanging").open)
                reader.start()
                reader.join()
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            flow.execute(run, interrupt_once_it_hangs)
        self.check_that_it_goes_on(flow, "cancelled")
        left = {path.stem for path in (flow.project.settings.home / "locks").glob("*.lock")}
        assert left == {"prices", "schema"}  # and no worker's

    def test_an_interrupt_between_a_claim_and_its_start_leaves_no_attempt_running(
        self, flow: FlowProject, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        flow.write("@step\ndef it() -> int:\n    return 1\n" + ONE_STEP)
        run = flow.start()
        with monkeypatch.context() as patched:
            patched.setattr(Worker, "_start", lambda *_: interrupt())
            with pytest.raises(KeyboardInterrupt):
                flow.execute(run)
        assert [each["state"] for each in attempts(flow.document(run), "it")] == ["cancelled"]
        assert flow.execute(run)["state"] == "succeeded"

    def test_a_timeout_that_was_decided_is_not_forgotten_by_an_interrupt(
        self, flow: FlowProject, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        flow.write("@step(timeout='0.1s')\ndef it() -> None:\n    signal.pause()\n" + ONE_STEP)
        run = flow.start()
        monkeypatch.setattr(SlotHandle, "end", lambda *_: interrupt())
        with pytest.raises(KeyboardInterrupt):
            flow.execute(run)
        assert only(flow.document(run))["state"] == "timed_out"

    @pytest.mark.parametrize("victim", ["supervisor", "slot host"])
    def test_a_killed_process_takes_its_slots_and_all_they_started_along(self, flow: FlowProject, victim: str) -> None:
        flow.write(HANGING)
        os.mkfifo(flow.root / "hanging")
        supervisor = subprocess.Popen(
            [Path(sys.executable).with_name("podium"), "run", "flow", "--for", "2026-11-02"],
            cwd=flow.root,
            stderr=subprocess.PIPE,
        )
        with (flow.root / "hanging").open():
            (host,) = psutil.Process(supervisor.pid).children()
            (supervisor if victim == "supervisor" else host).kill()
        _, said = supervisor.communicate(timeout=10)
        assert is_gone(host.pid)
        assert (b"slot-host.log" in said) == (victim == "slot host")
        self.check_that_it_goes_on(flow, "lost" if victim == "supervisor" else "cancelled")


class TestTwoWorkers:
    def test_two_workers_of_one_run_share_it_without_harm(self, flow: FlowProject) -> None:
        flow.write("""
@step
def it(number: int) -> int:
    with open("done", "a") as file:
        file.write(f"{number}\\n")
    return os.getppid()

@step
def last(a: int, b: int, c: int, d: int, e: int, f: int) -> list[int]:
    return [a, b, c, d, e, f]
---
def flow(day: Interval) -> None:
    last(*(it.named(f"it_{number}")(number) for number in range(6)))
""")
        run = flow.start()
        plan = flow.plan()
        barrier = threading.Barrier(2)
        ended: list[str] = []

        def work() -> None:
            project = flow.another()
            with foreground(project, plan, lambda _: None) as worker:
                barrier.wait()
                ended.append(worker.execute(run.run_id).state)
            project.close()

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        document = flow.document(run)
        assert ended == ["succeeded", "succeeded"]
        assert sorted((flow.root / "done").read_text().split()) == [str(number) for number in range(6)]
        assert all(len(each["attempts"]) == 1 for each in document["steps"])


ASKING = """
from podium.execution.context import current

class Services:
    def __init__(self, configuration, ask):
        self.ask = ask

@step
def it() -> int:
    ask = current().services.ask
    if not Path("lost").exists():
        Path("lost").touch()
        ask("lose", {})
        try:
            ask("double", {"number": 1})
        except BaseException as error:
            Path("refused").write_text(f"{type(error).__name__}: {error}")
        signal.pause()
    return ask("double", {"number": 21})
"""


class TestServices:
    def worker(self, flow: FlowProject, services: dict[str, Callable[[Assignment, Any], Any]]) -> Worker:
        project = flow.project
        project.require_prices(flow.plan())
        home = project.settings.home
        configuration = {**slot_configuration(project), "services": "flow:Services"}
        return Worker(
            database=project.database,
            progress=project.progress,
            backend=Slots(configuration, (), home / "logs" / "slot-host.log", count=2),
            services=services,
            options=WorkerOptions(30.0, project.log_folder, home / "locks"),
            clock=project.clock,
            observe=lambda _: None,
        )

    def test_a_stage_that_lost_its_attempt_is_served_no_more_and_the_next_attempt_is(self, flow: FlowProject) -> None:
        flow.write(ASKING + ONE_STEP)
        run, project = flow.start(), flow.project
        doubled: list[str] = []

        def lose(assignment: Assignment, _: Any) -> None:
            usage = Usage(0.1, None, None, source="heartbeat", quality="estimated")
            end = AttemptEnd("lost", usage, error=AttemptError("Lost", "taken for dead"))
            with project.database.write() as connection:
                row = queries.running_attempt(connection, assignment.attempt_id)
                assert row is not None
                project.progress.end(connection, row, assignment.plan, end, project.clock.now())

        def double(assignment: Assignment, arguments: Any) -> int:
            doubled.append(assignment.attempt_id)
            return 2 * int(arguments["number"])

        with self.worker(flow, {"lose": lose, "double": double}) as worker:
            worker.execute(run.run_id)
        document = flow.document(run)
        assert [each["state"] for each in attempts(document, "it")] == ["lost", "succeeded"]
        assert "is no longer held by this worker" in (flow.root / "refused").read_text()
        assert doubled == [attempts(document, "it")[1]["attempt_id"]]
        assert flow.value(document, "it") == 42

    def test_a_service_that_fails_or_does_not_exist_is_the_stage_s_error(self, flow: FlowProject) -> None:
        flow.write(ASKING + ONE_STEP)
        (flow.root / "lost").touch()
        run = flow.start()

        def double(*_: Any) -> int:
            raise ZeroDivisionError("no")

        with self.worker(flow, {"double": double}) as worker:
            worker.execute(run.run_id)
        assert "The service double failed: ZeroDivisionError: no" in only(flow.document(run))["error"]
        with self.worker(flow, {}) as worker:
            project = flow.project
            project.execution.resume(run.run_id, flow.plan(), reason="again")
            worker.execute(run.run_id)
        assert "There is no service 'double'" in attempts(flow.document(run), "it")[1]["error"]
