"""What an observer of a worker is shown: the events of the runs that it follows, each once and in order."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from podium.execution import queries
from podium.execution.entities import Happening


@dataclass
class News:
    """Follows runs, each from an event on that is known already."""

    observe: Callable[[Happening], None]
    _known: dict[str, int] = field(default_factory=dict)  # run → its last event that the observer knows

    def follow(self, run_id: str, after: int) -> None:
        """Follow a run from what happens behind the event numbered `after`; one that is followed already goes on."""
        self._known.setdefault(run_id, after)

    def follow_only(self, run_ids: Iterable[str]) -> None:
        """Follow no others than these any more."""
        kept = set(run_ids)
        self._known = {run_id: event_id for run_id, event_id in self._known.items() if run_id in kept}

    def read(self, connection: sa.Connection, run_ids: Iterable[str] | None = None) -> list[Happening]:
        """Return what happened since the last time in the runs that are followed, or in these of them."""
        found = []
        for run_id in self._known if run_ids is None else run_ids:
            if run_id not in self._known:
                continue
            rows: list[Any] = queries.event_rows(connection, run_id, after=self._known[run_id])
            if rows:
                self._known[run_id] = rows[-1].event_id
            found += [Happening(row.kind, row.run_id, row.at, row.step, row.attempt, row.reason) for row in rows]
        return found

    def show(self, happened: Iterable[Happening]) -> None:
        """Show the observer what happened."""
        for each in happened:
            self.observe(each)
