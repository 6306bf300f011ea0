"""Gathers what the doctor judges a model by: the record, the registry, the files of what serves or may serve again.

Nothing is locked or written. A model may have ten thousand versions: unless every one is asked for, only those that
have an alias, that were champion last, or that something open is about are looked at.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from podium.clock import Clock
from podium.db.engine import Database
from podium.db.schema import model_version, promotion
from podium.errors import ArtifactError, ConfigurationError, NotFound, Refused, ServiceUnavailable
from podium.registry import history, store
from podium.registry.doctor import CanaryFacts, ModelFacts, VersionFacts
from podium.registry.entities import CHALLENGER, CHAMPION, HistoryEntry, ModelVersion, Promotion
from podium.registry.port import ModelRegistry
from podium.registry.timeline import live_now
from podium.registry.transitions import champions
from podium.registry.verification import Verification, verify

Loads = Callable[[str, ModelVersion | None], object]
"""Raises ArtifactError or Refused unless the model at a source loads, as the version on record.

One without a record is scanned, not loaded: nobody knows whether its bytes are those that somebody meant.
"""
OpenCanary = Callable[[sa.Connection, str], CanaryFacts | None]
"""Returns the open canary of a model."""


@dataclass(frozen=True)
class _Record:
    """What Podium's own database has of a model."""

    entries: list[HistoryEntry]
    verification: Verification
    promotion: Promotion | None
    canary: CanaryFacts | None
    versions: tuple[str, ...]


@dataclass(frozen=True)
class Examiner:
    """Gathers the facts of models, with the last `keep` champions of each; `say` is told of what takes a while."""

    database: Database
    registry: ModelRegistry
    clock: Clock
    keep: int
    loads: Loads
    canary_of: OpenCanary
    say: Callable[[str], None]

    def gather(self, model: str, *, every: bool = False, unanswered: str | None = None) -> ModelFacts:
        """Return what is known of a model; with `unanswered`, why not to ask the registry, from the record alone."""
        record = self._record(model, every=every)
        facts: dict[str, Any] = {
            "model": model,
            "now": self.clock.now(),
            "history": record.entries,
            "verification": record.verification,
            "promotion": record.promotion,
            "canary": record.canary,
        }
        if unanswered is None:
            try:
                return ModelFacts(**facts, **self._asked(model, record, every=every))
            except (ServiceUnavailable, ConfigurationError) as error:
                unanswered = str(error)
        return ModelFacts(**facts, unanswered=unanswered)

    def _record(self, model: str, *, every: bool) -> _Record:
        with self.database.read() as connection:
            return _Record(
                entries=history.entries(connection, model),
                verification=verify(connection, model),
                promotion=_open_promotion(connection, model),
                canary=self.canary_of(connection, model),
                versions=_versions_on_record(connection, model) if every else (),
            )

    def _asked(self, model: str, record: _Record, *, every: bool) -> dict[str, Any]:
        champion, challenger = (self.registry.alias(model, alias) for alias in (CHAMPION, CHALLENGER))
        names: Iterable[str | None] = (champion, challenger, *self._of_interest(record))
        if every:
            names = (*names, *record.versions, *(each.version for each in self.registry.versions(model)))
        wanted = [version for version in dict.fromkeys(names) if version is not None]
        versions = {}
        for number, version in enumerate(wanted, start=1):
            self.say(f"{model}: version {version} ({number} of {len(wanted)})")
            versions[version] = self._version(model, version, leads=version in (champion, challenger))
        return {"champion": champion, "challenger": challenger, "versions": versions}

    def _of_interest(self, record: _Record) -> Iterable[str | None]:
        served = list(dict.fromkeys(reversed(champions(record.entries))))
        yield live_now(record.entries)
        yield from served[: self.keep + 1]  # the present one is among them
        yield None if record.promotion is None else record.promotion.to_version
        yield None if record.canary is None else record.canary.challenger

    def _version(self, model: str, version: str, *, leads: bool) -> VersionFacts:
        with self.database.read() as connection:
            on_record = store.find_version(connection, model, version)
        try:
            source = self.registry.get_version(model, version).source
            removals = tuple(self.registry.removals(model, version))
        except NotFound:
            return VersionFacts(version, on_record, is_registered=False)
        facts = VersionFacts(version, on_record, is_registered=True, removals=removals)
        files = self._files(source, on_record)
        if files is not None:
            return replace(facts, files=files)
        return self._tried(source, facts) if leads or on_record is not None else facts

    def _files(self, source: str, on_record: ModelVersion | None) -> str | None:
        try:
            if on_record is None:
                self.registry.digest_of(source)  # of files that nobody has the digest of, that there are some
            else:
                self.registry.check_files(source, digest=on_record.digest)
        except (ArtifactError, ServiceUnavailable) as error:  # a store that has them may be another than the registry
            return str(error)
        return None

    def _tried(self, source: str, facts: VersionFacts) -> VersionFacts:
        try:
            self.loads(source, facts.on_record)
        except Refused as error:
            return replace(facts, distrust=str(error))
        except (ArtifactError, ServiceUnavailable) as error:
            # Of one without a record that says that there is nothing to scan, as in a model of another flavor.
            return facts if facts.on_record is None else replace(facts, load=str(error))
        return facts


def _open_promotion(connection: sa.Connection, model: str) -> Promotion | None:
    row = (
        connection.execute(sa.select(promotion).where(promotion.c.model == model, promotion.c.ended_at.is_(None)))
        .mappings()
        .first()
    )
    return None if row is None else Promotion(**{**row, "reasons": tuple(row["reasons"])})


def _versions_on_record(connection: sa.Connection, model: str) -> tuple[str, ...]:
    of_model = sa.select(model_version.c.version).where(model_version.c.model == model)
    order = (model_version.c.registered_at, model_version.c.version)
    return tuple(connection.scalars(of_model.order_by(*order)))
