"""Every table and CHECK of Podium's database, by slice."""

from podium.db.schema.canary import canary, canary_look
from podium.db.schema.columns import metadata
from podium.db.schema.execution import artifact, attempt, attempt_rollup, event, output, plan, run, step_run, worker
from podium.db.schema.finops import cost_rollup, ledger_entry, price, run_cost, run_rollup, saving, version_lineage
from podium.db.schema.notify import alert, alert_cursor, alert_delivery
from podium.db.schema.registry import approval, evidence, model_version, promotion, promotion_history
from podium.db.schema.scheduling import (
    backfill,
    backfill_interval,
    schedule,
    schedule_tick,
    scheduler,
    trigger_source,
    trigger_state,
)

__all__ = [
    "alert",
    "alert_cursor",
    "alert_delivery",
    "approval",
    "artifact",
    "attempt",
    "attempt_rollup",
    "backfill",
    "backfill_interval",
    "canary",
    "canary_look",
    "cost_rollup",
    "event",
    "evidence",
    "ledger_entry",
    "metadata",
    "model_version",
    "output",
    "plan",
    "price",
    "promotion",
    "promotion_history",
    "run",
    "run_cost",
    "run_rollup",
    "saving",
    "schedule",
    "schedule_tick",
    "scheduler",
    "step_run",
    "trigger_source",
    "trigger_state",
    "version_lineage",
    "worker",
]
