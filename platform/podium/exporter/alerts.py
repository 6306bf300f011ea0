"""Whether alerts reach those whom they are for."""

from collections.abc import Iterator
from datetime import datetime
from itertools import product

import sqlalchemy as sa
from prometheus_client.core import Metric

from podium.db.schema.notify import DELIVERY_STATES
from podium.exporter.families import born_at_zero, gauge
from podium.notify import tally


def collect_alerts(connection: sa.Connection, now: datetime) -> Iterator[Metric]:
    """Read the deliveries that wait and those that ended of late; a channel that nothing was ever for is absent."""
    channels = tally.channels(connection)
    yield gauge(
        "podium_alert_deliveries",
        "Deliveries of alerts: those pending now, and those that ended in another state within the last 24 hours.",
        ("channel", "state"),
        born_at_zero(product(channels, DELIVERY_STATES), tally.deliveries(connection, channels, now)),
    )
