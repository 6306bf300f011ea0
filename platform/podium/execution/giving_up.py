"""The queued runs of a backfill, cancelled together: a statement for all of them where one run takes a dozen.

Ten thousand runs one by one would hold their locks for longer than a worker may be silent.
"""

from datetime import datetime

import sqlalchemy as sa

from podium.db.schema import event, run, step_run
from podium.execution.items import WHOLE


def cancel_queued(connection: sa.Connection, backfill_id: str, reason: str, now: datetime) -> list[str]:
    """Cancel what a backfill has queued, as `Progress.cancel` does each of them, and return the runs' ids.

    All are locked first, in the order of their ids. One that has items of a mapped step from before is left out. The
    ledger is not told.
    """
    is_meant = sa.and_(run.c.backfill_id == backfill_id, run.c.state == "queued", run.c.cancel_requested_at.is_(None))
    lock = sa.select(run.c.run_id).where(is_meant, ~_HAS_ITEMS).order_by(run.c.run_id)
    found = list(connection.scalars(lock.with_for_update(key_share=True)))
    # What is marked now is locked by this transaction, so the other statements are about no more and no less.
    connection.execute(
        run.update().where(is_meant, ~_HAS_ITEMS).values(cancel_requested_at=now, reason=reason, open_steps=0)
    )
    is_marked = sa.and_(run.c.backfill_id == backfill_id, run.c.state == "queued", run.c.cancel_requested_at == now)
    marked = sa.select(run.c.run_id).where(is_marked)
    connection.execute(
        step_run.update()
        .where(step_run.c.run_id.in_(marked), step_run.c.state.in_(("waiting", "ready", "held")))
        .values(state="cancelled", reason=reason, not_before=None, decide_by=None, ended_at=now)
    )
    for kind in ("run.cancel_requested", "run.cancelled"):
        told = sa.select(run.c.run_id, sa.literal(kind), sa.literal(reason), sa.literal(now, run.c.created_at.type))
        connection.execute(event.insert().from_select(["run_id", "kind", "reason", "at"], told.where(is_marked)))
    connection.execute(
        run.update()
        .where(is_marked)
        .values(
            state="cancelled",
            started_at=sa.func.coalesce(run.c.started_at, now, type_=run.c.started_at.type),
            ended_at=now,
        )
    )
    return found


_HAS_ITEMS = sa.exists().where(step_run.c.run_id == run.c.run_id, step_run.c.map_index > WHOLE).correlate(run)
