"""The supervisor: claims step runs, has its backend execute them, and writes down how they ended.

One thread does all of that; it waits on its backend and on timers, never on a step. Services that stages ask for
run in threads beside it. Only the supervisor writes runs, step runs and attempts.
"""

import os
import select
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import sqlalchemy as sa

from podium import faults, ids
from podium.clock import Clock
from podium.dag.plan import Plan
from podium.db.engine import Database, Session
from podium.errors import PodiumError, ServiceUnavailable
from podium.execution import approvals, assignments, attempt_store, deadlines, liveness, queries, stops, store, workers
from podium.execution.backend import Backend, SeatMessage, SeatNews, SeatWaits
from podium.execution.bookkeeping import Bookkeeper
from podium.execution.channel import Message
from podium.execution.claiming import Claimer
from podium.execution.entities import Assignment, Happening, Run
from podium.execution.interrupts import interrupt
from podium.execution.news import News
from podium.execution.outage import Outage
from podium.execution.processes import require_linux
from podium.execution.progress import Progress
from podium.execution.questions import Answers, Service
from podium.execution.rescuer import rescue
from podium.execution.setbacks import Setbacks
from podium.execution.supervision import Execution
from podium.execution.workers import WorkerOptions

_TICK_SECONDS = 0.5
_LOOK_SECONDS = 0.25
_RESCUE_SECONDS = 1.0
_SIGN_SECONDS = 20.0  # well below what others take for silence


def _nowhere_else(_: sa.Connection, __: str) -> Collection[str]:
    return ()


@dataclass
class Worker:
    """Executes one run, or every run; use it as a context manager, so that nothing of it outlives the block.

    `asks_elsewhere` returns the keys of a run's steps that snooze until a person decides about something outside it.
    """

    database: Database
    progress: Progress
    backend: Backend
    services: Mapping[str, Service]
    options: WorkerOptions
    clock: Clock
    observe: Callable[[Happening], None]
    asks_elsewhere: Callable[[sa.Connection, str], Collection[str]] = _nowhere_else
    _worker_id: str = ""
    _executions: dict[str, Execution] = field(default_factory=dict)
    _plans: dict[str, Plan] = field(default_factory=dict)
    _next_tick: float = 0.0
    _next_rescue: float = 0.0
    _next_sign: float = 0.0

    def __enter__(self) -> Self:
        require_linux()
        now = self.clock.now()
        self._worker_id = ids.new_id(now)
        self._session = Session(self.database)
        self._news = News(self.observe)
        self._setbacks = Setbacks(self.clock, self.observe)
        self._outage = Outage(self.clock, self.options.lease_seconds, self.observe)
        self._lock = liveness.WorkerLock(self.options.lock_folder, self._worker_id)
        with self._session.write() as connection:
            workers.start_worker(
                connection,
                self._worker_id,
                liveness.host_name(),
                os.getpid(),
                str(self._lock.path),
                now,
                self.backend.capacity,
                self.options.labels,
                for_any_run=self.options.for_any_run,
            )
            faults.reach("worker.before_start")
        faults.reach("worker.after_start")
        self._answers = Answers(self.database, self.services, self._worker_id)
        self._threads = ThreadPoolExecutor(self.backend.capacity.slots, thread_name_prefix="service")
        self.backend.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every seat; an attempt that an error or an interrupt cut short becomes claimable again."""
        self.backend.stop()
        self._threads.shutdown(wait=True, cancel_futures=True)
        left_attempts = True
        try:
            self._end_attempts()
            left_attempts = False
        except PodiumError:
            if error is None:  # else the database is what failed; whoever starts next rescues by the free lock
                raise
        finally:
            self._lock.release(left_attempts=left_attempts)
            self._session.close()

    def execute(self, run_id: str) -> Run:
        """Execute what may be executed of a run until it ended, whoever ends it, or waits for a person; return it."""
        self._news.follow_only(())
        self._news.follow(run_id, after=0)
        if self.clock.monotonic() >= self._next_rescue:
            self._rescue()
        self._work(lambda: self._is_over(run_id), only=run_id)
        with self._session.read() as connection:
            self._news.show(self._news.read(connection))
            return queries.get_run(connection, run_id)

    def execute_backfill(self, backfill_id: str, is_over: Callable[[], bool]) -> None:
        """Execute what may be executed of a backfill until `is_over`, asked while none of it is executed here."""
        if self.clock.monotonic() >= self._next_rescue:
            self._rescue()

        def stop() -> bool:
            if self._executions:
                return False
            with suppress(ServiceUnavailable):  # whoever writes next sits it out
                return is_over()
            return False

        self._work(stop, only=None, only_backfill=backfill_id)

    def serve(self, stop: Callable[[], bool]) -> None:
        """Execute what may be executed of any run, until `stop`, which is asked at least twice a second, says so.

        A run that cannot be claimed of (its plan is of another version of Podium, say) is told as `claim.failed` and
        tried again a minute later; the others go on. Then what runs has `drain_seconds` to come to its end.
        """
        self._work(stop, only=None)
        if self._executions and self.options.drain_seconds > 0:
            self._drain()

    def _work(self, stop: Callable[[], bool], only: str | None, only_backfill: str | None = None) -> None:
        options = self.options
        claimer = Claimer(
            self._worker_id,
            options.lease_seconds,
            options.limits,
            options.labels,
            lambda: self.backend.capacity,
            self.progress.settle_claimable,
            self.clock,
            self._setbacks,
            self._plans,
            only,
            only_backfill,
        )
        self._books = Bookkeeper(
            self._worker_id,
            self._session,
            self.progress,
            claimer,
            self._news,
            self.clock,
        )
        self._go_on_until(stop, only)

    def _go_on_until(self, stop: Callable[[], bool], only: str | None) -> None:
        stopped = False
        while not stopped:
            try:
                if self._outage.goes_on:
                    self._make_up_for_the_outage()
                stopped = stop()
                if not stopped:
                    self._claim_what_may_start()
                    self._wait()
                if only is None:
                    self._news.follow_only({each.assignment.run.run_id for each in self._executions.values()})
            except ServiceUnavailable as error:
                pause = self._outage.sit_out(error)  # as long as a lease at most
                with suppress(ServiceUnavailable):  # steps go on, and how their attempts end is kept
                    self._listen(pause)
                stopped = only is None and stop()  # of one run, only the database can say

    def _drain(self) -> None:
        """Claim nothing more, and let what runs come to its end, for so long as it may."""
        self._books.claimer.close()
        with suppress(ServiceUnavailable), self._session.write() as connection:
            workers.begin_to_drain(connection, self._worker_id, self.clock.now())
        deadline = self.clock.monotonic() + self.options.drain_seconds
        self._go_on_until(lambda: not self._executions or self.clock.monotonic() >= deadline, only=None)

    def _claim_what_may_start(self) -> None:
        if self._is_free and self._books.look(every_seconds=_LOOK_SECONDS):
            self._write([])
        if self._is_free and self._books.claimer.again:
            self._write([])

    def _make_up_for_the_outage(self) -> None:
        """Write a sign of life (a full disk can be read), and the ends that were kept, unless the attempts were taken.

        An attempt that this worker never heard of, because the answer to its claim was cut off, is given back.
        """
        self._show_alive()
        self._write_ends()
        with self._session.read() as connection:
            rows = queries.running_attempts_of(connection, self._worker_id)
        for row in rows:
            if row.attempt_id not in self._executions:
                interrupt(self._session, self.progress, self.clock, row)
        self._outage.is_over()

    @property
    def _is_free(self) -> bool:
        return len(self._executions) < self.backend.capacity.slots

    def _is_over(self, run_id: str) -> bool:
        """Tell whether a run has ended, or nothing can be done in it before a person decides."""
        if self._executions:
            return False
        with self._session.read() as connection:
            if not queries.is_open(connection, run_id):
                return True
            return approvals.waits_for_a_person(connection, run_id, self.asks_elsewhere(connection, run_id))

    def _write(self, ended: Sequence[Execution]) -> None:
        """Write how attempts ended and claim what comes next; then have that executed.

        One transaction ends them all where nobody writes beside it. Else two that end several could each wait for a row
        that the other has, of the ledger's sums for instance, so there each ends one.
        """
        if ended:
            self._books.look(every_seconds=_LOOK_SECONDS)  # also where no slot is ever free: others may go first now
        for batch in [ended] if self.database.is_sqlite or not ended else [[each] for each in ended]:
            ends = [(each.assignment, each.unwritten) for each in batch if each.unwritten is not None]
            running = [each.assignment for each in self._executions.values() if each not in batch]
            claimed, happened = self._books.write(ends, running)
            for execution in batch:
                self._forget(execution)
            for assignment in claimed:
                self._start(assignment)
            self._news.show(happened)

    def _start(self, assignment: Assignment) -> None:
        seat = self.backend.place(
            assignments.to_message(assignment, self.options.log_folder),
            assignment.node.resources,
            assignment.plan.code_digest,
            complete=assignment.node.module_file is None,  # a stage, not a step of the project's own files
        )
        self._executions[assignment.attempt_id] = Execution(assignment, seat, self.clock.monotonic())

    def _wait(self) -> None:
        """Wait for what is executed, for timers, and, while a slot is free, for what others change."""
        timeout = _TICK_SECONDS
        if self._is_free:
            timeout = min(timeout, self._books.seconds_until_look())
        if self._executions:
            timeout = min(timeout, self._next_tick - self.clock.monotonic())
        _wait_for([self.backend.fileno(), *([self._session.fileno()] if self._is_free else [])], timeout)
        self._listen()
        now = self.clock.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + _TICK_SECONDS
            self._tick()
        if now >= self._next_rescue:
            self._rescue()

    def _listen(self, timeout_seconds: float = 0.0) -> None:
        """Take in all that is new of seats, and write how attempts ended, which is kept until the database takes it."""
        for news in list(self.backend.wait(timeout_seconds)):  # all of it: what is not taken in now is never told again
            self._take_in(news)
        self._write_ends()

    def _write_ends(self) -> None:
        ended = [each for each in self._executions.values() if each.unwritten is not None]
        if ended:
            self._write(sorted(ended, key=_run_id))  # in the order in which runs are locked

    def _take_in(self, news: SeatNews) -> None:
        """Take in what is new of a seat, and keep the end of its attempt, if that is what it means."""
        execution = self._executions.get(news.seat.attempt_id or "")
        if execution is None or execution.unwritten is not None:
            return  # of an attempt this worker no longer holds, or one whose end is known
        if isinstance(news, SeatWaits):
            with suppress(ServiceUnavailable):  # what it waits for is told as long as the database listens
                self._record_wait(execution.assignment, news.reason)
        elif isinstance(news, SeatMessage) and news.message["type"] == "service":
            self._threads.submit(self._answer, execution, news.message)
        else:
            execution.take_in(news, self.clock.monotonic())

    def _answer(self, execution: Execution, question: Message) -> None:
        """Answer a stage's question, in a thread."""
        execution.seat.answer(self._answers.answer(execution.assignment, question))

    def _record_wait(self, of: Assignment, reason: str) -> None:
        run_id, now = of.run.run_id, self.clock.now()
        with self._session.write() as connection:
            if not attempt_store.holds(connection, self._worker_id, of.attempt_id):
                return
            store.record(connection, run_id, "attempt.waiting", now, step=of.label, number=of.number, reason=reason)
            happened = self._news.read(connection, [run_id])
        self._news.show(happened)

    def _forget(self, execution: Execution) -> None:
        del self._executions[execution.assignment.attempt_id]
        execution.seat.release()

    def _tick(self) -> None:
        """Renew leases, sample what runs, and end what is past its time or its memory, or of a stopped run."""
        if not self._executions:
            return
        with self._session.write() as connection:
            held = attempt_store.heartbeat(
                connection,
                self._worker_id,
                list(self._executions),
                self.options.lease_seconds,
                self.clock.now(),
            )
            runs = {each.assignment.run.run_id for each in self._executions.values()}
            stopped = stops.stops_of(connection, runs)
            happened = self._news.read(connection)
            faults.reach("heartbeat.before_commit")
        faults.reach("heartbeat.after_commit")
        for attempt_id, execution in list(self._executions.items()):
            if attempt_id not in held:
                execution.seat.end()
                self._forget(execution)
                continue
            execution.look(self.clock.monotonic())
            stop = stopped.get(execution.assignment.run.run_id)
            if stop is not None and execution.assignment.node.run_if != "always":
                execution.ask_to_end(stop, self.options.cancel_grace_seconds, self.clock.monotonic())
            if execution.ending is not None:
                execution.seat.end()
        self._news.show(happened)

    def _end_attempts(self) -> None:
        """End what still runs by the database's account, which also knows a claim that an interrupt cut short."""
        with self._session.read() as connection:
            rows = queries.running_attempts_of(connection, self._worker_id)
        for row in rows:
            execution = self._executions.get(row.attempt_id)
            end = None if execution is None else execution.end_cut_short(self.clock.monotonic())
            interrupt(self._session, self.progress, self.clock, row, end)
        with self._session.write() as connection:
            workers.end_worker(connection, self._worker_id, self.clock.now())
            happened = self._news.read(connection)
            faults.reach("worker.before_end")
        faults.reach("worker.after_end")
        self._news.show(happened)

    def _rescue(self) -> None:
        now = self.clock.monotonic()
        self._next_rescue = now + _RESCUE_SECONDS
        if now >= self._next_sign:
            self._next_sign = now + _SIGN_SECONDS
            self._show_alive()
        rescue(self.database, self.progress, self.clock, self._setbacks, besides=self._worker_id)
        deadlines.enforce(self.database, self.progress, self.clock, self._setbacks)

    def _show_alive(self) -> None:
        with self._session.write() as connection:
            workers.show_alive(connection, self._worker_id, self.backend.capacity, self.clock.now())


def _wait_for(descriptors: Sequence[int], timeout_seconds: float) -> None:
    """Wait until one of them is readable, at most so long."""
    poll = select.poll()
    for each in descriptors:
        poll.register(each, select.POLLIN)
    poll.poll(max(0.0, timeout_seconds) * 1000)


def _run_id(execution: Execution) -> str:
    return execution.assignment.run.run_id
