"""Podium's own commands as child processes: started, shown line by line, started again, and ended together.

The child is `python -m podium.cli.parts PARENT COMMAND...`: it runs one command, and is told to end where its parent
ends first.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn, Self

from podium.clock import Clock

_POLL_SECONDS = 0.2
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_HEALTHY_SECONDS = 60.0
_MISCONFIGURED = 2
_END_SECONDS = 30.0
_LAST_LINES_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1


@dataclass
class _Part:
    """One command: its process, if it has one, and when it may be started again."""

    name: str
    arguments: Sequence[str]
    process: "subprocess.Popen[str] | None" = None
    started_at: float = 0.0
    start_at: float = 0.0
    pause_seconds: float = _FIRST_PAUSE_SECONDS


class Parts:
    """Keeps commands running; use it as a context manager, so that none outlives the block, nor the thread it is in.

    The commands are Podium's own, or what else `program` is given them as arguments.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        say: Callable[[str], None],
        clock: Clock,
        *,
        drain_seconds: float = 0.0,
        program: Sequence[str] = (),
    ) -> None:
        self._parts = [_Part(name, arguments) for name, arguments in commands.items()]
        self._say = say
        self._clock = clock
        # -P keeps the current folder off sys.path: a file of the project must not hide a module of Python's own.
        self._program = program or (sys.executable, "-P", "-m", "podium.cli.parts", str(os.getpid()))
        self._width = max(map(len, commands))
        self._end_seconds = drain_seconds + _END_SECONDS
        self._readers: list[threading.Thread] = []
        self.exit_code: int | None = None
        """Set when a part ended because of its configuration: it would end again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell every part to end, wait for it, and end at last by force what does not."""
        running = [part.process for part in self._parts if part.process is not None and part.process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            try:
                process.wait(self._end_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for reader in self._readers:
            # What a part has started may keep its output open for longer than anybody wants to wait.
            reader.join(_LAST_LINES_SECONDS)

    def advance(self) -> float:
        """Start what is to be started, and take note of what ended; return after how many seconds to look again."""
        now = self._clock.monotonic()
        for part in self._parts:
            if part.process is None:
                if now >= part.start_at:
                    self._start(part, now)
                continue
            code = part.process.poll()
            if code is None:
                continue
            part.process = None
            if code == _MISCONFIGURED:
                self.exit_code = code
                return 0.0
            if now - part.started_at >= _HEALTHY_SECONDS:
                part.pause_seconds = _FIRST_PAUSE_SECONDS
            part.start_at = now + part.pause_seconds
            ended = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
            self._tell(part.name, f"ended with {ended}; is started again in {part.pause_seconds:g} s")
            part.pause_seconds = min(2 * part.pause_seconds, _LONGEST_PAUSE_SECONDS)
        return _POLL_SECONDS

    def _start(self, part: _Part, now: float) -> None:
        # In a group of its own: Ctrl-C at the terminal reaches this process alone, which ends the parts in order.
        part.process = subprocess.Popen(
            [*self._program, *part.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        part.started_at = now
        self._readers = [reader for reader in self._readers if reader.is_alive()]
        reader = threading.Thread(target=self._show, args=(part.name, part.process), name=part.name, daemon=True)
        reader.start()
        self._readers.append(reader)

    def _show(self, name: str, process: "subprocess.Popen[str]") -> None:
        if process.stdout is not None:
            for line in process.stdout:
                self._tell(name, line.rstrip())

    def _tell(self, name: str, text: str) -> None:
        self._say(f"{name:<{self._width}}  {text}")


def _child(parent: str, *arguments: str) -> NoReturn:
    """Run one command, which the kernel sends SIGTERM as soon as the thread that started it ends, however it does."""
    # Asked for by the child itself: code between fork and exec could wait for ever for what another thread held.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(parent):  # it ended before the kernel knew
        sys.exit(1)
    from podium.cli.main import main

    sys.argv[1:] = arguments
    main()


if __name__ == "__main__":
    _child(*sys.argv[1:])
