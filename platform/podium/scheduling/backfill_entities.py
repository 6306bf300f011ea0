"""The nouns of backfills: what is asked for, what is on record, and how far it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from podium.dag.interval import Interval
from podium.dag.plan import Plan
from podium.scheduling.backfill_plan import MAX_PARALLEL, Action, Estimate, Order, Planned

BackfillState = Literal["running", "succeeded", "failed", "cancelled"]


@dataclass(frozen=True)
class BackfillRequest:
    """What somebody asks for: the intervals, in the order of time, and how they are to be filled in.

    `actor` is who asks, `actor_verified` whether anybody checked that.
    """

    plan: Plan
    intervals: tuple[Interval, ...]
    parameters: Mapping[str, Any]
    actor: str
    actor_verified: bool = False
    order: Order = "oldest"
    max_parallel: int = MAX_PARALLEL
    failed_only: bool = False
    reprocess: bool = False
    uses_cache: bool = True
    reason: str | None = None

    @property
    def range(self) -> Interval:
        """From the first interval's start to the last one's end."""
        return Interval(self.intervals[0].start, self.intervals[-1].end)


@dataclass(frozen=True)
class Preview:
    """What would become of each interval, in the order of their turns, and what that is expected to take."""

    planned: tuple[Planned, ...]
    estimate: Estimate


@dataclass(frozen=True)
class Backfill:
    """A backfill on record."""

    backfill_id: str
    pipeline: str
    plan_digest: str
    range: Interval
    parameters: Mapping[str, Any]
    order: Order
    max_parallel: int
    failed_only: bool
    reprocess: bool
    uses_cache: bool
    actor: str
    actor_verified: bool
    reason: str | None
    created_at: datetime
    cancelled_at: datetime | None
    cancelled_by: str | None
    cancelled_reason: str | None


@dataclass(frozen=True)
class FilledInterval:
    """One interval of a backfill, and how the run stands that it made, keeps or joined."""

    interval: Interval
    action: Action
    run_id: str
    state: str
    outcome: str | None


@dataclass(frozen=True)
class Standing:
    """How many of a backfill's intervals have a run in each state."""

    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    refused: int = 0

    @property
    def open(self) -> int:
        """How many have not ended."""
        return self.queued + self.running

    @property
    def total(self) -> int:
        """How many there are."""
        return self.open + self.succeeded + self.failed + self.cancelled + self.refused

    def state_of(self, backfill: Backfill, *, goes_on: bool) -> BackfillState:
        """Return the state of a backfill whose intervals stand like this.

        `goes_on` is whether a run that it made is open and not asked to end. It is derived and not written down, so it
        is never behind: a run that is resumed on its own counts at once, of a cancelled backfill too.
        """
        if self.succeeded == self.total:
            return "succeeded"
        if backfill.cancelled_at is not None:
            return "running" if goes_on else "cancelled"
        return "running" if self.open else "failed"


@dataclass(frozen=True)
class Resumed:
    """What a resume took up again, what it found done or being done by others, and what would not go on, with why."""

    run_ids: tuple[str, ...]
    taken_over: int
    not_resumed: Mapping[str, str]
