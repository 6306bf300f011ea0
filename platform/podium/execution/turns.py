"""Whose turn it is to get a slot; pure.

It is the turn of the run of the highest priority; among equals of the one that has the fewest slots of this worker, so
that however wide a run is, another one gets the next slot that is free; and then of the one that was asked for first. A
run that waits without a slot ages: each ten minutes count as a point of priority, so that nothing starves.
"""

import heapq
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

AGEING_SECONDS = 600.0
"""How long a run waits without a slot for a point of priority."""


class WaitingRun(NamedTuple):
    """A run of which something may start, and since when it does (None: that is not known, so it does not age)."""

    run_id: str
    priority: int
    created_at: datetime
    ready_at: datetime | None

    def level(self, now: datetime) -> int:
        """Return its priority, with its age without a slot."""
        waited = (now - self.ready_at).total_seconds() if self.ready_at else 0.0
        return self.priority + int(max(0.0, waited) / AGEING_SECONDS)


@dataclass
class Turns:
    """The runs that wait for a slot, as far as a worker knows."""

    _waiting: dict[str, WaitingRun] = field(default_factory=dict)
    _heap: list[tuple[int, datetime, str]] = field(default_factory=list)  # some of it may be out of date

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._waiting

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def replace(self, waiting: Iterable[WaitingRun], now: datetime) -> None:
        """Know of these alone."""
        self._waiting = {each.run_id: each for each in waiting}
        self._heap = [_place(each, now) for each in self._waiting.values()]
        heapq.heapify(self._heap)

    def add(self, waiting: WaitingRun, now: datetime) -> None:
        """Know of one more."""
        if waiting.run_id not in self._waiting:
            self._waiting[waiting.run_id] = waiting
            heapq.heappush(self._heap, _place(waiting, now))

    def remove(self, run_id: str) -> None:
        """Forget one: nothing of it may start."""
        self._waiting.pop(run_id, None)

    def next(self, held: Mapping[str, int], passed_over: Collection[str] = ()) -> str | None:
        """Return whose turn it is, None where nobody waits; `held` is how many slots each run has.

        Costs the logarithm of how many wait, and a step for each run that has a slot.

        >>> noon = datetime(2026, 11, 2, 12)
        >>> turns = Turns()
        >>> for run_id, priority in (("wide", 0), ("later", 0), ("urgent", 5)):
        ...     turns.add(WaitingRun(run_id, priority, noon, None), noon)
        >>> turns.next({}), turns.next({"wide": 1}, ["urgent"])
        ('urgent', 'later')
        """
        aside = []
        while self._heap and not self._is_free(self._heap[0][2], held, passed_over):
            place = heapq.heappop(self._heap)
            if place[2] in self._waiting:
                aside.append(place)
        best = (self._heap[0][0], 0, *self._heap[0][1:]) if self._heap else None
        for place in aside:
            heapq.heappush(self._heap, place)
        for run_id, slots in held.items():
            waiting = self._waiting.get(run_id)
            if slots and waiting is not None and run_id not in passed_over:
                place_with_slots = (-waiting.priority, slots, waiting.created_at, run_id)
                best = place_with_slots if best is None else min(best, place_with_slots)
        return best[3] if best else None

    def _is_free(self, run_id: str, held: Mapping[str, int], passed_over: Collection[str]) -> bool:
        return run_id in self._waiting and run_id not in passed_over and not held.get(run_id)


def _place(waiting: WaitingRun, now: datetime) -> tuple[int, datetime, str]:
    """Return what orders runs without a slot: the lowest goes first."""
    return -waiting.level(now), waiting.created_at, waiting.run_id
