"""UTC days, by which reports are cut."""

from datetime import UTC, date, datetime, time


def midnight(day: date) -> datetime:
    """Return when a UTC day begins."""
    return datetime.combine(day, time.min, UTC)
