"""SIGTERM and Ctrl-C as a request to end, for processes that run until they are told to."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Told:
    """Whether, and by which signal, the process was told to end."""

    _reads: int
    _writes: int
    _came: list[str] = field(default_factory=list)

    @property
    def signal_name(self) -> str | None:
        """The first signal that came; None so far."""
        return self._came[0] if self._came else None

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until a signal comes; True if one has come by then."""
        if not self._came:
            select.select([self._reads], [], [], seconds)
        return bool(self._came)

    def take(self, number: int) -> None:
        """Take note of a signal, and wake who waits."""
        self._came.append(signal.Signals(number).name)
        os.write(self._writes, b"!")


@contextmanager
def stoppable() -> Iterator[Told]:
    """Note SIGTERM and SIGINT instead of dying of them."""
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    told = Told(reads, writes)
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda number, _: told.take(number)) for number in numbers]
    try:
        yield told
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        os.close(reads)
        os.close(writes)
