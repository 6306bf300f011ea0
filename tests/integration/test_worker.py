"""A worker that serves every run of a project, on both databases."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from podium.cli.run_report import print_run
from podium.dag.plan import Plan
from podium.db.engine import Database
from podium.db.schema import plan as plan_table
from podium.db.schema import worker as worker_table
from podium.execution import plans, queries, workers
from podium.execution.entities import Happening, Run
from podium.execution.liveness import host_name
from podium.execution.progress import Progress
from podium.execution.situations import open_workers
from podium.execution.waiting import SeenWorker
from podium.wiring.plans import load_plans
from podium.wiring.project import LedgerAdapter
from podium.wiring.runs import Observer, foreground, serving
from tests.execution_world import ACTOR, ONE_STEP, FlowProject, attempts, claim_of, days, is_gone, only, states

PATIENCE_SECONDS = 60.0
IT = "@step\ndef it() -> int:\n    return 1\n" + ONE_STEP


NARROW = """
from podium import Interval, pipeline, step

@step
def it() -> int:
    return 1

@pipeline(model="narrow", team="research", environment="dev")
def narrow(day: Interval) -> None:
    it()
"""


@pytest.fixture
def flow(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> FlowProject:
    monkeypatch.setenv("PODIUM_DATABASE_URL", database.url)
    return FlowProject(tmp_path / "flows")


def start(flow: FlowProject, plan: Plan | None = None, day: int = 0) -> Run:
    """Put a run on record and leave it to whoever executes it."""
    plan = plan or flow.plan()
    flow.project.require_prices(plan)
    return flow.project.execution.start(plan, days(day + 1)[day], parameters={}, actor=ACTOR)


def all_ended(flow: FlowProject, runs: Sequence[Run]) -> bool:
    with flow.project.database.read() as connection:
        return all(queries.get_run(connection, run.run_id).state not in ("queued", "running") for run in runs)


def serve(flow: FlowProject, until: Callable[[], bool], observe: Observer = lambda _: None) -> None:
    """Serve the project until something is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with serving(flow.project, observe) as worker:
        worker.serve(lambda: until() or time.monotonic() > deadline)
    assert until(), f"nothing came of it within {PATIENCE_SECONDS:g} s"


def test_every_open_run_is_executed_and_its_end_is_told_once(flow: FlowProject) -> None:
    flow.write(IT)
    plan = flow.plan()
    runs = [start(flow, plan, day) for day in range(3)]
    told: list[Happening] = []
    serve(flow, lambda: all_ended(flow, runs), told.append)
    assert [flow.document(run)["state"] for run in runs] == ["succeeded"] * 3
    assert all(len(attempts(flow.document(run), "it")) == 1 for run in runs)
    ends = [each.run_id for each in told if each.kind == "run.succeeded"]
    assert sorted(ends) == sorted(run.run_id for run in runs)


def test_a_run_that_comes_after_a_wide_one_does_not_wait_for_its_end(flow: FlowProject) -> None:
    flow.write("""
@step
def it(number: int) -> int:
    return number
---
def flow(day: Interval) -> None:
    for number in range(20):
        it.named(f"it_{number}")(number)
""")
    (flow.root / "pipelines" / "narrow.py").write_text(NARROW)
    loaded = load_plans(flow.project)
    wide, later = (start(flow, loaded.plan(name)) for name in ("flow", "narrow"))
    told: list[Happening] = []
    serve(flow, lambda: all_ended(flow, [wide, later]), told.append)
    assert [each.run_id for each in told if each.kind == "run.succeeded"] == [later.run_id, wide.run_id]


def test_a_run_whose_plan_cannot_be_read_is_told_and_the_others_go_on(flow: FlowProject) -> None:
    flow.write(IT)
    unreadable = start(flow)
    with flow.project.database.write() as connection:
        connection.execute(sa.update(plan_table).values(document={"version": 0, "timezone": "UTC"}))
    flow.write("# changed\n" + IT)
    readable = start(flow, day=1)
    told: list[Happening] = []
    serve(flow, lambda: all_ended(flow, [readable]), told.append)
    assert flow.document(readable)["state"] == "succeeded"
    (failed,) = [each for each in told if each.kind == "claim.failed"]
    assert failed.run_id == unreadable.run_id
    assert failed.reason


def test_a_run_whose_code_was_edited_since_fails_once_and_says_what_to_do(flow: FlowProject) -> None:
    flow.write(IT.replace("@step", "@step(retries=3)"))
    run = start(flow)
    flow.write("# edited\n" + IT)
    serve(flow, lambda: all_ended(flow, [run]))
    error = only(flow.document(run))["error"]
    assert "changed since the run was planned" in error
    assert "`podium runs resume` goes on with the code it finds" in error


def test_a_run_whose_end_cannot_be_written_fails_and_the_others_go_on(
    flow: FlowProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.write(IT)
    plan = flow.plan()
    broken, sound = start(flow, plan), start(flow, plan, day=1)

    def outcome_of(connection: sa.Connection, run_id: str) -> str:
        if run_id == broken.run_id:
            raise ZeroDivisionError("no outcome")
        return "none"

    ends = Progress(LedgerAdapter(flow.project.ledger), outcome_of)
    monkeypatch.setitem(vars(flow.project), "progress", ends)
    serve(flow, lambda: all_ended(flow, [broken, sound]))
    assert [flow.document(run)["state"] for run in (broken, sound)] == ["failed", "succeeded"]
    error = only(flow.document(broken))["error"]
    assert error == "its end, succeeded, could not be written down: ZeroDivisionError: no outcome"


def test_what_a_dead_worker_left_is_rescued_while_others_are_served(flow: FlowProject, tmp_path: Path) -> None:
    flow.write(IT)
    run = start(flow)
    lock = tmp_path / "dead.lock"
    lock.touch()  # and nobody holds it
    now = flow.project.clock.now()
    with flow.project.database.write() as connection:
        workers.start_worker(connection, "dead", host_name(), 4242, str(lock), now)
        plan = plans.load(connection, run.plan_digest)
        claimed = claim_of(connection, "dead", run_id=run.run_id, limit=1, plan=plan, lease_seconds=600, now=now)
    assert len(claimed) == 1
    serve(flow, lambda: all_ended(flow, [run]))
    assert [each["state"] for each in attempts(flow.document(run), "it")] == ["lost", "succeeded"]


def test_a_worker_that_is_stopped_leaves_what_ran_claimable_and_spends_no_retry(flow: FlowProject) -> None:
    flow.write("""
@step
def it() -> int:
    if not Path("begun").exists():
        Path("begun").touch()
        signal.pause()
    return 1
---
def flow(day: Interval) -> None:
    it()
""")
    run = start(flow)
    told: list[Happening] = []
    serve(flow, (flow.root / "begun").exists, told.append)
    assert told[-1].kind == "step.ready"
    serve(flow, lambda: all_ended(flow, [run]))
    assert [each["state"] for each in attempts(flow.document(run), "it")] == ["cancelled", "succeeded"]


def test_a_run_that_comes_while_no_slot_is_ever_free_goes_first_if_it_is_urgent(flow: FlowProject) -> None:
    flow.write("""
@step
def it(number: int) -> None:
    pass
---
def flow(day: Interval) -> None:
    it.map(list(range(120)))
""")
    source = (flow.root / "pipelines" / "flow.py").read_text()
    for old, new in (("range(120)", "range(1)"), ("def flow", "def urgent"), ('"dev"', '"dev", priority=100')):
        source = source.replace(old, new)
    (flow.root / "pipelines" / "urgent.py").write_text(source)
    urgent_plan = load_plans(flow.project).plan("urgent")
    wide = start(flow)
    asked: list[Run] = []
    order: list[str] = []

    def told(happening: Happening) -> None:
        if happening.kind == "attempt.started":
            order.append(happening.run_id)
        if len(order) == 10 and not asked:
            asked.append(flow.project.execution.start(urgent_plan, days(1)[0], parameters={}, actor=ACTOR))

    serve(flow, lambda: all_ended(flow, [wide, *asked]) and bool(asked), told)
    assert order.index(asked[0].run_id) < 100


def test_a_worker_that_drains_claims_nothing_more_and_lets_what_runs_come_to_its_end(tmp_path: Path) -> None:
    flow = FlowProject(tmp_path / "draining", "drain_seconds = 60\n")
    flow.write("""
@step
def first() -> int:
    Path("begun").touch()
    while not Path("go on").exists():
        time.sleep(0.01)
    return 1

@step
def second(number: int) -> int:
    return number + 1
---
def flow(day: Interval) -> None:
    second(first())
""")
    run = start(flow)
    seen: list[datetime | None] = []

    def told(happening: Happening) -> None:
        if happening.kind == "attempt.succeeded":
            with flow.project.database.read() as connection:
                seen.append(connection.scalar(sa.select(worker_table.c.draining_at)))

    def begun() -> bool:
        if not (flow.root / "begun").exists():
            return False
        (flow.root / "go on").touch()
        return True

    serve(flow, begun, told)
    document = flow.document(run)
    assert states(document) == {"first": "succeeded", "second": "ready"}
    assert [each is not None for each in seen] == [True]
    serve(flow, lambda: all_ended(flow, [run]))
    assert [each["state"] for each in attempts(flow.document(run), "first")] == ["succeeded"]


PAUSING = """
@step
def it(number: int) -> int:
    Path(f"begun {number}").write_text(str(os.getpid()))
    signal.pause()
    return number
---
def flow(day: Interval) -> None:
    for number in range(4):
        it.named(f"it_{number}")(number)
"""


def test_a_run_that_is_cancelled_loses_its_slots_and_ends_as_cancelled(flow: FlowProject) -> None:
    flow.write(PAUSING)
    run = start(flow)
    begun = [flow.root / f"begun {number}" for number in range(2)]
    asked: list[Run] = []

    def cancelled_once_it_fills_both_slots() -> bool:
        if not asked and all(path.exists() and path.read_text() for path in begun):
            asked.append(flow.project.execution.cancel(run.run_id, reason="enough"))
        return bool(asked) and all_ended(flow, [run])

    told: list[Happening] = []
    serve(flow, cancelled_once_it_fills_both_slots, told.append)
    assert [each.state for each in asked] == ["running"]
    document = flow.document(run)
    assert (document["state"], document["reason"]) == ("cancelled", "enough")
    assert set(states(document).values()) == {"cancelled"}
    ends = [(each["state"], each["error"]) for step in document["steps"] for each in step["attempts"]]
    assert ends == [("cancelled", "run cancelled: enough")] * 2
    assert all(each["meter_quality"] == "measured" for step in document["steps"] for each in step["attempts"])
    assert all(is_gone(int(path.read_text())) for path in begun)
    kinds = [each.kind for each in told if each.kind.startswith("run.")]
    assert kinds == ["run.started", "run.cancel_requested", "run.cancelled"]


def test_a_run_in_the_foreground_that_is_cancelled_ends(flow: FlowProject) -> None:
    flow.write(PAUSING)
    run = start(flow)

    def cancel_once_it_runs(happening: Happening) -> None:
        if happening.kind == "attempt.started":
            flow.project.execution.cancel(run.run_id, reason="enough")

    document = flow.execute(run, cancel_once_it_runs)
    assert (document["state"], document["reason"]) == ("cancelled", "enough")


def test_a_snoozed_step_has_no_slot_and_the_run_says_what_it_waits_for(
    flow: FlowProject, capsys: pytest.CaptureFixture[str]
) -> None:
    flow.write("""
from podium.execution.context import Snooze

@step
def it() -> int:
    raise Snooze(300, "the door is shut")
---
def flow(day: Interval) -> None:
    it()
""")
    run = start(flow)
    told: list[Happening] = []
    serve(flow, lambda: any(each.kind == "step.snoozed" for each in told), told.append)
    document = flow.document(run)
    assert (document["state"], states(document)) == ("running", {"it": "waiting"})
    assert only(document)["state"] == "snoozed"
    print_run(document)
    until = f"{datetime.fromisoformat(document['steps'][0]['not_before']):%Y-%m-%d %H:%M:%S} UTC"
    (waiting,) = document["waiting"]
    assert (waiting["step"], waiting["until"]) == ("it", document["steps"][0]["not_before"])
    assert waiting["reason"] == f"snoozed until {until}: the door is shut"
    assert "snoozed until" in capsys.readouterr().out


def test_two_pipelines_at_once_each_keep_a_slot_warm(flow: FlowProject) -> None:
    source = """
@step
def first() -> list[int]:
    return [os.getpid()]

@step
def second(before: list[int]) -> list[int]:
    return [*before, os.getpid()]

@step
def it(before: list[int]) -> list[int]:
    return [*before, os.getpid()]
---
def flow(day: Interval) -> None:
    it(second(first()))
"""
    flow.write(source)
    pipelines = flow.root / "pipelines"
    text = (pipelines / "flow.py").read_text()
    (pipelines / "other.py").write_text(text.replace("def flow(", "def other(").replace('"model"', '"another"'))
    loaded = load_plans(flow.project)
    runs = [start(flow, loaded.plan(name)) for name in ("flow", "other")]
    serve(flow, lambda: all_ended(flow, runs))
    slots = [set(flow.value(flow.document(run), "it")) for run in runs]
    assert [len(each) for each in slots] == [1, 1]
    assert slots[0] != slots[1]


def test_a_foreground_run_beside_a_worker_is_shared_and_both_notice_its_end(flow: FlowProject) -> None:
    flow.write("""
@step
def it(number: int) -> int:
    with open("done", "a") as file:
        file.write(f"{number}\\n")
    return number

@step
def last(a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    return a + b + c + d + e + f
---
def flow(day: Interval) -> None:
    last(*(it.named(f"it_{number}")(number) for number in range(6)))
""")
    run, plan = start(flow), flow.plan()
    ended: list[str] = []

    def run_in_the_foreground() -> None:
        project = flow.another()
        with foreground(project, plan, lambda _: None) as worker:
            ended.append(worker.execute(run.run_id).state)
        project.close()

    thread = threading.Thread(target=run_in_the_foreground)
    thread.start()
    serve(flow, lambda: bool(ended))
    thread.join()
    document = flow.document(run)
    assert ended == ["succeeded"]
    assert set(states(document).values()) == {"succeeded"}
    assert all(len(step["attempts"]) == 1 for step in document["steps"])
    assert sorted((flow.root / "done").read_text().split()) == [str(number) for number in range(6)]


def test_an_idle_worker_soon_starts_a_run_that_comes(flow: FlowProject) -> None:
    flow.write(IT)
    plan = flow.plan()
    began = time.monotonic()
    runs: list[Run] = []

    def a_run_comes_and_ends() -> bool:
        if not runs and time.monotonic() > began + 0.5:
            runs.append(start(flow, plan))
        return bool(runs) and all_ended(flow, runs)

    serve(flow, a_run_comes_and_ends)
    with flow.project.database.read() as connection:
        row = queries.run_rows(connection, [runs[0].run_id])[runs[0].run_id]
    assert (row.started_at - row.created_at).total_seconds() < 2.0  # it looks four times a second


def test_a_worker_shows_that_it_is_alive_with_what_it_has_and_whose_runs_it_takes(flow: FlowProject) -> None:
    flow.write(IT)
    seen: list[SeenWorker] = []

    def look(_: object = None) -> None:
        with flow.project.database.read() as connection:
            seen.extend(open_workers(connection, flow.project.clock.now()))

    def shown() -> bool:
        look()
        return any(worker.slots for worker in seen)

    serve(flow, shown)
    run = start(flow)
    with foreground(flow.project, flow.plan(), look) as worker:  # told of what happens, it looks
        worker.execute(run.run_id)
    serving_one = next(each for each in seen if each.for_any_run and each.slots)
    own = next(each for each in seen if not each.for_any_run)
    assert (serving_one.alive, serving_one.for_any_run, serving_one.slots) == (True, True, 2)
    assert serving_one.cpu
    assert serving_one.memory_bytes
    assert (own.for_any_run, own.process_id) == (False, os.getpid())
    with flow.project.database.read() as connection:
        assert open_workers(connection, flow.project.clock.now()) == []
