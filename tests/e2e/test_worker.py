"""`podium worker` and `podium run --detach` as processes: stopped, killed, and several at once."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from podium.dag.interval import Interval
from podium.execution import queries
from podium.execution.entities import Actor
from podium.wiring.plans import load_plans
from podium.wiring.project import open_project
from tests.crash import kills
from tests.e2e.command import Podium
from tests.e2e.shapes import check_run
from tests.execution_world import is_gone

PATIENCE_SECONDS = 60.0

# `second` says at the pipe `held`, in its middle, which process it is, and waits there for as long as there is the file
# `hold`.
SOURCE = """
import os
import signal
from pathlib import Path

from podium import Interval, pipeline, step

ROOT = Path(__file__).parent.parent

@step
def first(day: Interval) -> str:
    return day.name

@step
def second(name: str) -> str:
    if (ROOT / "hold").exists():
        (ROOT / "held").write_text(str(os.getpid()))
        signal.pause()
    with (ROOT / "done").open("a") as file:
        file.write(f"{name}\\n")
    return name

@pipeline(model="flow", team="research", environment="dev")
def flow(day: Interval) -> None:
    second(first(day))
"""


@pytest.fixture
def podium(tmp_path: Path, database_url: str) -> Podium:
    """The command in a project with one pipeline, on either database."""
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "podium.toml").write_text('project = "workers"\nslots = 2\n')
    (tmp_path / "pipelines" / "flow.py").write_text(SOURCE)
    return Podium(tmp_path, {"PODIUM_DATABASE_URL": database_url})


@contextmanager
def worker(podium: Podium, faults: str = "") -> Iterator[subprocess.Popen[str]]:
    """A worker in the background; whatever of it a test leaves behind is killed."""
    process = podium.start("worker", PODIUM_FAULTS=faults)
    try:
        yield process
    finally:
        if process.poll() is None:
            kills.kill(process.pid, "tree")
        if process.stdout is not None and not process.stdout.closed:
            process.communicate()


def detach(podium: Podium, interval: str) -> str:
    """Put a run on record and return its id."""
    answer = podium("run", "flow", "--for", interval, "--detach")
    assert answer.code == 0, answer.err
    run_id = answer.out.strip()
    assert f"podium runs show {run_id}" in answer.err
    assert "`podium worker` executes it" in answer.err
    return run_id


def wait_until(podium: Podium, run_id: str, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask for a run until something is true of it, and return it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        document: dict[str, Any] = podium("runs", "show", run_id, "--json").document
        if true(document):
            return document
        assert time.monotonic() < deadline, document


def has_ended(document: dict[str, Any]) -> bool:
    return document["ended_at"] is not None


def attempt_states(document: dict[str, Any]) -> list[list[str]]:
    return [[attempt["state"] for attempt in step["attempts"]] for step in document["steps"]]


@contextmanager
def held(podium: Podium) -> Iterator[Callable[[], int]]:
    """Have the second step stop in its middle; what is yielded waits until it is there and returns its process."""
    os.mkfifo(podium.project / "held")
    (podium.project / "hold").touch()

    def wait() -> int:
        with (podium.project / "held").open() as pipe:
            return int(pipe.read())

    yield wait
    (podium.project / "hold").unlink()


def test_a_worker_that_is_killed_and_one_that_is_stopped_leave_a_run_to_the_next(podium: Podium) -> None:
    run_id = detach(podium, "2026-03-01")
    assert podium("runs", "show", run_id, "--json").document["state"] == "queued"
    with held(podium) as wait_until_held:
        with worker(podium) as killed:
            wait_until_held()
            kills.kill(killed.pid, "tree")
        with worker(podium) as stopped:
            wait_until_held()
            stopped.send_signal(signal.SIGTERM)
            _, said = stopped.communicate(timeout=PATIENCE_SECONDS)
    assert stopped.returncode == 0, said
    lines = [line.partition(" ")[2] for line in said.splitlines()]
    assert lines[0].startswith("worker started with 2 slots on ")
    assert lines[-3:] == [
        "SIGTERM: claims nothing more and ends what runs",
        f"run {run_id} second attempt 2 interrupted",
        "worker stopped; what it did not finish is claimable again",
    ]
    with worker(podium) as last:
        document = wait_until(podium, run_id, has_ended)
        last.send_signal(signal.SIGINT)
        _, said = last.communicate(timeout=PATIENCE_SECONDS)
    assert last.returncode == 130, said
    assert f"run {run_id} succeeded" in said
    check_run(document)
    assert document["state"] == "succeeded"
    assert attempt_states(document) == [["succeeded"], ["lost", "cancelled", "succeeded"]]
    assert (podium.project / "done").read_text() == "2026-03-01\n"
    assert podium("costs", "reconcile").code == 0


def test_a_busy_run_is_cancelled_and_its_worker_takes_the_next(podium: Podium) -> None:
    run_id = detach(podium, "2026-03-01")
    with worker(podium) as executes:
        with held(podium) as wait_until_held:
            step_process = wait_until_held()
            answer = podium("runs", "cancel", run_id, "--reason", "the data were wrong")
        assert (answer.code, answer.out) == (0, f"The run {run_id} of flow is cancelled.\n"), answer.err
        assert is_gone(step_process)
        document = wait_until(podium, detach(podium, "2026-03-02"), has_ended)
        executes.send_signal(signal.SIGTERM)
        _, said = executes.communicate(timeout=PATIENCE_SECONDS)
    assert (executes.returncode, document["state"]) == (0, "succeeded"), said
    lines = [line.partition(" ")[2] for line in said.splitlines()]
    cancel = lines.index(f"run {run_id} cancel requested: the data were wrong")
    assert lines[cancel + 1 : cancel + 3] == [
        f"run {run_id} second attempt 1 interrupted: run cancelled: the data were wrong",
        f"run {run_id} cancelled: the data were wrong",
    ]
    cancelled = podium("runs", "show", run_id, "--json").document
    check_run(cancelled)
    assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "the data were wrong")
    assert [step["state"] for step in cancelled["steps"]] == ["succeeded", "cancelled"]
    resumed = podium("runs", "resume", run_id, "--json")
    assert (resumed.code, resumed.document["state"]) == (0, "succeeded"), resumed.err
    assert attempt_states(resumed.document) == [["succeeded"], ["cancelled", "succeeded"]]
    assert podium("costs", "reconcile").code == 0


def test_a_run_in_the_foreground_says_that_it_was_cancelled_and_why(podium: Podium) -> None:
    with held(podium) as wait_until_held:
        process = podium.start("run", "flow", "--for", "2026-03-01")
        try:
            wait_until_held()
            (document,) = podium("runs", "list", "--json").document
            answer = podium("runs", "cancel", document["run_id"], "--reason", "the data were wrong", "--json")
            out, said = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            if process.poll() is None:
                kills.kill(process.pid, "tree")
    assert (answer.code, answer.document["state"]) == (0, "cancelled"), answer.err
    assert process.returncode == 1
    assert f"run {document['run_id']} cancelled" in said
    assert "the data were wrong" in out


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_two_workers_share_twenty_runs_and_execute_each_attempt_once(
    podium: Podium, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    detach(podium, "2026-03-01")
    monkeypatch.setenv("PODIUM_DATABASE_URL", database_url)
    project = open_project(podium.project)
    plan = load_plans(project).plan("flow")
    for day in range(2, 21):  # as `--detach` does, without nineteen processes
        interval = Interval.parse(f"2026-03-{day:02}", "UTC")
        project.execution.start(plan, interval, parameters={}, actor=Actor("tester"))
    with ExitStack() as stack:
        # Neither begins what it has claimed before the other has claimed as well.
        both = "attempt.after_start:barrier=2"
        workers = [stack.enter_context(worker(podium, both)) for _ in range(2)]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(podium("runs", "list", "--state", "succeeded", "--json").document) < 20:
            assert time.monotonic() < deadline
        for process in workers:
            process.send_signal(signal.SIGTERM)
        said = [process.communicate(timeout=PATIENCE_SECONDS)[1] for process in workers]
    assert [process.returncode for process in workers] == [0, 0], said
    assert sorted((podium.project / "done").read_text().split()) == [f"2026-03-{day:02}" for day in range(1, 21)]
    with project.database.read() as connection:
        attempts = [row for run_id in queries.list_runs(connection) for row in queries.attempt_rows(connection, run_id)]
    project.close()
    assert [attempt.state for attempt in attempts] == ["succeeded"] * 40
    assert len({attempt.worker_id for attempt in attempts}) == 2
    assert podium("costs", "reconcile").code == 0
