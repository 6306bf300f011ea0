"""Prints a run's events, once or as they come."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from podium.cli import output

_POLL_SECONDS = 0.1

Event = dict[str, Any]
Look = Callable[[int], tuple[list[Event], bool]]
"""Returns the events behind the one of a number, and whether the run has ended by then."""


def print_events(look: Look, *, follow: bool, as_json: bool) -> None:
    """Print a run's events in order; following, go on until it has ended, and JSON is one event a line."""
    if as_json and not follow:
        output.print_json(look(0)[0])
        return
    for event in _followed(look) if follow else look(0)[0]:
        if as_json:
            output.write(json.dumps(event, ensure_ascii=False) + "\n")
        else:
            output.print_lines([line_of(event)])


def line_of(event: Event) -> str:
    """Return an event as a line for people.

    >>> line_of({"at": "2026-11-21T12:03:04.123456Z", "kind": "attempt.failed", "step": "fit[3]", "attempt": 2,
    ...          "reason": "ValueError: no rows"})
    '2026-11-21 12:03:04.123Z  attempt.failed      fit[3] 2  ValueError: no rows'
    """
    at = datetime.fromisoformat(event["at"])
    subject = " ".join(str(each) for each in (event["step"], event["attempt"]) if each is not None)
    told = "  ".join(each for each in (subject, event["reason"]) if each)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}Z  {event['kind']:<18}  {told}".rstrip()


def _followed(look: Look) -> Iterator[Event]:
    seen = 0
    while True:
        events, ended = look(seen)
        yield from events
        if ended:
            return
        seen = events[-1]["event_id"] if events else seen
        time.sleep(_POLL_SECONDS)
