"""What is new becomes alerts: a look that reads, and a transaction that keeps what it found with how far it read.

Where to read on is a number of the `event` table, and numbers do not become visible in their order: on PostgreSQL a
transaction that drew 5 may commit after one that drew 6, and a reader who went on from 6 would never see it. So the
position follows ten minutes behind: `events.newest` says which number was the newest at which time, and only when that
is ten minutes ago has every transaction that drew a smaller one ended (PostgreSQL ends one that idles for 30 seconds),
and it becomes the position, `events`. What lies behind the position is read at every look, and an alert's unique key
sees to it that it is told once. The history of champions needs none of this: each model's entries are numbered one
after the other under a lock.

The first look ever tells nothing: what was before is not news.

Something on record that no alert can be made of is returned besides, and passed over: the cursors move on.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from podium import ids
from podium.db.engine import insert_unless_present
from podium.db.schema import alert_cursor
from podium.notify import happenings, not_run, outbox
from podium.notify.entities import Alert, Untold
from podium.notify.rules import Rules

SETTLED_AFTER = timedelta(minutes=10)
"""Longer than any transaction that writes an event lasts after it drew its number."""

_EVENTS = "events"
_NEWEST = "events.newest"
_STARTED = "started"
_SOURCE_CHARACTERS = 100


@dataclass(frozen=True)
class Cursor:
    """How far a source was read, and when."""

    source: str
    position: int
    read_at: datetime


@dataclass(frozen=True)
class Found:
    """New alerts, the cursors to move, and what no alert could be made of; each may be empty."""

    alerts: tuple[Alert, ...] = ()
    cursors: tuple[Cursor, ...] = ()
    untold: tuple[Untold, ...] = ()


def look(connection: sa.Connection, rules: Rules, now: datetime, *, schedules: bool = True) -> Found:
    """Read what is new, and with `schedules` which have not run; writes nothing."""
    cursors = {row.source: Cursor(row.source, row.position, row.read_at) for row in connection.execute(_CURSORS)}
    newest, moves = happenings.newest_event(connection), happenings.newest_moves(connection)
    started = cursors.get(_STARTED)
    if started is None:
        positions = {_EVENTS: newest, _NEWEST: newest, _STARTED: 0}
        positions |= {_source(model): number for model, number in moves.items()}
        return Found(cursors=tuple(Cursor(source, position, now) for source, position in positions.items()))
    found: list[Alert | Untold] = list(happenings.of_events(connection, rules, cursors[_EVENTS].position))
    moved = []
    if now - cursors[_NEWEST].read_at >= SETTLED_AFTER and newest > cursors[_EVENTS].position:
        moved = [Cursor(_EVENTS, cursors[_NEWEST].position, now), Cursor(_NEWEST, newest, now)]
    for model, number in moves.items():
        source = _source(model)
        position = cursors[source].position if source in cursors else 0
        if number > position:
            found += happenings.of_history(connection, rules, model, position)
            moved.append(Cursor(source, number, now))
    if schedules:
        found += not_run.overdue(connection, rules, started.read_at, now)
    alerts = tuple(each for each in found if isinstance(each, Alert))
    return Found(alerts, tuple(moved), tuple(each for each in found if isinstance(each, Untold)))


def keep(connection: sa.Connection, found: Found, now: datetime) -> None:
    """Put what was found on record, in the caller's transaction; what another has kept meanwhile is left as it is."""
    for cursor in found.cursors:
        row = {"source": cursor.source, "position": cursor.position, "read_at": cursor.read_at}
        if not insert_unless_present(connection, alert_cursor, row):
            connection.execute(
                alert_cursor.update()
                .where(alert_cursor.c.source == cursor.source, alert_cursor.c.position <= cursor.position)
                .where(alert_cursor.c.read_at <= cursor.read_at)
                .values(position=cursor.position, read_at=cursor.read_at)
            )
    for one in found.alerts:
        outbox.add(connection, one, now)


def _source(model: str) -> str:
    """Return what the cursor of a model's history is called."""
    name = f"history:{model}"
    return name if len(name) <= _SOURCE_CHARACTERS else f"history:{ids.digest_bytes(model.encode())}"


_CURSORS = sa.select(alert_cursor)
