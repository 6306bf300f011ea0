"""Whether the books agree, looked at from time to time: that reads the whole ledger, which no scrape may."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

from prometheus_client.core import Metric

from podium.clock import Clock
from podium.db.engine import Database
from podium.exporter.failures import Failures
from podium.exporter.families import gauge
from podium.finops.reconciliation import Reconciliation, reconcile

COLLECTOR = "reconciliation"
INTERVAL_SECONDS = 300.0
_END_SECONDS = 2.0


@dataclass(frozen=True)
class Looked:
    """What a look at the books found, and when."""

    at: datetime
    reconciliation: Reconciliation


def rest_after(took_seconds: float, interval_seconds: float) -> float:
    """Return how many seconds to wait for the next look: at most 1/20 of the time goes into looking.

    The thread shares its core with the scrapes, and a look takes the longer the more the ledger holds.

    >>> rest_after(0.5, 300.0), rest_after(40.0, 300.0)
    (300.0, 800.0)
    """
    return max(interval_seconds, 20 * took_seconds)


class BooksWatch:
    """Reconciles at once and then every `interval_seconds` or later, in a thread of its own, between enter and exit.

    A look that fails is counted and changes nothing: the last result stays, with its time, which gives it away.
    """

    def __init__(
        self,
        database: Callable[[], Database],
        clock: Clock,
        failures: Failures,
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._failures = failures
        self._interval_seconds = interval_seconds
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="books", daemon=True)
        self._last: Looked | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join(_END_SECONDS)  # a look only reads: it may be cut off with the process

    def look(self) -> None:
        """Reconcile now."""
        try:
            at = self._clock.now()
            with self._database().read() as connection:
                self._last = Looked(at, reconcile(connection))
        except Exception as error:  # noqa: BLE001 - whatever it is, the server must go on, and the next look may work
            self._failures.count(COLLECTOR, error)

    def families(self) -> Iterator[Metric]:
        """Yield the last result; no series before the first."""
        last = self._last
        yield gauge(
            "podium_cost_reconciliation_difference_usd",
            "By how much the two sides of a check of the books differ: 0, or they do not agree.",
            ("check",),
            {} if last is None else {(check.name,): check.difference for check in last.reconciliation.checks},
        )
        yield gauge(
            "podium_cost_reconciliation_timestamp_seconds",
            "When the books were last checked.",
            (),
            {} if last is None else {(): last.at.timestamp()},
        )

    def _watch(self) -> None:
        rest = 0.0
        while not self._ending.wait(rest):
            began = self._clock.monotonic()
            self.look()
            rest = rest_after(self._clock.monotonic() - began, self._interval_seconds)
