"""What a worker's backend has to give to attempts, and what this machine has."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from podium.dag.plan import Resources

_CORE_FRACTION = 1e-6
_CONTROL_GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Capacity:
    """Cores, bytes of memory and GPUs that attempts may reserve together, and how many of them run at once."""

    cpu: float
    memory_bytes: int
    gpu: int
    slots: int

    def holds(self, needed: Resources) -> bool:
        """Tell whether one more attempt that reserves so much may run."""
        return self.slots > 0 and self.lacks(needed) is None

    def lacks(self, needed: Resources) -> str | None:
        """Say what of a reservation there is not, as an inequality; None if there is enough of everything."""
        if needed.cpu > self.cpu + _CORE_FRACTION:  # fractions of cores do not add up exactly
            return f"reserves {needed.cpu:g} cores > {self.cpu:g} there are"
        if needed.memory_bytes > self.memory_bytes:
            return f"reserves {needed.memory_bytes / 2**30:,.1f} GiB > {self.memory_bytes / 2**30:,.1f} GiB there are"
        if needed.gpu > self.gpu:
            return f"reserves {needed.gpu} GPU > {self.gpu} there are"
        return None

    def without(self, reserved: Resources) -> Self:
        """Return what is left beside an attempt that reserved so much."""
        return type(self)(
            self.cpu - reserved.cpu, self.memory_bytes - reserved.memory_bytes, self.gpu - reserved.gpu, self.slots - 1
        )


@dataclass(frozen=True)
class Machine:
    """What a machine has for attempts: cores, bytes of memory, and GPUs by the names that CUDA knows them by."""

    cpu: float
    memory_bytes: int
    gpus: tuple[str, ...]

    def capacity(self, slots: int) -> Capacity:
        """Return what so many slots on it may reserve together."""
        return Capacity(self.cpu, self.memory_bytes, len(self.gpus), slots)


def this_machine(cpu: float | None = None, memory_bytes: int | None = None, gpu: int | None = None) -> Machine:
    """Return what this process may use, or what it is told instead.

    Of itself: its cores, the machine's memory or its control group's, and the GPUs.
    """
    gpus = _gpus() if gpu != 0 else ()
    if gpu is not None:
        gpus = gpus[:gpu] if len(gpus) >= gpu else tuple(map(str, range(gpu)))
    return Machine(
        float(len(os.sched_getaffinity(0))) if cpu is None else cpu,
        _memory_bytes() if memory_bytes is None else memory_bytes,
        gpus,
    )


def _memory_bytes() -> int:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    membership = Path("/proc/self/cgroup").read_text(encoding="utf-8")
    return min(physical, *memory_limits(membership, _CONTROL_GROUPS))


def memory_limits(membership: str, mounted: Path) -> Iterator[int]:
    """Yield the memory limits, in bytes, of the control groups that `/proc/PID/cgroup` names, and of their parents.

    `mounted` is where control groups are mounted. A container may see its own group there as the root, unnamed.
    """
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            root, file = mounted, "memory.max"
        elif "memory" in controllers.split(","):
            root, file = mounted / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            try:
                limit = (folder / file).read_text(encoding="ascii").strip()
            except OSError:
                limit = "max"
            if limit != "max":
                yield int(limit)
            if folder == root:
                break


def _gpus() -> tuple[str, ...]:
    """Return the GPUs that this process may see: those it is told of, else those that NVIDIA's driver names.

    None where driver or nvidia-ml-py are missing.
    """
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return tuple(name.strip() for name in told.split(",") if name.strip())
    try:
        import pynvml
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return tuple(str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles)
    finally:
        pynvml.nvmlShutdown()
