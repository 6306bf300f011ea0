"""What the tests of `podium gc` share: a store of files, runs whose steps make them, and clocks that agree."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from podium.db.engine import Database
from podium.db.schema import artifact
from podium.execution import queries
from podium.execution.artifacts import Artifact, ArtifactStore
from podium.execution.blob_folder import FolderBlobs
from podium.execution.claims import Claim
from podium.execution.codecs import Codecs
from podium.execution.collection import Collected, Collector
from podium.execution.entities import AttemptEnd, Run
from podium.execution.verified import Verified
from tests.execution_world import USED, HandWorker

RETENTION = timedelta(days=90)


@dataclass
class CollectionWorld:
    """Runs by hand whose outputs lie in files; `named` is what others refer to, by the reason."""

    hand: HandWorker
    folder: Path
    named: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.blobs = FolderBlobs(self.folder / "files", Verified(self.folder / "verified"))
        self.artifacts = ArtifactStore(self.blobs, Codecs(()))
        self.hand.worker("w")

    @property
    def database(self) -> Database:
        return self.hand.database

    def store(self, text: str) -> Artifact:
        """Store a value too large for its row, as old as the clock says now."""
        made = self.artifacts.put(text * 5000)
        at = self.hand.clock.now().timestamp()
        os.utime(self.path(made.digest), (at, at))
        return made

    def path(self, digest: str) -> Path:
        return self.folder / "files" / digest[:2] / digest

    def end(self, claim: Claim, *made: Artifact, fails: bool = False) -> None:
        """End a claimed attempt with these outputs."""
        if fails:
            self.hand.end(claim, "failed")
            return
        with self.database.write() as connection:
            row = queries.running_attempt(connection, claim.attempt_id)
            assert row is not None
            names = self.hand.plan(connection, self.run_of(claim)).step(claim.step).outputs
            ended = AttemptEnd("succeeded", USED, dict(zip(names, made, strict=True)), None)
            self.hand.progress.end(connection, row, self.hand.plan(connection, self.run_of(claim)), ended, self.now())

    def run_of(self, claim: Claim) -> Run:
        with self.database.read() as connection:
            return queries.get_run(connection, claim.run_id)

    def now(self) -> datetime:
        return self.hand.clock.now()

    def later(self, days: float) -> None:
        """Let days pass."""
        self.hand.clock.advance(days * 86_400)

    def collector(self) -> Collector:
        def named(_: sa.Connection) -> Mapping[str, Collection[str]]:
            return self.named

        return Collector(self.database, self.blobs, self.hand.clock, RETENTION, named=(named,))

    def collect(self, *, dry_run: bool = False) -> Collected:
        return self.collector().collect(dry_run=dry_run)

    def files(self) -> set[str]:
        """The digests whose bytes are there."""
        return {blob.digest for blob in self.blobs.stored()}

    def removed(self) -> set[str]:
        """The digests that are marked as removed."""
        with self.database.read() as connection:
            return set(connection.scalars(sa.select(artifact.c.digest).where(artifact.c.removed_at.is_not(None))))
