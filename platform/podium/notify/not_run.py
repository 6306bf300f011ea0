"""Alerts for schedules whose last due tick has no run that succeeded in time.

It reads `schedule`, `schedule_tick` and `run`, and writes none of them. A schedule on which nobody acted, because no
scheduler lives, is told as well: its next tick lies in the past.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from podium.dag.options import duration
from podium.db.schema import alert, alert_delivery, run, schedule, schedule_tick
from podium.notify import happenings, texts
from podium.notify.containment import contained
from podium.notify.entities import Alert, Subject, Untold
from podium.notify.rules import Rule, Rules

_NEWS_FOR = timedelta(days=1)


@dataclass(frozen=True)
class _Tick:
    """A tick that was due; `fate` is what became of it at `decided_at`, both None where nobody acted on it."""

    pipeline: str
    at: datetime
    due_at: datetime
    fate: str | None
    run_id: str | None
    reason: str | None
    decided_at: datetime | None = None

    @property
    def key(self) -> str:
        return f"not_run:{self.pipeline}:{self.at.isoformat()}"


def overdue(connection: sa.Connection, rules: Rules, since: datetime, now: datetime) -> Iterator[Alert | Untold]:
    """Yield the last tick of each schedule whose time is over since `since`, where no run of it has succeeded.

    Left alone is what is no news for a rule that is: a tick whose time was over, and that was acted on, more than a
    day ago. One that nobody acted on is told however old it is, for its schedule stands still now.

    A tick's run, or another of its interval, must have; where a tick has no run, any run of the pipeline that ended
    since it was due, other than a backfill's. Paused and removed schedules are left alone, and who was told already.
    """
    wanted = [rule for rule in rules.rules if "not_run" in rule.on and rule.within is not None]
    if not wanted:
        return
    for row in connection.execute(_SCHEDULES):
        key, what = f"not_run:{row.pipeline}", f"No not_run alert for the schedule of {row.pipeline}"
        untold = Untold(key, what, "see `podium schedule list`")
        found = contained(untold, _of_schedule, connection, wanted, row, since, now)
        yield from [found] if isinstance(found, Untold) else found


def _of_schedule(
    connection: sa.Connection, wanted: list[Rule], scheduled: Any, since: datetime, now: datetime
) -> list[Alert]:
    document = happenings.plan_document(connection, scheduled.plan_digest)
    subject = Subject(scheduled.pipeline, document.get("model"), document.get("team"), document.get("environment"))
    alerts = []
    for rule in wanted:
        within = rule.within or timedelta()
        tick = _last_due(connection, scheduled, now - within) if rule.tells("not_run", subject) else None
        if tick is None or tick.due_at + within <= since or _is_old(tick, within, now):
            continue
        told = _told(connection, tick.key)
        targets = tuple(target for target in rule.targets if target not in told)
        if targets and not _succeeded(connection, tick):
            alerts.append(_alert(connection, tick, subject, within, targets, scheduled.problem))
    return alerts


def _is_old(tick: _Tick, within: timedelta, now: datetime) -> bool:
    """Tell whether a tick is no news; one that a scheduler which was long away has just come upon is."""
    return tick.decided_at is not None and max(tick.decided_at, tick.due_at + within) < now - _NEWS_FOR


def _last_due(connection: sa.Connection, scheduled: Any, until: datetime) -> _Tick | None:
    """Return the newest tick that was due by then, acted on or not.

    Of a stretch that was missed that is its last, or its first while that one's time is not over.
    """
    if scheduled.next_due_at is not None and scheduled.next_due_at <= until:
        return _Tick(scheduled.pipeline, scheduled.next_tick_at, scheduled.next_due_at, None, None, None)
    row = connection.execute(
        sa.select(schedule_tick)
        .where(schedule_tick.c.pipeline == scheduled.pipeline, schedule_tick.c.due_at <= until)
        .order_by(schedule_tick.c.tick_at.desc())
        .limit(1)
    ).first()
    if row is None:
        return None
    at, due_at = row.tick_at, row.due_at
    if row.until is not None and row.until + (due_at - at) <= until:  # a schedule's ticks are all as long delayed
        at, due_at = row.until, row.until + (due_at - at)
    return _Tick(row.pipeline, at, due_at, row.fate, row.run_id, row.reason, row.decided_at)


def _succeeded(connection: sa.Connection, tick: _Tick) -> bool:
    """Tell whether a run has succeeded that stands for the tick."""
    good = sa.select(sa.literal(1)).select_from(run).where(run.c.pipeline == tick.pipeline, run.c.state == "succeeded")
    if tick.run_id is None:
        good = good.where(run.c.ended_at >= tick.due_at, run.c.trigger != "backfill")
    else:
        of_tick = run.alias()
        good = good.join(
            of_tick,
            sa.and_(
                of_tick.c.run_id == tick.run_id,
                of_tick.c.interval_start == run.c.interval_start,
                of_tick.c.interval_end == run.c.interval_end,
            ),
        )
    return connection.execute(good.limit(1)).first() is not None


def _told(connection: sa.Connection, key: str) -> set[str]:
    """Return who was told of a tick already: of two rules, one may be due earlier."""
    query = sa.select(alert_delivery.c.channel).join(alert, alert.c.alert_id == alert_delivery.c.alert_id)
    return set(connection.scalars(query.where(alert.c.key == key)))


def _alert(
    connection: sa.Connection,
    tick: _Tick,
    subject: Subject,
    within: timedelta,
    targets: tuple[str, ...],
    problem: str | None,
) -> Alert:
    fact = _fact(connection, tick, problem)
    title, body = texts.not_run(tick.pipeline, tick.due_at, duration(within.total_seconds()), fact, tick.run_id)
    return Alert(
        key=tick.key,
        event="not_run",
        subject=subject,
        title=title,
        body=body,
        happened_at=tick.due_at + within,
        targets=targets,
        run_id=tick.run_id,
        facts={"tick_at": tick.at.isoformat(), "due_at": tick.due_at.isoformat(), "reason": fact},
    )


def _fact(connection: sa.Connection, tick: _Tick, problem: str | None) -> str:
    if tick.fate is None:
        return problem or "no scheduler has acted on it; is `podium scheduler` running?"
    if tick.run_id is None:
        return f"it was missed: {tick.reason or 'no scheduler was there in time'}"
    row = connection.execute(sa.select(run.c.state, run.c.reason).where(run.c.run_id == tick.run_id)).one()
    return f"its run {tick.run_id} is {row.state}{f': {row.reason}' if row.reason else ''}"


_SCHEDULES = (
    sa.select(schedule)
    .where(schedule.c.removed_at.is_(None), schedule.c.paused_at.is_(None))
    .order_by(schedule.c.pipeline)
)
