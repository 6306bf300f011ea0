"""One attempt in a slot as its supervisor watches it: sampled, held to its limits, and how it ended."""

from dataclasses import dataclass
from typing import Self

from podium.execution import wire
from podium.execution.channel import Message
from podium.execution.entities import Assignment, AttemptEnd, AttemptError, Wait
from podium.execution.meter import Sample, Usage, sample, with_sampled_peak
from podium.execution.slots import SlotHandle


@dataclass
class Execution:
    """An attempt in its slot; every `now` is of the monotonic clock, in seconds.

    `ending` is an end that the supervisor has decided on; it is written when the slot is gone. `unwritten` is how it
    ended, where the database did not take that yet.
    """

    assignment: Assignment
    slot: SlotHandle
    started: float
    first_cpu_seconds: float  # of its slot, before it
    last: Sample | None = None
    peak_memory_bytes: int | None = None
    ending: AttemptEnd | None = None
    unwritten: AttemptEnd | None = None

    @classmethod
    def begin(cls, assignment: Assignment, slot: SlotHandle, now: float) -> Self:
        """Put an attempt into a slot."""
        slot.attempt_id = assignment.attempt_id
        before = None if slot.process_id is None else sample(slot.process_id)
        return cls(assignment, slot, now, before.cpu_seconds if before else 0.0)

    def look(self, now: float) -> None:
        """Sample what it uses; past its time or its memory, decide its end."""
        if self.slot.process_id is None:  # the host still imports: the step's own time has not begun
            self.started = now
            return
        seen = sample(self.slot.process_id)
        if seen is not None:
            self.last = seen
            self.peak_memory_bytes = max(seen.memory_bytes, self.peak_memory_bytes or 0)
        if self.ending is None:
            self.ending = self._past_its_limits(now)

    def cancel(self, reason: str, now: float) -> None:
        """Decide its end, because its run is to be cancelled; an end that was decided before stays."""
        if self.ending is None:
            error = AttemptError("RunCancelled", f"run cancelled: {reason}")
            self.ending = AttemptEnd("cancelled", self.usage(now), error=error)

    def usage(self, now: float) -> Usage:
        """What is known from outside about an attempt that cannot tell itself."""
        wall = now - self.started
        if self.last is None:
            return Usage(wall, None, None, source="proc", quality="missing")
        cpu = self.last.cpu_seconds - self.first_cpu_seconds
        return Usage(wall, cpu, self.peak_memory_bytes, source="proc", quality="estimated")

    def end_told(self, result: Message) -> AttemptEnd:
        """Return the end that its slot told."""
        usage = with_sampled_peak(wire.usage_from_document(result["usage"]), self.peak_memory_bytes)
        if result["state"] == "succeeded":
            outputs = {name: wire.artifact_from_document(document) for name, document in result["outputs"].items()}
            return AttemptEnd("succeeded", usage, outputs)
        if result["state"] == "snoozed":
            return AttemptEnd("snoozed", usage, wait=Wait(result["seconds"], result["reason"]))
        return AttemptEnd("failed", usage, error=AttemptError(**result["error"]))

    def end_of_dead_slot(self, status: int, now: float) -> AttemptEnd:
        """Return the end of an attempt whose slot's process is gone, with this exit status (negative: the signal)."""
        if self.ending is not None:
            return self.ending
        how = f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
        hint = " (the kernel does that when memory runs out)" if status == -9 else ""
        error = AttemptError("ProcessDied", f"the step's process {how}{hint}")
        return AttemptEnd("failed", self.usage(now), error=error)

    def end_cut_short(self, now: float) -> AttemptEnd:
        """Return the end of an attempt whose worker stops."""
        return self.unwritten or self.ending or AttemptEnd("cancelled", self.usage(now))

    def _past_its_limits(self, now: float) -> AttemptEnd | None:
        node, elapsed = self.assignment.node, now - self.started
        if node.timeout_seconds is not None and elapsed > node.timeout_seconds:
            error = AttemptError("TimedOut", f"it ran for {elapsed:.1f} s > {node.timeout_seconds:g} s allowed")
            return AttemptEnd("timed_out", self.usage(now), error=error)
        if self.last is not None and self.last.memory_bytes > node.resources.memory_bytes:
            used, limit = self.last.memory_bytes / 2**20, node.resources.memory_bytes / 2**20
            error = AttemptError(
                "MemoryLimit",
                f"it used {used:,.0f} MiB > {limit:,.0f} MiB reserved; reserve more with @step(memory=…)",
            )
            return AttemptEnd("failed", self.usage(now), error=error)
        return None
