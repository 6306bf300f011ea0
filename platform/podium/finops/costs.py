"""What one run, each of many runs, or one model version cost."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from podium.db.schema import attempt, ledger_entry, run, step_run, version_lineage
from podium.errors import NotFound
from podium.finops.savings import Saved, saved_by_run, saved_document
from podium.finops.sums import Cost, Sum, cost_document, currency_of
from podium.finops.usage import ratio


@dataclass(frozen=True)
class AttemptCost:
    """One attempt's cost by resource, and how much of its reservation it used (None: not known).

    `map_index` is the number, from 0, of the mapped step's item that it was at; None for a whole step.
    """

    attempt_id: str
    step: str
    map_index: int | None
    number: int | None
    outcome: str
    cost: Cost
    resources: Mapping[str, Cost]
    cpu_efficiency: float | None
    memory_efficiency: float | None


@dataclass(frozen=True)
class RunCost:
    """What one run cost: in all, by step and by attempt, in the order in which they started; and what it saved."""

    run_id: str
    currency: str
    total: Cost
    steps: Mapping[str, Cost]
    attempts: tuple[AttemptCost, ...]
    saved: Saved

    def document(self) -> dict[str, Any]:
        """Return the run's cost as JSON."""
        return {
            "run_id": self.run_id,
            "currency": self.currency,
            **cost_document(self.total, "total"),
            "saved": saved_document(self.saved),
            "steps": [
                {
                    "name": name,
                    **cost_document(cost, "amount"),
                    "attempts": [_attempt_document(one) for one in self.attempts if one.step == name],
                }
                for name, cost in self.steps.items()
            ],
        }


def run_cost(connection: sa.Connection, run_id: str) -> RunCost:
    """Return what the run cost; NotFound if there is no such run."""
    if connection.scalar(sa.select(run.c.run_id).where(run.c.run_id == run_id)) is None:
        raise NotFound(f"There is no run {run_id!r}; `podium runs list` shows the runs.")
    query = (
        sa.select(ledger_entry, attempt, step_run.c.map_index)
        .outerjoin(attempt, attempt.c.attempt_id == ledger_entry.c.attempt_id)
        .outerjoin(step_run, step_run.c.step_run_id == attempt.c.step_run_id)
        .where(ledger_entry.c.run_id == run_id)
        .order_by(
            step_run.c.position.nulls_last(),
            step_run.c.map_index,
            attempt.c.number,
            ledger_entry.c.charge_start,
            ledger_entry.c.resource,
        )
    )
    whole, steps = Sum(), dict[str, Sum]()
    attempts: dict[str, tuple[Mapping[Any, Any], Sum, dict[str, Sum]]] = {}
    for row in connection.execute(query).mappings():
        step, attempt_id = str(row[ledger_entry.c.step]), str(row[ledger_entry.c.attempt_id])
        _, of_attempt, of_resources = attempts.setdefault(attempt_id, (row, Sum(), {}))
        of_resource = of_resources.setdefault(row[ledger_entry.c.resource], Sum())
        for part in (whole, steps.setdefault(step, Sum()), of_attempt, of_resource):
            part.add(row[ledger_entry.c.amount], row[ledger_entry.c.currency], row[ledger_entry.c.kind], 1)
    return RunCost(
        run_id=run_id,
        currency=currency_of(connection, whole),
        total=whole.cost,
        steps={name: part.cost for name, part in steps.items()},
        attempts=tuple(_attempt_cost(*found) for found in attempts.values()),
        saved=saved_by_run(connection, run_id),
    )


def cost_of_runs(connection: sa.Connection, run_ids: Iterable[str]) -> dict[str, Cost]:
    """Return what each run cost so far; one that has no entries yet cost 0."""
    return _costs(connection, ledger_entry.c.run_id, ledger_entry.c.run_id.in_(wanted := list(run_ids)), wanted)


def cost_of_attempts(connection: sa.Connection, run_id: str) -> dict[str, Cost]:
    """Return what each attempt of the run that has entries cost, by attempt id."""
    return _costs(connection, ledger_entry.c.attempt_id, ledger_entry.c.run_id == run_id, ())


def cost_of_attempts_of(connection: sa.Connection, run_ids: Iterable[str]) -> dict[str, Cost]:
    """Return what each attempt of these runs that has entries cost, by attempt id."""
    return _costs(connection, ledger_entry.c.attempt_id, ledger_entry.c.run_id.in_(list(run_ids)), ())


def cost_of_backfill(connection: sa.Connection, backfill_id: str) -> Cost:
    """Return what the runs that a backfill made cost so far: every entry of theirs, and no other."""
    whole = Sum()
    query = sa.select(ledger_entry.c.amount, ledger_entry.c.currency, ledger_entry.c.kind)
    made = query.join(run, run.c.run_id == ledger_entry.c.run_id).where(run.c.backfill_id == backfill_id)
    for amount, currency, kind in connection.execute(made):
        whole.add(amount, currency, kind, 1)
    return whole.cost


@dataclass(frozen=True)
class VersionCost:
    """What a model version cost: the sum over the attempts that made it, failed ones included."""

    model: str
    version: str
    currency: str
    total: Cost
    attempts: int

    def document(self) -> dict[str, Any]:
        """Return the version's cost as JSON."""
        return {
            "model": self.model,
            "version": self.version,
            "currency": self.currency,
            "attempts": self.attempts,
            **cost_document(self.total, "total"),
        }


def version_cost(connection: sa.Connection, model: str, version: str) -> VersionCost:
    """Return what the attempts recorded as the version's lineage cost; NotFound where none is recorded."""
    lineage = sa.select(version_lineage.c.attempt_id).where(
        version_lineage.c.model == model, version_lineage.c.version == version
    )
    attempt_ids = connection.scalars(lineage).all()
    if not attempt_ids:
        raise NotFound(
            f"No attempt is recorded to have made version {version} of {model}; `podium models show {model}` "
            "lists the versions, and only those that Podium registered have a cost."
        )
    whole = Sum()
    query = sa.select(ledger_entry.c.amount, ledger_entry.c.currency, ledger_entry.c.kind)
    for row in connection.execute(query.where(ledger_entry.c.attempt_id.in_(lineage))):
        whole.add(*row, 1)
    return VersionCost(model, version, currency_of(connection, whole), whole.cost, len(attempt_ids))


def version_cost_by_step(connection: sa.Connection, model: str, version: str) -> dict[str, Cost]:
    """Return what the attempts that made a version cost, by step in the order in which they began; of none, nothing."""
    sums: dict[str, Sum] = {}
    query = (
        sa.select(ledger_entry.c.step, ledger_entry.c.amount, ledger_entry.c.currency, ledger_entry.c.kind)
        .join(version_lineage, version_lineage.c.attempt_id == ledger_entry.c.attempt_id)
        .where(version_lineage.c.model == model, version_lineage.c.version == version)
        .order_by(ledger_entry.c.charge_start, ledger_entry.c.step)
    )
    for step, amount, currency, kind in connection.execute(query):
        sums.setdefault(str(step), Sum()).add(amount, currency, kind, 1)
    return {step: part.cost for step, part in sums.items()}


def _costs(
    connection: sa.Connection,
    key: sa.ColumnElement[str | None],
    where: sa.ColumnElement[bool],
    wanted: Iterable[str],
) -> dict[str, Cost]:
    sums = {name: Sum() for name in wanted}
    query = sa.select(key, ledger_entry.c.amount, ledger_entry.c.currency, ledger_entry.c.kind).where(where)
    for name, amount, currency, kind in connection.execute(query):
        sums.setdefault(str(name), Sum()).add(amount, currency, kind, 1)
    return {name: part.cost for name, part in sums.items()}


def _attempt_cost(row: Mapping[Any, Any], whole: Sum, resources: Mapping[str, Sum]) -> AttemptCost:
    known = row[attempt.c.attempt_id] is not None
    index = row[step_run.c.map_index]
    cpu_reserved = row[attempt.c.reserved_cpu] * (row[attempt.c.wall_seconds] or 0.0) if known else 0.0
    return AttemptCost(
        attempt_id=row[ledger_entry.c.attempt_id],
        step=row[ledger_entry.c.step],
        map_index=None if index is None or index < 0 else index,
        number=row[attempt.c.number],
        outcome=row[ledger_entry.c.outcome],
        cost=whole.cost,
        resources={name: part.cost for name, part in resources.items()},
        cpu_efficiency=ratio(row[attempt.c.cpu_seconds], cpu_reserved),
        memory_efficiency=ratio(row[attempt.c.peak_memory_bytes], row[attempt.c.reserved_memory_bytes] or 0),
    )


def _attempt_document(one: AttemptCost) -> dict[str, Any]:
    return {
        "attempt_id": one.attempt_id,
        "map_index": one.map_index,
        "number": one.number,
        "outcome": one.outcome,
        **cost_document(one.cost, "amount"),
        "resources": [{"resource": name, **cost_document(cost, "amount")} for name, cost in one.resources.items()],
        "cpu_efficiency": one.cpu_efficiency,
        "memory_efficiency": one.memory_efficiency,
    }
