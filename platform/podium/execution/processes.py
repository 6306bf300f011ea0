"""Process trees on Linux: adopt orphans, die with the parent, find and end what is left."""

import contextlib
import ctypes
import os
import signal
import sys

from podium.errors import ConfigurationError

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def require_linux() -> None:
    """Raise ConfigurationError elsewhere: fencing, metering and clean-up rest on Linux' process calls."""
    if sys.platform != "linux":
        raise ConfigurationError("Podium executes steps on Linux only; run it in a Linux machine or container.")


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent ends, so that none escapes."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def outlive_parent() -> None:
    """Take `die_with_parent` back: this process notices its parent's end itself, and has to clean up after it."""
    _prctl(_PR_SET_PDEATHSIG, 0)


def descendants(process_id: int) -> list[int]:
    """Return the live descendants of a process, nearest first."""
    found: list[int] = []
    queue = [process_id]
    while queue:
        nearest = children(queue.pop(0))
        found += nearest
        queue += nearest
    return found


def end_descendants(process_id: int) -> list[int]:
    """Kill every descendant of a process, also those forked meanwhile; return them, nearest first."""
    ended: dict[int, None] = {}
    while remaining := [child for child in descendants(process_id) if child not in ended]:
        for child in remaining:
            _kill(child)
            ended[child] = None
    return list(ended)


def end_tree(process_id: int) -> None:
    """Kill a process and then its descendants: parents first, for a dead parent starts no child anew.

    What one of them forked meanwhile goes to the nearest process that adopts orphans; ending it is its part.
    """
    for each in (process_id, *descendants(process_id)):
        _kill(each)


def reap(process_ids: list[int]) -> None:
    """Collect the exit status of killed descendants, nearest first, so that their usage is counted here.

    Those further away become children of this process (which adopts orphans) when the nearer ones are gone. Waits
    for each of these and no other: a child that user code starts meanwhile may live on.
    """
    for process_id in process_ids:
        with contextlib.suppress(ChildProcessError):  # user code has reaped it itself
            os.waitpid(process_id, 0)


def children(process_id: int) -> list[int]:
    """Return the children of all threads of a process; none when it is gone."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{process_id}/task")  # noqa: PTH208 - names only, and on a hot path
    except OSError:
        return found
    for thread in threads:
        with contextlib.suppress(OSError), open(f"/proc/{process_id}/task/{thread}/children") as file:  # noqa: PTH123
            found += [int(child) for child in file.read().split()]
    return found


def _kill(process_id: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process_id, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
