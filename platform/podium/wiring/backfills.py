"""Backfills of a project: connected to its executor and its ledger, and as the interface's JSON."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from podium.dag.interval import Interval
from podium.dag.plan import Plan
from podium.errors import UsageError
from podium.execution import approvals, plans
from podium.execution.entities import Actor
from podium.execution.service import ExecutionService
from podium.finops.costs import cost_of_attempts_of, cost_of_backfill
from podium.finops.money import decimal_text
from podium.scheduling import backfill_store as store
from podium.scheduling.backfill_entities import Backfill, BackfillRequest, Preview, Standing
from podium.scheduling.backfill_plan import Estimate
from podium.scheduling.backfills import Backfills, Bill
from podium.wiring.project import Project


def backfills_of(project: Project) -> Backfills:
    """Return what people do with the backfills of a project."""
    runs = ExecutorRuns(project.execution, project.clock.now)
    return Backfills(project.database, project.clock, runs, LedgerCosts())


@dataclass(frozen=True)
class ExecutorRuns:
    """Implements Runs with the executor."""

    execution: ExecutionService
    now: Callable[[], datetime]

    def store_plan(self, connection: sa.Connection, plan: Plan) -> None:
        """Store a plan."""
        plans.store(connection, plan, self.now())

    def admit(
        self,
        connection: sa.Connection,
        asked: BackfillRequest,
        interval: Interval,
        backfill_id: str,
        place: int,
        made_before: int = 0,
    ) -> tuple[str, bool]:
        """Make a backfilled run in the caller's transaction."""
        key = f"backfill:{backfill_id}:{interval.to_document()['start']}"
        why = f": {asked.reason}" if asked.reason else ""
        return self.execution.admit(
            connection,
            asked.plan,
            interval,
            parameters=asked.parameters,
            trigger="backfill",
            idempotency_key=f"{key}:{made_before}" if made_before else key,
            actor=Actor(asked.actor, asked.actor_verified),
            cause=f"backfill {backfill_id} of {asked.range.name}{why}",
            backfill_id=backfill_id,
            place=place,
            uses_cache=asked.uses_cache,
        )

    def take_stock(self) -> None:
        """End what dead workers have left."""
        self.execution.take_stock()

    def cancel_queued(self, connection: sa.Connection, backfill_id: str, reason: str) -> None:
        """Cancel what a backfill has queued in the caller's transaction."""
        self.execution.cancel_queued(connection, backfill_id, reason=reason)

    def cancel(self, run_id: str, reason: str) -> None:
        """Cancel a run that goes on; one that has ended stays as it is."""
        with suppress(UsageError):  # it ended by itself since somebody looked, and the others are to be cancelled still
            self.execution.cancel(run_id, reason=reason)

    def resume(self, run_id: str, plan: Plan, reason: str) -> None:
        """Take up a run again."""
        self.execution.resume(run_id, plan, reason=reason)


class LedgerCosts:
    """Implements Costs with the ledger."""

    def of_backfill(self, connection: sa.Connection, backfill_id: str) -> Bill:
        """Return what the runs that a backfill made cost so far."""
        cost = cost_of_backfill(connection, backfill_id)
        return Bill(cost.complete, cost.unpriced)

    def of_attempts(self, connection: sa.Connection, run_ids: Sequence[str]) -> Mapping[str, Decimal | None]:
        """Return the cost of each attempt of some runs."""
        return {attempt_id: cost.complete for attempt_id, cost in cost_of_attempts_of(connection, run_ids).items()}


def stands_still(connection: sa.Connection, found: Backfill) -> bool:
    """Tell whether nothing can be done for a backfill before a person decides, or nothing is left to do.

    Of its own runs: what it joined is executed by whoever asked for that.
    """
    open_ = store.own_runs(connection, found, ("queued", "running"))
    running = [each for each in open_ if each.state == "running"]
    going_on = running if len(running) >= found.max_parallel else open_
    return all(approvals.waits_for_a_person(connection, each.run_id) for each in going_on)


def backfill_document(connection: sa.Connection, backfills: Backfills, found: Backfill) -> dict[str, Any]:
    """Return a backfill with its intervals in the order of their turns, what it cost, and what is left to be done."""
    filled = store.intervals(connection, found)
    (document,) = backfill_documents(connection, backfills, [found])
    left = document["counts"]["queued"] + document["counts"]["running"]
    plan = plans.load(connection, found.plan_digest)
    estimate = backfills.estimate(connection, plan, left, found.max_parallel) if left else None
    return {
        **document,
        "estimate": None if estimate is None else _estimate(estimate),
        "intervals": [
            {
                **_interval(each.interval, each.action),
                "run_id": each.run_id,
                "state": each.state,
                "outcome": each.outcome,
            }
            for each in filled
        ],
    }


def backfill_documents(
    connection: sa.Connection, backfills: Backfills, found: Sequence[Backfill]
) -> list[dict[str, Any]]:
    """Return backfills without their intervals, in the order given."""
    backfill_ids = [each.backfill_id for each in found]
    standings = store.standings(connection, backfill_ids)
    going_on = store.going_on(connection, backfill_ids)
    return [
        _backfill(
            each,
            standings[each.backfill_id],
            backfills.bill(connection, each.backfill_id),
            goes_on=each.backfill_id in going_on,
        )
        for each in found
    ]


def preview_document(asked: BackfillRequest, preview: Preview) -> dict[str, Any]:
    """Return what a backfill would do; a run that is yet to be made has no id."""
    return {
        "backfill_id": None,
        "dry_run": True,
        "pipeline": asked.plan.pipeline,
        "from": _instant(asked.range.start),
        "to": _instant(asked.range.end),
        "range": asked.range.name,
        "parameters": dict(asked.parameters),
        "order": asked.order,
        "max_parallel": asked.max_parallel,
        "failed_only": asked.failed_only,
        "reprocess": asked.reprocess,
        "estimate": _estimate(preview.estimate),
        "intervals": [
            {
                **_interval(each.interval, each.action),
                "run_id": None if each.makes_a_run or each.known is None else each.known.run_id,
                "state": None if each.makes_a_run or each.known is None else each.known.state,
                "outcome": None if each.makes_a_run or each.known is None else each.known.outcome,
            }
            for each in preview.planned
        ],
    }


def _backfill(found: Backfill, standing: Standing, bill: Bill, *, goes_on: bool) -> dict[str, Any]:
    return {
        "backfill_id": found.backfill_id,
        "pipeline": found.pipeline,
        "from": _instant(found.range.start),
        "to": _instant(found.range.end),
        "range": found.range.name,
        "state": standing.state_of(found, goes_on=goes_on),
        "counts": _counts(standing),
        "parameters": dict(found.parameters),
        "order": found.order,
        "max_parallel": found.max_parallel,
        "failed_only": found.failed_only,
        "reprocess": found.reprocess,
        "actor": found.actor,
        "actor_verified": found.actor_verified,
        "reason": found.reason,
        "created_at": _instant(found.created_at),
        "cancelled_at": _instant(found.cancelled_at),
        "cancelled_by": found.cancelled_by,
        "cancelled_reason": found.cancelled_reason,
        "cost_usd": None if bill.amount is None else decimal_text(bill.amount),
        "unpriced_entries": bill.unpriced,
    }


def counts_of(connection: sa.Connection, backfill_id: str) -> dict[str, int]:
    """Return how many intervals of a backfill there are, and how many have a run in each state."""
    return _counts(store.standings(connection, [backfill_id])[backfill_id])


def _counts(standing: Standing) -> dict[str, int]:
    return {"total": standing.total, **asdict(standing)}


def _interval(interval: Interval, action: str) -> dict[str, Any]:
    return {
        "start": _instant(interval.start),
        "end": _instant(interval.end),
        "interval_name": interval.name,
        "action": action,
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate; what is not known is null, and the steps that it is not known of are named."""
    return {
        "runs": estimate.runs,
        "seconds": estimate.seconds,
        "cost_usd": _money(estimate.cost),
        "unknown_steps": estimate.unknown,
        "steps": [
            {
                "name": step.name,
                "history_runs": step.runs,
                "wall_seconds": step.wall_seconds,
                "cost_usd": _money(step.cost),
            }
            for step in estimate.steps
        ],
    }


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else decimal_text(amount)


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
