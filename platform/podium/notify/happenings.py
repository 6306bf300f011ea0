"""Alerts from what is on record: the executor's events and the history of champions.

It reads the tables `event`, `run`, `step_run`, `attempt`, `plan`, `promotion`, `promotion_history` and
`model_version`, which others write in transactions of their own, and writes none of them: whatever becomes of alerts,
no run waits for them.

What is odd on record hides nothing else: an alert is made with what is known, and where none can be, that is yielded.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from podium.dag.interval import Interval, time_zone
from podium.db.schema import alert, attempt, event, model_version, plan, promotion, promotion_history, run, step_run
from podium.db.schema.columns import is_in
from podium.db.schema.execution import TOLD
from podium.errors import InvalidInterval
from podium.notify import texts
from podium.notify.containment import contained
from podium.notify.entities import Alert, Subject, Untold
from podium.notify.rules import Rules
from podium.settings import AlertEvent

_EVENTS: Mapping[str, AlertEvent] = {
    "run.failed": "run_failed",
    "run.deadline_passed": "deadline_missed",
    "step.held": "held",
}
_FACTS: Mapping[tuple[str, str], AlertEvent] = {
    ("promote", "applied"): "promotion",
    ("rollback", "applied"): "rollback",
    ("promote", "proposed"): "held",
    ("watch", "noticed"): "champion_moved",
    ("watch", "restored"): "champion_moved",
    ("adopt", "adopted"): "champion_moved",
}
"""What is told of the history of champions, by action and state."""
_AT_ONCE = 500  # keys in a list of a statement
_OF_RUN = (  # none that holds a document: one that cannot be read would hide every row read with it
    run.c.run_id,
    run.c.pipeline,
    run.c.model,
    run.c.team,
    run.c.environment,
    run.c.plan_digest,
    run.c.interval_start,
    run.c.interval_end,
    run.c.cancel_requested_at,
    run.c.deadline_at,
)


def of_events(connection: sa.Connection, rules: Rules, after: int) -> Iterator[Alert | Untold]:
    """Yield what the rules tell of the events behind the one numbered `after`, but for what has its alert."""
    rows = connection.execute(
        sa.select(
            event.c.event_id,
            event.c.kind,
            event.c.step,
            event.c.reason.label("event_reason"),
            event.c.at,
            *_OF_RUN,
        )
        .join(run, run.c.run_id == event.c.run_id)
        .where(
            sa.text(is_in("event.kind", TOLD)),  # the index' condition
            event.c.kind.in_(list(_EVENTS)),
            event.c.event_id > after,
        )
        .order_by(event.c.event_id)
    ).all()
    known = _known(connection, (f"event:{row.event_id}" for row in rows))
    for row in rows:
        kind, subject, key = _EVENTS[row.kind], _subject(row), f"event:{row.event_id}"
        targets = _targets(rules, kind, subject, row)
        if targets and key not in known:
            what = f"No {kind} alert for run {row.run_id} of {row.pipeline}"
            untold = Untold(key, what, f"see `podium runs show {row.run_id}`", row.run_id)
            yield contained(untold, _of_event, connection, kind, subject, targets, row)


def of_history(connection: sa.Connection, rules: Rules, model: str, after: int) -> Iterator[Alert | Untold]:
    """Yield what the rules tell of a model's history behind the entry numbered `after`: moves, and what is proposed."""
    names = ("id", "at", "action", "state", "from_version", "to_version", "actor", "reason", "promotion_id")
    facts = sa.select(*(promotion_history.c[name] for name in names)).where(
        promotion_history.c.model == model,
        promotion_history.c.id > after,
        sa.tuple_(promotion_history.c.action, promotion_history.c.state).in_(list(_FACTS)),
    )
    for row in connection.execute(facts.order_by(promotion_history.c.id)).all():
        key = f"history:{model}:{row.id}"
        what = f"No alert for entry {row.id} of the history of {model}"
        untold = Untold(key, what, f"see `podium models history {model}`")
        found = contained(untold, _of_fact, connection, rules, model, key, row)
        if found is not None:
            yield found


def newest_event(connection: sa.Connection) -> int:
    """Return the number of the newest event that can be seen; 0 without one."""
    return connection.scalar(sa.select(sa.func.max(event.c.event_id))) or 0


def newest_moves(connection: sa.Connection) -> dict[str, int]:
    """Return by model the number of its newest entry of the history."""
    query = sa.select(promotion_history.c.model, sa.func.max(promotion_history.c.id).label("newest")).group_by(
        promotion_history.c.model
    )
    return {row.model: row.newest for row in connection.execute(query)}


def run_facts(connection: sa.Connection, row: Any) -> tuple[texts.RunFacts, Mapping[str, Any]]:
    """Return how a run is called, and the document of its plan; `row` has the columns of `run`."""
    document = plan_document(connection, row.plan_digest)
    interval = _interval(row.interval_start, row.interval_end, document.get("timezone", "UTC"))
    return texts.RunFacts(row.run_id, row.pipeline, interval), document


def plan_document(connection: sa.Connection, digest: str) -> Mapping[str, Any]:
    """Return the document of a plan; an empty one where it is gone or cannot be read."""
    try:
        document = connection.scalar(sa.select(plan.c.document).where(plan.c.digest == digest))
    except ValueError:  # no JSON
        return {}
    return document if isinstance(document, Mapping) else {}


def _interval(start: datetime, end: datetime, zone: object) -> str:
    """Return an interval's name in a zone; in UTC, and with that word, where this host does not know the zone."""
    try:
        known = time_zone(zone) if isinstance(zone, str) else None
    except InvalidInterval:
        known = None
    shown = known or UTC
    name = Interval(start.astimezone(shown), end.astimezone(shown)).name
    return name if known else f"{name} UTC"


def _of_fact(connection: sa.Connection, rules: Rules, model: str, key: str, row: Any) -> Alert | None:
    """Return the alert for an entry of a model's history; None where no rule tells of it."""
    kind, made = _FACTS[row.action, row.state], _made(connection, model, row.to_version or row.from_version)
    subject = Subject(model=model) if made is None else _subject(made)
    targets = rules.targets(kind, subject)
    if not targets:
        return None
    versions = (row.from_version, row.to_version)
    if kind == "champion_moved":
        title, body = texts.moved_outside(model, row.state, versions, row.actor, row.reason, row.at)
    elif kind == "held":
        asked = _asked(connection, row.promotion_id)
        title, body = texts.awaits_approval(model, versions, row.actor, row.reason, asked, row.at)
    else:
        title, body = texts.moved(model, kind, versions, row.actor, row.reason, row.at)
    return Alert(
        key=key,
        event=kind,
        subject=subject,
        title=title,
        body=body,
        happened_at=row.at,
        targets=targets,
        run_id=None if made is None else made.run_id,
        facts={
            "from_version": row.from_version,
            "to_version": row.to_version,
            "actor": row.actor,
            "state": row.state,
            "reason": row.reason,
            "promotion_id": row.promotion_id,
        },
    )


def _asked(connection: sa.Connection, promotion_id: str) -> texts.Asked:
    """Return what people are asked about a promotion; until None where it was decided meanwhile."""
    columns = promotion.c.state, promotion.c.approvals_required, promotion.c.expires_at
    found = connection.execute(sa.select(*columns).where(promotion.c.promotion_id == promotion_id)).one()
    until = found.expires_at if found.state == "awaiting_approval" else None
    return texts.Asked(promotion_id, found.approvals_required, until)


def _targets(rules: Rules, kind: AlertEvent, subject: Subject, row: Any) -> tuple[str, ...]:
    """Return whom to tell of an event; who hears that a deadline was missed need not hear that its run failed then."""
    told = rules.targets(kind, subject)
    stopped_at, deadline_at = row.cancel_requested_at, row.deadline_at
    if kind == "run_failed" and stopped_at is not None and deadline_at is not None and stopped_at >= deadline_at:
        heard = rules.targets("deadline_missed", subject)
        return tuple(target for target in told if target not in heard)
    return told


def _of_event(
    connection: sa.Connection, kind: AlertEvent, subject: Subject, targets: tuple[str, ...], row: Any
) -> Alert:
    facts, document = run_facts(connection, row)
    step: str | None = row.step
    if kind == "run_failed":
        failure = _failure(connection, row.run_id)
        step = None if failure is None else failure.step
        title, body = texts.run_failed(facts, failure, row.event_reason, row.at)
    elif kind == "deadline_missed":
        title, body = texts.deadline_missed(facts, row.event_reason, row.at)
    else:
        decide_by, default = _decision(connection, row.run_id, row.step, document)
        title, body = texts.held(facts, row.step, row.event_reason, decide_by, default, row.at)
    return Alert(
        key=f"event:{row.event_id}",
        event=kind,
        subject=subject,
        title=title,
        body=body,
        happened_at=row.at,
        targets=targets,
        run_id=row.run_id,
        facts={"step": step, "interval": facts.interval, "reason": row.event_reason},
    )


def _failure(connection: sa.Connection, run_id: str) -> texts.Failure | None:
    """Return what of a run failed first, by the order of its steps; None if it was not an attempt."""
    query = (
        sa.select(step_run.c.step_run_id, step_run.c.name, step_run.c.map_index, step_run.c.reason, attempt.c.error)
        .join(attempt, attempt.c.step_run_id == step_run.c.step_run_id)
        .where(step_run.c.run_id == run_id, step_run.c.state == "failed")
        .order_by(step_run.c.position, step_run.c.map_index, attempt.c.number)
    )
    by_step = {row.step_run_id: row for row in connection.execute(query)}  # its last attempt
    if not by_step:
        return None
    first = next(iter(by_step.values()))
    name = first.name if first.map_index < 0 else f"{first.name}[{first.map_index}]"
    return texts.Failure(name, first.error or first.reason or "no reason is on record", len(by_step) - 1)


def _decision(
    connection: sa.Connection, run_id: str, step: str, document: Mapping[str, Any]
) -> tuple[datetime | None, str]:
    """Return until when a held step waits, and what is decided then."""
    decide_by = connection.scalar(
        sa.select(step_run.c.decide_by).where(step_run.c.run_id == run_id, step_run.c.name == step)
    )
    steps = document.get("steps")
    nodes = [each for each in steps if isinstance(each, Mapping)] if isinstance(steps, list) else []
    node: Mapping[str, Any] = next((each for each in nodes if each.get("name") == step), {})
    return decide_by, node.get("default", "reject")  # a plan leaves out what is said by default


def _made(connection: sa.Connection, model: str, version: str | None) -> Any:
    """Return the run that made a version; None for one that none on record did."""
    return connection.execute(
        sa.select(*_OF_RUN)
        .select_from(run)
        .join(model_version, model_version.c.run_id == run.c.run_id)
        .where(model_version.c.model == model, model_version.c.version == version)
    ).first()


def _subject(row: Any) -> Subject:
    return Subject(row.pipeline, row.model, row.team, row.environment)


def _known(connection: sa.Connection, keys: Iterable[str]) -> set[str]:
    """Return those of `keys` that have their alert."""
    return {
        key
        for some in _batches(keys)
        for key in connection.scalars(sa.select(alert.c.key).where(alert.c.key.in_(some)))
    }


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    every = list(keys)
    for begin in range(0, len(every), _AT_ONCE):
        yield every[begin : begin + _AT_ONCE]
