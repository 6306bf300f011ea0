"""Are there as many rows as there should be?"""

import math
from collections.abc import Sized
from dataclasses import KW_ONLY, dataclass

import pandas as pd

from podium.checks.finding import Finding, Outcome, Severity, counted, number, settle, told_apart, unknown
from podium.errors import UsageError


@dataclass(frozen=True, eq=False)
class Volume:
    """Counts the rows.

    `at_least` and `at_most` are limits in rows. `change_at_most` is the largest share by which the rows may be
    fewer or more than `reference`, a number of rows or the frame that has them; without a reference, or with one of 0
    rows, the change is unknown. A limit that makes no sense raises UsageError.

    >>> Volume(at_least=3).look(pd.DataFrame({"x": [1, 2]})).reason
    '2 rows < 3 required'
    """

    _: KW_ONLY
    at_least: int = 1
    at_most: int | None = None
    reference: Sized | int | None = None
    change_at_most: float | None = None
    severity: Severity = "stop"
    name: str = ""

    def __post_init__(self) -> None:
        settle(self, "volume")
        number(self.at_least, "Volume: at_least", least=0, most=math.inf)
        if self.at_most is not None:
            number(self.at_most, "Volume: at_most", least=self.at_least, most=math.inf)
        if self.change_at_most is not None:
            number(self.change_at_most, "Volume: change_at_most", least=0, most=math.inf)
        if self.reference is None:
            return
        if self.change_at_most is None:
            raise UsageError("Volume has a reference but no limit; give change_at_most=0.2 to allow a fifth.")
        rows = len(self.reference) if isinstance(self.reference, Sized) else self.reference
        number(rows, "Volume: reference", least=0, most=math.inf)
        object.__setattr__(self, "reference", int(rows))  # of numpy's integers too, as Series.count() returns

    def look(self, frame: pd.DataFrame) -> Finding:
        """Return whether the rows lie within the limits."""
        rows, told = len(frame), counted(len(frame), "rows")
        if rows < self.at_least:
            return Finding("failed", f"{told} < {self.at_least:,} required")
        if self.at_most is not None and rows > self.at_most:
            return Finding("failed", f"{told} > {self.at_most:,} allowed")
        if self.change_at_most is not None:
            return self._compare(rows, self.change_at_most)
        upper = "" if self.at_most is None else f" and ≤ {self.at_most:,} allowed"
        return Finding("passed", f"{told} ≥ {self.at_least:,} required{upper}")

    def _compare(self, rows: int, allowed: float) -> Finding:
        told = counted(rows, "rows")
        if not isinstance(self.reference, int):
            return unknown(f"there is no reference to compare {told} with")
        if self.reference == 0:
            return unknown(f"the reference has 0 rows, and {told} are no share of that more")
        difference = rows - self.reference
        change = abs(difference) / self.reference
        value, limit = told_apart(change, allowed)
        outcome: Outcome = "failed" if change > allowed else "passed"
        than = f"{abs(difference):,} {'fewer' if difference < 0 else 'more'} than" if difference else "as many as"
        return Finding(
            outcome,
            f"share of change {value} {'>' if change > allowed else '≤'} {limit} allowed "
            f"({told}, {than} the {self.reference:,} of the reference)",
        )
