"""The supervisor: claims step runs, has its backend execute them, and writes down how they ended.

One thread does all of that; it waits on its backend and on timers, never on a step. Services that stages ask for
run in threads beside it. Only the supervisor writes runs, step runs and attempts.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from podium import faults, ids
from podium.clock import Clock
from podium.dag.plan import Plan
from podium.db.engine import Database
from podium.errors import PodiumError, ServiceUnavailable
from podium.execution import assignments, liveness, plans, queries, store
from podium.execution.backend import Backend, SeatEnded, SeatMessage
from podium.execution.channel import Message
from podium.execution.entities import Assignment, AttemptEnd, AttemptError, Happening, Run
from podium.execution.meter import Usage
from podium.execution.outage import Outage
from podium.execution.processes import require_linux
from podium.execution.progress import Progress
from podium.execution.questions import Answers, Service
from podium.execution.rescuer import rescue
from podium.execution.sharing import shares
from podium.execution.supervision import Execution

_TICK_SECONDS = 0.5
_POLL_SECONDS = 0.25
_RESCUE_SECONDS = 1.0
_PUT_OFF_SECONDS = 60.0
"""How long a run that cannot be claimed of is left alone, while the others go on."""


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker works: slots at once, lease length, and where logs and locks lie."""

    slots: int
    lease_seconds: float
    log_folder: Path
    lock_folder: Path


@dataclass
class Worker:
    """Executes one run, or every run; use it as a context manager, so that nothing of it outlives the block."""

    database: Database
    progress: Progress
    backend: Backend
    services: Mapping[str, Service]
    options: WorkerOptions
    clock: Clock
    observe: Callable[[Happening], None]
    _worker_id: str = ""
    _executions: dict[str, Execution] = field(default_factory=dict)
    _plans: dict[str, Plan] = field(default_factory=dict)
    _told: dict[str, int] = field(default_factory=dict)  # run → its last event that the observer knows
    _put_off: dict[str, float] = field(default_factory=dict)  # run → when it is tried again
    _next_tick: float = 0.0
    _next_rescue: float = 0.0
    _outage: Outage | None = None

    def __enter__(self) -> Self:
        require_linux()
        now = self.clock.now()
        self._worker_id = ids.new_id(now)
        self._lock = liveness.WorkerLock(self.options.lock_folder, self._worker_id)
        with self.database.write() as connection:
            store.start_worker(
                connection, self._worker_id, liveness.host_name(), os.getpid(), str(self._lock.path), now
            )
            faults.reach("worker.before_start")
        faults.reach("worker.after_start")
        self._answers = Answers(self.database, self.services, self._worker_id)
        self._threads = ThreadPoolExecutor(self.options.slots, thread_name_prefix="service")
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

    def execute(self, run_id: str) -> Run:
        """Execute what may be executed of a run until it has ended, whoever ends it; return it."""
        self._told = {run_id: 0}
        self._rescue()
        while True:
            try:
                self._make_up_for_an_outage()
                with self.database.read() as connection:
                    run = queries.get_run(connection, run_id)
                    claimable = queries.claimable(connection, self.clock.now(), run_id=run_id)
                if run.state not in ("queued", "running"):
                    self._tell()
                    self._outage_is_over()
                    return run
                for each, limit in self._shares(claimable).items():
                    self._start(self._claim(each, limit))
                self._wait()
                self._outage_is_over()
            except ServiceUnavailable as error:
                self._sit_out(error)

    def serve(self, stop: Callable[[], bool]) -> None:
        """Execute what may be executed of any run, until `stop`, which is asked several times a second, says so.

        A run that cannot be claimed of (its plan is of another version of Podium, say) is told as `claim.failed` and
        tried again a minute later; the others go on.
        """
        while not stop():
            try:
                self._make_up_for_an_outage()
                self._claim_of_any()
                self._wait()
                held = self._held()
                self._told = {run_id: event_id for run_id, event_id in self._told.items() if run_id in held}
                self._outage_is_over()
            except ServiceUnavailable as error:
                self._sit_out(error)

    def _sit_out(self, error: ServiceUnavailable) -> None:
        """Wait a while for a database that does not answer; raise the error once it has not for as long as a lease.

        Steps go on meanwhile, and how their attempts ended is kept.
        """
        if self._outage is None:
            self._outage = Outage(self.clock.monotonic())
            self.observe(Happening("database.away", "", self.clock.now(), reason=str(error)))
        if self._outage.seconds(self.clock.monotonic()) > self.options.lease_seconds:
            raise error
        with suppress(ServiceUnavailable):
            self._listen(self._outage.next_pause())

    def _make_up_for_an_outage(self) -> None:
        """Write the ends that were kept, unless somebody has taken the attempts by now.

        An attempt that the database has and this worker never heard of, because the answer to its claim was cut off,
        is given back.
        """
        if self._outage is None:
            return
        for execution in list(self._executions.values()):
            if execution.unwritten is not None:
                self._finish(execution, execution.unwritten)
        with self.database.read() as connection:
            rows = queries.running_attempts_of(connection, self._worker_id)
        for row in rows:
            if row.attempt_id not in self._executions:
                self._end_unheard_of(row)

    def _outage_is_over(self) -> None:
        """Take note, after a whole pass of the loop, that the database answers."""
        if self._outage is not None:
            self._outage = None
            self.observe(Happening("database.back", "", self.clock.now()))

    def _claim_of_any(self) -> None:
        now = self.clock.monotonic()
        self._put_off = {run_id: until for run_id, until in self._put_off.items() if until > now}
        if len(self._executions) >= self.options.slots:
            return
        with self.database.read() as connection:
            claimable = queries.claimable(connection, self.clock.now())
        free_of_trouble = {run_id: count for run_id, count in claimable.items() if run_id not in self._put_off}
        for run_id, limit in self._shares(free_of_trouble).items():
            try:
                claimed = self._claim(run_id, limit)
            except ServiceUnavailable:
                raise
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one run, the others go on
                self._put_off[run_id] = now + _PUT_OFF_SECONDS
                reason = str(error) if isinstance(error, PodiumError) else f"{type(error).__name__}: {error}"
                self.observe(Happening("claim.failed", run_id, self.clock.now(), reason=reason))
            else:
                self._start(claimed)

    def _shares(self, claimable: Mapping[str, int]) -> dict[str, int]:
        return shares(self.options.slots - len(self._executions), self._held(), claimable)

    def _held(self) -> Counter[str]:
        """Count the slots that each run has."""
        return Counter(execution.assignment.run.run_id for execution in self._executions.values())

    def _claim(self, run_id: str, limit: int) -> list[Assignment]:
        """Claim up to `limit` step runs of a run; whoever else wanted them may have been first."""
        now = self.clock.now()
        with self.database.write() as connection:
            store.lock_run(connection, run_id)  # its plan may change until then, not after
            run = queries.get_run(connection, run_id)
            plan = self._plans.get(run.plan_digest) or plans.load(connection, run.plan_digest)
            self._plans[run.plan_digest] = plan
            if run_id not in self._told:
                self._told[run_id] = queries.last_event_id(connection, run_id)
            claims = store.claim(
                connection,
                self._worker_id,
                run_id=run_id,
                limit=limit,
                plan=plan,
                lease_seconds=self.options.lease_seconds,
                now=now,
            )
            if not claims:
                return []
            claimed = assignments.of_claims(connection, run, plan, claims, now)
            faults.reach("attempt.before_start")
        faults.reach("attempt.after_start")
        return claimed

    def _start(self, claimed: list[Assignment]) -> None:
        for assignment in claimed:
            from_elsewhere = assignment.node.module_file is None  # a stage, not a step of the project's own files
            seat = self.backend.place(
                assignments.to_message(assignment, self.options.log_folder),
                assignment.node.resources,
                assignment.plan.code_digest,
                complete=from_elsewhere,
            )
            self._executions[assignment.attempt_id] = Execution(assignment, seat, self.clock.monotonic())
        if claimed:
            self._tell()

    def _wait(self) -> None:
        """Wait for what is executed, for timers, and for what others change."""
        timeout = _POLL_SECONDS
        if self._executions:
            timeout = min(timeout, max(0.0, self._next_tick - self.clock.monotonic()))
        self._listen(timeout)
        now = self.clock.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + _TICK_SECONDS
            self._tick()
            self._tell()
        if now >= self._next_rescue:
            self._rescue()

    def _listen(self, timeout_seconds: float) -> None:
        """Take note of all that seats say; an end that the database does not take is kept, and the others are heard."""
        away: ServiceUnavailable | None = None
        for happening in list(self.backend.wait(timeout_seconds)):
            try:
                if isinstance(happening, SeatEnded):
                    self._seat_ended(happening)
                else:
                    self._hear(happening)
            except ServiceUnavailable as error:
                away = error
        if away is not None:
            raise away

    def _hear(self, said: SeatMessage) -> None:
        execution = self._executions.get(said.seat.attempt_id or "")
        if execution is None:
            return  # of an attempt this worker no longer holds
        if said.message["type"] == "service":
            self._threads.submit(self._answer, execution, said.message)
            return
        if said.message["attempt_id"] != said.seat.attempt_id:
            return  # of an attempt that ended before, told by a process it had forked
        if said.message["recycle"]:
            said.seat.end()
        self._finish(execution, execution.end_told(said.message))

    def _answer(self, execution: Execution, question: Message) -> None:
        """Answer a stage's question, in a thread."""
        execution.seat.answer(self._answers.answer(execution.assignment, question))

    def _seat_ended(self, ended: SeatEnded) -> None:
        execution = self._executions.get(ended.seat.attempt_id or "")
        if execution is not None and execution.unwritten is None:
            self._finish(execution, execution.end_of_dead_process(ended.status, self.clock.monotonic()))

    def _finish(self, execution: Execution, end: AttemptEnd) -> None:
        """Write an attempt's end; its seat is free again. It is kept where the database does not answer."""
        execution.unwritten = end
        faults.reach("attempt.before_end")
        try:
            self._write_end(execution, end)
        except ServiceUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - else a run that cannot move on ends one worker after another
            what = f"its end, {end.state}, could not be written down: {type(error).__name__}: {error}"
            failure = AttemptError("InternalError", what, retryable=False)
            self._write_end(execution, AttemptEnd("failed", end.usage, error=failure))
        faults.reach("attempt.after_end")
        self._forget(execution)
        self._tell()

    def _write_end(self, execution: Execution, end: AttemptEnd) -> None:
        with self.database.write() as connection:
            row = queries.running_attempt(connection, execution.assignment.attempt_id)
            if row is not None and row.worker_id == self._worker_id:
                self.progress.end(connection, row, execution.assignment.plan, end, self.clock.now())

    def _forget(self, execution: Execution) -> None:
        del self._executions[execution.assignment.attempt_id]
        execution.seat.release()

    def _tick(self) -> None:
        """Renew leases, sample what runs, and end what is past its time or its memory, or of a cancelled run."""
        if not self._executions:
            return
        with self.database.write() as connection:
            held = store.heartbeat(
                connection,
                self._worker_id,
                list(self._executions),
                self.options.lease_seconds,
                self.clock.now(),
            )
            cancel_reasons = queries.cancel_reasons(connection, self._held().keys())
            faults.reach("heartbeat.before_commit")
        faults.reach("heartbeat.after_commit")
        for attempt_id, execution in list(self._executions.items()):
            if attempt_id not in held:
                execution.seat.end()
                self._forget(execution)
                continue
            execution.look(self.clock.monotonic())
            cancel_reason = cancel_reasons.get(execution.assignment.run.run_id)
            if cancel_reason is not None:
                execution.cancel(cancel_reason, self.clock.monotonic())
            if execution.ending is not None:
                execution.seat.end()

    def _end_attempts(self) -> None:
        """End what still runs by the database's account, which also knows a claim that an interrupt cut short."""
        with self.database.read() as connection:
            rows = queries.running_attempts_of(connection, self._worker_id)
        for row in rows:
            execution = self._executions.get(row.attempt_id)
            if execution is None:
                self._end_unheard_of(row)
            else:
                self._interrupt(row, execution.end_cut_short(self.clock.monotonic()))
        with self.database.write() as connection:
            store.end_worker(connection, self._worker_id, self.clock.now())
            faults.reach("worker.before_end")
        faults.reach("worker.after_end")
        if rows:
            self._tell()

    def _end_unheard_of(self, row: queries.AttemptRow) -> None:
        """End an attempt that was claimed and never begun, so that its step run is claimable again."""
        wall_seconds = max(0.0, (self.clock.now() - row.started_at).total_seconds())
        usage = Usage(wall_seconds, None, None, source="clock", quality="missing")
        self._interrupt(row, AttemptEnd("cancelled", usage))

    def _interrupt(self, row: queries.AttemptRow, end: AttemptEnd) -> None:
        with self.database.write() as connection:
            self.progress.end(connection, row, plans.load(connection, row.plan_digest), end, self.clock.now())
            faults.reach("interrupt.before_commit")
        faults.reach("interrupt.after_commit")

    def _rescue(self) -> None:
        self._next_rescue = self.clock.monotonic() + _RESCUE_SECONDS
        rescue(self.database, self.progress, self.clock, besides=self._worker_id)

    def _tell(self) -> None:
        """Show the observer what happened in the runs it follows: the one executed, or those that have a slot."""
        for run_id, event_id in list(self._told.items()):
            with self.database.read() as connection:
                rows = queries.event_rows(connection, run_id, after=event_id)
            for row in rows:
                self._told[run_id] = row.event_id
                self.observe(Happening(row.kind, row.run_id, row.at, row.step, row.attempt, row.reason))
