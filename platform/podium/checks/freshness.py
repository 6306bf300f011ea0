"""Is the newest row recent enough?"""

from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from podium.checks.finding import Finding, Severity, column_name, duration, elapsed, settle, unknown
from podium.checks.rows import column_of, examples_at
from podium.errors import UsageError


@dataclass(frozen=True, eq=False)
class Freshness:
    """Measures how long before `at` the newest time of a column lies; of the index where `column` is None.

    `within` is the largest age allowed: a timedelta, seconds, or text as "35d". `at` is an aware datetime, for
    instance the end of the run's interval: a run of last March must find today what it found then. Times after `at`
    count for nothing, since one wrong date in the future would make any data fresh; the reason counts them.

    Times without a zone, texts, and no time at or before `at` make it unknown. Options that make no sense raise
    UsageError.

    >>> from datetime import UTC
    >>> frame = pd.DataFrame({"seen": pd.to_datetime(["2013-02-01", "2013-02-20"], utc=True)})
    >>> print(Freshness("seen", within="7d", at=datetime(2013, 3, 1, tzinfo=UTC)).look(frame).reason)
    the newest time of seen is 9d old > 7d allowed (2013-02-20T00:00:00+00:00, asked at 2013-03-01T00:00:00+00:00)
    """

    column: str | None = None
    _: KW_ONLY
    within: timedelta | float | str
    at: datetime
    severity: Severity = "stop"
    name: str = ""

    def __post_init__(self) -> None:
        if self.column is not None:
            column_name(self.column, "Freshness")
        settle(self, f"freshness of {self._called}")
        object.__setattr__(self, "within", duration(self.within, f"Freshness: within={self.within!r}"))
        if not isinstance(self.at, datetime) or self.at.tzinfo is None:
            raise UsageError(
                f"Freshness: at={self.at!r} is no moment; give a datetime with a time zone, as the interval's end."
            )

    @property
    def _called(self) -> str:
        return "the index" if self.column is None else self.column

    def look(self, frame: pd.DataFrame) -> Finding:
        """Return whether the newest time is at most `within` old; the examples are the newest rows."""
        column = frame.index if self.column is None else column_of(frame, self.column)
        if isinstance(column, str):
            return unknown(column)
        if len(frame) == 0:
            return unknown("0 rows have no newest time")
        if column.dtype.kind != "M":
            return unknown(
                f"{self._called} holds {column.dtype}, not times; convert it with pd.to_datetime(…, utc=True)"
            )
        times: pd.Series[Any] = pd.Series(column.array)
        if times.isna().all():
            return unknown(f"all {len(frame):,} times of {self._called} are null")
        if times.max().tzinfo is None:
            return unknown(
                f"the times of {self._called} have no time zone, so their age is not known; convert them with "
                "pd.to_datetime(…, utc=True) or .dt.tz_localize(…)"
            )
        return self._judge(frame, times)

    def _judge(self, frame: pd.DataFrame, times: "pd.Series[Any]") -> Finding:
        assert isinstance(self.within, timedelta)  # noqa: S101 - __post_init__ made it one
        moment = pd.Timestamp(self.at)
        later = int((times > moment).sum())
        counted = times[(times <= moment).fillna(value=False)]
        ignored = f"; {later:,} of {len(frame):,} rows lie after that moment and count for nothing" if later else ""
        if counted.empty:
            return unknown(f"no time of {self._called} lies at or before {self.at.isoformat()}{ignored}")
        newest = counted.max()
        age = moment.tz_convert("UTC") - newest.tz_convert("UTC")
        outcome, sign = ("failed", ">") if age > self.within else ("passed", "≤")
        close = age != self.within and elapsed(age.to_pytimedelta()) == elapsed(self.within)
        old, allowed = (elapsed(span, 4 if close else 2) for span in (age.to_pytimedelta(), self.within))
        reason = (
            f"the newest time of {self._called} is {old} old {sign} {allowed} allowed "
            f"({newest.isoformat()}, asked at {self.at.isoformat()}){ignored}"
        )
        if outcome == "passed":
            return Finding("passed", reason)
        asked = () if self.column is None else (self.column,)
        return Finding(
            "failed", reason, examples_at(frame, np.flatnonzero((times == newest).fillna(value=False)).tolist(), *asked)
        )
