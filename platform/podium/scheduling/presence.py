"""Which schedulers there are: each has a row with the time of its last sign of life."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from podium import ids
from podium.clock import Clock
from podium.db.engine import Database
from podium.db.schema import scheduler

SILENT = timedelta(seconds=45)
"""A scheduler that gave no sign for so long is taken for dead."""

_SIGN_SECONDS = 15.0
_FORGOTTEN = timedelta(days=7)


@dataclass
class Presence:
    """One scheduler's row."""

    database: Database
    clock: Clock
    host: str
    process_id: int
    scheduler_id: str = ""

    def advance(self) -> float:
        """Give a sign of life, the first of which makes the row; return after how many seconds the next is due.

        With the row those of schedulers that have been silent for a week are removed.
        """
        now = self.clock.now()
        with self.database.write() as connection:
            if not (self.scheduler_id and self._change(connection, heartbeat_at=now)):
                connection.execute(scheduler.delete().where(scheduler.c.heartbeat_at < now - _FORGOTTEN))
                made = ids.new_id(now)
                of_process = {"host": self.host, "process_id": self.process_id}
                connection.execute(
                    scheduler.insert().values(scheduler_id=made, started_at=now, heartbeat_at=now, **of_process)
                )
                self.scheduler_id = made
        return _SIGN_SECONDS

    def end(self) -> None:
        """Note that the scheduler ended of its own accord."""
        if self.scheduler_id:
            with self.database.write() as connection:
                self._change(connection, ended_at=self.clock.now())

    def _change(self, connection: sa.Connection, **values: datetime) -> bool:
        """Change the row; False if it was forgotten while this process stood still."""
        own = scheduler.update().where(scheduler.c.scheduler_id == self.scheduler_id)
        return connection.execute(own.values(**values)).rowcount == 1


def is_any_alive(connection: sa.Connection, now: datetime) -> bool:
    """Tell whether a scheduler gave a sign of life lately."""
    return connection.execute(sa.select(scheduler.c.scheduler_id).where(_is_alive(now)).limit(1)).first() is not None


def count_alive(connection: sa.Connection, now: datetime) -> int:
    """Return how many schedulers gave a sign of life lately."""
    return connection.execute(sa.select(sa.func.count()).select_from(scheduler).where(_is_alive(now))).scalar_one()


def _is_alive(now: datetime) -> sa.ColumnElement[bool]:
    # A sign from far ahead was given before the clock was set back, by one that may have died since.
    sign = scheduler.c.heartbeat_at
    return sa.and_(scheduler.c.ended_at.is_(None), sign > now - SILENT, sign < now + SILENT)
