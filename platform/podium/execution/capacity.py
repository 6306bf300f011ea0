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
        return (
            self.slots > 0
            and needed.cpu <= self.cpu + _CORE_FRACTION  # fractions of cores do not add up exactly
            and needed.memory_bytes <= self.memory_bytes
            and needed.gpu <= self.gpu
        )

    def without(self, reserved: Resources) -> Self:
        """Return what is left beside an attempt that reserved so much."""
        return type(self)(
            self.cpu - reserved.cpu, self.memory_bytes - reserved.memory_bytes, self.gpu - reserved.gpu, self.slots - 1
        )


def of_this_machine(slots: int) -> Capacity:
    """Return what this process may use: its cores, the machine's memory or its control group's, and the GPUs."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    membership = Path("/proc/self/cgroup").read_text(encoding="utf-8")
    return Capacity(
        cpu=float(len(os.sched_getaffinity(0))),
        memory_bytes=min(physical, *memory_limits(membership, _CONTROL_GROUPS)),
        gpu=_gpus(),
        slots=slots,
    )


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


def _gpus() -> int:
    """Count the GPUs that NVIDIA's driver names; none where driver or nvidia-ml-py are missing."""
    try:
        import pynvml
    except ImportError:
        return 0
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        return int(pynvml.nvmlDeviceGetCount())
    finally:
        pynvml.nvmlShutdown()
