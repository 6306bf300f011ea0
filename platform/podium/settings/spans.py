"""Lengths of time as settings write them."""

from datetime import timedelta

PERIODS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def span(text: str) -> timedelta:
    """Return the length that a checked setting writes.

    >>> span("90m")
    datetime.timedelta(seconds=5400)
    """
    return int(text[:-1]) * PERIODS[text[-1]]
