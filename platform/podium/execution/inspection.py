"""Reads what is on record and holds it to the invariants: a hundred runs at a time, every table once.

It may be run while workers run: it reads one consistent state and takes no lock. Of a million step runs it holds those
of a hundred runs in memory.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa

from podium.dag.plan import Plan
from podium.db.engine import Database
from podium.db.schema import artifact, attempt, event, output, run, step_run, worker
from podium.db.violations import Violation
from podium.errors import DefinitionError
from podium.execution import invariants, liveness, plans, queries, workers
from podium.execution.artifacts import Artifact
from podium.execution.invariants import RunFacts, StepFacts
from podium.execution.items import item_name

_RUNS_AT_ONCE = 100
_ARTIFACTS_AT_ONCE = 1_000
_PLANS_KEPT = 100


class StoredBytes(Protocol):
    """Where the bytes of artifacts lie."""

    def fault(self, stored: Artifact, *, deep: bool) -> str | None:
        """Return what is wrong with an artifact's bytes, None where nothing is; `deep` reads them all."""


def violations(connection: sa.Connection) -> Iterator[Violation]:
    """Yield everything about runs, step runs, attempts, outputs and events that must not be.

    `connection` must see one consistent state, as `Database.read` gives.
    """
    known: dict[str, Plan | None] = {}
    after = ""
    while True:
        rows = connection.execute(
            sa.select(run).where(run.c.run_id > after).order_by(run.c.run_id).limit(_RUNS_AT_ONCE)
        ).all()
        if not rows:
            return
        last = rows[-1].run_id
        for facts in _facts(connection, rows, after, last, known):
            yield from invariants.violations(facts)
        after = last


def artifact_violations(connection: sa.Connection, stored: StoredBytes, *, deep: bool) -> Iterator[Violation]:
    """Yield the artifacts whose bytes are gone or have another size; with `deep`, those that were changed as well."""
    kept = sa.select(artifact).where(artifact.c.removed_at.is_(None))
    for row in connection.execute(kept, execution_options={"yield_per": _ARTIFACTS_AT_ONCE}):
        fault = stored.fault(Artifact(row.digest, row.codec, row.size_bytes, row.inline), deep=deep)
        if fault is not None:
            repair = "Bring it back from a backup, or make it anew: run what made it with `--again`."
            yield Violation("recovery", f"artifact {row.digest}", fault, repair)


def left_behind(database: Database, now: datetime) -> Iterator[Violation]:
    """Yield the attempts of workers that are dead: warnings, because the next worker takes them up by itself.

    It reads them again after it has looked for signs of life: who ended well meanwhile left none.
    """
    with database.read() as connection:
        holding = workers.with_attempts(connection)
    dead = [each for each in holding if liveness.is_dead(each, now)]
    with database.read() as connection:
        for each in dead:
            for left in queries.running_attempts_of(connection, each.worker_id):
                yield Violation(
                    "recovery",
                    f"attempt {left.number} of step {left.label} of run {left.run_id}",
                    f"it is running, and its worker (process {each.process_id} on {each.host}) is dead; the last sign "
                    f"of life was at {left.heartbeat_at:%Y-%m-%d %H:%M:%S} UTC",
                    "The next `podium worker`, or the command that began the run, takes it up at once.",
                    "warning",
                )


def _facts(
    connection: sa.Connection, rows: Sequence[sa.Row[Any]], after: str, last: str, known: dict[str, Plan | None]
) -> Iterator[RunFacts]:
    steps: dict[str, list[StepFacts]] = {row.run_id: [] for row in rows}
    by_id: dict[str, StepFacts] = {}
    by_label: dict[tuple[str, str], StepFacts] = {}
    here = (step_run.c.run_id > after, step_run.c.run_id <= last)
    order = step_run.c.run_id, step_run.c.position, step_run.c.map_index
    for row in connection.execute(sa.select(step_run).where(*here).order_by(*order)):
        facts = StepFacts(row)
        steps[row.run_id].append(facts)
        by_id[row.step_run_id] = by_label[row.run_id, item_name(row.name, row.map_index)] = facts
    attempts = sa.select(attempt, worker.c.ended_at.label("worker_ended_at")).join(step_run).join(worker)
    for row in connection.execute(attempts.where(*here).order_by(attempt.c.step_run_id, attempt.c.number)):
        by_id[row.step_run_id].attempts.append(row)
    maker = attempt.alias("maker")
    outputs = (
        sa.select(output, maker.c.state.label("maker_state"), maker.c.step_run_id.label("maker_step_run_id"))
        .join(step_run, step_run.c.step_run_id == output.c.step_run_id)
        .outerjoin(maker, maker.c.attempt_id == output.c.attempt_id)
    )
    for row in connection.execute(outputs.where(*here)):
        by_id[row.step_run_id].outputs.append(row)
    of_run: dict[str, list[sa.Row[Any]]] = {row.run_id: [] for row in rows}
    events = sa.select(event).where(event.c.run_id > after, event.c.run_id <= last).order_by(event.c.event_id)
    for row in connection.execute(events):
        facts_of_step = by_label.get((row.run_id, row.step)) if row.step is not None else None
        (of_run[row.run_id] if facts_of_step is None else facts_of_step.events).append(row)
    for row in rows:
        if row.plan_digest not in known:
            if len(known) == _PLANS_KEPT:
                known.clear()
            known[row.plan_digest] = _plan(connection, row.plan_digest)
        yield RunFacts(row, known[row.plan_digest], steps[row.run_id], of_run[row.run_id])


def _plan(connection: sa.Connection, digest: str) -> Plan | None:
    try:
        return plans.load(connection, digest)
    except DefinitionError:
        return None
