"""SIGTERM, Ctrl-C and a closed terminal as a request to end, for processes that run until they are told to."""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from podium.cli.output import silence


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
    """Note SIGTERM, SIGINT, and the SIGHUP of a closed terminal, instead of dying of them.

    SIGHUP is to end a process as SIGTERM does, with exit code 0; what it still says goes nowhere. Where SIGHUP is
    ignored, as below `nohup`, it stays so.
    """
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    told = Told(reads, writes)
    terminals = [stream for stream in (sys.stdout, sys.stderr) if stream.isatty()]

    def take(number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGHUP:
            for stream in terminals:  # to write to one that is closed is an error, and would keep it from ending well
                silence(stream)
        told.take(number)

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = [signal.signal(number, take) for number in numbers]
    try:
        yield told
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        os.close(reads)
        os.close(writes)
