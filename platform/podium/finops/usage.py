"""What one attempt used: the record execution hands over, and the quantities that are billed for it."""

import math
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from podium.db.schema.finops import QUANTITY_SCALE
from podium.errors import InternalError
from podium.finops.money import quantised

UNATTRIBUTED = "__unattributed__"
"""The team, model or environment of a cost without an owner: visible, never dropped."""

BYTES_PER_GIB = 2**30


@dataclass(frozen=True)
class Resource:
    """Something that is reserved for an attempt and billed by time, in `unit` (per second)."""

    name: str
    sku: str
    unit: str


CPU = Resource("cpu", "cpu.standard", "core-seconds")
MEMORY = Resource("memory", "memory.standard", "GiB-seconds")
GPU = Resource("gpu", "gpu.standard", "GPU-seconds")
RESOURCES = (CPU, MEMORY, GPU)


@dataclass(frozen=True)
class Quantity:
    """How much of a resource is billed, in the resource's unit, with 6 decimals."""

    resource: Resource
    amount: Decimal


@dataclass(frozen=True)
class UsageRecord:
    """One attempt's usage: what it reserved (`cpu` cores, `memory_bytes`, `gpu` devices) and was seen to use.

    `step` names the step run, `number` the attempt from 1, `outcome` is the attempt's state. `ended_at` of a
    lost attempt is its last heartbeat. Usage that no meter saw is None, never 0.
    """

    attempt_id: str
    run_id: str
    step: str
    number: int
    team: str
    model: str
    environment: str
    outcome: str
    started_at: datetime
    ended_at: datetime
    wall_seconds: float
    cpu: float
    memory_bytes: int
    gpu: int
    cpu_seconds: float | None
    peak_memory_bytes: int | None
    meter_source: str
    meter_quality: str

    def __post_init__(self) -> None:
        for name in ("wall_seconds", "cpu", "memory_bytes", "gpu"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InternalError(
                    f"Attempt {self.attempt_id} ({self.step}) hands over {name} = {value}, which cannot be "
                    "billed; this is a bug in its meter, which must give a finite number of at least 0."
                )

    @property
    def charge_end(self) -> datetime:
        """The end of the charge period; a clock set back during the attempt must not make it negative."""
        return max(self.started_at, self.ended_at)

    @property
    def cpu_efficiency(self) -> float | None:
        """CPU time used per CPU time reserved: above 1 is use beyond the reservation; None if unknown."""
        return ratio(self.cpu_seconds, self.cpu * self.wall_seconds)

    @property
    def memory_efficiency(self) -> float | None:
        """Peak memory per memory reserved; None if unknown."""
        return ratio(self.peak_memory_bytes, self.memory_bytes)


def ratio(used: float | None, reserved: float) -> float | None:
    """Return `used` / `reserved`; None where either is unknown or nothing was reserved.

    >>> ratio(3.0, 2.0), ratio(None, 2.0), ratio(1.0, 0.0)
    (1.5, None, None)
    """
    return None if used is None or reserved == 0 else used / reserved


def billed(usage: UsageRecord) -> tuple[Quantity, ...]:
    """Return what is billed: the reservation of each resource * wall time, rounded once to 6 decimals.

    Use beyond the reservation is not billed and use below it is not credited: both show as efficiency.
    A resource of which nothing was reserved is left out.
    """
    return quantities(usage.wall_seconds, usage.cpu, usage.memory_bytes, usage.gpu)


def quantities(wall_seconds: float, cpu: float, memory_bytes: int, gpu: int) -> tuple[Quantity, ...]:
    """Return what a reservation of so many cores, bytes and devices comes to over a wall time."""
    # Through str, because a float's shortest text is the number that its author wrote: 0.1 is a tenth.
    seconds = Fraction(str(wall_seconds))
    reserved = (
        (CPU, Fraction(str(cpu))),
        (MEMORY, Fraction(memory_bytes, BYTES_PER_GIB)),
        (GPU, Fraction(gpu)),
    )
    return tuple(
        Quantity(resource, quantised(reservation * seconds, QUANTITY_SCALE))
        for resource, reservation in reserved
        if reservation > 0
    )


def resources_of(gpu: int) -> tuple[Resource, ...]:
    """Return the resources that an attempt with `gpu` devices is billed for.

    >>> [resource.sku for resource in resources_of(gpu=0)]
    ['cpu.standard', 'memory.standard']
    """
    return RESOURCES if gpu else (CPU, MEMORY)
