"""One attempt on its seat as its supervisor watches it: sampled, held to its limits, and how it ended."""

import math
from dataclasses import dataclass

from podium.execution import wire
from podium.execution.backend import Seat, SeatEnded, SeatLost, SeatMessage
from podium.execution.channel import Message
from podium.execution.entities import Assignment, AttemptEnd, AttemptError, Wait
from podium.execution.meter import Sample, Usage, with_sampled_peak
from podium.execution.stops import Stop


@dataclass
class Execution:
    """An attempt on its seat; every `now` is of the monotonic clock, in seconds.

    `ending` is an end that the supervisor has decided on; it is written when the seat's process is gone. `unwritten` is
    how it ended, where the database did not take that yet.
    """

    assignment: Assignment
    seat: Seat
    started: float
    last: Sample | None = None
    peak_memory_bytes: int | None = None
    ending: AttemptEnd | None = None
    unwritten: AttemptEnd | None = None
    asked: AttemptError | None = None
    kill_at: float = math.inf

    def look(self, now: float) -> None:
        """Sample what it uses; past its time or its memory, decide its end."""
        if not self.seat.begun:
            self.started = now
            if self.asked is not None and self.ending is None:  # there is nothing to tidy up
                self.ending = AttemptEnd("cancelled", self.usage(now), error=self.asked)
            return
        self._sample()
        if self.ending is None and self.asked is not None and now >= self.kill_at:
            self.ending = AttemptEnd("cancelled", self.usage(now), error=self.asked)
        if self.ending is None:
            self.ending = self._past_its_limits(now)

    def ask_to_end(self, stop: Stop, grace_seconds: float, now: float) -> None:
        """Ask its step to end, once, because its run is stopped; if it does not within the grace, decide its end."""
        if self.asked is None:
            kind, why = ("DeadlineExceeded", "") if stop.past_deadline else ("RunCancelled", "run cancelled: ")
            self.asked = AttemptError(kind, why + stop.reason)
            self.kill_at = now + grace_seconds
            self.seat.interrupt()

    def usage(self, now: float) -> Usage:
        """What is known from outside about an attempt that cannot tell itself."""
        wall = max(0.0, now - self.started)
        if self.last is None:
            return Usage(wall, None, None, source="proc", quality="missing")
        return Usage(wall, self.last.cpu_seconds, self.peak_memory_bytes, source="proc", quality="estimated")

    def take_in(self, news: SeatMessage | SeatEnded | SeatLost, now: float) -> None:
        """Keep how the attempt ended, by what is new of its seat."""
        if isinstance(news, SeatEnded):
            self.unwritten = self.end_of_dead_process(news.status, now)
        elif isinstance(news, SeatLost):
            self.unwritten = self.end_lost(news.reason, now - news.silent_seconds)
        elif news.message["attempt_id"] == self.seat.attempt_id:  # else told by a process that one before had forked
            if news.message["recycle"]:
                self.seat.end()
            self.unwritten = self.end_told(news.message)

    def end_told(self, result: Message) -> AttemptEnd:
        """Return the end that it told."""
        usage = with_sampled_peak(wire.usage_from_document(result["usage"]), self.peak_memory_bytes)
        if result["state"] == "succeeded":
            outputs = {name: wire.artifact_from_document(document) for name, document in result["outputs"].items()}
            return AttemptEnd("succeeded", usage, outputs)
        if result["state"] == "snoozed":
            return AttemptEnd("snoozed", usage, wait=Wait(result["seconds"], result["reason"]))
        if self.asked is not None:  # whatever it raised since: its log has it
            return AttemptEnd("cancelled", usage, error=self.asked)
        return AttemptEnd("failed", usage, error=AttemptError(**result["error"]))

    def end_of_dead_process(self, status: int, now: float) -> AttemptEnd:
        """Return the end of an attempt whose process is gone, with this exit status (negative: the signal)."""
        if self.ending is not None:
            return self.ending
        if self.asked is not None:
            return AttemptEnd("cancelled", self.usage(now), error=self.asked)
        how = f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
        hint = " (the kernel does that when memory runs out)" if status == -9 else ""
        error = AttemptError("ProcessDied", f"the step's process {how}{hint}")
        return AttemptEnd("failed", self.usage(now), error=error)

    def end_lost(self, reason: str, heard_at: float) -> AttemptEnd:
        """Return the end of an attempt that was lost with its host, which was heard of last at `heard_at`."""
        self._sample()
        return self.ending or AttemptEnd("lost", self.usage(heard_at), error=AttemptError("Lost", reason))

    def end_cut_short(self, now: float) -> AttemptEnd:
        """Return the end of an attempt whose worker stops."""
        return self.unwritten or self.ending or AttemptEnd("cancelled", self.usage(now))

    def _sample(self) -> None:
        seen = self.seat.sample()
        if seen is not None:
            self.last = seen
            self.peak_memory_bytes = max(seen.memory_bytes, self.peak_memory_bytes or 0)

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
