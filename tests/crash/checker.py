"""What must be true once a run was killed, however often and wherever, and then run again to its end.

What is true of every database at every moment is checked by what ships as `podium db check`. Here is what needs more: a
run that nobody disturbed, and what had ended at each kill.
"""

import fcntl
import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from podium.db.schema import attempt, event, ledger_entry, run, run_rollup, step_run
from podium.execution.items import item_name
from podium.finops.money import total
from podium.wiring.checks import violations
from podium.wiring.project import Project
from tests.crash import model_checker
from tests.crash.model_checker import ModelRecord

_RUN_ENDS = ("run.succeeded", "run.failed", "run.cancelled")


@dataclass(frozen=True, order=True)
class Charge:
    """What a ledger entry is for."""

    step: str
    kind: str
    resource: str
    sku: str


@dataclass(frozen=True)
class Record:
    """What is on record of a project, without the names and times in which two of the same story differ."""

    runs: int
    charges: tuple[Charge, ...]
    models: ModelRecord


@dataclass(frozen=True)
class EndedAttempt:
    """An attempt that had ended when somebody looked; `step` is `added[2]` for an item of a mapped step."""

    attempt_id: str
    step_run_id: str
    step: str
    state: str
    ended_at: datetime


def ended_attempts(project: Project) -> frozenset[EndedAttempt]:
    """Return what had ended by now; a kill right after this look may lose none of it."""
    with project.database.read() as connection:
        return frozenset(_ended(row) for row in _attempts(connection) if row.state != "running")


def record(project: Project) -> Record:
    """Return what is on record of a project whose runs have ended."""
    with project.database.read() as connection:
        return Record(
            runs=connection.scalar(sa.select(sa.func.count()).select_from(run)) or 0,
            charges=tuple(sorted(itertools.chain.from_iterable(_charges(connection).values()))),
            models=model_checker.record(connection),
        )


def _charges(connection: sa.Connection) -> dict[str, list[Charge]]:
    """Return what the ledger charges for, by attempt."""
    found: dict[str, list[Charge]] = {}
    for row in connection.execute(sa.select(ledger_entry)):
        found.setdefault(row.attempt_id, []).append(Charge(row.step, row.kind, row.resource, row.sku))
    return found


def problems(
    project: Project,
    *,
    undisturbed: Record,
    before: Sequence[Collection[EndedAttempt]],
) -> list[str]:
    """Return all that is wrong with the runs of `project`, in words; nothing is what a test wants.

    `undisturbed` is what comes of the same runs when nobody kills them, `before` is what had ended at each kill.
    """
    with project.database.read() as connection:
        attempts = _attempts(connection)
        found = [
            *_of_runs(connection, undisturbed.runs),
            *_of_steps(connection, attempts),
            *_of_what_had_ended(attempts, before),
            *_of_ledger(connection, attempts, undisturbed.charges),
            *_of_rollups(connection),
        ]
    found += map(str, violations(project, deep=True))
    found += model_checker.problems(project, undisturbed.models)
    return [*found, *_of_locks(project.settings.home / "locks")]


def _attempts(connection: sa.Connection) -> list[sa.Row[Any]]:
    query = sa.select(attempt, step_run.c.name.label("step"), step_run.c.map_index).join(
        step_run, step_run.c.step_run_id == attempt.c.step_run_id
    )
    order = step_run.c.run_id, step_run.c.position, step_run.c.map_index, attempt.c.number
    return list(connection.execute(query.order_by(*order)))


def _ended(row: sa.Row[Any]) -> EndedAttempt:
    return EndedAttempt(row.attempt_id, row.step_run_id, _name(row), row.state, row.ended_at)


def _name(row: sa.Row[Any]) -> str:
    return item_name(row.step, row.map_index)


def _of_runs(connection: sa.Connection, expected: int) -> Iterator[str]:
    runs = connection.execute(sa.select(run)).all()
    if [(row.state, row.open_steps) for row in runs] != [("succeeded", 0)] * expected:
        told = [(row.run_id, row.state, row.open_steps) for row in runs]
        yield f"succeeded runs expected: {expected}, found {told}"


def _of_steps(connection: sa.Connection, attempts: Sequence[sa.Row[Any]]) -> Iterator[str]:
    """Every step succeeded in the end, and no attempt tells less than it should."""
    for row in connection.execute(sa.select(step_run).where(step_run.c.state != "succeeded")):
        yield f"{item_name(row.name, row.map_index)} is {row.state}"
    for row in attempts:
        if row.state == "succeeded" and (row.meter_quality != "measured" or not row.wall_seconds):
            yield f"{_name(row)}: the use of attempt {row.number}, which succeeded, is {row.meter_quality}"


def _of_what_had_ended(attempts: Sequence[sa.Row[Any]], before: Sequence[Collection[EndedAttempt]]) -> Iterator[str]:
    now = {row.attempt_id: _ended(row) for row in attempts}
    for ended in {each for look in before for each in look}:
        if now.get(ended.attempt_id) != ended:
            yield f"an attempt had ended before a kill as {ended}, afterwards it is {now.get(ended.attempt_id)}"
    for look in before:
        known = {ended.attempt_id for ended in look}
        for ended in look:
            own = [row for row in attempts if row.step_run_id == ended.step_run_id]
            again = [row.number for row in own if row.attempt_id not in known]
            if ended.state == "succeeded" and again:
                yield f"{ended.step} had succeeded before a kill and was run again, as attempts {again}"


def _of_ledger(
    connection: sa.Connection, attempts: Sequence[sa.Row[Any]], undisturbed: Collection[Charge]
) -> Iterator[str]:
    charged = _charges(connection)
    succeeded: list[Charge] = []
    for row in attempts:
        own = sorted(charged.pop(row.attempt_id, []))
        if row.state == "succeeded":
            succeeded += own
        elif own != sorted({charge for charge in undisturbed if charge.step == row.step}):
            yield f"{_name(row)}: attempt {row.number}, {row.state}, is charged for {own}"
    if sorted(succeeded) != sorted(undisturbed):
        yield f"what succeeded is charged for {sorted(succeeded)}, undisturbed for {sorted(undisturbed)}"


def _of_rollups(connection: sa.Connection) -> Iterator[str]:
    """Every end of a run is counted once, and the runs' money is the ledger's."""
    ends, amounts = Counter[str](), []
    for row in connection.execute(sa.select(run_rollup)):
        ends[row.outcome if row.outcome in ("failed", "cancelled") else "succeeded"] += row.ends
        amounts.append(row.amount)
    kinds = connection.scalars(sa.select(event.c.kind).where(event.c.kind.in_(_RUN_ENDS)))
    told = Counter(kind.removeprefix("run.") for kind in kinds)
    if ends != told:
        yield f"the runs ended as {dict(told)}, counted are {dict(ends)}"
    charged = connection.scalars(sa.select(ledger_entry.c.amount)).all()
    if total(amounts) != total(charged):
        yield f"the runs' rollups add up to {total(amounts)}, the ledger to {total(charged)}"


def _of_locks(folder: Path) -> Iterator[str]:
    for path in folder.glob("*.lock"):
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield f"somebody holds the lock {path.name}"
