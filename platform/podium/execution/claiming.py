"""What a worker claims next: it keeps in memory whose turn it is, and asks the database where that may have changed."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from podium.clock import Clock
from podium.dag.plan import Plan, StepNode
from podium.errors import ServiceUnavailable
from podium.execution import assignments, claims, plans, queries, run_limits
from podium.execution.caching import Settled
from podium.execution.capacity import Capacity
from podium.execution.claims import Candidate, Limits, OpenRun
from podium.execution.entities import Assignment, Run
from podium.execution.setbacks import Setbacks
from podium.execution.turns import AGEING_SECONDS, Turns, WaitingRun

_RUNS_KNOWN = 256
"""How many of the runs that wait a worker keeps in mind; it asks again when none of them is left."""
_RUNS_OF_BACKFILL = 8
"""How many are looked at when one of a backfill ends: more than one if others ended elsewhere meanwhile."""
_PATIENCE = timedelta(seconds=AGEING_SECONDS)
_REMEMBERED = 1_000

Settle = Callable[[sa.Connection, Plan, Candidate, datetime], Settled]
"""Takes over the result that a cached step's candidate has by now, or says whether it may be executed."""


class ClaimFailed(Exception):
    """Something is wrong with one run, for which its cause stands; the transaction must not be committed."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"nothing of the run {run_id} can be claimed")
        self.run_id = run_id


@dataclass
class Claimer:
    """Claims step runs for one worker: those of `only` one run, or of `only_backfill`, or of any.

    A run that cannot be claimed of (its plan is of another version of Podium, say) is told as `claim.failed` and tried
    again a minute later; of `only` one run, the error is raised. `plans` are those that were read before, by digest.
    """

    worker_id: str
    lease_seconds: float
    limits: Limits
    labels: frozenset[str]
    capacity: Callable[[], Capacity]
    settle: Settle
    clock: Clock
    setbacks: Setbacks
    plans: dict[str, Plan]
    only: str | None = None
    only_backfill: str | None = None
    again: bool = False
    _alone: bool = True
    _claimed: bool = False  # anything, since the last look
    _behind: OpenRun | None = None
    _locked: set[str] = field(default_factory=set)
    _turns: Turns = field(default_factory=Turns)
    _known: dict[str, OpenRun] = field(default_factory=dict)
    _runs: dict[tuple[str, str], Run] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._turns)

    def close(self) -> None:
        """Claim nothing from now on."""
        self.capacity = lambda: Capacity(cpu=0.0, memory_bytes=0, gpu=0, slots=0)

    def look(self, connection: sa.Connection) -> None:
        """Ask the database anew of which runs something may start."""
        now = self.clock.now()
        if self.only_backfill is not None:
            found = claims.open_runs_of_backfill(connection, self.only_backfill, now, _RUNS_KNOWN)
        elif self.only is None:
            found = claims.open_runs(connection, now, _RUNS_KNOWN, self.limits, self._behind)
            # Where nothing of so many could be claimed, those behind them have their turn.
            self._behind = found[-1] if len(found) == _RUNS_KNOWN and not self._claimed else None
            self._claimed = False
            found = run_limits.within(found, run_limits.rooms(connection, found))
        else:
            one = claims.open_run(connection, self.only, now)
            found = [] if one is None else [one]
        for each in found:
            self._remember(each)
        self._turns.replace((_waiting(each) for each in found if not self._is_put_off(each.run_id)), now)

    def went_on(self, run_id: str) -> None:
        """Take note that something of a run may have become ready by what this worker wrote."""
        known, now = self._known.get(run_id), self.clock.now()
        if known is not None and not self._is_put_off(run_id):
            self._turns.add(_waiting(known._replace(ready_at=now)), now)

    def backfill_has_room(self, connection: sa.Connection, backfill_id: str) -> None:
        """Take note that a run of a backfill ended by what this worker writes: the next one has its turn."""
        now = self.clock.now()
        if self.only is not None or self.only_backfill not in (None, backfill_id):
            return
        for each in claims.open_runs_of_backfill(connection, backfill_id, now, _RUNS_OF_BACKFILL):
            if each.run_id not in self._turns and not self._is_put_off(each.run_id):
                self._remember(each)
                self._turns.add(_waiting(each), now)

    def claim(
        self, connection: sa.Connection, running: Iterable[Assignment], locked: Iterable[str] = ()
    ) -> list[Assignment]:
        """Claim in turn what fits beside the attempts that are `running`, in the caller's write transaction.

        `locked` are the runs whose lock this transaction has. Where somebody else has that of a run, `again` is set:
        another transaction, which holds no lock, is to wait for it.
        """
        room, self._locked, self.again = _Room(self.capacity(), running), set(locked), False
        self._alone = connection.dialect.name == "sqlite" or not self._locked
        claimed: list[Assignment] = []
        passed_over: set[str] = set()
        while room.slots > 0 and (run_id := self._turns.next(room.held, passed_over)) is not None:
            found = self._claim_of(connection, run_id, room)
            if found is None:
                if room.reserved:
                    break
                passed_over.add(run_id)
            else:
                room.take(found)
                claimed.append(found)
                self._claimed = True
        return claimed

    def failed(self, error: ClaimFailed) -> None:
        """Leave a run alone for a while of which nothing can be claimed; of `only` one run, raise what is wrong."""
        cause = error.__cause__
        if self.only is not None and cause is not None:
            raise cause
        self._turns.remove(error.run_id)
        self.setbacks.tell("claim.failed", error.run_id, cause)

    def _is_put_off(self, run_id: str) -> bool:
        return self.setbacks.put_off("claim.failed", run_id)

    def _claim_of(self, connection: sa.Connection, run_id: str, room: "_Room") -> Assignment | None:
        """Claim the first step run of a run that fits; None if none does."""
        known = self._known[run_id]
        self._remember(known)
        try:
            plan = self._plan(connection, known.plan_digest)
            wait = not self._locked or run_id in self._locked
            locked = claims.lock(connection, run_id, plan, self.limits, wait=wait)
            self._locked.add(run_id)
            if locked is None:
                self._turns.remove(run_id)  # until the next look
                return None
            wanted = self._first_that_fits(connection, run_id, plan, room)
            if wanted is None:
                return None
            now, lease_seconds = self.clock.now(), self.lease_seconds
            (found,) = claims.claim(
                connection, self.worker_id, locked, [wanted], plan, lease_seconds=lease_seconds, now=now
            )
            return assignments.of_claim(self._run(connection, run_id, plan.digest), plan, found, now)
        except claims.RunIsBusy:
            self.again = True
            return None
        except (ServiceUnavailable, sa.exc.SQLAlchemyError):
            raise
        except Exception as error:
            raise ClaimFailed(run_id) from error

    def _first_that_fits(self, connection: sa.Connection, run_id: str, plan: Plan, room: "_Room") -> Candidate | None:
        """Return the first that fits, in the plan's order: a small step goes before a large one that does not fit.

        But not for ever: behind one that has waited long enough, nothing is claimed until it fits.
        """
        now, unfit = self.clock.now(), set[str]()
        while True:
            found = claims.candidates(connection, run_id, now, 2, besides=unfit)
            if len(found) < 2 and not unfit:
                self._turns.remove(run_id)  # after this one, nothing of it may start
            if not found:
                return None
            node = plan.step(found[0].step)
            settled: Settled = "execute"
            if node.cache and self.labels.issuperset(node.labels):
                settled = self._settle(connection, plan, found[0], now)
            if settled == "taken over":
                continue  # with what that made ready
            self.again |= settled == "busy"
            if (
                settled == "execute"
                and self.labels.issuperset(node.labels)
                and self._has_room_in_pool(connection, node)
            ):
                if room.fits(node):
                    return found[0]
                self.went_on(run_id)  # it waits for room
                ready_at = found[0].ready_at
                if ready_at is not None and now - ready_at > _PATIENCE and room.could_fit(node):
                    room.reserved = True
                    return None
            unfit.add(node.name)

    def _settle(self, connection: sa.Connection, plan: Plan, wanted: Candidate, now: datetime) -> Settled:
        """Let a cached step's candidate take over an equal result, which may end its run.

        On PostgreSQL one transaction ends one run: what another has to do with that has its turn in the next.
        """
        if not self._alone:
            return "busy"
        settled = self.settle(connection, plan, wanted, now)
        self._alone = settled != "taken over" or connection.dialect.name == "sqlite"
        return settled

    def _has_room_in_pool(self, connection: sa.Connection, node: StepNode) -> bool:
        return node.pool is None or claims.has_room(connection, node.pool, self.limits.pools)

    def _remember(self, known: OpenRun) -> None:
        self._known.pop(known.run_id, None)
        _forget_oldest(self._known)
        self._known[known.run_id] = known

    def _plan(self, connection: sa.Connection, digest: str) -> Plan:
        if digest not in self.plans:
            _forget_oldest(self.plans)
            self.plans[digest] = plans.load(connection, digest)
        return self.plans[digest]

    def _run(self, connection: sa.Connection, run_id: str, plan_digest: str) -> Run:
        key = run_id, plan_digest
        if key not in self._runs:
            _forget_oldest(self._runs)
            self._runs[key] = queries.get_run(connection, run_id)
        return self._runs[key]


class _Room:
    """What is left of a capacity beside what runs; `reserved` if that is kept for one that needs more."""

    def __init__(self, capacity: Capacity, running: Iterable[Assignment]) -> None:
        self.held: Counter[str] = Counter()
        self.reserved = False
        self._whole = self._left = capacity
        for each in running:
            self.take(each)

    @property
    def slots(self) -> int:
        """How many more attempts may run."""
        return self._left.slots

    def fits(self, node: StepNode) -> bool:
        """Tell whether an attempt of a step fits in now."""
        return self._left.holds(node.resources)

    def could_fit(self, node: StepNode) -> bool:
        """Tell whether it would fit in if nothing else ran."""
        return self._whole.holds(node.resources)

    def take(self, assignment: Assignment) -> None:
        """Count an attempt in."""
        self.held[assignment.run.run_id] += 1
        self._left = self._left.without(assignment.node.resources)


def _waiting(known: OpenRun) -> WaitingRun:
    """Return a run as it waits for its turn; a backfilled one gives way to others, and while it is queued does not age.

    It waits by its backfill's limit; aged, all that a backfill has queued would go before what a schedule asks for.
    """
    if known.backfill_id is None:
        return WaitingRun(known.run_id, known.priority, known.created_at, known.ready_at)
    ready_at = known.ready_at if known.state == "running" else None
    return WaitingRun(known.run_id, known.priority, known.rank_at, ready_at)


def _forget_oldest(remembered: dict[Any, Any]) -> None:
    while len(remembered) >= _REMEMBERED:
        del remembered[next(iter(remembered))]
