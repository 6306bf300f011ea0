"""Looks at what Podium itself has on record: runs that ended, promotions.

Events of runs become visible in another order than that of their numbers: a transaction may commit after one that began
later. So those of the last ten minutes are read again each time, and what was known of them then is kept.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from podium.dag.triggers import PromotionSource, RunSource
from podium.db.schema import event, promotion_history, run
from podium.db.schema.execution import TOLD
from podium.scheduling.looks import Found

_UNSETTLED = timedelta(minutes=10)


def look_at_runs(connection: sa.Connection, source: RunSource, used: Any, now: datetime, *, all_: bool) -> Found:
    """Return the runs that ended since it fired last: the first of them, or with `all_` up to the newest.

    `seen` has the number of the event behind which the next look reads, which events behind it are known, and the
    interval of the last run.
    """
    settled = _settled(connection, now)
    if used is None:
        known = [row.event_id for row in _ended(connection, source, settled)]
        return Found(_seen(settled, known), is_news=False, detail="what ends from now on is new")
    new = [row for row in _ended(connection, source, used["behind"]) if row.event_id not in used["known"]]
    taken, left = (new, []) if all_ else (new[:1], new[1:])
    behind = max(used["behind"], min([settled, *(row.event_id - 1 for row in left)]))
    seen = _seen(behind, [*used["known"], *(row.event_id for row in taken)])
    if not taken:
        return Found(seen, is_news=False, detail="no other run ended so")
    last = taken[-1]
    seen["interval"] = {"start": last.interval_start.isoformat(), "end": last.interval_end.isoformat()}
    runs = f"run {last.run_id}" if len(taken) == 1 else f"{len(taken):,} runs, the last {last.run_id},"
    return Found(seen, is_news=True, detail=f"{runs} of {source.pipeline} {source.outcome or source.state}")


def look_at_promotions(connection: sa.Connection, source: PromotionSource, used: Any) -> Found:
    """Return the model's newest promotion; a model's history has one writer at a time, so its order is that of time."""
    query = (
        sa.select(promotion_history.c.id, promotion_history.c.to_version)
        .where(
            promotion_history.c.model == source.model,
            promotion_history.c.action == "promote",
            promotion_history.c.state == "applied",
        )
        .order_by(promotion_history.c.id.desc())
        .limit(1)
    )
    newest = connection.execute(query).first()
    seen = 0 if newest is None else newest.id
    if used is None or newest is None or seen == used:
        champion = "no version was promoted so far" if newest is None else f"version {newest.to_version} was the last"
        return Found(seen, is_news=False, detail=champion)
    return Found(seen, is_news=True, detail=f"version {newest.to_version} of {source.model} was promoted")


def _seen(behind: int, known: Iterable[int]) -> dict[str, Any]:
    return {"behind": behind, "known": sorted(number for number in known if number > behind)}


def _ended(connection: sa.Connection, source: RunSource, behind: int) -> list[sa.Row[Any]]:
    """Return the events behind the one of that number by which runs of the pipeline ended as is wanted, in order."""
    query = (
        sa.select(event.c.event_id, run.c.run_id, run.c.interval_start, run.c.interval_end)
        .join(run, run.c.run_id == event.c.run_id)
        .where(
            _IS_TOLD,
            event.c.event_id > behind,
            event.c.kind == f"run.{source.state}",
            run.c.pipeline == source.pipeline,
            run.c.backfill_id.is_(None),
        )
        .order_by(event.c.event_id)
    )
    if source.outcome is not None:
        query = query.where(run.c.outcome == source.outcome)
    return list(connection.execute(query))


def _settled(connection: sa.Connection, now: datetime) -> int:
    """Return the number of the last event that none can appear before any more; 0 without one."""
    older = sa.select(event.c.event_id).where(_IS_TOLD, event.c.at < now - _UNSETTLED)
    return connection.scalar(older.order_by(event.c.event_id.desc()).limit(1)) or 0


_IS_TOLD = sa.text(f"event.kind IN ({', '.join(map(repr, TOLD))})")  # word for word the index'
