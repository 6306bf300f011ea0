"""Alerts for those who ask, in the interface's JSON."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from podium.db.schema import alert, alert_delivery


def alert_documents(connection: sa.Connection, limit: int, state: str | None = None) -> list[dict[str, Any]]:
    """Return the newest alerts, the newest first, with their deliveries; of a state, those that have one in it."""
    in_state = sa.true() if state is None else alert_delivery.c.state == state
    of_alert = sa.select(sa.literal(1)).where(alert_delivery.c.alert_id == alert.c.alert_id, in_state).exists()
    newest = sa.select(alert).where(of_alert).order_by(alert.c.created_at.desc(), alert.c.alert_id.desc()).limit(limit)
    alerts = connection.execute(newest).all()
    deliveries: dict[str, list[dict[str, Any]]] = {}
    query = (
        sa.select(alert_delivery)
        .where(alert_delivery.c.alert_id.in_([row.alert_id for row in alerts]), in_state)
        .order_by(alert_delivery.c.channel)
    )
    for row in connection.execute(query):
        deliveries.setdefault(row.alert_id, []).append(_document(row, alert_delivery, besides="alert_id"))
    return [{**_document(row, alert, besides="key"), "deliveries": deliveries[row.alert_id]} for row in alerts]


def _document(row: Any, table: sa.Table, besides: str) -> dict[str, Any]:
    return {name: _value(getattr(row, name)) for name in table.columns.keys() if name != besides}  # noqa: SIM118


def _value(value: Any) -> Any:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
