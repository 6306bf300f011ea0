"""Which promotions a run waits for until people have decided: its own, or another of its model that is open."""

from collections.abc import Sequence

import sqlalchemy as sa

from podium.execution import plans, waking
from podium.registry import store
from podium.registry.entities import Promotion

_PROMOTING = {("podium.stages.promotion", "promote_version"), ("podium.stages.canary", "run_canary")}


def awaited_promotions(connection: sa.Connection, run_id: str, model: str, plan_digest: str) -> list[Promotion]:
    """Return the promotions that steps of a run wait for, its own before any other."""
    own = [each for each in store.promotions_of_run(connection, run_id) if each.awaits_approval]
    if own:
        return own
    other = store.open_promotion(connection, model)
    if other is None or not other.awaits_approval:
        return []
    return [other] if _promoting_steps(connection, run_id, plan_digest) else []


def steps_behind(
    connection: sa.Connection, promotions: Sequence[Promotion], run_id: str, plan_digest: str
) -> list[str]:
    """Return the keys of a run's steps that wait for one of these promotions."""
    own = [each.idempotency_key for each in promotions if each.run_id == run_id]
    return own or (_promoting_steps(connection, run_id, plan_digest) if promotions else [])


def _promoting_steps(connection: sa.Connection, run_id: str, plan_digest: str) -> list[str]:
    """Return the keys of the steps that wait for a time and that ask for a promotion when it comes."""
    put_off = waking.put_off(connection, run_id)
    if not put_off:
        return []
    plan = plans.load(connection, plan_digest)
    promoting = {node.name for node in plan.steps if (node.module, node.qualname) in _PROMOTING}
    return [key for key, step in put_off.items() if step in promoting]
