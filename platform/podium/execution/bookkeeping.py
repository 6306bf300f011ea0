"""A worker's transactions: how attempts ended is written together with the claims of what comes next."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from podium import faults
from podium.clock import Clock
from podium.db.engine import Session
from podium.errors import ServiceUnavailable
from podium.execution import queries
from podium.execution.claiming import Claimer, ClaimFailed
from podium.execution.entities import Assignment, AttemptEnd, AttemptError
from podium.execution.news import News
from podium.execution.progress import Progress
from podium.execution.queries import EventRow

_SHORTEST_SECONDS = 0.01
"""How long between two looks at least, however much others write; also where somebody else has the lock of a run."""

End = tuple[Assignment, AttemptEnd]


@dataclass
class Bookkeeper:
    """Writes for one worker, and reads for it what others wrote.

    `look_at` is when the claimer is to ask the database anew, on the monotonic clock.
    """

    worker_id: str
    session: Session
    progress: Progress
    claimer: Claimer
    news: News
    clock: Clock
    look_at: float = 0.0
    _looked_at: float = -math.inf
    _news_of_others: bool = False
    _due: list[float] = field(default_factory=list)  # when what waits may be tried again

    def look(self, *, every_seconds: float) -> bool:
        """Ask the database what may start, where that may have changed; tell whether anything may."""
        now = self.clock.monotonic()
        self._news_of_others = self.session.others_wrote() or self._news_of_others
        while self._due and self._due[0] <= now:
            heapq.heappop(self._due)
            self.look_at = now
        if now < self._looked_at + _SHORTEST_SECONDS or not (self._news_of_others or now >= self.look_at):
            return False
        self._looked_at, self.look_at, self._news_of_others = now, now + every_seconds, False
        with self.session.read() as connection:
            self.claimer.look(connection)
        return bool(self.claimer)

    def seconds_until_look(self) -> float:
        """Return after how long to look again, if nobody writes until then."""
        now = self.clock.monotonic()
        due = now if self._news_of_others else min(self.look_at, self._due[0] if self._due else math.inf)
        due = max(due, self._looked_at + _SHORTEST_SECONDS)
        return max(0.0, min(due - now, _SHORTEST_SECONDS if self.claimer.again else math.inf))

    def write(self, ends: Sequence[End], running: Sequence[Assignment]) -> tuple[list[Assignment], list[EventRow]]:
        """Write how attempts ended, and claim what fits in beside those that are still `running`.

        Return the claims, and what is to be shown once they have begun. Where one end cannot be written, each is
        written alone, and that one as a failure.
        """
        while True:
            try:
                return self._write_together(ends, running)
            except ClaimFailed as error:  # without that run; nothing of the transaction stands
                self.claimer.failed(error)
                self.look_at = 0.0
            except ServiceUnavailable:
                raise
            except Exception:
                if not ends:
                    raise
                return [], [each for end in ends for each in self._write_alone(*end)]

    def _write_together(
        self, ends: Sequence[End], running: Sequence[Assignment]
    ) -> tuple[list[Assignment], list[EventRow]]:
        if ends:
            faults.reach("attempt.before_end")
        with self.session.write() as connection:
            last_event_id = queries.last_event_id(connection)
            for assignment, end in ends:
                self._end(connection, assignment, end)
            ended = [assignment.run.run_id for assignment, _ in ends]
            claimed = self.claimer.claim(connection, running, ended)
            moved = dict.fromkeys([*ended, *(each.run.run_id for each in claimed)])
            for run_id in moved:
                self.news.follow(run_id, last_event_id)
            happened = self.news.read(connection, moved)
            if claimed:
                faults.reach("attempt.before_start")
        if ends:
            faults.reach("attempt.after_end")
        if claimed:
            faults.reach("attempt.after_start")
        return claimed, happened

    def _write_alone(self, assignment: Assignment, end: AttemptEnd) -> list[EventRow]:
        """Write one attempt's end, or that it cannot be written: else it would end one worker after another."""
        try:
            with self.session.write() as connection:
                self._end(connection, assignment, end)
        except ServiceUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is
            what = f"its end, {end.state}, could not be written down: {type(error).__name__}: {error}"
            failure = AttemptError("InternalError", what, retryable=False)
            with self.session.write() as connection:
                self._end(connection, assignment, AttemptEnd("failed", end.usage, error=failure))
        with self.session.read() as connection:
            return self.news.read(connection, [assignment.run.run_id])

    def _end(self, connection: sa.Connection, assignment: Assignment, end: AttemptEnd) -> None:
        row = queries.AttemptRow.of(assignment, self.worker_id)
        move = self.progress.end(connection, row, assignment.plan, end, self.clock.now())
        if move is None:
            return
        self.claimer.went_on(assignment.run.run_id)
        backfill_id = assignment.run.backfill_id
        if backfill_id is not None and not queries.is_open(connection, assignment.run.run_id):
            self.claimer.backfill_has_room(connection, backfill_id)
        if assignment.node.cache:
            self.look_at = 0.0  # equal steps of other runs may have waited for this one
        if move.not_before is not None:
            wait_seconds = (move.not_before - self.clock.now()).total_seconds()
            heapq.heappush(self._due, self.clock.monotonic() + wait_seconds)
