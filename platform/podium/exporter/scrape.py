"""One scrape: every collector reads the same state of the database, and one that fails stops no other."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

from podium.clock import Clock
from podium.db.engine import Database
from podium.execution.tally import Owner, owners
from podium.exporter import alerts, attempts, books, costs, models, runs, schedules
from podium.exporter.books import BooksWatch
from podium.exporter.failures import Failures

__all__ = ["CONTENT_TYPE", "Exporter", "known_collectors"]

Read = TypeVar("Read")
Collect = Callable[[sa.Connection, Sequence[Owner]], Iterator[Metric]]
CollectNow = Callable[[sa.Connection, datetime], Iterator[Metric]]

_OWNERS = "owners"
_COLLECTORS: dict[str, Collect] = {
    "costs": costs.collect_costs,
    "version_costs": costs.collect_version_costs,
    "ended_runs": runs.collect_ended_runs,
    "open_work": runs.collect_open_work,
    "attempts": attempts.collect_attempts,
    "promotions": models.collect_promotions,
    "canaries": models.collect_canaries,
}
_COLLECTORS_BY_TIME: dict[str, CollectNow] = {
    "workers": attempts.collect_workers,
    "schedules": schedules.collect_schedules,
    "triggers": schedules.collect_triggers,
    "alerts": alerts.collect_alerts,
}


def known_collectors() -> tuple[str, ...]:
    """Return the names that failures are counted under."""
    return (_OWNERS, *_COLLECTORS, *_COLLECTORS_BY_TIME, books.COLLECTOR)


class Exporter:
    """Renders all metrics in Prometheus' text format; `database` is asked for at each scrape, and may raise."""

    def __init__(self, database: Callable[[], Database], clock: Clock, watch: BooksWatch, failures: Failures) -> None:
        self._database = database
        self._clock = clock
        self._watch = watch
        self._failures = failures
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self) -> bytes:
        """Return the metrics as they are now; ServiceUnavailable while the database does not answer."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family; called by the registry."""
        with self._database().read() as connection:
            known = self._read(connection, _OWNERS, partial(owners, connection))
            families = [
                family
                for name, collect in _COLLECTORS.items()
                for family in self._read(connection, name, partial(collect, connection, known))
            ]
            now = self._clock.now()
            for name, collect_now in _COLLECTORS_BY_TIME.items():
                families.extend(self._read(connection, name, partial(collect_now, connection, now)))
        yield from families
        yield from self._watch.families()
        yield self._failures.family()

    def _read(self, connection: sa.Connection, collector: str, read: Callable[[], Iterable[Read]]) -> list[Read]:
        """Return what one collector reads; nothing where it fails, which is counted."""
        try:
            with connection.begin_nested():  # after a failed query PostgreSQL answers nothing more in a transaction
                return list(read())
        except Exception as error:
            if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
                raise  # nobody else would get an answer either
            self._failures.count(collector, error)
            return []
