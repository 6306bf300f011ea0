"""Removes the bytes that nothing needs any more; `podium gc`.

First the database says that they are removed, in the transaction that finds that nothing needs them: from then on
nobody relies on them. Then the files go. A kill between the two leaves files that the next collection removes.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa

from podium import faults
from podium.clock import Clock
from podium.db.engine import Database
from podium.db.schema import artifact, attempt, output, run, step_run
from podium.execution import retention
from podium.execution.blobs import Blob, Blobs, Cleared
from podium.execution.retention import Facts

Item = TypeVar("Item")

_AT_ONCE = 200
"""How many artifacts are locked together: others wait for a few milliseconds."""

Named = Callable[[sa.Connection], Mapping[str, Collection[str]]]
"""What another part of the platform refers to for ever: digests, by the reason."""


@dataclass
class Collected:
    """What a collection removed, or would remove, and what it kept and why."""

    removed: list[Blob] = field(default_factory=list)
    unrecorded: list[Blob] = field(default_factory=list)
    """Files that no attempt which ended well has on record."""
    left_behind: Cleared = field(default_factory=lambda: Cleared(0, 0))
    kept: Counter[str] = field(default_factory=Counter)
    kept_bytes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Collector:
    """Collects what nothing needs; `named` are those who refer to artifacts beside runs."""

    database: Database
    blobs: Blobs
    clock: Clock
    retention: timedelta
    named: Collection[Named]

    def collect(self, *, dry_run: bool) -> Collected:
        """Remove what nothing needs and what crashes left; one collection at a time.

        In a dry run nothing is changed, and the answer says what would be.
        """
        with self.database.lock("gc"):
            now = self.clock.now()
            since, settled = now - self.retention, now - retention.SETTLING
            found = Collected()
            waste = self._judge(found, since)
            if not dry_run:
                waste = self._mark(waste, since, now)
            self._sweep(found, waste, settled, dry_run=dry_run)
            found.left_behind = self.blobs.clear(settled, dry_run=dry_run)
            return found

    def _judge(self, found: Collected, since: datetime) -> list[str]:
        """Count what is kept by its reason; return the digests that nothing needs, sorted."""
        waste = []
        with self.database.read() as connection:
            named = self._named(connection)
            for facts in _facts(connection):
                reason = retention.need(facts, named, since=since)
                if reason is None:
                    waste.append(facts.digest)
                else:
                    found.kept[reason] += 1
                    found.kept_bytes[reason] += facts.size_bytes
        return sorted(waste)

    def _mark(self, waste: Iterable[str], since: datetime, now: datetime) -> list[str]:
        """Mark what nothing needs as removed; return what was."""
        marked: list[str] = []
        for digests in _batches(waste):
            with self.database.write() as connection:
                # Who comes to need one of these locks it too (`outputs.kept`, `outputs.restore`): either it is on
                # record when the next statement looks, or it waits and finds the mark.
                connection.execute(
                    sa.select(artifact.c.digest)
                    .where(artifact.c.digest.in_(digests))
                    .order_by(artifact.c.digest)
                    .with_for_update(key_share=True)
                )
                named = self._named(connection)
                unneeded = [
                    facts.digest
                    for facts in _facts(connection, digests)
                    if retention.need(facts, named, since=since) is None
                ]
                connection.execute(artifact.update().where(artifact.c.digest.in_(unneeded)).values(removed_at=now))
            marked += unneeded
        return marked

    def _sweep(self, found: Collected, waste: Collection[str], settled: datetime, *, dry_run: bool) -> None:
        """Remove the files of what is marked, now or by a collection that was killed, and of what is not on record."""
        wasted = set(waste)
        for blobs in _batches(self.blobs.stored()):
            with self.database.read() as connection:
                known = _removed(connection, [blob.digest for blob in blobs])
            for blob in blobs:
                recorded = blob.digest in known
                gone = blob.digest in wasted or known.get(blob.digest, True)
                if not gone or blob.stored_at >= settled:
                    continue
                if not dry_run:
                    faults.reach("gc.before_delete")
                    if not self.blobs.delete(blob.digest, before=settled):
                        continue
                    faults.reach("gc.after_delete")
                (found.removed if recorded else found.unrecorded).append(blob)

    def _named(self, connection: sa.Connection) -> dict[str, str]:
        """Return what must stay whatever became of its runs, with the reason, by digest."""
        named = dict.fromkeys(_read_by_open_runs(connection), retention.IN_AN_OPEN_RUN)
        for ask in self.named:
            for reason, digests in ask(connection).items():
                named |= dict.fromkeys(digests, reason)
        return named


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while batch := list(islice(rest, _AT_ONCE)):
        yield batch


def _facts(connection: sa.Connection, digests: Collection[str] | None = None) -> Iterator[Facts]:
    """Yield the facts of what lies in files and is not removed: of everything, or of these digests."""
    is_open = sa.case((run.c.state.in_(("queued", "running")), 1), else_=0)
    query = (
        sa.select(
            artifact.c.digest,
            artifact.c.size_bytes,
            artifact.c.stored_at,
            sa.func.max(is_open).label("in_open_run"),
            sa.func.max(run.c.ended_at, type_=run.c.ended_at.type).label("last_run_ended_at"),
        )
        .outerjoin(output, output.c.digest == artifact.c.digest)
        .outerjoin(step_run, step_run.c.step_run_id == output.c.step_run_id)
        .outerjoin(run, run.c.run_id == step_run.c.run_id)
        .where(artifact.c.inline.is_(None), artifact.c.removed_at.is_(None))
        .group_by(artifact.c.digest, artifact.c.size_bytes, artifact.c.stored_at)
    )
    if digests is not None:
        query = query.where(artifact.c.digest.in_(digests))
    for row in connection.execute(query):
        yield Facts(row.digest, row.size_bytes, row.stored_at, bool(row.in_open_run), row.last_run_ended_at)


def _read_by_open_runs(connection: sa.Connection) -> set[str]:
    """Return the digests that attempts of open runs read, whoever made them."""
    reads: Iterable[Mapping[str, Any]] = connection.scalars(
        sa.select(attempt.c.reads)
        .join(step_run, step_run.c.step_run_id == attempt.c.step_run_id)
        .join(run, run.c.run_id == step_run.c.run_id)
        .where(run.c.state.in_(("queued", "running")), attempt.c.reads.is_not(None))
    )
    return {digest for read in reads for digest in read.values()}


def _removed(connection: sa.Connection, digests: Collection[str]) -> dict[str, bool]:
    """Return which artifacts on record are marked as removed, by digest."""
    rows = connection.execute(sa.select(artifact.c.digest, artifact.c.removed_at).where(artifact.c.digest.in_(digests)))
    return {row.digest: row.removed_at is not None for row in rows}
