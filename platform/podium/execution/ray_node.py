"""The slot of one attempt on a node of a Ray cluster: local slots as on any worker's host, and their words passed on.

It lives in an actor of Ray's, which runs no user code: that runs in the slot, a process of its own. So an attempt is
executed, metered, logged and killed with all it started by the same code as without Ray.
"""

import os
import socket
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from podium.dag.plan import Resources
from podium.execution.backend import SeatEnded
from podium.execution.channel import Message
from podium.execution.meter import Sample
from podium.execution.slots import Slots

_REPORT_SECONDS = 0.5
_LOG_BYTES = 1024 * 1024
"""How much of a log a report carries; while more is left, the next report comes at once and its news wait."""


@dataclass(frozen=True)
class Report:
    """What is new of an attempt: what it used so far, printed and said, and its process' exit status at the end."""

    host: str
    begun: bool
    sample: Sample | None
    log: bytes
    messages: tuple[Message, ...]
    status: int | None


class NodeSlot:
    """One slot with one attempt; Ray calls `hear` again and again, and the others from a second thread.

    When nobody has called `hear` for `silence_seconds`, the supervisor is gone or this node is cut off, and
    the attempt will have been given to another: the process ends itself, and with it the slot.
    """

    def __init__(
        self, configuration: Message, message: Message, resources: Resources, code_digest: str, silence_seconds: float
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="podium-")
        self._log = Path(self._folder.name) / "attempt.log"
        self._log_offset = 0
        self._behind = False
        self._messages: list[Message] = []
        self._status: int | None = None
        self._lock = threading.Lock()
        self._heard = time.monotonic()
        threading.Thread(target=self._end_in_silence, args=(silence_seconds,), name="silence", daemon=True).start()
        self._slots = Slots(configuration, (), Path(self._folder.name) / "slot-host.log")
        self._slots.start()
        message = {**message, "log": str(self._log)}
        self._slot = self._slots.place(message, resources, code_digest, complete=False)

    def hear(self) -> Report:
        """Return what is new as soon as something was said or has ended, and at the latest after half a second."""
        with self._lock:
            self._heard = time.monotonic()
            for happening in self._slots.wait(0.0 if self._behind else _REPORT_SECONDS):
                if isinstance(happening, SeatEnded):
                    self._status = happening.status
                else:
                    self._messages.append(happening.message)
            log = self._read_log()
            self._behind = len(log) == _LOG_BYTES
            messages, status = ((), None) if self._behind else (tuple(self._messages), self._status)
            if not self._behind:
                self._messages.clear()
            return Report(socket.gethostname(), self._slot.begun, self._slot.sample(), log, messages, status)

    def answer(self, message: Message) -> None:
        """Pass the answer to a stage's question on."""
        self._slot.answer(message)

    def end(self) -> None:
        """Kill the slot with everything it started; `hear` reports its end."""
        self._slot.end()

    def close(self) -> None:
        """End the slot and then this actor."""
        import ray

        with self._lock:
            self._slots.stop()
            self._folder.cleanup()
        ray.actor.exit_actor()

    def _read_log(self) -> bytes:
        try:
            with self._log.open("rb") as log:
                log.seek(self._log_offset)
                new = log.read(_LOG_BYTES)
        except FileNotFoundError:
            return b""
        self._log_offset += len(new)
        return new

    def _end_in_silence(self, silence_seconds: float) -> None:
        while (left := self._heard + silence_seconds - time.monotonic()) > 0:
            time.sleep(left)
        os._exit(1)
