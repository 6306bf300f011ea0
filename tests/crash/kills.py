"""Kill processes of a project as hard as the kernel can, and wait until nothing of them is left."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal

import psutil

Part = Literal["tree", "supervisor", "host", "supervisor and host", "slot"]
Victims = Part | Literal["slots"]

GONE_WITHIN_SECONDS = 2.0


def kill(supervisor: int, part: Victims) -> None:
    """SIGKILL a running `podium run`: all of it at once, or one part alone.

    `slot` is the one in which a held step has started a process, `slots` are all that there are.
    """
    root = psutil.Process(supervisor)
    if part == "tree":
        # Listed first, so that nobody hears of another's end before its own; what is forked meanwhile must end itself.
        victims = [root, *root.children(recursive=True)]
    elif part == "supervisor":
        victims = [root]
    else:
        (host,) = [child for child in root.children() if "podium.execution.slot_host" in child.cmdline()]
        slots = host.children()
        at_work = [slot for slot in slots if slot.children()]
        victims = {"host": [host], "supervisor and host": [root, host], "slot": at_work, "slots": slots}[part]
    assert victims or part == "slots"
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGKILL)


def freeze(supervisor: int) -> list[psutil.Process]:
    """SIGSTOP a worker with its slot host and its slots, all of it at once; return the slot of a held step."""
    root = psutil.Process(supervisor)
    (host,) = [child for child in root.children() if "podium.execution.slot_host" in child.cmdline()]
    slots = host.children()
    for process in (root, host, *slots):
        process.suspend()
    return [slot for slot in slots if slot.children()]


def thaw(supervisor: int) -> None:
    """Let a frozen worker go on, and its slot host; its slots stay as they are."""
    root = psutil.Process(supervisor)
    for process in (root, *root.children()):
        process.resume()


def wait_for_line(process: "subprocess.Popen[str]", words: str) -> bool:
    """Read what `podium` says until a line holds `words`; False when it ended without."""
    assert process.stderr is not None
    return any(words in line for line in process.stderr)


def ended_within(process: "subprocess.Popen[str]", seconds: float) -> bool:
    """Wait so long; tell whether the process ended by itself."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def survivors(home: Path, seconds: float = GONE_WITHIN_SECONDS) -> list[str]:
    """Wait at most so long until no process of the project is left; return the command lines of those that are.

    Every descendant of a run carries the project's state folder in its environment, whoever adopted it.
    """
    deadline = time.monotonic() + seconds
    while found := _processes(home):
        left = deadline - time.monotonic()
        if left <= 0:
            return sorted(found.values())
        with ExitStack() as stack:
            poll = select.poll()
            for process_id in found:
                with suppress(ProcessLookupError):
                    descriptor = os.pidfd_open(process_id)  # readable once the process has ended
                    stack.callback(os.close, descriptor)
                    poll.register(descriptor, select.POLLIN)
            poll.poll(left * 1000)
    return []


def end_survivors(home: Path) -> None:
    """Kill what a failed test leaves behind."""
    for process_id in _processes(home):
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)


@contextmanager
def at_barrier(home: Path, point: str, seconds: float = 60.0) -> Iterator[None]:
    """Wait until a process of the project waits for another one at a point; let it go on when the block has ended."""
    meeting = home / "faults" / point
    deadline = time.monotonic() + seconds
    while not (meeting.is_dir() and any(meeting.iterdir())):
        assert time.monotonic() < deadline, f"nobody came to {point} within {seconds:g} s"
        time.sleep(0.002)
    yield
    (meeting / "test").touch()


@contextmanager
def held(root: Path) -> Iterator["Hold"]:
    """Have the pipeline `counting` stop inside a step, until it is let go or the block ends."""
    (root / "hold").touch()
    os.mkfifo(root / "held")
    pipe = os.open(root / "held", os.O_RDONLY | os.O_NONBLOCK)
    hold = Hold(pipe, root / "hold")
    try:
        yield hold
    finally:
        os.close(pipe)
        (root / "held").unlink()
        hold.let_go()


class Hold:
    """The pipe at which a held step says that it is there, and the file for as long as which it stays."""

    def __init__(self, pipe: int, file: Path) -> None:
        self._pipe = pipe
        self._file = file

    def let_go(self) -> None:
        """Let the step go on, and hold no other."""
        self._file.unlink(missing_ok=True)

    def wait(self, seconds: float = 60.0) -> None:
        """Wait for the step."""
        reached, _, _ = select.select([self._pipe], [], [], seconds)
        assert reached, f"no step was held within {seconds:g} s"


def _processes(home: Path) -> dict[int, str]:
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("PODIUM_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = f"{process.pid}: {' '.join(process.cmdline())}"
    return found
