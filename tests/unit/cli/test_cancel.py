"""`podium runs cancel` of a run that a worker executes: what it waits for, and what it says."""

import time

import pytest

from podium.cli import run_acts
from podium.execution import plans, queries, workers
from podium.execution.entities import AttemptEnd, AttemptEndState
from podium.wiring.project import open_project
from tests.execution_world import USED, claim_of
from tests.unit.cli.conftest import InProcess


@pytest.fixture
def run_id(podium: InProcess) -> str:
    """A run of one step that a worker on another machine executes."""
    podium.pipeline(
        """
from podium import Interval, pipeline, step

@step
def it() -> int:
    return 1

@pipeline(model="counting", team="research", environment="dev", grain="month")
def counting(month: Interval) -> None:
    it()
"""
    )
    run_id = podium("run", "counting", "--for", "2026-03", "--detach").out.strip()
    project = open_project(podium.project)
    now = project.clock.now()
    with project.database.write() as connection:
        workers.start_worker(connection, "w", "elsewhere", 4242, "no.lock", now)
        plan = plans.load(connection, queries.get_run(connection, run_id).plan_digest)
        claim_of(connection, "w", run_id=run_id, limit=1, plan=plan, lease_seconds=600, now=now)
    project.close()
    return run_id


def while_it_waits(podium: InProcess, monkeypatch: pytest.MonkeyPatch, state: AttemptEndState) -> None:
    """Have the worker end its attempt while the command waits."""

    def end(_: float) -> None:
        project = open_project(podium.project)
        with project.database.write() as connection:
            (row,) = queries.running_attempts_of(connection, "w")
            plan = plans.load(connection, row.plan_digest)
            project.progress.end(connection, row, plan, AttemptEnd(state, USED), project.clock.now())
        project.close()

    monkeypatch.setattr(time, "sleep", end)


def test_it_says_so_when_the_worker_has_ended_the_run(
    podium: InProcess, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    while_it_waits(podium, monkeypatch, "cancelled")
    answer = podium("runs", "cancel", run_id, "--reason", "enough")
    assert (answer.code, answer.out) == (0, f"The run {run_id} of counting is cancelled.\n")
    again = podium("runs", "cancel", run_id, "--reason", "once more", "--json")
    assert (again.code, again.document["state"], again.document["reason"]) == (0, "cancelled", "enough")


def test_a_run_that_succeeds_meanwhile_was_not_cancelled(
    podium: InProcess, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    while_it_waits(podium, monkeypatch, "succeeded")
    answer = podium("runs", "cancel", run_id, "--reason", "enough")
    assert (answer.code, answer.out) == (1, "")
    assert f"The run {run_id} succeeded before it could be cancelled" in answer.complaint


def test_where_the_worker_does_not_answer_the_cancel_is_on_record_and_the_worker_named(
    podium: InProcess, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_acts, "_CANCEL_SECONDS", 0.0)
    monkeypatch.setenv("PODIUM_CANCEL_GRACE_SECONDS", "0")
    answer = podium("runs", "cancel", run_id, "--reason", "enough")
    assert answer.code == 0
    assert " ".join(answer.out.split()) == (
        f"The cancel of run {run_id} is on record, and nothing more of it begins; process 4242 on elsewhere ends what "
        f"runs: `podium runs show {run_id}`."
    )
    document = podium("runs", "cancel", run_id, "--reason", "enough", "--json").document
    assert (document["state"], document["reason"]) == ("running", "enough")
