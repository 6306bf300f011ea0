"""What an observer of a worker is shown: the events of the runs that it follows, each once and in order."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import sqlalchemy as sa

from podium.execution import queries
from podium.execution.entities import Happening
from podium.execution.queries import EventRow


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

    def read(self, connection: sa.Connection, run_ids: Iterable[str] | None = None) -> list[EventRow]:
        """Return what happened in the runs that are followed, or in these of them, since what was shown last."""
        found = []
        for run_id in self._known if run_ids is None else run_ids:
            if run_id in self._known:
                found += queries.event_rows(connection, run_id, after=self._known[run_id])
        return found

    def show(self, happened: Iterable[EventRow]) -> None:
        """Show the observer what happened, each once; what was read in a transaction, only after its commit."""
        for row in happened:
            if row.event_id > self._known.get(row.run_id, 0):
                if row.run_id in self._known:
                    self._known[row.run_id] = row.event_id
                self.observe(Happening(row.kind, row.run_id, row.at, row.step, row.attempt, row.reason))
