"""Run documents: what executed, what was decided and what it cost, in the interface's JSON."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from podium.canary import documents as canaries
from podium.execution import approvals, cache_misses, queries
from podium.execution.cache_misses import Miss
from podium.execution.claims import Limits
from podium.execution.situations import waits_of_run
from podium.execution.waiting import Waiting
from podium.finops.costs import cost_of_attempts, cost_of_runs
from podium.finops.money import decimal_text
from podium.finops.savings import saved_by_step_runs
from podium.finops.sums import Cost
from podium.registry import store as registry_store
from podium.registry.entities import RecordedEvidence
from podium.wiring.awaiting import awaited_promotions
from podium.wiring.failures import failure_of


def run_document(connection: sa.Connection, run_id: str, now: datetime, limits: Limits | None = None) -> dict[str, Any]:
    """Return one run with its steps and attempts, why it failed, and what it waits for at `now` under `limits`."""
    (document,) = run_documents(connection, [run_id])
    steps = _steps(connection, run_id)
    return {
        **document,
        "failure": failure_of(steps),
        "waiting": [_waiting(each) for each in waits_of_run(connection, run_id, now, limits)],
        "steps": steps,
    }


def run_documents(connection: sa.Connection, run_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return runs without their steps, in the order given."""
    rows = queries.run_rows(connection, run_ids)
    costs = cost_of_runs(connection, run_ids)
    held = approvals.held(connection, run_ids)
    return [_run(connection, rows[run_id], costs[run_id], held.get(run_id, [])) for run_id in run_ids]


def event_documents(connection: sa.Connection, run_id: str, after: int = 0) -> list[dict[str, Any]]:
    """Return a run's events behind the one numbered `after`, in order."""
    return [
        {
            "event_id": row.event_id,
            "at": _instant(row.at),
            "kind": row.kind,
            "step": row.step,
            "attempt": row.attempt,
            "reason": row.reason,
        }
        for row in queries.event_rows(connection, run_id, after)
    ]


def _run(connection: sa.Connection, row: sa.Row[Any], cost: Cost, held: list[str]) -> dict[str, Any]:
    promotions = registry_store.promotions_of_run(connection, row.run_id)
    evidence = registry_store.evidence_of_run(connection, row.run_id)
    versions = registry_store.versions_of_run(connection, row.run_id)
    last = promotions[-1] if promotions else None
    awaited = [] if row.ended_at else awaited_promotions(connection, row.run_id, row.model, row.plan_digest)
    before = last.from_version if last else evidence[-1].champion_version if evidence else None
    return {
        "run_id": row.run_id,
        "pipeline": row.pipeline,
        "team": row.team,
        "environment": row.environment,
        "interval": {"start": _instant(row.interval_start), "end": _instant(row.interval_end)},
        "interval_name": queries.interval_of(row).name,
        "parameters": row.parameters,
        "trigger": row.trigger,
        "cause": row.cause,
        "backfill_id": row.backfill_id,
        "actor": row.actor,
        "actor_verified": row.actor_verified,
        "state": row.state,
        "outcome": row.outcome,
        "reason": row.reason,
        "created_at": _instant(row.created_at),
        "started_at": _instant(row.started_at),
        "ended_at": _instant(row.ended_at),
        "deadline_at": _instant(row.deadline_at),
        "rerun_of": row.rerun_of,
        "held": held,
        **_cost(cost),
        "model": {
            "name": row.model,
            "version": versions[-1].version if versions else None,
            "champion_before": before,
            "champion_after": last.champion if last else before,
        },
        "verdict": _verdict(evidence[-1]) if evidence else None,
        "canary": canaries.of_run(connection, row.run_id),
        "promotion": last.to_document() if last else None,
        "awaits_approval": [each.promotion_id for each in awaited],
    }


def _verdict(evidence: RecordedEvidence) -> dict[str, Any]:
    """Return what the gate decided, and what it had measured on how many rows; a number that there is not is null."""
    measured = evidence.document
    return {
        "result": evidence.verdict,
        "reasons": list(evidence.reasons),
        "metrics": [
            {name: measurement[name] for name in ("metric", "candidate", "champion", "baseline")}
            for measurement in measured["measurements"]
        ],
        "rows": measured["rows"],
        "holdout_uses": measured["holdout_uses"],
        "policy": {
            "name": measured["policy"].get("name"),
            "version": measured["policy"].get("version"),
            "digest": measured["policy_digest"],
        },
        "evidence_digest": evidence.digest,
    }


def _steps(connection: sa.Connection, run_id: str) -> list[dict[str, Any]]:
    """Return the steps in order; behind a mapped step, whose own entry has no attempts, come its items.

    `map_index` is the item's number from 0, and null where an entry is a whole step.
    """
    costs = cost_of_attempts(connection, run_id)
    saved = saved_by_step_runs(connection, run_id)
    waits = queries.waits_for_equal(connection, run_id)
    misses = cache_misses.of_run(connection, run_id)
    attempts: dict[str, list[dict[str, Any]]] = {}
    for row in queries.attempt_rows(connection, run_id):
        attempts.setdefault(row.step_run_id, []).append(
            {
                "attempt_id": row.attempt_id,
                "number": row.number,
                "state": row.state,
                "started_at": _instant(row.started_at),
                "ended_at": _instant(row.ended_at),
                "wall_seconds": row.wall_seconds,
                "cpu_seconds": row.cpu_seconds,
                "peak_memory_bytes": row.peak_memory_bytes,
                "meter_quality": row.meter_quality,
                **_cost(costs.get(row.attempt_id, _NOT_POSTED)),
                "error": row.error,
                "log": row.log,
            }
        )
    return [
        {
            "name": row.name,
            "map_index": None if row.map_index < 0 else row.map_index,
            "state": row.state,
            "reason": waits.get(row.step_run_id, row.reason),
            "cached": row.cached,
            "cache_key": row.cache_key,
            "cache_miss": _miss(misses.get(row.step_run_id)),
            "saved_usd": _decimal(saved.get(row.step_run_id)),
            "not_before": _instant(row.not_before),
            "decide_by": _instant(row.decide_by),
            "decided_by": row.decided_by,
            "ready_at": _instant(row.ready_at),
            "ended_at": _instant(row.ended_at),
            "attempts": attempts.get(row.step_run_id, []),
        }
        for row in queries.step_rows(connection, run_id)
    ]


def _waiting(each: Waiting) -> dict[str, Any]:
    """Return what one step run waits for; `step` and `map_index` are as among the steps."""
    return {
        "step": each.step,
        "map_index": None if each.map_index < 0 else each.map_index,
        "state": each.state,
        "reason": each.reason,
        "until": _instant(each.until),
        "since": _instant(each.since),
    }


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _cost(cost: Cost) -> dict[str, Any]:
    """Return a cost in full, or null where a part of it is unknown, and of how many entries it is."""
    return {
        "cost_usd": None if cost.complete is None else decimal_text(cost.complete),
        "unpriced_entries": cost.unpriced,
    }


def _decimal(amount: Decimal | None) -> str | None:
    return None if amount is None else decimal_text(amount)


def _miss(miss: Miss | None) -> dict[str, Any] | None:
    return None if miss is None else {"compared_with": miss.compared_with, "differs": list(miss.differs)}


_NOT_POSTED = Cost(None, 0)
"""An attempt that has not ended: nothing of it is in the ledger yet."""
