"""Approvals in the database: a step run that is `held` until a person, or its deadline, decides.

No attempt is made and no worker is held. The decision is the step's output, as small JSON that no attempt made, so
that conditions and later steps read it like any other. What was shown is written down by its digests with the
question and again with the decision: it says what the decision was about.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from podium import ids
from podium.dag.options import duration
from podium.dag.plan import Plan, StepNode
from podium.db.prepared import Prepared
from podium.db.schema import step_run
from podium.errors import InternalError
from podium.execution import attempt_store, outputs, queries, store, waking
from podium.execution.artifacts import Artifact
from podium.execution.entities import Actor
from podium.execution.items import WHOLE
from podium.execution.reads import digest_of, read_by

_SHOWN_CHARACTERS = 12


@dataclass(frozen=True)
class Choice:
    """What is decided, why, and by whom: None where the time for it ran out."""

    approved: bool
    reason: str
    actor: Actor | None = None

    @property
    def event(self) -> str:
        """The kind of event to record."""
        return "step.approved" if self.approved else "step.rejected"


def hold(connection: sa.Connection, run_id: str, plan: Plan, node: StepNode, now: datetime) -> None:
    """Ask: hold a waiting step run until it is decided about, or for as long as its plan says."""
    if node.timeout_seconds is None:
        raise InternalError(f"The approval {node.name} of run {run_id} has no deadline.")
    decide_by = now + timedelta(seconds=node.timeout_seconds)
    held = connection.execute(
        store.of_step(run_id, node.name)
        .where(step_run.c.state == "waiting")
        .values(state="held", reason=node.message, ready_at=now, decide_by=decide_by)
    )
    if held.rowcount != 1:
        raise InternalError(f"The approval {node.name} of run {run_id} was not waiting when it was to be held.")
    reason = question(node, shown(connection, run_id, plan, node))
    store.record(connection, run_id, "step.held", now, step=node.name, reason=reason)


def decide(connection: sa.Connection, run_id: str, plan: Plan, node: StepNode, choice: Choice, now: datetime) -> bool:
    """Let a held step run succeed with what was decided; False, and nothing written, if it is not held any more.

    Nor if it is decided by nobody and its time is not over: it may be held anew since somebody looked. Its dependents
    are the caller's to tell.
    """
    by = choice.actor.name if choice.actor is not None else None
    is_due = sa.true() if choice.actor is not None else step_run.c.decide_by <= now
    decided = connection.execute(
        store.of_step(run_id, node.name)
        .where(step_run.c.state == "held", is_due)
        .values(state="succeeded", reason=choice.reason, decide_by=None, decided_by=by, ended_at=now)
    )
    if decided.rowcount != 1:
        return False
    made = outputs_of(node, choice)
    attempt_store.store_outputs(connection, queries.step_run_id(connection, run_id, node.name), None, made, now)
    reason = answer(choice, shown(connection, run_id, plan, node))
    store.record(connection, run_id, choice.event, now, step=node.name, reason=reason)
    return True


def outputs_of(node: StepNode, choice: Choice) -> dict[str, Artifact]:
    """Return what a decision is stored as, by the names that the plan has for it."""
    by = choice.actor.name if choice.actor is not None else None
    made = {"approved": choice.approved, "by": by, "reason": choice.reason}
    return {name: _json(value) for name, value in made.items() if name in node.outputs}


def question(node: StepNode, digests: Mapping[str, str]) -> str:
    """Return how the history tells what is asked, and about what."""
    return f"{node.message}{_about(digests)}"


def answer(choice: Choice, digests: Mapping[str, str]) -> str:
    """Return how the history tells what was decided, by whom and about what."""
    who = f"{choice.actor.told}: " if choice.actor is not None else ""
    return f"{who}{choice.reason}{_about(digests)}"


def by_default(node: StepNode) -> Choice:
    """Return what is decided when nobody decided in time."""
    seconds = node.timeout_seconds or 0.0
    return Choice(node.default == "approve", f"nobody decided within {duration(seconds)}")


def shown(connection: sa.Connection, run_id: str, plan: Plan, node: StepNode) -> dict[str, str]:
    """Return the digest of each output that an approval shows, by `step.output`."""
    reads = read_by(plan, node, WHOLE)
    stored = outputs.stored(connection, run_id, plan, set(reads.values()))
    return {name: digest_of(stored[read]) for name, read in reads.items()}


def overdue(connection: sa.Connection, now: datetime) -> list[tuple[str, str]]:
    """Return run and step of each held step run that nobody decided about in time."""
    query = sa.select(step_run.c.run_id, step_run.c.name).where(
        sa.text("step_run.state = 'held'"),  # word for word the index'
        step_run.c.decide_by <= now,
    )
    return [(row.run_id, row.name) for row in connection.execute(query)]


def held(connection: sa.Connection, run_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the steps that are held for a decision, by run, of those of `run_ids` that have any."""
    query = (
        sa.select(step_run.c.run_id, step_run.c.name)
        .where(sa.text("step_run.state = 'held'"), step_run.c.run_id.in_(run_ids))
        .order_by(step_run.c.position)
    )
    found: dict[str, list[str]] = {}
    for row in connection.execute(query):
        found.setdefault(row.run_id, []).append(row.name)
    return found


def waits_for_a_person(connection: sa.Connection, run_id: str, elsewhere: Collection[str] = ()) -> bool:
    """Tell whether all that could go on in a run is held: nothing of it runs, may start, or comes at a time.

    `elsewhere` are the keys of step runs that snooze until a person decides about something outside the run.
    """
    states = {row[0] for row in _GOING_ON.rows(connection, {"of_run": run_id})}
    if elsewhere and "waiting" in states and waking.all_wait_for(connection, run_id, elsewhere):
        states = states - {"waiting"} | {"held"}
    return states == {"held"}


def _about(digests: Mapping[str, str]) -> str:
    told = ", ".join(f"{name} {digest[:_SHOWN_CHARACTERS]}" for name, digest in digests.items())
    return f" (about {told})" if told else ""


def _json(value: bool | str | None) -> Artifact:  # noqa: FBT001 - a value, and no switch
    data = json.dumps(value, ensure_ascii=False).encode()
    return Artifact(ids.digest_bytes(data), "json", len(data), data)


_GOING_ON = Prepared(
    sa.select(step_run.c.state)
    .where(
        step_run.c.run_id == sa.bindparam("of_run"),
        sa.text("(step_run.state IN ('ready', 'running', 'held') OR step_run.not_before IS NOT NULL)"),
    )
    .distinct()
)
