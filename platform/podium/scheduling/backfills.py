"""What people do with backfills: look what one would do, start it, cancel it, take it up again."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

import sqlalchemy as sa

from podium import faults, ids
from podium.clock import Clock
from podium.dag.interval import Interval
from podium.dag.parameters import bind_parameters
from podium.dag.plan import Plan
from podium.db.engine import Database
from podium.db.schema.execution import RUN_STATES
from podium.errors import Conflict, PodiumError, Refused, UsageError
from podium.scheduling import backfill_store as store
from podium.scheduling.backfill_entities import Backfill, BackfillRequest, Preview, Resumed
from podium.scheduling.backfill_plan import Action, Estimate, KnownRun, Planned, decide, estimate, in_order


class Runs(Protocol):
    """What backfills want from the executor."""

    def store_plan(self, connection: sa.Connection, plan: Plan) -> None:
        """Store a plan, so that runs may name it."""

    def admit(
        self,
        connection: sa.Connection,
        asked: BackfillRequest,
        interval: Interval,
        backfill_id: str,
        place: int,
        made_before: int = 0,
    ) -> tuple[str, bool]:
        """Make a backfilled run in the caller's transaction; return its id, or that of an open run and False.

        `made_before` is how many the backfill has made of the interval: the same number is the same run.
        """

    def take_stock(self) -> None:
        """End what dead workers have left, before something is cancelled."""

    def cancel_queued(self, connection: sa.Connection, backfill_id: str, reason: str) -> None:
        """Cancel what a backfill has queued in the caller's transaction."""

    def cancel(self, run_id: str, reason: str) -> None:
        """Cancel a run that goes on; it stays open while its workers end it. One that has ended stays as it is."""

    def resume(self, run_id: str, plan: Plan, reason: str) -> None:
        """Take up a run that failed or was cancelled; Refused or Conflict where it cannot go on."""


@dataclass(frozen=True)
class Bill:
    """What something cost: None where a part of it has no price, and how many entries have none."""

    amount: Decimal | None
    unpriced: int


class Costs(Protocol):
    """What backfills want to know from the ledger."""

    def of_backfill(self, connection: sa.Connection, backfill_id: str) -> Bill:
        """Return what the runs that a backfill made cost so far."""

    def of_attempts(self, connection: sa.Connection, run_ids: Sequence[str]) -> Mapping[str, Decimal | None]:
        """Return the cost of each attempt of some runs, None where a part of it has no price."""


class Backfills:
    """Fills in past intervals of pipelines; a worker executes the runs, and none of them promotes anything."""

    def __init__(self, database: Database, clock: Clock, runs: Runs, costs: Costs) -> None:
        self._database = database
        self._clock = clock
        self._runs = runs
        self._costs = costs

    def preview(self, asked: BackfillRequest) -> Preview:
        """Return what `start` would do now, and what that is expected to take; writes nothing."""
        _check(asked)
        with self._database.read() as connection:
            known = store.known_runs(connection, asked.plan.pipeline, asked.range)
            planned = in_order(_decide(asked, known), asked.order)
            runs = sum(each.makes_a_run for each in planned)
            return Preview(tuple(planned), self.estimate(connection, asked.plan, runs, asked.max_parallel))

    def estimate(self, connection: sa.Connection, plan: Plan, runs: int, max_parallel: int) -> Estimate:
        """Return what so many backfilled runs of a plan are expected to take, from what its runs took before."""
        newest = store.newest_succeeded(connection, plan.pipeline)
        costs = self._costs.of_attempts(connection, newest)
        return estimate(plan, runs, max_parallel, store.history(connection, plan, newest, costs))

    def bill(self, connection: sa.Connection, backfill_id: str) -> Bill:
        """Return what the runs that a backfill made cost so far."""
        return self._costs.of_backfill(connection, backfill_id)

    def start(self, asked: BackfillRequest) -> Backfill:
        """Admit a backfill with all its runs in one transaction, and return it.

        What becomes of each interval is decided in that transaction. Backfills of one pipeline are admitted one after
        the other, so that no two wait for each other's runs.
        """
        _check(asked)
        now = self._clock.now()
        backfill_id = ids.new_id(now)
        with self._database.lock(f"backfill-{asked.plan.pipeline}"), self._database.write() as connection:
            self._runs.store_plan(connection, asked.plan)
            planned = in_order(
                _decide(asked, store.known_runs(connection, asked.plan.pipeline, asked.range)), asked.order
            )
            store.add(connection, backfill_id, asked, now)
            rows: list[tuple[Interval, Action, str]] = []
            for place, each in enumerate(planned):
                if each.known is not None and not each.makes_a_run:
                    rows.append((each.interval, each.action, each.known.run_id))
                    continue
                run_id, made = self._runs.admit(connection, asked, each.interval, backfill_id, place)
                rows.append((each.interval, each.action if made else "join", run_id))
            store.add_intervals(connection, backfill_id, rows)
            faults.reach("backfill.before_admit")
        faults.reach("backfill.after_admit")
        return self.find(backfill_id)

    def find(self, backfill_id: str) -> Backfill:
        """Return a backfill by its id, or a part of it; raises NotFound."""
        with self._database.read() as connection:
            return store.get(connection, backfill_id)

    def cancel(self, backfill_id: str, *, by: str, reason: str) -> Backfill:
        """Cancel a backfill and the runs that it made, not those that it joined; return it.

        What had not begun ends in one transaction with the cancel; what runs is asked to end. So no interval is left
        with a run that nobody will end, whenever this dies. Asked again, it goes on with what still runs. UsageError if
        nothing of it is open.
        """
        found = self.find(backfill_id)
        told = f"backfill {found.backfill_id} is cancelled: {reason}"
        self._runs.take_stock()
        with self._database.lock(f"backfill-{found.pipeline}"), self._database.write() as connection:
            open_ = store.own_runs(connection, found, ("queued", "running"))
            found = store.get(connection, found.backfill_id)
            if not open_ and found.cancelled_at is None:
                raise UsageError(
                    f"The backfill {found.backfill_id} of {found.pipeline} has no run that is open; there is nothing "
                    f"to cancel. `podium backfills show {found.backfill_id}` tells how its runs ended."
                )
            store.cancel(connection, found.backfill_id, by, reason, self._clock.now())
            self._runs.cancel_queued(connection, found.backfill_id, told)
            faults.reach("backfill.before_cancel")
        faults.reach("backfill.after_cancel")
        with self._database.read() as connection:
            running = store.own_runs(connection, found, ("queued", "running"))
        for each in running:
            self._runs.cancel(each.run_id, told)
            faults.reach("backfill.after_cancel_run")
        return self.find(found.backfill_id)

    def resume(self, backfill_id: str, plan: Plan, *, reason: str) -> Resumed:
        """Take up again the runs of a backfill that failed or were cancelled; what they finished is kept.

        Where it joined or kept a run of somebody else that did not succeed in the end, it makes one of its own. An
        interval that somebody else has filled in since, or is about to, is left to that run. Each run is taken up in a
        transaction of its own: asked again, this goes on with what is left. Raises why, where none could go on.
        """
        found = self.find(backfill_id)
        resumed: list[str] = []
        not_resumed: dict[str, PodiumError] = {}
        taken_over = 0
        with self._database.lock(f"backfill-{found.pipeline}"):
            with self._database.read() as connection:
                filled = store.intervals(connection, found)
                own = {each.run_id: each for each in store.own_runs(connection, found, RUN_STATES)}
                goes_on = any(each.state in ("queued", "running") for each in own.values())
                known = store.known_runs(connection, found.pipeline, found.range)
            made = Counter(each.interval for each in own.values())
            for place, each in enumerate(filled):
                is_own = each.run_id in own
                if each.state not in (("failed", "cancelled") if is_own else ("failed", "cancelled", "refused")):
                    continue
                other = _filled_in_by(known[each.interval], found, each.run_id)
                try:
                    if other is not None:
                        self._take_over(found, other)
                        taken_over += 1
                    elif is_own:
                        self._runs.resume(each.run_id, plan, reason)
                        resumed.append(each.run_id)
                    elif (run_id := self._make_own(found, plan, each.interval, place, made[each.interval])) is not None:
                        resumed.append(run_id)
                    else:
                        taken_over += 1
                except (Refused, Conflict, UsageError) as error:
                    not_resumed[each.run_id] = error
            if resumed or taken_over or goes_on:
                with self._database.write() as connection:
                    store.go_on(connection, found.backfill_id)
        if not_resumed and not resumed and not taken_over:
            raise next(iter(not_resumed.values()))
        return Resumed(tuple(resumed), taken_over, {run_id: str(error) for run_id, error in not_resumed.items()})

    def _take_over(self, found: Backfill, other: KnownRun) -> None:
        action: Action = "join" if other.is_open else "keep"
        with self._database.write() as connection:
            store.stand_for(connection, found.backfill_id, other.interval.start, action, other.run_id)

    def _make_own(self, found: Backfill, plan: Plan, interval: Interval, place: int, made_before: int) -> str | None:
        """Make a run for an interval whose run is somebody else's; None if another was open by then, and is joined."""
        asked = _asked_again(found, plan)
        with self._database.write() as connection:
            self._runs.store_plan(connection, plan)
            run_id, made = self._runs.admit(connection, asked, interval, found.backfill_id, place, made_before)
            store.stand_for(connection, found.backfill_id, interval.start, "run" if made else "join", run_id)
        return run_id if made else None


def _check(asked: BackfillRequest) -> None:
    if asked.max_parallel < 1:
        raise UsageError(f"--max-parallel {asked.max_parallel} lets nothing begin; give at least 1.")
    if asked.failed_only and asked.reprocess:
        raise UsageError("--failed-only leaves out what succeeded, and --reprocess makes it again; give one of them.")


def _asked_again(found: Backfill, plan: Plan) -> BackfillRequest:
    """Return what was asked for once, by whom and why, for today's plan; UsageError if that has other parameters."""
    return BackfillRequest(
        plan=plan,
        intervals=(found.range,),
        parameters=bind_parameters(plan, {}, before=found.parameters),
        actor=found.actor,
        actor_verified=found.actor_verified,
        order=found.order,
        max_parallel=found.max_parallel,
        uses_cache=found.uses_cache,
        reason=found.reason,
    )


def _decide(asked: BackfillRequest, known: Mapping[Interval, Sequence[KnownRun]]) -> list[Planned]:
    return decide(asked.intervals, known, asked.parameters, failed_only=asked.failed_only, reprocess=asked.reprocess)


def _filled_in_by(runs: Sequence[KnownRun], found: Backfill, run_id: str) -> KnownRun | None:
    """Return the run that has filled in an interval since one of its runs ended, or is about to; None if there is none.

    That is an open one, whatever its parameters, or one with the same parameters that succeeded later. It may have been
    made earlier: one that failed before the other was made may have been resumed after it.
    """
    (ended_at,) = (each.ended_at for each in runs if each.run_id == run_id)
    for each in runs:
        if each.is_open and each.run_id != run_id:
            return each
    for each in runs:
        is_meant = each.state == "succeeded" and each.parameters == dict(found.parameters)
        if is_meant and each.ended_at is not None and ended_at is not None and each.ended_at > ended_at:
            return each
    return None
