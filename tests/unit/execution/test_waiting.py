"""What a run waits for, in words: a table of situations and what is said of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from podium.dag.plan import Resources
from podium.execution.items import WHOLE, item_name
from podium.execution.waiting import Full, OpenStep, SeenWorker, Situation, Waiting, waits_of
from tests.execution_world import node, plan_of

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=3)
BIG = replace(node("big", "a"), resources=Resources(cpu=8, memory_bytes=2**34, gpu=2))
CLEAN_UP, LABELLED = replace(node("clean_up", "a"), run_if="always"), replace(node("labelled"), labels=("gpu", "large"))
PLAN = plan_of(node("a"), node("b", "a"), node("c", "a", "b"), node("fit", "a", retries=2), BIG, CLEAN_UP, LABELLED)
STATES = {"a": "running", "b": "waiting", "c": "waiting", "fit": "waiting", "big": "waiting"}
WORKER = SeenWorker("w", "ada", 42, slots=2)
BUSY = replace(WORKER, busy=(("r", "a"), ("other", "fit[7]")))


def wait(step: OpenStep, *workers: SeenWorker, cancel_reason: str | None = None, **states: str) -> Waiting:
    return waits_of(Situation("r", PLAN, cancel_reason, {**STATES, **states}, [step], workers, NOON))[0]


def ready(step: str = "b", **facts: Any) -> OpenStep:
    return OpenStep(step, WHOLE, "ready", ready_at=NOON, **facts)


def running(**facts: Any) -> OpenStep:
    return OpenStep("a", WHOLE, "running", attempt=2, attempt_started_at=NOON, worker_id="w", **facts)


def later(step: str = "fit", index: int = WHOLE, **facts: Any) -> OpenStep:
    return OpenStep(step, index, "waiting", **{"not_before": LATER, "attempt": 1, "failures": 1, **facts})


@pytest.mark.parametrize(
    ("step", "workers", "reason"),
    [
        # steps before it
        (OpenStep("b", WHOLE, "waiting"), (), "waits for a (running)"),
        (OpenStep("c", WHOLE, "waiting"), (), "waits for a (running) and b (waiting)"),
        # a time
        (later(index=3), (), "waits until 2026-11-21 12:03:00 UTC, then is tried again (attempt 2 of 3)"),
        (later(attempt=4, failures=2), (), "waits until 2026-11-21 12:03:00 UTC, then is tried again (attempt 5 of 5)"),
        (later(snoozed=True, reason="a canary is open"), (), "snoozed until 2026-11-21 12:03:00 UTC: a canary is open"),
        # a person
        (
            OpenStep("b", WHOLE, "held", decide_by=LATER),
            (),
            (
                "held for approval until 2026-11-21 12:03:00 UTC, then rejected: "
                "`podium runs approve r --step b`, or `reject`"
            ),
        ),
        (
            OpenStep("b", WHOLE, "held"),
            (WORKER,),
            "held for approval: `podium runs approve r --step b`, or `reject`",
        ),
        # a worker
        (ready(), (), "no worker is running; `podium worker` starts one"),
        (ready(), (replace(WORKER, alive=False),), "no worker is running; `podium worker` starts one"),
        (
            later(not_before=NOON),
            (),
            "no worker is running; `podium worker` starts one",
        ),
        (ready(), (WORKER,), "a worker takes it next"),
        (ready(), (replace(WORKER, slots=None, busy=BUSY.busy),), "a worker takes it next"),
        (
            ready(),
            (replace(WORKER, draining=True),),
            "process 42 on ada is ending; `podium worker` starts another",
        ),
        (ready(), (BUSY,), "all 2 slots are busy with a and fit[7] of run other"),
        (ready(), (replace(BUSY, slots=1, busy=(("r", "a"),)),), "the one slot is busy with a"),
        (
            ready(),
            (replace(BUSY, slots=5, busy=tuple(("r", f"fit[{n}]") for n in range(5))),),
            "all 5 slots are busy with fit[0], fit[1], fit[2] and 2 more",
        ),
        (ready(), (BUSY, replace(WORKER, worker_id="v")), "a worker takes it next"),
        (
            ready("big"),
            (replace(WORKER, cpu=2), replace(WORKER, cpu=4)),
            "needs 8 cores; the largest worker has 4 cores",
        ),
        (
            ready("big"),
            (replace(WORKER, cpu=8, memory_bytes=2**33),),
            "needs 16 GiB; the largest worker has 8 GiB",
        ),
        (ready("big"), (replace(WORKER, cpu=9, gpu=0),), "needs 2 GPUs; the largest worker has 0 GPUs"),
        (
            ready("big"),
            (replace(WORKER, cpu=8, gpu=0), replace(WORKER, cpu=4, gpu=2)),
            "needs 8 cores, 16 GiB and 2 GPUs at once, and no worker has them all",
        ),
        (ready("labelled"), (WORKER,), "needs a worker with the labels gpu and large"),
        (ready("labelled"), (replace(WORKER, labels=("gpu",)),), "needs a worker with the labels gpu and large"),
        (ready("labelled"), (replace(WORKER, labels=("large", "a", "gpu")),), "a worker takes it next"),
        (ready("big"), (WORKER,), "a worker takes it next"),  # one that never told what it has
        # a command's own worker takes its own runs only
        (ready(), (replace(WORKER, for_any_run=False),), "no worker is running; `podium worker` starts one"),
        (ready(), (replace(WORKER, for_any_run=False, busy=(("r", "a"),)),), "a worker takes it next"),
        # its attempt
        (running(), (WORKER,), "attempt 2 is executed by process 42 on ada"),
        (running(), (), "attempt 2 is executed"),
        (
            running(),
            (replace(WORKER, alive=False),),
            "attempt 2 is lost: its worker, process 42 on ada, died; the next worker tries it again",
        ),
    ],
)
def test_what_a_step_waits_for_is_said(step: OpenStep, workers: tuple[SeenWorker, ...], reason: str) -> None:
    assert wait(step, *workers).reason == reason


def test_a_limit_that_is_reached_is_said_with_what_has_reached_it() -> None:
    pooled = replace(node("pooled"), pool="gpus")
    situation = Situation("r", plan_of(pooled), None, {"pooled": "ready"}, [ready("pooled")], [WORKER], NOON)
    behind = replace(situation, behind={"pipeline flow": Full(2, ["x", "y"])})
    assert waits_of(behind)[0].reason == "its run is queued behind run x and run y (limit 2 of pipeline flow)"
    full = replace(situation, full_pools={"gpus": Full(1, ["fit[0] of run x"]), "other": Full(1, ["it of run z"])})
    assert waits_of(full)[0].reason == "the pool gpus is full: fit[0] of run x (1 at once)"
    assert waits_of(replace(situation, full_pools={"other": Full(1, ["it"])}))[0].reason == "a worker takes it next"


def test_a_step_after_one_that_ended_waits_for_the_others_only() -> None:
    assert wait(OpenStep("c", WHOLE, "waiting"), a="succeeded", b="held").reason == "waits for b (held)"


def test_a_mapped_step_waits_for_its_open_items_and_each_of_them_for_itself() -> None:
    steps = [OpenStep("fit", WHOLE, "waiting", ready_at=NOON), *(replace(ready("fit"), map_index=n) for n in (0, 4))]
    found = waits_of(Situation("r", PLAN, None, {**STATES, "a": "succeeded"}, steps, [WORKER], NOON))
    assert [(item_name(each.step, each.map_index), each.reason) for each in found] == [
        ("fit", "waits for 2 items of it"),
        ("fit[0]", "a worker takes it next"),
        ("fit[4]", "a worker takes it next"),
    ]


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (ready(), "does not begin: the run is being cancelled (enough)"),
        (OpenStep("b", WHOLE, "held"), "does not begin: the run is being cancelled (enough)"),
        (OpenStep("clean_up", WHOLE, "waiting"), "waits for a (running)"),
        (running(), "attempt 2 is being ended by process 42 on ada: the run is being cancelled (enough)"),
        (replace(running(), name="clean_up"), "attempt 2 is executed by process 42 on ada"),
    ],
)
def test_in_a_run_that_is_being_cancelled_nothing_waits_for_anything_else(step: OpenStep, reason: str) -> None:
    assert wait(step, WORKER, cancel_reason="enough").reason == reason


@pytest.mark.parametrize(
    ("step", "until", "since"),
    [
        (later(), LATER, None),
        (OpenStep("b", WHOLE, "held", ready_at=NOON, decide_by=LATER), LATER, NOON),
        (ready(), None, NOON),
        (later(not_before=NOON), None, NOON),  # its back-off is over: since then it waits for a worker
        (running(), None, NOON),
        (OpenStep("b", WHOLE, "waiting"), None, None),
    ],
)
def test_since_and_until_are_told_where_they_are_known(
    step: OpenStep, until: datetime | None, since: datetime | None
) -> None:
    found = wait(step, WORKER)
    assert (found.until, found.since) == (until, since)
