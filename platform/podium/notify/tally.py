"""How the deliveries of alerts stand: those that wait, and those that ended of late; for metrics."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa

from podium.db.schema import alert_delivery

LATELY = timedelta(hours=24)
"""What ended longer ago is not counted: a count of all there ever were would read them all."""


def channels(connection: sa.Connection) -> list[str]:
    """Return every channel that something was ever to be sent to.

    It steps from each to the next in an index: DISTINCT would read every delivery there ever was.
    """
    return list(connection.scalars(_CHANNELS))


def deliveries(connection: sa.Connection, known: list[str], now: datetime) -> Mapping[tuple[str, str], int]:
    """Count the deliveries to the `known` channels by channel and state: what is pending, and what ended `LATELY`."""
    of_channel = (
        sa.select(alert_delivery.c.channel, alert_delivery.c.state, sa.func.count())
        .where(alert_delivery.c.channel.in_(known))
        .group_by(alert_delivery.c.channel, alert_delivery.c.state)
    )
    counts = Counter[tuple[str, str]]()
    # In two statements, each a range of the index; what has not ended is pending.
    for part in (alert_delivery.c.ended_at.is_(None), alert_delivery.c.ended_at > now - LATELY):
        for channel, state, count in connection.execute(of_channel.where(part)):
            counts[channel, state] += count
    return counts


_FIRST = sa.select(sa.func.min(alert_delivery.c.channel).label("channel")).cte("channels", recursive=True)
_NEXT = sa.select(sa.func.min(alert_delivery.c.channel)).where(alert_delivery.c.channel > _FIRST.c.channel)
_EACH = _FIRST.union_all(sa.select(_NEXT.correlate(_FIRST).scalar_subquery()).where(_FIRST.c.channel.is_not(None)))
_CHANNELS = sa.select(_EACH.c.channel).where(_EACH.c.channel.is_not(None))
