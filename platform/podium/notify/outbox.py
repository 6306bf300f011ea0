"""The outbox: alerts and their deliveries, which commit before anything is sent and end after it was.

A delivery is taken by an UPDATE that moves its next try a lease ahead, under a lock of its channel: of two senders one
has it, and one that dies is followed by a try when the lease is over. A message may so be sent twice, and never not at
all. What is folded into a message is `withheld`, with the name of that message; it shares its fate.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from podium import ids
from podium.db.engine import insert_unless_present, try_lock
from podium.db.schema import alert, alert_delivery
from podium.notify import choosing, texts
from podium.notify.entities import Alert, Message, Pending, Told
from podium.notify.rules import Rules

LEASE = timedelta(seconds=60)
GIVEN_UP_AFTER = timedelta(hours=24)
_LEAST_TRIES = 10
"""Before anything is given up: what is a day old because nobody was there to send it has not failed for a day."""
_LONGEST_REST_MINUTES = 15
_LOOKED_THROUGH = 500  # of what waits for a channel, the oldest

_PENDING = sa.text("alert_delivery.state = 'pending'")  # the index' condition


def add(connection: sa.Connection, one: Alert, now: datetime) -> None:
    """Put an alert on record with its deliveries, unless they are."""
    alert_id = ids.new_id(now)
    row = {
        "alert_id": alert_id,
        "key": one.key,
        "event": one.event,
        "pipeline": one.subject.pipeline,
        "model": one.subject.model,
        "team": one.subject.team,
        "run_id": one.run_id,
        "title": one.title,
        "body": one.body,
        "facts": dict(one.facts),
        "happened_at": one.happened_at,
        "created_at": now,
    }
    if not insert_unless_present(connection, alert, row):
        alert_id = connection.execute(sa.select(alert.c.alert_id).where(alert.c.key == one.key)).scalar_one()
    for target in one.targets:
        delivery = {"alert_id": alert_id, "channel": target, "state": "pending", "tries": 0, "next_try_at": now}
        insert_unless_present(connection, alert_delivery, delivery)


def due(connection: sa.Connection, now: datetime) -> list[str]:
    """Return the targets that something is due for."""
    query = sa.select(alert_delivery.c.channel).where(_PENDING, alert_delivery.c.next_try_at <= now)
    return sorted(set(connection.scalars(query)))  # DISTINCT would have SQLite read every delivery there ever was


def next_due_at(connection: sa.Connection) -> datetime | None:
    """Return when something is due next; None if nothing waits."""
    found: datetime | None = connection.scalar(sa.select(sa.func.min(alert_delivery.c.next_try_at)).where(_PENDING))
    return found


def take(connection: sa.Connection, target: str, rules: Rules, now: datetime) -> Message | None:
    """Take what a target is to be sent next; None if it is to be sent nothing now, or another sender takes it."""
    if not try_lock(connection, f"alerts:{target}"):
        return None
    limits = rules.limits.get(target, ())
    reach = max([rules.repeat_after, *(limit.per for limit in limits)])
    told = _told(connection, target, now - reach)
    choice = choosing.choose(_waiting(connection, target, now), told, limits, rules.repeat_after, now)
    for alert_id, until in choice.put_off.items():
        connection.execute(_of(target, alert_id).values(next_try_at=until))
    if choice.lead is None:
        return None
    lead = choice.lead.alert_id
    taken = connection.execute(
        _of(target, lead)
        .where(alert_delivery.c.next_try_at <= now)
        .values(tries=alert_delivery.c.tries + 1, next_try_at=now + LEASE, error=None)
    )
    if taken.rowcount != 1:
        return None
    _fold(connection, target, lead, choice.folded, now)
    row = connection.execute(sa.select(alert).where(alert.c.alert_id == lead)).one()
    folded = _folded(connection, target, lead, since=row.created_at)
    title, body = texts.message(row.title, row.body, row.happened_at, folded, now)
    return Message(lead, target, choice.lead.tries + 1, title, body)


def sent(connection: sa.Connection, message: Message, now: datetime) -> None:
    """Note that a message was taken by its channel."""
    connection.execute(
        _of(message.channel, message.alert_id).values(state="sent", next_try_at=None, error=None, ended_at=now)
    )


def failed(connection: sa.Connection, message: Message, error: str, now: datetime) -> int:
    """Note that a message was not taken, and let its channel rest: 1, 2, 4 … minutes, at most 15.

    Return how many of its deliveries were given up: those older than a day, once the channel failed often.
    """
    ours = _of(message.channel, message.alert_id).where(alert_delivery.c.tries == message.tries)
    rest = timedelta(minutes=min(2 ** (message.tries - 1), _LONGEST_REST_MINUTES))
    if connection.execute(ours.values(error=error, next_try_at=now + rest)).rowcount != 1:
        return 0  # it took longer than its lease, and another sender has it
    connection.execute(
        alert_delivery.update()
        .where(_PENDING, alert_delivery.c.channel == message.channel, alert_delivery.c.next_try_at < now + rest)
        .values(error=error, next_try_at=now + rest)
    )
    if message.tries < _LEAST_TRIES:
        return 0
    old = sa.select(alert.c.alert_id).where(alert.c.created_at <= now - GIVEN_UP_AFTER)
    given_up = connection.execute(
        alert_delivery.update()
        .where(_PENDING, alert_delivery.c.channel == message.channel, alert_delivery.c.alert_id.in_(old))
        .values(state="given_up", error=error, next_try_at=None, ended_at=now)
    )
    return given_up.rowcount


def _of(target: str, alert_id: str) -> sa.Update:
    """Return an update of a delivery that waits."""
    return alert_delivery.update().where(
        alert_delivery.c.alert_id == alert_id,
        alert_delivery.c.channel == target,
        alert_delivery.c.state == "pending",
    )


def _waiting(connection: sa.Connection, target: str, now: datetime) -> list[Pending]:
    """Return what is due for a target, and what of it is being tried or is to be tried again."""
    rows = connection.execute(
        sa.select(alert_delivery, alert.c.event, alert.c.pipeline, alert.c.facts, alert.c.created_at)
        .join(alert, alert.c.alert_id == alert_delivery.c.alert_id)
        .where(_PENDING, alert_delivery.c.channel == target, alert_delivery.c.ended_at.is_(None))
        .where((alert_delivery.c.next_try_at <= now) | (alert_delivery.c.tries > 0))
        .order_by(alert.c.happened_at, alert.c.alert_id)
        .limit(_LOOKED_THROUGH)
    )
    return [Pending(row.alert_id, _group(row), row.created_at, row.next_try_at, row.tries, row.error) for row in rows]


def _told(connection: sa.Connection, target: str, since: datetime) -> list[Told]:
    rows = connection.execute(
        sa.select(alert_delivery.c.ended_at, alert.c.event, alert.c.pipeline, alert.c.facts)
        .join(alert, alert.c.alert_id == alert_delivery.c.alert_id)
        .where(alert_delivery.c.channel == target, alert_delivery.c.ended_at > since, alert_delivery.c.state == "sent")
        .order_by(alert_delivery.c.ended_at)
    )
    return [Told(_group(row), row.ended_at) for row in rows]


def _group(row: Any) -> tuple[str, str | None, str | None]:
    return row.event, row.pipeline, row.facts.get("step")


def _fold(connection: sa.Connection, target: str, lead: str, folded: Sequence[Pending], now: datetime) -> None:
    """Withhold what a message stands for; what had been folded into that goes with it."""
    values = {"state": "withheld", "error": _told_with(lead), "next_try_at": None, "ended_at": now}
    for each in folded:
        connection.execute(_of(target, each.alert_id).values(values))
        within = _is_folded(target, each.alert_id, since=each.created_at)
        connection.execute(alert_delivery.update().where(within).values(values))


def _folded(connection: sa.Connection, target: str, lead: str, since: datetime) -> list[texts.Folded]:
    rows = connection.execute(
        sa.select(alert.c.happened_at, alert.c.title)
        .join(alert_delivery, alert.c.alert_id == alert_delivery.c.alert_id)
        .where(_is_folded(target, lead, since))
        .order_by(alert.c.happened_at, alert.c.alert_id)
    )
    return [texts.Folded(row.happened_at, row.title) for row in rows]


def _is_folded(target: str, lead: str, since: datetime) -> sa.ColumnElement[bool]:
    """Return the condition of what was folded into a message, which was there `since`."""
    return sa.and_(
        alert_delivery.c.channel == target,
        alert_delivery.c.ended_at >= since,
        alert_delivery.c.state == "withheld",
        alert_delivery.c.error == _told_with(lead),
    )


def _told_with(alert_id: str) -> str:
    return f"told with {alert_id}"
