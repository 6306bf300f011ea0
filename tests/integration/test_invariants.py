"""`podium db check`: whatever somebody changes by hand is found, named and given a repair; what is well is not."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from podium.clock import FakeClock
from podium.dag.plan import Constant, Reference
from podium.db.engine import Database
from podium.db.schema import (
    artifact,
    attempt,
    cost_rollup,
    event,
    ledger_entry,
    output,
    plan,
    run,
    run_rollup,
    step_run,
    worker,
)
from podium.db.violations import Violation
from podium.execution import inspection, queries
from podium.execution.artifacts import ArtifactStore, open_blobs
from podium.execution.codecs import Codecs
from podium.execution.liveness import WorkerLock, host_name
from podium.finops import audit
from tests.execution_world import HandWorker, check_books, days, node, plan_of

CHAIN = plan_of(node("a"), replace(node("b", "a", retries=1), cache=True), node("c", "b"))
MAPPED = plan_of(node("listed"), node("each", over=Reference("listed")), node("last", "each"))
MISSED = plan_of(node("bad"), node("after", "bad"), node("items", over=Constant([1, 2])))


@pytest.fixture
def hand(database: Database, tmp_path: Path) -> HandWorker:
    """Runs in all stages: `whole` succeeded after a failure, `again` took its b over, `missed` failed, `open` is amid
    its b, `mapped` amid its items."""
    hand = HandWorker(database, tmp_path)
    hand.worker("w")
    whole = hand.start(CHAIN, days(1)[0])
    hand.end(hand.claim(whole)[0])
    hand.end(hand.claim(whole)[0], "failed")
    hand.clock.advance(2)
    hand.end(hand.claim(whole)[0])
    hand.end(hand.claim(whole)[0])
    missed = hand.start(MISSED, days(2)[1])
    for claim in hand.claim(missed):
        hand.end(claim, "failed" if claim.step == "bad" else "succeeded")
    again = hand.start(CHAIN, days(1)[0], again=True)
    for _ in range(2):
        hand.end(hand.claim(again)[0])
    opened = hand.start(replace(CHAIN, code_digest="other"), days(3)[2])
    hand.end(hand.claim(opened)[0])
    hand.claim(opened)
    mapped = hand.start(MAPPED, days(4)[3])
    hand.end(hand.claim(mapped)[0], result="[1, 2, 3]")
    hand.end(hand.claim(mapped, limit=2)[0])
    for name, made in (("whole", whole), ("missed", missed), ("again", again), ("open", opened), ("mapped", mapped)):
        with database.write() as connection:
            of = run.c.run_id == made.run_id
            connection.execute(run.update().where(of).values(trigger="api", idempotency_key=name))
    return hand


def of(name: str, step: str | None = None, index: int = -1) -> sa.ColumnElement[bool]:
    """The condition of a run, or of a step run of it."""
    run_id = sa.select(run.c.run_id).where(run.c.idempotency_key == name).scalar_subquery()
    if step is None:
        return run.c.run_id == run_id
    return sa.and_(step_run.c.run_id == run_id, step_run.c.name == step, step_run.c.map_index == index)


def id_of(name: str, step: str, index: int = -1) -> sa.ScalarSelect[str]:
    """The id of a step run."""
    return sa.select(step_run.c.step_run_id).where(of(name, step, index)).scalar_subquery()


def attempts_of(name: str, step: str, index: int = -1) -> sa.ColumnElement[bool]:
    return attempt.c.step_run_id == id_of(name, step, index)


def attempt_id_of(name: str, step: str, number: int = 1) -> sa.ScalarSelect[str]:
    return sa.select(attempt.c.attempt_id).where(attempts_of(name, step), attempt.c.number == number).scalar_subquery()


def steps(name: str, step: str, index: int = -1) -> sa.Update:
    return step_run.update().where(of(name, step, index))


def attempts(name: str, step: str, number: int = 1, index: int = -1) -> sa.Update:
    return attempt.update().where(attempts_of(name, step, index), attempt.c.number == number)


def outputs(name: str, step: str) -> sa.Update:
    return output.update().where(output.c.step_run_id == id_of(name, step))


def entries(name: str, step: str) -> sa.Update:
    return ledger_entry.update().where(ledger_entry.c.attempt_id == attempt_id_of(name, step))


def runs(name: str) -> sa.Update:
    return run.update().where(of(name))


def events(name: str, kind: str, step: str | None = None) -> sa.ColumnElement[bool]:
    run_id = sa.select(run.c.run_id).where(run.c.idempotency_key == name).scalar_subquery()
    return sa.and_(event.c.run_id == run_id, event.c.kind == kind, event.c.step.is_not_distinct_from(step))


NOW = FakeClock().now()
SUCCEEDED = {"state": "succeeded", "ended_at": NOW}
USED = {"wall_seconds": 1.0, "meter_source": "x", "meter_quality": "estimated"}

# What somebody does by hand, the invariant that it breaks, and what is said of it.
CORRUPTIONS: dict[str, tuple[list[sa.Executable], str, str]] = {
    "a gap in the numbers": (
        [attempts("whole", "b", 2).values(number=3)],
        "attempts",
        "its attempts are numbered [1, 3]",
    ),
    "a step run that runs by itself": (
        [steps("open", "c").values(state="running")],
        "attempts",
        "it is running, and no attempt of it is",
    ),
    "an attempt of a step run that waits": (
        [steps("open", "b").values(state="waiting")],
        "waiting",
        "it is waiting, and attempt 1 of it is running",
    ),
    "an attempt of a step run that is ready": (
        [steps("open", "b").values(state="ready")],
        "attempts",
        "it is ready, and attempt 1 of it is running",
    ),
    "an older attempt that runs": (
        [attempts("whole", "b", 1).values(state="running", ended_at=None)],
        "attempts",
        "attempts [1] of [1, 2] are running",
    ),
    "an attempt of a worker that ended": (
        [worker.update().values(ended_at=NOW)],
        "writers",
        "attempt 1 is running, and its worker w ended",
    ),
    "failures that nobody made": ([steps("whole", "b").values(failures=0)], "transactions", "it counts 0 failures"),
    "an attempt that ended otherwise": (
        [attempts("whole", "b", 1).values(state="timed_out")],
        "transactions",
        "its events tell of started 1, failed 1, started 2, succeeded 2, its attempts of started 1, timed_out 1",
    ),
    "an event that is gone": (
        [event.delete().where(events("whole", "attempt.succeeded", "c"))],
        "transactions",
        "its events tell of started 1, its attempts of started 1, succeeded 1",
    ),
    "a move without an event": (
        [event.delete().where(events("whole", "step.succeeded", "c"))],
        "transactions",
        "it succeeded, and its last event is step.ready",
    ),
    "a skip without an event": (
        [event.delete().where(events("missed", "step.skipped", "after"))],
        "transactions",
        "it was skipped, and its last event is missing",
    ),
    "an event of a step that is not there": (
        [event.update().where(events("whole", "step.ready", "c")).values(step="d")],
        "transactions",
        "step.ready, is about d, which it does not have",
    ),
    "an end of a run without an event": (
        [event.delete().where(events("whole", "run.succeeded"))],
        "transactions",
        "it is succeeded, and its events say running",
    ),
    "a count of open steps": (
        [runs("open").values(open_steps=1)],
        "transactions",
        "it counts 1 open steps, and 2 are open",
    ),
    "a count that a step waits on": (
        [steps("open", "c").values(waiting_on=2)],
        "transactions",
        "it waits on 2, and 1 have not ended",
    ),
    "a count of open items": (
        [steps("mapped", "each").values(waiting_on=3)],
        "transactions",
        "it waits on 3, and 2 have not ended",
    ),
    "a step that was not made ready": (
        [steps("mapped", "each", index).values(state="succeeded", ended_at=NOW) for index in (1, 2)],
        "transactions",
        "it waits on 2, and 0 have not ended",
    ),
    "a step that is ready too early": (
        [steps("open", "c").values(state="ready")],
        "transactions",
        "it is ready, and 1 that it waits on have not ended",
    ),
    "a step that the plan skips": (
        [steps("missed", "after").values(state="succeeded")],
        "transactions",
        "it is succeeded, and its plan skips it: bad failed",
    ),
    "a run that nothing moves": (
        [
            attempts("open", "b").values(state="lost", ended_at=NOW, **USED),
            steps("open", "b").values(state="waiting"),
        ],
        "transactions",
        "it is running and nothing will move it: its step runs are 1 succeeded, 2 waiting",
    ),
    "a step that is not of the plan": (
        [steps("whole", "c").values(name="d")],
        "transactions",
        "its plan has the steps a, b, c, on record are a, b, d",
    ),
    "a run that succeeded with a failure": (
        [steps("whole", "c").values(state="failed")],
        "transactions",
        "it succeeded, and its step c failed",
    ),
    "a run that failed without one": (
        [steps("missed", "bad").values(state="succeeded")],
        "transactions",
        "it failed, and no step of it did",
    ),
    "a step that is open in a run that ended": (
        [steps("whole", "c").values(state="ready", ended_at=None)],
        "transactions",
        "it is ready in a run that succeeded",
    ),
    "items with a gap": (
        [steps("mapped", "each", 2).values(map_index=3)],
        "transactions",
        "its items are numbered [0, 1, 3]",
    ),
    "items of a step that is not mapped": (
        [steps("mapped", "each", 2).values(name="last", map_index=0)],
        "transactions",
        "it has 1 items and is not mapped",
    ),
    "a whole that succeeded before its items": (
        [steps("missed", "items", 1).values(state="failed")],
        "transactions",
        "it succeeded, and its item items[1] did not",
    ),
    "an output of another attempt": (
        [outputs("whole", "b").values(attempt_id=attempt_id_of("whole", "b"))],
        "transactions",
        "another attempt made its outputs than succeeded",
    ),
    "outputs of a step that did not succeed": (
        [outputs("whole", "b").values(step_run_id=id_of("open", "b"))],
        "transactions",
        "it is running and has outputs",
    ),
    "an output that is gone": (
        [output.delete().where(output.c.step_run_id == id_of("whole", "c"))],
        "recovery",
        "it succeeded and its output result is gone",
    ),
    "a cached step that nobody made": (
        [outputs("again", "b").values(attempt_id=attempt_id_of("whole", "b", 1))],
        "transactions",
        "it is cached, and no other step made its outputs",
    ),
    "a success without an attempt that succeeded": (
        [attempts("whole", "c").values(state="cancelled")],
        "transactions",
        "it succeeded after the attempts: cancelled",
    ),
    "a meter that saw nothing": (
        [attempts("whole", "c").values(meter_quality="missing")],
        "unknowns",
        "attempt 1, succeeded, has a use on record that no meter saw",
    ),
    "a measure that is not there": (
        [attempts("whole", "c").values(cpu_seconds=None)],
        "unknowns",
        "attempt 1, succeeded, was measured, and its CPU time is not on record",
    ),
    "a measure below zero": ([attempts("whole", "c").values(cpu_seconds=-1.0)], "unknowns", "which is no amount"),
    "a use that came too early": (
        [attempts("open", "b").values(wall_seconds=1.0)],
        "unknowns",
        "attempt 1, running, has its use on record already",
    ),
    "a failure without a reason": (
        [attempts("missed", "bad").values(error=None)],
        "unknowns",
        "attempt 1, failed, does not say why",
    ),
    "an end that is not billed": (
        [ledger_entry.delete().where(ledger_entry.c.attempt_id == attempt_id_of("whole", "a"))],
        "money",
        "it ended, and its cpu is not billed",
    ),
    "an end that is billed twice": (
        [entries("whole", "a").values(attempt_id=attempt_id_of("whole", "c"))],
        "money",
        "it used 1.5 core-seconds, and 3 are billed",
    ),
    "a running attempt that is billed": (
        [entries("whole", "a").values(attempt_id=attempt_id_of("open", "b"))],
        "money",
        "it is running, and 2 ledger entries bill it",
    ),
    "an entry of nobody": (
        [entries("whole", "a").values(attempt_id="nobody")],
        "money",
        "it bills nobody, no attempt",
    ),
    "an unknown price that became 0": (
        [entries("whole", "a").values(amount=Decimal(0))],
        "money",
        "an unknown price is NULL, not 0",
    ),
    "an outcome that the ledger does not know": (
        [entries("whole", "a").values(outcome="failed")],
        "money",
        "it is succeeded, measured, and its cpu is billed as failed, measured",
    ),
    "a rollup": ([cost_rollup.update().values(entries=0)], "money", "ledger entries = rollup entries does not hold"),
    "a rollup of runs": ([run_rollup.delete()], "money", "counted cost = run rollup amount does not hold"),
}


def found(connection: sa.Connection) -> Iterator[Violation]:
    yield from inspection.violations(connection)
    yield from audit.violations(connection)


def allow_changes_of_the_ledger(connection: sa.Connection) -> None:
    """Take away what refuses them, as somebody who owns the database can."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("ALTER TABLE ledger_entry DISABLE TRIGGER USER")
        return
    triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'ledger_entry'"
    for (name,) in connection.exec_driver_sql(triggers).all():
        connection.exec_driver_sql(f'DROP TRIGGER "{name}"')


def test_what_is_well_is_not_complained_about(hand: HandWorker) -> None:
    check_books(hand.database)


def test_every_corruption_is_found_named_and_given_a_repair(hand: HandWorker) -> None:
    missed = {}
    with hand.database.write() as connection:
        allow_changes_of_the_ledger(connection)
        for name, (statements, invariant, words) in CORRUPTIONS.items():
            savepoint = connection.begin_nested()
            touched = [connection.execute(statement).rowcount for statement in statements]
            said = list(found(connection))
            savepoint.rollback()
            named = {each.invariant for each in said if words in each.fact}
            told = all(each.repair and each.object and each.severity == "broken" for each in said)
            if not (all(touched) and named == {invariant} and told):
                missed[name] = [touched, *map(str, said)]
    assert missed == {}
    check_books(hand.database)


def test_a_plan_of_another_version_is_a_warning_and_the_rest_is_checked(hand: HandWorker) -> None:
    with hand.database.write() as connection:
        connection.execute(plan.update().values(document={"version": 0}))
        assert {each.severity for each in found(connection)} == {"warning"}
        connection.execute(runs("open").values(open_steps=1))
        assert [each.fact for each in found(connection) if each.severity == "broken"] == [
            "it counts 1 open steps, and 2 are open"
        ]


def test_the_repair_of_a_wait_repairs_it(hand: HandWorker) -> None:
    with hand.database.write() as connection:
        connection.execute(steps("open", "c").values(waiting_on=2))
    with hand.database.read() as connection:
        (violation,) = found(connection)
        run_id = connection.scalar(sa.select(run.c.run_id).where(of("open")))
        attempt_id = connection.scalar(sa.select(attempt_id_of("open", "b")))
    assert run_id is not None
    assert attempt_id is not None
    first, second = f"podium runs cancel {run_id} --reason repair", f"podium runs resume {run_id} --reason repair"
    assert violation.repair == f"`{first}`, then `{second}`."
    hand.service.cancel(run_id, reason="repair")
    with hand.database.write() as connection:  # its worker notices the cancel
        row = queries.running_attempt(connection, attempt_id)
        assert row is not None
        hand.end_row(connection, row, "cancelled")
    hand.service.resume(run_id, replace(CHAIN, code_digest="other"), reason="repair")
    check_books(hand.database)


def test_the_repair_of_a_count_repairs_it(hand: HandWorker) -> None:
    with hand.database.write() as connection:
        connection.execute(runs("open").values(open_steps=7))
        (violation,) = found(connection)
        connection.exec_driver_sql(violation.repair.split("`")[1])
    check_books(hand.database)


def test_attempts_of_a_dead_worker_are_a_warning_until_they_are_taken_up(hand: HandWorker, tmp_path: Path) -> None:
    lock = WorkerLock(tmp_path / "locks", "here")
    with hand.database.write() as connection:
        connection.execute(worker.update().values(host=host_name(), lock_path=str(lock.path)))
    look: Callable[[], list[Violation]] = lambda: list(inspection.left_behind(hand.database, hand.clock.now()))  # noqa: E731
    assert look() == []
    lock.release(left_attempts=True)
    assert [each.severity for each in look()] == ["warning"] * 2
    assert {each.object.split(" of ")[1] for each in look()} == {"step b", "step each[1]"}


def test_artifacts_that_are_gone_or_changed_are_found(hand: HandWorker, tmp_path: Path) -> None:
    store = ArtifactStore(open_blobs(str(tmp_path / "artifacts"), tmp_path), Codecs(()))
    kept, changed, shorter, gone = (store.put([number] * 3_000) for number in range(4))
    with hand.database.write() as connection:
        connection.execute(
            artifact.insert(),
            [
                {"digest": each.digest, "codec": each.codec, "size_bytes": each.size_bytes, "stored_at": NOW}
                for each in (kept, changed, shorter, gone)
            ],
        )
    places = {each: tmp_path / "artifacts" / each.digest[:2] / each.digest for each in (changed, shorter, gone)}
    places[changed].write_bytes(b"x" * changed.size_bytes)
    places[shorter].write_bytes(b"x")
    places[gone].unlink()

    def objects(*, deep: bool) -> set[str]:
        with hand.database.read() as connection:
            found = list(inspection.artifact_violations(connection, store, deep=deep))
        return {each.object.removeprefix("artifact ") for each in found}

    assert objects(deep=False) == {shorter.digest, gone.digest}
    assert objects(deep=True) == {changed.digest, shorter.digest, gone.digest}
    with hand.database.write() as connection:
        small = sa.select(artifact.c.digest).where(artifact.c.inline.is_not(None)).limit(1).scalar_subquery()
        connection.execute(artifact.update().where(artifact.c.digest == small).values(inline=b"2"))
    assert len(objects(deep=True)) == 4
