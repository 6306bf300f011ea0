"""What was not computed again: for each step run that took over an equal one's result, what that had cost when made.

A saving is a fact beside the ledger and in none of its sums; it is noted in the transaction that takes over, and what
had no price then stays without one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from podium.db.engine import insert_all_unless_present
from podium.db.schema import attempt, ledger_entry, run, saving, step_run
from podium.db.schema.finops import NO_CURRENCY
from podium.errors import InternalError
from podium.finops.days import midnight
from podium.finops.money import USD, total
from podium.finops.sums import Cost, Sum, cost_document

CACHE = "cache"
"""The reason of a saving: an equal result was there."""


def record(connection: sa.Connection, sources: Mapping[str, str], now: datetime) -> None:
    """Note what step runs saved that took over what attempts made; `sources` are attempts by step run."""
    if not sources:
        return
    made = set(sources.values())
    sums = {attempt_id: Sum() for attempt_id in made}
    entries = sa.select(
        ledger_entry.c.attempt_id, ledger_entry.c.amount, ledger_entry.c.currency, ledger_entry.c.kind
    ).where(ledger_entry.c.attempt_id.in_(made))
    for attempt_id, amount, currency, kind in connection.execute(entries):
        sums[attempt_id].add(amount, currency, kind, 1)
    wall = sa.select(attempt.c.attempt_id, attempt.c.wall_seconds).where(attempt.c.attempt_id.in_(made))
    seconds = {row.attempt_id: row.wall_seconds for row in connection.execute(wall)}
    columns = (step_run.c.step_run_id, step_run.c.run_id, step_run.c.name, run.c.team, run.c.model, run.c.environment)
    owners = sa.select(*columns).join(run).where(step_run.c.step_run_id.in_(sources))
    rows = []
    for step_run_id, run_id, step, team, model, environment in connection.execute(owners):
        attempt_id = sources[step_run_id]
        amount = _amount(sums[attempt_id])
        rows.append(
            {
                "step_run_id": step_run_id,
                "source_attempt_id": attempt_id,
                "reason": CACHE,
                "run_id": run_id,
                "step": step,
                "team": team,
                "model": model,
                "environment": environment,
                "wall_seconds": seconds[attempt_id],
                "currency": NO_CURRENCY if amount is None else next(iter(sums[attempt_id].currencies)),
                "amount": amount,
                "saved_at": now,
            }
        )
    if len(rows) != len(sources):
        raise InternalError(f"Of {len(sources)} step runs that took over a result, only {len(rows)} are there.")
    insert_all_unless_present(connection, saving, rows)  # a step that is tried again may take over the same once more


def _amount(cost: Sum) -> Decimal | None:
    """Return what an attempt cost; None where any part of it is unknown, or in several currencies."""
    return cost.cost.complete if len(cost.currencies) == 1 else None


@dataclass(frozen=True)
class Saved:
    """The sum of some savings, how many have no price and are not in it, and the time that was not spent again."""

    cost: Cost
    step_runs: int
    wall_seconds: float


def saved_document(saved: Saved) -> dict[str, Any]:
    """Return what was saved as JSON."""
    return {**cost_document(saved.cost, "amount"), "step_runs": saved.step_runs, "wall_seconds": saved.wall_seconds}


def saved_by_run(connection: sa.Connection, run_id: str) -> Saved:
    """Return what the steps of a run saved."""
    return _saved(connection, saving.c.run_id == run_id)


def saved_between(connection: sa.Connection, start: date | None, end: date | None) -> Saved:
    """Return what was saved in `[start, end)`, UTC days; None is open."""
    since = [] if start is None else [saving.c.saved_at >= midnight(start)]
    until = [] if end is None else [saving.c.saved_at < midnight(end)]
    return _saved(connection, *since, *until)


def saved_by_step_runs(connection: sa.Connection, run_id: str) -> dict[str, Decimal | None]:
    """Return what each step run of a run that was taken over saved, in USD; None where that is not known."""
    query = sa.select(saving.c.step_run_id, saving.c.amount, saving.c.currency).where(saving.c.run_id == run_id)
    query = query.order_by(saving.c.saved_at)
    return {row.step_run_id: row.amount if row.currency == USD else None for row in connection.execute(query)}


def saved_by_owner(connection: sa.Connection) -> dict[tuple[str, str, str, str], Decimal]:
    """Return all that was ever saved, in USD, by team, model, environment and reason; what has no price is in none."""
    labels = (saving.c.team, saving.c.model, saving.c.environment, saving.c.reason)
    # SQLite has no decimal to add with; of one result that is taken over again and again, it can at least count.
    query = (
        sa.select(*labels, saving.c.amount, sa.func.count())
        .where(saving.c.currency == USD)
        .group_by(*labels, saving.c.amount)
    )
    found: dict[tuple[str, str, str, str], Decimal] = {}
    for team, model, environment, reason, amount, times in connection.execute(query):
        key = team, model, environment, reason
        found[key] = total((found.get(key, Decimal(0)), *[amount] * times))
    return found


def _saved(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> Saved:
    query = sa.select(saving.c.amount, saving.c.currency, saving.c.wall_seconds).where(*where)
    whole, seconds, step_runs = Sum(), 0.0, 0
    for amount, currency, wall_seconds in connection.execute(query):
        whole.add(amount, None if amount is None else currency, CACHE, 1)
        seconds += wall_seconds
        step_runs += 1
    return Saved(whole.cost, step_runs, seconds)


def uncounted(connection: sa.Connection) -> tuple[int, int]:
    """Return how many step runs were taken over, and of how many of them it is noted what they saved."""
    noted = sa.exists().where(saving.c.step_run_id == step_run.c.step_run_id)
    query = sa.select(sa.func.count(), sa.func.count(sa.case((noted, 1)))).where(step_run.c.cached)
    found = connection.execute(query).one()
    return found[0], found[1]
