"""What could not be read: counted per collector, and told on stderr, while everything else goes on."""

import logging
import threading
from collections.abc import Iterable

from prometheus_client.core import Metric

from podium.errors import PodiumError
from podium.exporter.families import counter

_log = logging.getLogger(__name__)


class Failures:
    """Counts the failures of `collectors` since this process started; threads may share it."""

    def __init__(self, collectors: Iterable[str]) -> None:
        self._lock = threading.Lock()
        self._counts = {(collector,): 0 for collector in collectors}

    def count(self, collector: str, error: Exception) -> None:
        """Count a failure of `collector` and write why: in a line, or with the traceback where nobody foresaw it."""
        unforeseen = None if isinstance(error, PodiumError) else error
        _log.warning("The metrics of %s could not be read: %s", collector, error, exc_info=unforeseen)
        with self._lock:
            self._counts[collector,] += 1

    def family(self) -> Metric:
        """Return the counts as a metric."""
        with self._lock:
            return counter(
                "podium_scrape_errors",
                "Failures of a collector in this process; its metrics were absent meanwhile.",
                ("collector",),
                self._counts,
            )
