"""The notifier: one call looks for what is new, tells it, and says when to call again."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from podium import faults
from podium.clock import Clock
from podium.db.engine import Database
from podium.errors import ServiceUnavailable
from podium.faults import FaultRaised
from podium.notify import collection, outbox
from podium.notify.entities import Notice
from podium.notify.port import Channel
from podium.notify.rules import Rules
from podium.notify.sender import Sender

_LOOK_SECONDS = 5.0
_SCHEDULES_EVERY = timedelta(minutes=1)
_AWAITED_SECONDS = 0.5
_LEAST_SECONDS = 1.0


class Notifier:
    """Tells what happened to those whom the rules name.

    Whoever hosts it calls `advance` again after as many seconds as it returns, or sooner, and `close` at the end. Any
    number may work on one database. `patience_seconds` is the longest that one call waits for channels.
    """

    def __init__(
        self,
        database: Database,
        channels: Mapping[str, Channel],
        rules: Rules,
        clock: Clock,
        observe: Callable[[Notice], None],
        *,
        patience_seconds: float = 2.0,
    ) -> None:
        self._database = database
        self._rules = rules
        self._clock = clock
        self._observe = observe
        self._sender = Sender(database, channels, rules, clock, observe, patience_seconds)
        self._schedules_at: datetime | None = None
        self._untold: set[str] = set()

    def advance(self) -> float:
        """Make alerts of what is new, send what is due, and return after how many seconds to do so again.

        Nothing that a channel does, and nothing odd on record, is raised: it is told to the observer. A database that
        is away raises ServiceUnavailable; the next call takes up what this one left.
        """
        with self._contained("what is new could not be looked for"):
            self._collect()
        with self._contained("what is due could not be sent"):
            self._sender.deliver()
        return self._pause()

    def close(self) -> None:
        """Wait a moment for channels that have not answered, and note what they do; it raises nothing.

        What cannot be noted is sent again by whoever comes next.
        """
        with suppress(ServiceUnavailable):
            self._sender.close()

    @contextmanager
    def _contained(self, what: str) -> Iterator[None]:
        """Tell what goes wrong in the block; only a database that is away is raised."""
        try:
            yield
        except (ServiceUnavailable, FaultRaised):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, what else is to be told waits for it
            why = f"{what}, which is tried again: {type(error).__name__}: {error}"
            self._observe(Notice("alerts.failed", "", self._clock.now(), why))

    def _collect(self) -> None:
        now = self._clock.now()
        schedules = self._schedules_at is None or now >= self._schedules_at
        with self._database.read() as connection:
            found = collection.look(connection, self._rules, now, schedules=schedules)
        for one in found.untold:  # found again at every look until its cursor has passed it
            if one.key not in self._untold:
                self._untold.add(one.key)
                self._observe(Notice("alerts.failed", "", now, one.why, one.run_id))
        if found.alerts or found.cursors:
            with self._database.write() as connection:
                collection.keep(connection, found, now)
                faults.reach("alert.before_collect")
            faults.reach("alert.after_collect")
        if schedules:
            self._schedules_at = now + _SCHEDULES_EVERY

    def _pause(self) -> float:
        if self._sender.is_sending:
            return _AWAITED_SECONDS
        with self._database.read() as connection:
            due_at = outbox.next_due_at(connection)
        left = _LOOK_SECONDS if due_at is None else (due_at - self._clock.now()).total_seconds()
        return min(max(left, _LEAST_SECONDS), _LOOK_SECONDS)
