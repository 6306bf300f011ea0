"""Why a run failed: the first step run that did, its last attempt, and where to read more; pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_PLACE = re.compile(r"^(?P<text>.*) \((?P<place>[^()]+:\d+)\)$", re.DOTALL)


def failure_of(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the failure that the steps of a run document tell of; None if none of them failed.

    `where` is the line of the user's code that the error passed last, None where it passed none. `others` counts the
    step runs that failed besides, without the wholes that failed with an item of theirs.
    """
    failed = [step for step in steps if step["state"] == "failed" and step["attempts"]]
    if not failed:
        return None
    first, last = failed[0], failed[0]["attempts"][-1]
    message, where = _parted(last["error"])
    return {
        "step": first["name"],
        "map_index": first["map_index"],
        "attempt": last["number"],
        "attempts": len(first["attempts"]),
        "state": last["state"],
        "error": message,
        "where": where,
        "log": last["log"],
        "others": len(failed) - 1,
    }


def _parted(error: str | None) -> tuple[str | None, str | None]:
    """Return an attempt's error without the place at its end, and that place.

    >>> _parted("KeyError: 'x' (pipelines/digits.py:41)")
    ("KeyError: 'x'", 'pipelines/digits.py:41')
    >>> _parted("the step's process was killed by signal 9")
    ("the step's process was killed by signal 9", None)
    """
    found = _PLACE.match(error or "")
    return (found["text"], found["place"]) if found else (error, None)
