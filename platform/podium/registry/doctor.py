"""What is wrong with a model, and the command that repairs it: facts in, findings out; pure.

Facts that nobody could get are no findings about the model: that the registry does not answer is one of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from podium.registry import watching
from podium.registry.entities import (
    CHALLENGER,
    CHAMPION,
    HistoryEntry,
    ModelVersion,
    Promotion,
    Removal,
    instant_text,
)
from podium.registry.timeline import LIVE, live_now
from podium.registry.transitions import blocked_versions, champions
from podium.registry.verification import Verification

STUCK_AFTER = timedelta(minutes=5)
"""A move of an alias takes seconds; one begun so long ago was left by a process that died."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: which check found it, on what of which model, and what to do, in words with commands."""

    check: str
    model: str | None
    object: str
    problem: str
    repair: str

    def to_document(self) -> dict[str, Any]:
        """Return it in the interface's JSON."""
        return asdict(self)

    def __str__(self) -> str:
        about = self.object if self.model is None else f"{self.model}, {self.object}"
        return f"{about}: {self.problem}. {self.repair}"


@dataclass(frozen=True)
class VersionFacts:
    """What there is of a version: on Podium's record, in the registry, and what was seen of its files.

    `files`, `load` and `distrust` (why the project lets it not be loaded) say what is wrong; None where nothing is, or
    nobody looked.
    """

    version: str
    on_record: ModelVersion | None
    is_registered: bool
    files: str | None = None
    load: str | None = None
    distrust: str | None = None
    removals: tuple[Removal, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether nothing keeps it from being champion again, as far as anybody looked."""
        wrong = (self.files, self.load, self.distrust)
        return self.is_registered and self.on_record is not None and not any(wrong)


@dataclass(frozen=True)
class CanaryFacts:
    """A model's open canary; `has_begun` once its alias was set, `run_is_open` while somebody may go on with it."""

    challenger: str
    run_id: str
    has_begun: bool
    run_is_open: bool


@dataclass(frozen=True)
class ModelFacts:
    """All that was gathered of a model; `versions` are those that were looked at.

    With `unanswered`, why the registry could not be asked, it holds what is on record alone.
    """

    model: str
    now: datetime
    history: Sequence[HistoryEntry]
    verification: Verification
    unanswered: str | None = None
    champion: str | None = None
    challenger: str | None = None
    versions: Mapping[str, VersionFacts] = field(default_factory=dict)
    promotion: Promotion | None = None
    canary: CanaryFacts | None = None


def examine(facts: ModelFacts) -> list[Finding]:
    """Return what is wrong with a model, what serves first."""
    found = [*_history(facts)]
    if facts.unanswered is None:
        found += [*_champion(facts), *_challenger(facts)]
        for version in facts.versions.values():
            found += _version(facts, version)
    return [*found, *_promotion(facts), *_canary(facts)]


def _history(facts: ModelFacts) -> Iterator[Finding]:
    told = facts.verification
    if told.ok:
        return
    where = f"entry {told.first_bad} of its history" if told.first_bad else "its history"
    yield Finding(
        "history",
        facts.model,
        where,
        _clause(told.problem or "the chain of hashes is broken"),
        "Nobody changes that but Podium: restore the database from a backup, and compare "
        f"`podium models history {facts.model} --json` of both.",
    )


def _champion(facts: ModelFacts) -> Iterator[Finding]:
    """Compare the alias with the history; a version that is gone or was never recorded is told besides."""
    model, found, recorded = facts.model, facts.champion, live_now(facts.history)
    of_found = None if found is None else facts.versions.get(found)
    if found is not None and of_found is not None and not of_found.is_registered:
        yield Finding(
            "alias",
            model,
            f"alias {CHAMPION}",
            f"it points at version {found}, which the registry does not have",
            _other_champion(facts, besides=found),
        )
    elif found is not None and of_found is not None and of_found.on_record is None:
        yield Finding(
            "champion",
            model,
            f"version {found}",
            "it is champion, and Podium has no record of it: nobody knows its digest, and what it was judged on",
            _accept_or_undo(facts, found),
        )
    if found != recorded:
        since = "" if recorded is None else f" since {instant_text(_live_entry(facts.history).at)}"
        yield Finding(
            "champion",
            model,
            f"alias {CHAMPION}",
            f"it is at {_named(found)} in the registry, and by the history at {_named(recorded)}{since}: somebody "
            "moved it outside Podium, and no guard has noticed yet (`podium scheduler` has one)",
            _accept_or_undo(facts, found),
        )
        return
    noticed = watching.unaccepted(facts.history)
    if noticed is not None:
        yield Finding(
            "champion",
            model,
            f"alias {CHAMPION}",
            f"somebody moved it from {_named(noticed.from_version)} to {_named(noticed.to_version)} outside Podium "
            f"(noticed at {instant_text(noticed.at)}, entry {noticed.id}), and nobody accepted that",
            _accept_or_undo(facts, found),
        )


def _challenger(facts: ModelFacts) -> Iterator[Finding]:
    """Outside an open canary nothing of Podium points `challenger` at a version, or reads it."""
    found, canary, model = facts.challenger, facts.canary, facts.model
    of_found = None if found is None else facts.versions.get(found)
    if found is not None and of_found is not None and not of_found.is_registered:
        problem = f"it points at version {found}, which the registry does not have"
        yield Finding("alias", model, f"alias {CHALLENGER}", problem, _without_challenger(facts))
    elif found is not None and canary is None:
        problem = f"it points at version {found}, and no canary of the model is open: somebody set it outside Podium"
        yield Finding("alias", model, f"alias {CHALLENGER}", problem, _without_challenger(facts))
    elif canary is not None and canary.has_begun and found != canary.challenger:
        yield Finding(
            "canary",
            model,
            f"alias {CHALLENGER}",
            f"it is at {_named(found)}, and the open canary tries version {canary.challenger}",
            f"`podium runs resume {canary.run_id} --reason …` sets it again where that run has stopped, and "
            f"`podium canary abort {model} --reason …` gives the canary up.",
        )


def _version(facts: ModelFacts, version: VersionFacts) -> Iterator[Finding]:
    model, name = facts.model, f"version {version.version}"
    serves = facts.champion == version.version or live_now(facts.history) == version.version
    again = _made_again(version)
    remedy = _other_champion(facts, besides=version.version) if serves else again
    if not version.is_registered:
        # Of an alias that points nowhere `_champion` has told.
        if version.on_record is not None and facts.champion != version.version:
            problem = "it is on Podium's record, and the registry does not have it any more"
            yield Finding("version", model, name, problem, f"Restore MLflow's database from a backup, or: {remedy}")
        return
    if version.files is not None:
        problem = _clause(version.files)
        repair = f"Restore {_source(version)} from a backup, or: {remedy}"
        yield Finding("files", model, name, problem, repair)
    elif wrong := version.load or version.distrust:
        yield Finding("loads", model, name, _clause(wrong), f"Mend what that says, or: {remedy}")
    for removal in version.removals:
        lost = f"Let nobody run `mlflow gc` before another version serves: {remedy}" if serves else again
        yield Finding("deleted", model, name, _clause(removal.problem), removal.repair or lost)


def _promotion(facts: ModelFacts) -> Iterator[Finding]:
    promotion, model = facts.promotion, facts.model
    if promotion is None:
        return
    begun = instant_text(promotion.proposed_at)
    of = f"promotion {promotion.promotion_id}"
    if promotion.state == "applying" and promotion.proposed_at <= facts.now - STUCK_AFTER:
        yield Finding(
            "promotion",
            model,
            of,
            f"its move of {CHAMPION} to version {promotion.to_version} was begun at {begun} and never ended: its "
            "process died",
            f"`podium promote {model} --version {promotion.to_version} --reason …` completes it first, as every other "
            "act on the model does, and `podium scheduler` by itself.",
        )
    elif promotion.expires_at is not None and promotion.expires_at <= facts.now and promotion.state != "applying":
        yield Finding(
            "promotion",
            model,
            of,
            f"it awaits approval since {begun}, and has expired at {instant_text(promotion.expires_at)}",
            f"`podium reject {promotion.promotion_id} --reason …` ends it; `podium scheduler` does by itself.",
        )


def _canary(facts: ModelFacts) -> Iterator[Finding]:
    canary = facts.canary
    if canary is None or canary.run_is_open:
        return
    yield Finding(
        "canary",
        facts.model,
        f"the canary of version {canary.challenger}",
        f"it is open, and its run {canary.run_id} has ended: nobody looks at its evidence",
        f"`podium canary abort {facts.model} --reason …` ends it, and `podium runs resume {canary.run_id} --reason …` "
        "goes on with it.",
    )


def _accept_or_undo(facts: ModelFacts, found: str | None) -> str:
    """Say how a foreign move is undone, and how it is accepted where there is something to accept."""
    model, accepted = facts.model, watching.last_accepted(facts.history)
    of_found = None if found is None else facts.versions.get(found)
    may_be_accepted = found is not None and (of_found is None or of_found.distrust is None)
    accept = f"`podium models adopt {model} --reason …` accepts it."
    target = None if accepted is None else accepted.to_version
    if target is None or target == found:
        return accept if may_be_accepted else _other_champion(facts, besides=found)
    if not _may_serve(facts, target):
        return _other_champion(facts, besides=target) + (f" {accept}" if may_be_accepted else "")
    undo = f"`podium rollback {model} --to {target} --reason …` undoes it"
    return f"{undo}, and {accept}" if may_be_accepted else f"{undo}."


def _other_champion(facts: ModelFacts, *, besides: str | None) -> str:
    """Name the most recent champion that may serve instead."""
    model, blocked = facts.model, blocked_versions(facts.history)
    for version in dict.fromkeys(reversed(champions(facts.history))):
        if version not in (besides, facts.champion) and version not in blocked and _may_serve(facts, version):
            return f"`podium rollback {model} --to {version} --reason …` makes version {version} champion."
    of_besides = None if besides is None else facts.versions.get(besides)
    made = "" if of_besides is None else f" {_made_again(of_besides)}"
    return f"No former champion of {model} can take over; make and promote another version.{made}"


def _may_serve(facts: ModelFacts, version: str) -> bool:
    """Return whether nothing is known against a version; what nobody looked at is checked by the rollback itself."""
    looked_at = facts.versions.get(version)
    return looked_at is None or looked_at.is_sound


def _made_again(version: VersionFacts) -> str:
    run_id = None if version.on_record is None else version.on_record.run_id
    if run_id is None:
        return "Register it again with what made it: Podium does not know that."
    return f"`podium runs rerun {run_id} --reason …` makes it again, as a new version."


def _without_challenger(facts: ModelFacts) -> str:
    model = facts.model
    if facts.canary is not None:
        return f"`podium canary abort {model} --reason …` ends the open canary."
    code = f"import mlflow; mlflow.MlflowClient().delete_registered_model_alias({model!r}, {CHALLENGER!r})"
    return f'`python -c "{code}"`, with MLFLOW_TRACKING_URI set, removes it.'


def _source(version: VersionFacts) -> str:
    return "its files" if version.on_record is None else version.on_record.source


def _live_entry(history: Sequence[HistoryEntry]) -> HistoryEntry:
    return next(entry for entry in reversed(history) if entry.state in LIVE)


def _clause(text: str) -> str:
    """Return a sentence without its full stop, to be followed by one."""
    return text.strip().rstrip(".")


def _named(version: str | None) -> str:
    return "no version" if version is None else f"version {version}"
