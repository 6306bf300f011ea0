"""Named points at which a test can kill, fail or line up processes.

`PODIUM_FAULTS=POINT:ACTION[,…]` arms points of this process and its children. Actions: `kill` (SIGKILL to
this process), `raise`, `barrier=N` (wait until N processes of this state folder are at the point). Unarmed,
a point costs one dictionary look-up.
"""

import os
import signal
import threading
import time
from pathlib import Path

from podium.errors import ConfigurationError, PodiumError

POINTS = frozenset(
    {
        "run.before_create",
        "run.after_create",
        "attempt.before_start",
        "attempt.after_start",
        "attempt.before_end",
        "attempt.after_end",
        "heartbeat.before_commit",
        "heartbeat.after_commit",
        "rescue.before_commit",
        "rescue.after_commit",
        "interrupt.before_commit",
        "interrupt.after_commit",
        "worker.before_start",
        "worker.after_start",
        "worker.before_end",
        "worker.after_end",
        "fan_out.before_commit",
        "act.before_commit",
        "act.after_commit",
        "deadline.before_commit",
        "deadline.after_commit",
        "slot.before_execute",
        "slot.before_result",
        "artifact.before_rename",
        "artifact.after_rename",
        "trigger.before_commit",
        "trigger.after_commit",
        "tick.before_commit",
        "tick.after_commit",
        "backfill.before_admit",
        "backfill.after_admit",
        "backfill.before_cancel",
        "backfill.after_cancel",
        "backfill.after_cancel_run",
        "gc.before_delete",
        "gc.after_delete",
        "registry.before_log_model",
        "registry.after_log_model",
        "registry.before_attach",
        "registry.after_attach",
        "registry.before_create_version",
        "registry.after_create_version",
        "registry.after_record_version",
        "promotion.before_compare",
        "promotion.after_proposal",
        "promotion.before_decision",
        "promotion.after_decision",
        "promotion.after_intent",
        "promotion.after_alias",
        "promotion.after_applied",
        "advance.after_evidence",
        "advance.after_copy",
        "guard.after_noticed",
        "guard.after_restore",
        "adopt.after_version",
        "adopt.after_alias",
        "canary.before_open",
        "canary.after_open",
        "canary.after_alias",
        "canary.after_look",
        "canary.after_promotion",
        "canary.before_end",
        "canary.after_end",
        "alert.before_collect",
        "alert.after_collect",
        "alert.before_send",
        "alert.after_send",
    }
)

_BARRIER_TIMEOUT_SECONDS = 60.0


class FaultRaised(PodiumError):
    """An armed point was reached with action `raise`."""


def parse(text: str) -> dict[str, str]:
    """Return `{point: action}` of a `PODIUM_FAULTS` value; an unknown point or action raises ConfigurationError.

    >>> parse("promotion.before_compare:barrier=8,attempt.after_end:kill")
    {'promotion.before_compare': 'barrier=8', 'attempt.after_end': 'kill'}
    """
    armed = {}
    for item in filter(None, text.split(",")):
        point, _, action = item.partition(":")
        if point not in POINTS:
            raise ConfigurationError(
                f"PODIUM_FAULTS names no point {point!r}; the points are {', '.join(sorted(POINTS))}."
            )
        kind, _, count = action.partition("=")
        if action not in ("kill", "raise") and not (kind == "barrier" and count.isdigit() and int(count) > 0):
            raise ConfigurationError(f"PODIUM_FAULTS arms {point} with {action!r}; use kill, raise or barrier=N.")
        armed[point] = action
    return armed


_armed: dict[str, str] | None = None
_state_folder: Path | None = None


def configure(state_folder: Path) -> None:
    """Say where processes that wait at a barrier meet, and refuse a `PODIUM_FAULTS` that is wrong."""
    parse(os.environ.get("PODIUM_FAULTS", ""))
    global _state_folder
    _state_folder = state_folder


def reach(point: str) -> None:
    """Do what `PODIUM_FAULTS` armed `point` with, if anything."""
    global _armed
    if _armed is None:
        _armed = parse(os.environ.get("PODIUM_FAULTS", ""))
    action = _armed.get(point)
    if action is None:
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "raise":
        raise FaultRaised(f"The armed point {point} raised, as PODIUM_FAULTS asks.")
    else:
        _wait_for(point, int(action.partition("=")[2]))


def _wait_for(point: str, count: int) -> None:
    if _state_folder is None:
        raise ConfigurationError(f"The barrier at {point} needs a state folder to meet in; open a project first.")
    meeting = _state_folder / "faults" / point
    meeting.mkdir(parents=True, exist_ok=True)
    (meeting / f"{os.getpid()}-{threading.get_ident()}").touch()
    deadline = time.monotonic() + _BARRIER_TIMEOUT_SECONDS
    while sum(1 for _ in meeting.iterdir()) < count:
        if time.monotonic() > deadline:
            raise FaultRaised(f"Fewer than {count} processes reached {point} in {_BARRIER_TIMEOUT_SECONDS:.0f} s.")
        time.sleep(0.002)
