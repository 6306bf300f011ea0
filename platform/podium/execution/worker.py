"""The supervisor: claims step runs, has slots execute them, and writes down how they ended.

One thread does all of that; it waits on its slots and on timers, never on a step. Services that stages ask for
run in threads beside it. Only the supervisor writes runs, step runs and attempts.
"""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from podium import faults, ids
from podium.clock import Clock
from podium.dag import values
from podium.dag.plan import Plan
from podium.db.engine import Database
from podium.errors import Conflict, InternalError, PodiumError
from podium.execution import assignments, liveness, plans, queries, store, wire
from podium.execution.channel import ChannelClosed, Message
from podium.execution.entities import Assignment, AttemptEnd, AttemptError, Happening, Run
from podium.execution.meter import Sample, Usage, sample, with_sampled_peak
from podium.execution.processes import require_linux
from podium.execution.progress import Progress
from podium.execution.rescuer import rescue
from podium.execution.slots import SlotEnded, SlotHandle, SlotMessage, Slots

Service = Callable[[Assignment, Mapping[str, Any]], Any]

_TICK_SECONDS = 0.5
_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker works: slots at once, lease length, and where logs and locks lie."""

    slots: int
    lease_seconds: float
    log_folder: Path
    lock_folder: Path


@dataclass
class _Execution:
    """An attempt in a slot, as its supervisor watches it."""

    assignment: Assignment
    slot: SlotHandle
    started: float
    first_cpu_seconds: float  # of its slot, before it
    last: Sample | None = None
    peak_memory_bytes: int | None = None
    ending: AttemptEnd | None = None  # decided by the supervisor; written when the slot is gone


@dataclass
class Worker:
    """Executes runs; use it as a context manager, so that nothing of it outlives the block."""

    database: Database
    progress: Progress
    slots: Slots
    services: Mapping[str, Service]
    options: WorkerOptions
    clock: Clock
    observe: Callable[[Happening], None]
    _worker_id: str = ""
    _executions: dict[str, _Execution] = field(default_factory=dict)
    _next_tick: float = 0.0
    _seen_event: int = 0

    def __enter__(self) -> Self:
        require_linux()
        now = self.clock.now()
        self._worker_id = ids.new_id(now)
        self._lock = liveness.WorkerLock(self.options.lock_folder, self._worker_id)
        with self.database.write() as connection:
            store.start_worker(
                connection, self._worker_id, liveness.host_name(), os.getpid(), str(self._lock.path), now
            )
        self._threads = ThreadPoolExecutor(self.options.slots, thread_name_prefix="service")
        self.slots.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every slot; an attempt that an error or an interrupt cut short becomes claimable again."""
        self.slots.stop()
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

    def _end_attempts(self) -> None:
        """End what still runs by the database's account, which also knows a claim that an interrupt cut short."""
        with self.database.read() as connection:
            rows = queries.running_attempts_of(connection, self._worker_id)
        now = self.clock.now()
        for row in rows:
            execution = self._executions.get(row.attempt_id)
            if execution is not None:
                end = execution.ending or AttemptEnd("cancelled", self._usage(execution))
            else:
                wall_seconds = max(0.0, (now - row.started_at).total_seconds())
                end = AttemptEnd("cancelled", Usage(wall_seconds, None, None, source="clock", quality="missing"))
            with self.database.write() as connection:
                self.progress.end(connection, row, plans.load(connection, row.plan_digest), end, now)
        with self.database.write() as connection:
            store.end_worker(connection, self._worker_id, now)

    def execute(self, run_id: str) -> Run:
        """Execute what may be executed of a run until it has ended, whoever ends it; return it."""
        self._seen_event = 0
        self._rescue()
        with self.database.read() as connection:
            run = queries.get_run(connection, run_id)
            plan = plans.load(connection, run.plan_digest)
        while run.state in ("queued", "running"):
            self._claim(run, plan)
            self._wait(run)
            with self.database.read() as connection:
                run = queries.get_run(connection, run_id)
        self._tell(run_id)
        return run

    def _claim(self, run: Run, plan: Plan) -> None:
        free = self.options.slots - len(self._executions)
        if free <= 0:
            return
        now = self.clock.now()
        with self.database.write() as connection:
            claims = store.claim(
                connection,
                self._worker_id,
                run_id=run.run_id,
                limit=free,
                plan=plan,
                lease_seconds=self.options.lease_seconds,
                now=now,
            )
            started = assignments.of_claims(connection, run, plan, claims, now)
            if claims:
                faults.reach("attempt.before_start")
        if not claims:
            return
        faults.reach("attempt.after_start")
        for assignment in started:
            self._start(assignment)
        self._tell(run.run_id)

    def _start(self, assignment: Assignment) -> None:
        from_elsewhere = assignment.node.module_file is None  # a stage, not a step of the project's own files
        slot = self.slots.idle(assignment.plan.code_digest, complete=from_elsewhere)
        slot.attempt_id = assignment.attempt_id
        before = None if slot.process_id is None else sample(slot.process_id)
        self._executions[assignment.attempt_id] = _Execution(
            assignment, slot, self.clock.monotonic(), before.cpu_seconds if before else 0.0
        )
        try:
            slot.channel.send(assignments.to_message(assignment, self.options.log_folder))
        except ChannelClosed:
            return  # the slot died idle; its end is reported and ends the attempt

    def _wait(self, run: Run) -> None:
        """Wait for slots, timers, or (with nothing of our own to do) for what other workers change."""
        now = self.clock.monotonic()
        timeout = max(0.0, self._next_tick - now) if self._executions else _POLL_SECONDS
        for happening in self.slots.wait(timeout):
            if isinstance(happening, SlotEnded):
                self._slot_ended(happening)
            else:
                self._hear(happening)
        if self.clock.monotonic() >= self._next_tick:
            self._next_tick = self.clock.monotonic() + _TICK_SECONDS
            self._tick()
            if not self._executions:
                self._rescue()
                self._tell(run.run_id)

    def _hear(self, said: SlotMessage) -> None:
        execution = self._executions.get(said.slot.attempt_id or "")
        if execution is None:
            return  # of an attempt this worker no longer holds
        if said.message["type"] == "service":
            self._threads.submit(self._serve, execution, said.message)
            return
        if said.message["attempt_id"] != said.slot.attempt_id:
            return  # of an attempt that ended before, told by a process it had forked
        if said.message["recycle"]:
            self.slots.end(said.slot)
        self._finish(execution, _end_of(said.message, execution.peak_memory_bytes))

    def _slot_ended(self, ended: SlotEnded) -> None:
        execution = self._executions.get(ended.slot.attempt_id or "")
        if execution is None:
            return
        end = execution.ending
        if end is None:
            how = (
                f"was killed by signal {-ended.status}"
                if ended.status < 0
                else f"ended with exit status {ended.status}"
            )
            hint = " (the kernel does that when memory runs out)" if ended.status == -9 else ""
            end = AttemptEnd(
                "failed",
                self._usage(execution),
                error=AttemptError("ProcessDied", f"the step's process {how}{hint}"),
            )
        self._finish(execution, end)

    def _finish(self, execution: _Execution, end: AttemptEnd) -> None:
        """Write an attempt's end; the slot is free again."""
        now = self.clock.now()
        faults.reach("attempt.before_end")
        with self.database.write() as connection:
            self._write_end(connection, execution, end, now)
        faults.reach("attempt.after_end")
        self._forget(execution)
        self._tell(execution.assignment.run.run_id)

    def _write_end(self, connection: Any, execution: _Execution, end: AttemptEnd, now: datetime) -> None:
        row = queries.running_attempt(connection, execution.assignment.attempt_id)
        if row is not None and row.worker_id == self._worker_id:
            self.progress.end(connection, row, execution.assignment.plan, end, now)

    def _forget(self, execution: _Execution) -> None:
        del self._executions[execution.assignment.attempt_id]
        execution.slot.attempt_id = None

    def _tick(self) -> None:
        """Renew leases, sample what runs, and end what is past its time or its memory."""
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
        for attempt_id, execution in list(self._executions.items()):
            if attempt_id not in held:
                self.slots.end(execution.slot)
                self._forget(execution)
                continue
            self._sample(execution)
            self._enforce(execution)

    def _sample(self, execution: _Execution) -> None:
        if execution.slot.process_id is None:  # the host still imports: the step's own time has not begun
            execution.started = self.clock.monotonic()
            return
        seen = sample(execution.slot.process_id)
        if seen is None:
            return
        execution.last = seen
        execution.peak_memory_bytes = max(seen.memory_bytes, execution.peak_memory_bytes or 0)

    def _enforce(self, execution: _Execution) -> None:
        node = execution.assignment.node
        elapsed = self.clock.monotonic() - execution.started
        if execution.ending is not None:
            return
        if node.timeout_seconds is not None and elapsed > node.timeout_seconds:
            error = AttemptError("TimedOut", f"it ran for {elapsed:.1f} s > {node.timeout_seconds:g} s allowed")
            execution.ending = AttemptEnd("timed_out", self._usage(execution), error=error)
        elif execution.last is not None and execution.last.memory_bytes > node.resources.memory_bytes:
            used, limit = execution.last.memory_bytes / 2**20, node.resources.memory_bytes / 2**20
            error = AttemptError(
                "MemoryLimit",
                f"it used {used:,.0f} MiB > {limit:,.0f} MiB reserved; reserve more with @step(memory=…)",
            )
            execution.ending = AttemptEnd("failed", self._usage(execution), error=error)
        if execution.ending is not None:
            self.slots.end(execution.slot)

    def _usage(self, execution: _Execution) -> Usage:
        """What is known from outside about an attempt that cannot tell itself."""
        wall = self.clock.monotonic() - execution.started
        if execution.last is None:
            return Usage(wall, None, None, source="proc", quality="missing")
        cpu = execution.last.cpu_seconds - execution.first_cpu_seconds
        return Usage(wall, cpu, execution.peak_memory_bytes, source="proc", quality="estimated")

    def _serve(self, execution: _Execution, question: Message) -> None:
        """Answer a stage's question, in a thread; every failure is an answer."""
        try:
            answer: Message = {
                "type": "answer",
                "value": values.encode(self._answer(execution.assignment, question)),
            }
        except PodiumError as error:
            answer = {"type": "answer", "error": {"type": type(error).__name__, "message": str(error)}}
        except Exception as error:  # noqa: BLE001 - the stage waits: what went wrong is its answer
            message = f"The service {question['service']} failed: {type(error).__name__}: {error}."
            answer = {"type": "answer", "error": {"type": "InternalError", "message": message}}
        try:
            execution.slot.channel.send(answer)
        except (ChannelClosed, OSError):
            return  # the attempt was ended meanwhile; the next one asks again under the same key

    def _answer(self, assignment: Assignment, question: Message) -> Any:
        name, foreign = question["service"], _foreign_types(question["arguments"])
        if foreign:  # decoding imports a type's module, and user code is imported in slots only
            raise InternalError(f"The service {name} was handed a {foreign[0]}, which is no type of Podium's.")
        arguments = values.decode(question["arguments"])
        if name not in self.services and name != "artifact":
            raise InternalError(f"There is no service {name!r}.")
        with self.database.write() as connection:
            held = store.holds(connection, self._worker_id, assignment.attempt_id)
        if not held:
            raise Conflict(f"The attempt {assignment.attempt_id} is no longer held by this worker.")
        if name == "artifact":
            with self.database.read() as connection:
                return wire.artifact_to_document(queries.artifact_of(connection, arguments["digest"]))
        return self.services[name](assignment, arguments)

    def _rescue(self) -> None:
        rescue(self.database, self.progress, self.clock, besides=self._worker_id)

    def _tell(self, run_id: str) -> None:
        """Show the observer the run's events since last time."""
        with self.database.read() as connection:
            rows = queries.event_rows(connection, run_id, after=self._seen_event)
        for row in rows:
            self._seen_event = row.event_id
            self.observe(Happening(row.kind, row.run_id, row.at, row.step, row.attempt, row.reason))


def _foreign_types(document: Any) -> list[str]:
    return sorted(name for name in values.named_types(document) if not name.startswith("podium."))


def _end_of(result: Message, sampled_peak_bytes: int | None) -> AttemptEnd:
    usage = with_sampled_peak(wire.usage_from_document(result["usage"]), sampled_peak_bytes)
    if result["state"] == "succeeded":
        outputs = {name: wire.artifact_from_document(document) for name, document in result["outputs"].items()}
        return AttemptEnd("succeeded", usage, outputs)
    return AttemptEnd("failed", usage, error=AttemptError(**result["error"]))
