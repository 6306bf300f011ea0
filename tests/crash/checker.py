"""What must be true once a run was killed, however often and wherever, and then run again to its end.

The checker knows nothing of what happened: it holds the databases against each other, against what they said at
each kill, and against a run that nobody disturbed.
"""

import fcntl
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from podium.db.schema import artifact, attempt, event, ledger_entry, model_version, output, run, step_run
from podium.finops.reconciliation import reconcile
from podium.registry import history
from podium.registry.entities import CHAMPION
from podium.wiring.project import Project

_ENDS = {"attempt.succeeded", "attempt.failed", "attempt.lost", "attempt.cancelled", "attempt.timed_out"}


@dataclass(frozen=True, order=True)
class Charge:
    """What a ledger entry is for."""

    step: str
    kind: str
    resource: str
    sku: str


@dataclass(frozen=True)
class EndedAttempt:
    """An attempt that had ended when somebody looked."""

    attempt_id: str
    step: str
    state: str
    ended_at: datetime


def ended_attempts(project: Project) -> frozenset[EndedAttempt]:
    """Return what had ended by now; a kill right after this look may lose none of it."""
    with project.database.read() as connection:
        return frozenset(
            EndedAttempt(row.attempt_id, row.step, row.state, row.ended_at)
            for row in _attempts(connection)
            if row.state != "running"
        )


def charges(connection: sa.Connection) -> dict[str, list[Charge]]:
    """Return what the ledger charges for, by attempt."""
    found: dict[str, list[Charge]] = {}
    for row in connection.execute(sa.select(ledger_entry)):
        found.setdefault(row.attempt_id, []).append(Charge(row.step, row.kind, row.resource, row.sku))
    return found


def problems(
    project: Project,
    *,
    undisturbed: Collection[Charge],
    registers: bool,
    before: Sequence[Collection[EndedAttempt]],
) -> list[str]:
    """Return all that is wrong with the one run of `project`, in words; nothing is what a test wants.

    `undisturbed` is what a run that nobody killed is charged for, `registers` says whether it makes a model version,
    `before` is what had ended at each kill.
    """
    with project.database.read() as connection:
        attempts = _attempts(connection)
        found = [
            *_of_run(connection),
            *_of_steps(connection, attempts),
            *_of_order(connection),
            *_of_what_had_ended(attempts, before),
            *_of_ledger(connection, attempts, undisturbed),
            *_of_artifacts(connection, project.settings.artifact_folder),
        ]
    if registers:
        found += _of_model(project)
    return [*found, *_of_locks(project.settings.home / "locks")]


def _attempts(connection: sa.Connection) -> list[sa.Row[Any]]:
    query = sa.select(attempt, step_run.c.name.label("step")).join(
        step_run, step_run.c.step_run_id == attempt.c.step_run_id
    )
    return list(connection.execute(query.order_by(step_run.c.position, attempt.c.number)))


def _of_run(connection: sa.Connection) -> Iterator[str]:
    runs = connection.execute(sa.select(run)).all()
    if [(row.state, row.open_steps) for row in runs] != [("succeeded", 0)]:
        yield f"one succeeded run expected, found {[(row.run_id, row.state, row.open_steps) for row in runs]}"


def _of_steps(connection: sa.Connection, attempts: Sequence[sa.Row[Any]]) -> Iterator[str]:
    produced = {row.step_run_id: row.attempt_id for row in connection.execute(sa.select(output))}
    for step in connection.execute(sa.select(step_run)):
        own = [row for row in attempts if row.step_run_id == step.step_run_id]
        succeeded = [row.attempt_id for row in own if row.state == "succeeded"]
        if step.state != "succeeded" or len(succeeded) != 1 or own[-1].attempt_id not in succeeded:
            yield f"{step.name} is {step.state} after attempts that {[row.state for row in own]}"
        elif produced.get(step.step_run_id, succeeded[0]) != succeeded[0]:
            yield f"{step.name} has an output of another attempt than the one that succeeded"
        if [row.number for row in own] != list(range(1, len(own) + 1)):
            yield f"{step.name} has attempts numbered {[row.number for row in own]}"


def _of_order(connection: sa.Connection) -> Iterator[str]:
    """At no time two attempts of a step ran: each started after the end of the one before."""
    running: dict[str, int] = {}
    for row in connection.execute(sa.select(event).order_by(event.c.event_id)):
        if row.kind == "attempt.started":
            if row.step in running:
                yield f"{row.step}: attempt {row.attempt} started while attempt {running[row.step]} ran"
            running[row.step] = row.attempt
        elif row.kind in _ENDS and running.pop(row.step, None) != row.attempt:
            yield f"{row.step}: attempt {row.attempt} ended without having started, or twice"
    for step, number in running.items():
        yield f"{step}: attempt {number} never ended"


def _of_what_had_ended(attempts: Sequence[sa.Row[Any]], before: Sequence[Collection[EndedAttempt]]) -> Iterator[str]:
    now = {row.attempt_id: EndedAttempt(row.attempt_id, row.step, row.state, row.ended_at) for row in attempts}
    for ended in {each for look in before for each in look}:
        if now.get(ended.attempt_id) != ended:
            yield f"an attempt had ended before a kill as {ended}, afterwards it is {now.get(ended.attempt_id)}"
    for look in before:
        known = {ended.attempt_id for ended in look}
        for ended in look:
            again = [row.number for row in attempts if row.step == ended.step and row.attempt_id not in known]
            if ended.state == "succeeded" and again:
                yield f"{ended.step} had succeeded before a kill and was run again, as attempts {again}"


def _of_ledger(
    connection: sa.Connection, attempts: Sequence[sa.Row[Any]], undisturbed: Collection[Charge]
) -> Iterator[str]:
    books = reconcile(connection)
    yield from (f"the books do not agree: {check}" for check in books.checks if not check.ok)
    charged = charges(connection)
    succeeded: list[Charge] = []
    for row in attempts:
        own = sorted(charged.pop(row.attempt_id, []))
        if row.state == "succeeded":
            succeeded += own
        elif own != sorted(charge for charge in undisturbed if charge.step == row.step):
            yield f"{row.step}: attempt {row.number}, {row.state}, is charged for {own}"
    if sorted(succeeded) != sorted(undisturbed):
        yield f"what succeeded is charged for {sorted(succeeded)}, undisturbed for {sorted(undisturbed)}"
    if charged:
        yield f"the ledger charges for attempts that do not exist: {charged}"
    yield from _of_unknowns(connection, {row.attempt_id: row for row in attempts})


def _of_unknowns(connection: sa.Connection, attempts: Mapping[str, sa.Row[Any]]) -> Iterator[str]:
    """What is not known is NULL and says so; what is known is neither NULL nor zero."""
    for row in attempts.values():
        unknown = row.cpu_seconds is None or row.peak_memory_bytes is None
        if row.state == "lost" and (row.meter_quality != "estimated" or row.cpu_seconds is not None):
            yield f"{row.step}: the use of lost attempt {row.number} is {row.meter_quality}, CPU {row.cpu_seconds}"
        if row.state == "succeeded" and (row.meter_quality != "measured" or unknown or not row.wall_seconds):
            yield f"{row.step}: the use of attempt {row.number}, which succeeded, is {row.meter_quality}"
        if (row.error is None) != (row.state == "succeeded" or row.state == "cancelled"):
            yield f"{row.step}: attempt {row.number}, {row.state}, has the error {row.error!r}"
    for entry in connection.execute(sa.select(ledger_entry)):
        row = attempts[entry.attempt_id]
        if (entry.outcome, entry.meter_quality) != (row.state, row.meter_quality):
            yield f"{row.step}: attempt {row.number}, {row.state}, is in the ledger as {entry.outcome}"
        if entry.amount is None or (entry.amount == 0) != (entry.quantity == 0):
            yield f"{row.step}: {entry.quantity} {entry.unit} of attempt {row.number} cost {entry.amount}"
        if row.state == "succeeded" and entry.quantity <= 0:
            yield f"{row.step}: attempt {row.number} succeeded with {entry.quantity} {entry.unit} of {entry.resource}"


def _of_artifacts(connection: sa.Connection, folder: Path) -> Iterator[str]:
    for row in connection.execute(sa.select(artifact).where(artifact.c.inline.is_(None))):
        place = folder / row.digest[:2] / row.digest
        if not place.is_file() or hashlib.sha256(place.read_bytes()).hexdigest() != row.digest:
            yield f"the artifact {row.digest} is missing or torn"


def _of_model(project: Project) -> Iterator[str]:
    with project.database.read() as connection:
        versions = connection.execute(sa.select(model_version)).all()
        if len(versions) != 1:
            yield f"one model version expected, on record are {[row.version for row in versions]}"
            return
        (version,) = versions
        verification = history.verify(connection, version.model)
        entries = history.entries(connection, version.model)
    registered = [found.version for found in project.registry.versions(version.model)]
    if registered != [version.version]:
        yield f"one version in MLflow expected, there are {registered}"
    applied = [entry.to_version for entry in entries if entry.state == "applied"]
    if applied != [version.version] or len(entries) != 1:
        told = [(entry.action, entry.state, entry.to_version) for entry in entries]
        yield f"one applied promotion expected, the history tells {told}"
    champion = project.registry.alias(version.model, CHAMPION)
    if [champion] != applied[-1:]:
        yield f"champion is {champion}, the history's last applied move is to {applied[-1:]}"
    if not verification.ok:
        yield f"the history is broken: {verification.problem}"
    project.registry.load_model(version.source, digest=version.digest)


def _of_locks(folder: Path) -> Iterator[str]:
    for path in folder.glob("*.lock"):
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield f"somebody holds the lock {path.name}"
