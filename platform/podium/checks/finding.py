"""What a check says of a frame: an outcome, the reason with its numbers, and example rows."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from podium.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

Severity = Literal["stop", "warn"]
"""What a check that did not pass does: `stop` raises, `warn` is only told."""

Outcome = Literal["passed", "failed", "unknown"]
"""`unknown`: the data cannot answer (no rows, no such column, no reference, too few rows). It is not a pass."""

EXAMPLES = 5
"""Example rows of a finding, at most."""

_DECIMALS = 3
_CLIPPED_AT = 100
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True)
class Example:
    """A row that shows what was found: its label in the frame's index and some of its values.

    Both are plain JSON: a null of any kind is None, a time is ISO 8601 text, an infinite number is text.
    """

    row: Any
    values: Mapping[str, Any]

    def __str__(self) -> str:
        told = ", ".join(f"{name} = {shown(value)}" for name, value in self.values.items())
        return f"row {shown(self.row)}: {told}"


@dataclass(frozen=True)
class Finding:
    """What one check found in one frame; `reason` is a text without a full stop that shows the numbers."""

    outcome: Outcome
    reason: str
    examples: tuple[Example, ...] = ()


class Check(Protocol):
    """Looks at a frame. Podium's are frozen dataclasses; anything with these three members can stand beside them."""

    @property
    def name(self) -> str:
        """What the report calls it; one of a kind within a report."""

    @property
    def severity(self) -> Severity:
        """What follows when it does not pass."""

    def look(self, frame: "pd.DataFrame") -> Finding:
        """Return what it finds; the frame stays as it is."""


def unknown(reason: str) -> Finding:
    """Return that the data cannot answer, and why."""
    return Finding("unknown", reason)


def settle(check: Any, default_name: str) -> None:
    """Give `check` its default name, and refuse a severity or a name that is none with UsageError."""
    if check.severity not in get_args(Severity):
        raise UsageError(
            f"The check {check.name or default_name} has the severity {check.severity!r}; write 'stop' or 'warn'."
        )
    if not isinstance(check.name, str):
        raise UsageError(f"The check {default_name} is named {check.name!r}; name it with a text.")
    object.__setattr__(check, "name", readable(check.name or default_name))


def number(value: Any, option: str, *, above: float = -math.inf, least: float = -math.inf, most: float) -> None:
    """Raise UsageError unless `value` is a finite number in `(above, most]` and not below `least`."""
    fits = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not (fits and value > above and least <= value <= most):
        lower = f"more than {above:g}" if math.isfinite(above) else f"at least {least:g}"
        upper = f" and at most {most:g}" if math.isfinite(most) else ""
        raise UsageError(f"{option}={value!r} is not possible; give a number of {lower}{upper}.")


def column_name(value: Any, check: str) -> None:
    """Raise UsageError unless `value` can name a column."""
    if not isinstance(value, str) or not value:
        raise UsageError(f"{check} is given {value!r} for a column; give the column's name as a text.")


def duration(value: Any, option: str) -> timedelta:
    """Return a positive duration given as timedelta, as seconds, or as text; UsageError for anything else.

    >>> duration("36h", "within")
    datetime.timedelta(days=1, seconds=43200)
    """
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match:
        value = float(match[1]) * _UNITS[match[2]]
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = timedelta(seconds=value)
    except (OverflowError, ValueError):
        value = None
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise UsageError(
            f"{option} is no duration above zero; give text as '90s', '36h' or '35d', seconds, or a timedelta."
        )
    return value


def elapsed(span: timedelta, units: int = 2) -> str:
    """Return a duration in its largest units, as a person would tell it.

    >>> elapsed(timedelta(days=35, hours=4, minutes=30)), elapsed(timedelta(seconds=90)), elapsed(timedelta(0))
    ('35d 4h', '1m 30s', '0s')
    """
    left, told = span.total_seconds(), list[str]()
    for unit in ("d", "h", "m"):
        whole, left = divmod(left, _UNITS[unit])
        if whole or told:
            told.append(f"{int(whole)}{unit}")
    told.append(f"{round(left, _DECIMALS):g}s")
    return " ".join(part for part in told[:units] if not part.startswith("0")) or "0s"


def told_apart(value: float, limit: float) -> tuple[str, str]:
    """Return two shares with as many decimals as tell them apart, three at least.

    >>> told_apart(0.0712, 0.05), told_apart(0.05001, 0.05)
    (('0.071', '0.050'), ('0.05001', '0.05000'))
    """
    for decimals in range(_DECIMALS, 17):
        texts = f"{value:.{decimals}f}", f"{limit:.{decimals}f}"
        if texts[0] != texts[1] or value == limit:
            return texts
    return repr(value), repr(limit)


def counted(count: int, thing: str) -> str:
    """Return a count with its noun in `-s`, which one thing loses.

    >>> counted(1, "rows"), counted(58_000, "rows")
    ('1 row', '58,000 rows')
    """
    return f"{count:,} {thing.removesuffix('s') if count == 1 else thing}"


def shown(value: Any) -> str:
    """Return a plain value as a person would write it.

    >>> shown(None), shown("UA"), shown(["UA", 7])
    ('null', "'UA'", "('UA', 7)")
    """
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"({', '.join(map(shown, value))})"
    return repr(value)


def readable(text: str) -> str:
    """Return `text` storable, and clipped to a length for reports."""
    return storable(text if len(text) <= _CLIPPED_AT else f"{text[: _CLIPPED_AT - 1]}…")


def storable(text: str) -> str:
    """Return `text` with halves of surrogate pairs, which neither a file nor JSON can hold, spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()
