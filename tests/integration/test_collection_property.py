"""Whatever runs, versions, history and canaries there are, all that nothing needs is removed, and nothing else."""

import hashlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podium.canary import store as canaries
from podium.clock import FakeClock
from podium.db import migrate
from podium.db.engine import Database
from podium.db.schema import (
    artifact,
    attempt,
    canary,
    evidence,
    model_version,
    output,
    plan,
    promotion,
    promotion_history,
    run,
    step_run,
    worker,
)
from podium.db.schema.columns import Instant
from podium.execution.blob_folder import FolderBlobs
from podium.execution.collection import Collector
from podium.execution.verified import Verified
from podium.registry import store as registry

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
ARTIFACTS = 6
DATA = [f"artifact {n}".encode() for n in range(ARTIFACTS)]
DIGESTS = [hashlib.sha256(data).hexdigest() for data in DATA]
AGES = st.floats(0.0, 200.0)

some = st.sets(st.integers(0, ARTIFACTS - 1), max_size=3)
one = st.integers(0, ARTIFACTS - 1)


@dataclass(frozen=True)
class ARun:
    """A run: its state, how many days ago it ended, what its steps made and what an attempt of it read."""

    state: str
    ended_days_ago: float
    made: set[int]
    read: set[int]


@dataclass(frozen=True)
class Judgement:
    """Evidence, and what refers to it: a version with its data, a promotion, the history, or nothing."""

    candidate: int
    holdout: int
    data: int
    referred_to_by: str


@dataclass(frozen=True)
class World:
    """All that a collection may find."""

    stored_days_ago: list[float]
    written_days_ago: list[float]
    marked: set[int]
    runs: list[ARun]
    judgements: list[Judgement]
    replayed: set[int]


worlds = st.builds(
    World,
    st.lists(AGES, min_size=ARTIFACTS, max_size=ARTIFACTS),
    st.lists(AGES, min_size=ARTIFACTS, max_size=ARTIFACTS),
    some,
    st.lists(
        st.builds(ARun, st.sampled_from(["queued", "running", "succeeded", "failed", "cancelled"]), AGES, some, some),
        max_size=4,
    ),
    st.lists(
        st.builds(Judgement, one, one, one, st.sampled_from(["version", "promotion", "history", "nothing"])), max_size=2
    ),
    some,
)


def needed(world: World) -> set[int]:
    """What must stay, written down once more without the code."""
    stays = {n for n, days in enumerate(world.stored_days_ago) if days <= 90}
    for each in world.runs:
        if each.state in ("queued", "running"):
            stays |= each.made | each.read
        elif each.ended_days_ago <= 90:
            stays |= each.made
    for judgement in world.judgements:
        if judgement.referred_to_by != "nothing":
            stays |= {judgement.candidate, judgement.holdout}
        if judgement.referred_to_by == "version":
            stays.add(judgement.data)
    return stays | world.replayed


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Path]]:
    folder = tmp_path_factory.mktemp("collection")
    database = Database(f"sqlite:///{folder / 'podium.db'}", folder / "locks")
    migrate.ensure(database)
    yield database, folder
    database.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds)
def test_all_that_nothing_needs_goes_and_nothing_else(place: tuple[Database, Path], world: World) -> None:
    database, folder = place
    blobs = FolderBlobs(folder / "files", Verified(folder / "verified"))
    with database.write() as connection:
        empty(connection)
        fill(connection, world)
        rows = connection.execute(sa.select(sa.func.count()).select_from(artifact)).scalar_one()
    for data, digest, days in zip(DATA, DIGESTS, world.written_days_ago, strict=True):
        path = folder / "files" / digest[:2] / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        at = (NOW - timedelta(days=days)).timestamp()
        os.utime(path, (at, at))
    named = (registry.needed_digests, canaries.needed_digests)
    collector = Collector(database, blobs, FakeClock(NOW), timedelta(days=90), named=named)
    foretold = {blob.digest for blob in collector.collect(dry_run=True).removed}
    collector.collect(dry_run=False)

    left = {blob.digest for blob in blobs.stored()}
    # What was marked before is no longer relied on by anybody: who would, stores it again first.
    stays = {DIGESTS[n] for n in needed(world) - world.marked}
    young = {DIGESTS[n] for n, days in enumerate(world.written_days_ago) if days <= 1}
    assert left == stays | young
    assert foretold == set(DIGESTS) - left
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(artifact)).scalar_one() == rows
        marks = set(connection.scalars(sa.select(artifact.c.digest).where(artifact.c.removed_at.is_not(None))))
    assert not marks & stays


def empty(connection: sa.Connection) -> None:
    for table in (canary, promotion_history, promotion, model_version, evidence, output, attempt, step_run, run, plan):
        connection.execute(table.delete())
    for table in (worker, artifact):
        connection.execute(table.delete())


def fill(connection: sa.Connection, world: World) -> None:
    for n, (digest, days) in enumerate(zip(DIGESTS, world.stored_days_ago, strict=True)):
        marked = NOW - timedelta(days=1) if n in world.marked else None
        add(
            connection,
            artifact,
            digest=digest,
            codec="arrow",
            size_bytes=len(DATA[n]),
            stored_at=NOW - timedelta(days=days),
            removed_at=marked,
        )
    add(connection, plan, digest="p", pipeline="flow", file="f", code_digest="c", document={}, stored_at=NOW)
    add(connection, worker, worker_id="w", host="h", process_id=1, lock_path="l", started_at=NOW)
    for number, each in enumerate(world.runs):
        add_run(connection, number, each)
    for judgement in world.judgements:
        add_judgement(connection, judgement)
    for n in world.replayed:
        add(
            connection,
            canary,
            canary_id=f"canary {n}",
            step_key=f"key {n}",
            traffic="replay",
            traffic_digest=DIGESTS[n],
            state="aborted",
            ended_at=NOW,
        )


def add_run(connection: sa.Connection, number: int, each: ARun) -> None:
    is_open = each.state in ("queued", "running")
    at = NOW - timedelta(days=each.ended_days_ago)
    add(
        connection,
        run,
        run_id=f"run {number}",
        pipeline=f"flow {number}",
        plan_digest="p",
        interval_start=NOW,
        interval_end=NOW + timedelta(days=1),
        trigger="person",
        idempotency_key=f"key {number}",
        state=each.state,
        outcome="none" if each.state == "succeeded" else None,
        open_steps=0,
        ended_at=None if is_open else at,
    )
    add(
        connection,
        step_run,
        step_run_id=f"step {number}",
        run_id=f"run {number}",
        name="make",
        map_index=-1,
        state="succeeded",
        ended_at=at,
    )
    add(
        connection,
        attempt,
        attempt_id=f"attempt {number}",
        step_run_id=f"step {number}",
        number=1,
        state="succeeded",
        worker_id="w",
        ended_at=at,
        wall_seconds=1.0,
        reads={f"p{n}": DIGESTS[n] for n in each.read},
    )
    for n in each.made:
        add(
            connection,
            output,
            step_run_id=f"step {number}",
            name=f"o{n}",
            digest=DIGESTS[n],
            attempt_id=f"attempt {number}",
        )


_numbers = itertools.count()


def add_judgement(connection: sa.Connection, each: Judgement) -> None:
    number = next(_numbers)
    digest = f"evidence {number}"
    add(
        connection,
        evidence,
        digest=digest,
        candidate_digest=DIGESTS[each.candidate],
        holdout_digest=DIGESTS[each.holdout],
        verdict="passed",
        step_key=f"key {number}",
    )
    if each.referred_to_by == "version":
        add(
            connection,
            model_version,
            version=str(number),
            evidence_digest=digest,
            data_digest=DIGESTS[each.data],
            code_digest="x",
            run_id="x",
            interval_start=NOW,
            interval_end=NOW,
            step_key=f"key {number}",
        )
    if each.referred_to_by == "promotion":
        add(
            connection,
            promotion,
            promotion_id=f"promotion {number}",
            action="promote",
            state="refused",
            evidence_digest=digest,
            idempotency_key=f"key {number}",
            ended_at=NOW,
        )
    if each.referred_to_by == "history":
        add(connection, promotion_history, id=number + 1, action="promote", state="refused", evidence_digest=digest)


def add(connection: sa.Connection, table: sa.Table, **values: Any) -> None:
    """Insert a row; what is not given and must be there is something."""
    for column in table.columns:
        if column.name not in values and not column.nullable and column.server_default is None:
            values[column.name] = something(column.type)
    connection.execute(table.insert().values(**values))


def something(kind: Any) -> Any:
    if isinstance(kind, Instant):
        return NOW
    if isinstance(kind, sa.JSON):
        return {}
    if isinstance(kind, sa.Boolean):
        return False
    return "x" if isinstance(kind, sa.String) else 1
