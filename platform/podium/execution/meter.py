"""What an attempt used: measured in its slot, sampled from outside for what the slot cannot see.

CPU is the change of `getrusage` for the slot and its ended children (1.03 s seen of 1.00 s; a sampler sees
0.27 of 4.6 s of short-lived children). Peak memory is VmHWM, reset at the attempt's start. Children's memory
is sampled from /proc by the supervisor: proportionally, as a forked child shares most pages with its parent.
"""

import os
import re
import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path

from podium.execution.processes import descendants

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PEAK = re.compile(rb"^VmHWM:\s+(\d+)", re.MULTILINE)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """Seconds and bytes of one attempt; None is unknown, never zero. `quality`: measured, estimated or missing."""

    wall_seconds: float
    cpu_seconds: float | None
    peak_memory_bytes: int | None
    source: str
    quality: str


@dataclass(frozen=True)
class Sample:
    """CPU seconds so far and bytes of memory now of a process and its live descendants."""

    cpu_seconds: float
    memory_bytes: int


class Meter:
    """Measures one attempt from inside its slot: made at the start, `stop` once leftovers are reaped."""

    def __init__(self) -> None:
        self._resets_peak = _reset_peak_memory()
        self._cpu = own_cpu_seconds()
        self._started = time.monotonic()

    def stop(self) -> Usage:
        """Return the usage since the start."""
        return Usage(
            wall_seconds=time.monotonic() - self._started,
            cpu_seconds=own_cpu_seconds() - self._cpu,
            peak_memory_bytes=_peak_memory_bytes() if self._resets_peak else None,
            source="getrusage",
            quality="measured",
        )


def sample(process_id: int) -> Sample | None:
    """Sample a process tree; None when the process is gone."""
    own = _read_stat(process_id)
    if own is None:
        return None
    processes = {process_id: own}
    for child in descendants(process_id):
        usage = _read_stat(child)
        if usage is not None:
            processes[child] = usage
    cpu = sum(seconds for seconds, _ in processes.values())
    if len(processes) == 1:
        return Sample(cpu, own[1])
    return Sample(cpu, sum(_shared_bytes(each, resident) for each, (_, resident) in processes.items()))


def own_cpu_seconds() -> float:
    """Return what this process and its ended children have used so far."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        total += used.ru_utime + used.ru_stime
    return total


def own_memory_bytes() -> int:
    """Return the resident bytes of this process alone."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - on a hot path
        return int(file.read().split()[1]) * _PAGE_BYTES


def with_sampled_peak(usage: Usage, sampled_bytes: int | None) -> Usage:
    """Return `usage` with its peak raised to what was sampled from outside."""
    peaks = [peak for peak in (usage.peak_memory_bytes, sampled_bytes) if peak is not None]
    return replace(usage, peak_memory_bytes=max(peaks, default=None))


def _reset_peak_memory() -> bool:
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:  # noqa: PTH123 - on a hot path
            file.write("5")
    except OSError:
        return False
    return True


def _peak_memory_bytes() -> int | None:
    with open("/proc/self/status", "rb") as file:  # noqa: PTH123 - on a hot path
        found = _PEAK.search(file.read())
    return int(found[1]) * 1024 if found else None


def _shared_bytes(process_id: int, resident_bytes: int) -> int:
    """Bytes of a process, each page it shares with others divided by how many they are; resident ones if unknown."""
    try:
        for line in Path(f"/proc/{process_id}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resident_bytes


def _read_stat(process_id: int) -> tuple[float, int] | None:
    """CPU seconds (own and of ended children) and resident bytes of one process; None when it is gone."""
    try:
        with open(f"/proc/{process_id}/stat", "rb") as file:  # noqa: PTH123 - on a hot path
            text = file.read()
    except OSError:
        return None
    fields = text.rpartition(b")")[2].split()  # from field 3 on; the name before may hold anything
    ticks = sum(int(field) for field in fields[11:15])
    return ticks / _TICKS_PER_SECOND, int(fields[21]) * _PAGE_BYTES
