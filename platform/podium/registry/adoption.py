"""Taking over what a registry held before Podium, or what somebody changed in it since.

Versions that Podium did not register are put on record under the digest of their stored files, with no lineage: nobody
knows what made them. The champion that the registry has is accepted as the history's, so that rollbacks lead back to it
and candidates are judged against it.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from podium import faults
from podium.clock import Clock
from podium.db.engine import Database
from podium.errors import Conflict, NotFound, Refused, UsageError
from podium.registry import environments, history, records, store, transitions
from podium.registry.appraisal import Appraisal, appraise
from podium.registry.entities import (
    CHALLENGER,
    CHAMPION,
    HistoryEntry,
    ModelVersion,
    RegisteredVersion,
)
from podium.registry.environments import ModelBefore
from podium.registry.history import Fact
from podium.registry.port import ModelRegistry
from podium.registry.timeline import LIVE, is_accepted, live_now
from podium.registry.trust import Trust

_SHOWN_NAMES = 10


class Reconciler(Protocol):
    """Ends what a dead process left of a move; the promotion service does."""

    def reconcile(self, model: str) -> Any:
        """Bring an open move of the model's champion to its end."""


@dataclass(frozen=True)
class Choice:
    """Which versions to take over: those named `champion` and `challenger`, and these or all.

    `champion_alias` or `champion_version` says which version is to become champion where the registry has none.
    """

    versions: tuple[str, ...] = ()
    everything: bool = False
    champion_alias: str | None = None
    champion_version: str | None = None


@dataclass(frozen=True)
class AdoptedVersion:
    """What became of one version: put on record now, `known` from before, or `refused`; `notes` say why, what follows.

    `by_policy`: what refused it is a rule of the project, not the state of its files.
    """

    version: str
    outcome: Literal["adopted", "known", "refused"]
    digest: str | None
    notes: tuple[str, ...] = ()
    by_policy: bool = False

    def to_document(self) -> dict[str, Any]:
        """Return it in the interface's JSON."""
        return {**vars(self), "notes": list(self.notes)}


@dataclass(frozen=True)
class Adoption:
    """What an adoption did: the versions, the alias it set, the entry it wrote, and what is left to do by hand."""

    model: str
    champion: str | None
    versions: tuple[AdoptedVersion, ...]
    alias_set: bool
    entry: HistoryEntry | None
    notes: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether no version that was chosen was refused."""
        return all(each.outcome != "refused" for each in self.versions)

    @property
    def refused_by_policy(self) -> bool:
        """Whether a rule of the project refused a version."""
        return any(each.by_policy for each in self.versions)

    def to_document(self) -> dict[str, Any]:
        """Return it in the interface's JSON."""
        return {
            "model": self.model,
            "champion": self.champion,
            "versions": [each.to_document() for each in self.versions],
            "alias_set": self.alias_set,
            "entry": None if self.entry is None else self.entry.to_document(),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class _Found:
    """What there is of a model, in the registry and on record, and what is to be done about it."""

    there: Mapping[str, RegisteredVersion]
    aliases: Mapping[str, str]
    known: Mapping[str, ModelVersion]
    told: Sequence[HistoryEntry]
    champion: str | None
    chosen: Sequence[str]

    @property
    def blocked(self) -> set[str]:
        """The versions that may not become champion."""
        return transitions.blocked_versions(self.told)


class AdoptionService:
    """Puts on record what is in the registry; doing it again does nothing that was done.

    `trust` is what the project says of loading models, which its champion and challenger have to pass; `model_before`
    names the model of the environment before, whose versions alone a model's champion may be.
    """

    def __init__(
        self,
        database: Database,
        registry: ModelRegistry,
        clock: Clock,
        moves: Reconciler,
        *,
        trust: Trust,
        lock: Callable[[str], AbstractContextManager[None]] | None = None,
        is_governed: Callable[[str], bool] = lambda _: False,
        model_before: ModelBefore = lambda _: None,
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._moves = moves
        self._trust = trust
        self._lock = lock or database.lock
        self._is_governed = is_governed
        self._model_before = model_before

    def adopt(self, model: str, choice: Choice, *, actor: str, actor_verified: bool, reason: str) -> Adoption:
        """Take over the chosen versions of `model`, and its champion as the registry has it.

        The alias `champion` is set only where the registry has none, nor ever had one by the history, and `choice` says
        which version it is. Raises NotFound for a model, version or alias that does not exist, Refused where the
        registry has another champion than the chosen one or a promotion is what moves it, and UsageError where there is
        nothing to take over.

        Files are read before the model is locked, which may take minutes; under the lock only what changed since.
        """
        self._moves.reconcile(model)
        read = self._appraised(self._found(model, choice), {})
        with self._lock(f"model-{model}"), self._lock(f"versions-{model}"):
            with self._database.read() as connection:
                if records.move_is_open(connection, model):
                    raise Conflict(f"The champion of {model} is being moved; adopt it when that has ended.")
            found = self._found(model, choice)
            champion, aliases = found.champion, found.aliases
            appraisals = self._appraised(found, read)
            self._refuse_entrance(found, appraisals)
            versions = tuple(self._take_over(appraisals[version]) for version in found.chosen)
            lost = {each.version for each in versions if each.outcome == "refused"}
            if champion is not None and CHAMPION not in aliases:
                self._require_free(model, champion, found.told)
            alias_set = champion is not None and champion not in lost and CHAMPION not in aliases
            if alias_set and champion is not None:
                self._registry.set_alias(model, CHAMPION, champion)
                faults.reach("adopt.after_alias")
            entry = None
            if champion not in lost and not is_accepted(found.told, champion):
                entry = self._accept(
                    model, live_now(found.told), champion, actor=actor, actor_verified=actor_verified, reason=reason
                )
            return Adoption(
                model=model,
                champion=champion if champion not in lost else aliases.get(CHAMPION),
                versions=versions,
                alias_set=alias_set,
                entry=entry,
                notes=_notes(model, found, lost),
            )

    def _found(self, model: str, choice: Choice) -> _Found:
        """Return what there is now, and what `choice` means by it; raises as `adopt` does."""
        there = {each.version: each for each in self._registry.versions(model)}
        aliases = dict(self._registry.aliases(model))
        with self._database.read() as connection:
            known = {each.version: each for each in store.versions_of_model(connection, model)}
            told = history.entries(connection, model)
        if not there and live_now(told) is None:
            raise NotFound(self._no_model(model))
        champion = self._champion(model, choice, there, aliases, blocked=transitions.blocked_versions(told))
        chosen = _chosen(model, choice, there, aliases, champion)
        if not chosen and champion is None and live_now(told) is None:
            raise UsageError(_nothing_chosen(model, aliases))
        return _Found(there, aliases, known, told, champion, chosen)

    def _appraised(self, found: _Found, read: Mapping[str, Appraisal]) -> dict[str, Appraisal]:
        """Return what the files of the chosen versions come to; those `read` that still hold are not read again."""
        leading = {found.champion, found.aliases.get(CHALLENGER)}
        appraisals = {}
        for version in found.chosen:
            registered, known, leads = found.there[version], found.known.get(version), version in leading
            earlier = read.get(version)
            appraisals[version] = (
                earlier
                if earlier is not None and earlier.answers(registered, known, leads=leads)
                else appraise(self._registry, self._trust, registered, known, leads=leads)
            )
        return appraisals

    def _refuse_entrance(self, found: _Found, appraisals: dict[str, Appraisal]) -> None:
        """Refuse the champion where it may not be one in its environment; what served there once was let in."""
        appraisal = appraisals.get(found.champion or "")
        if appraisal is None or appraisal.digest is None or appraisal.refusal is not None:
            return
        before, version = self._model_before(appraisal.registered.model), appraisal.registered.version
        if before is None or version in transitions.champions(found.told):
            return
        with self._database.read() as connection:
            versions = store.versions_of_model(connection, before)
            blocked = transitions.blocked_versions(history.entries(connection, before))
        objection = environments.adoption_objection(
            appraisal.registered, appraisal.digest, before=before, versions=versions, blocked=blocked
        )
        if objection is not None:
            appraisals[version] = appraisal.refused(objection, by_policy=True)

    def _champion(
        self,
        model: str,
        choice: Choice,
        there: Mapping[str, RegisteredVersion],
        aliases: Mapping[str, str],
        *,
        blocked: set[str],
    ) -> str | None:
        """Return the version that is champion when this is done."""
        present = aliases.get(CHAMPION)
        wanted = choice.champion_version
        if choice.champion_alias is not None:
            if choice.champion_alias not in aliases:
                raise NotFound(
                    f"Model {model} has no alias {choice.champion_alias!r} in the registry; its aliases are: "
                    f"{_listed(aliases)}."
                )
            wanted = aliases[choice.champion_alias]
        if wanted is None or wanted == present:
            return present
        if wanted not in there:
            raise NotFound(f"The registry has no version {wanted} of {model}; there are: {', '.join(there)}.")
        if present is not None:
            raise Refused(
                f"The champion of {model} is version {present} in the registry, not version {wanted}. Adopting takes "
                f"over the champion that is there and moves none; adopt without that choice, then let "
                f"`podium promote {model} --version {wanted}` go through the gate."
            )
        if wanted in blocked:
            raise Refused(
                f"Version {wanted} of {model} is blocked, so it does not become champion; "
                f"`podium models unblock {model} --version {wanted}` lifts that."
            )
        return wanted

    def _require_free(self, model: str, champion: str, told: Sequence[HistoryEntry]) -> None:
        """Raise Refused where the alias is set by promotions alone: adopting must not be a way past the gate."""
        if champion == live_now(told):
            return  # it only puts back what the history has
        with self._database.read() as connection:
            known = store.find_version(connection, model, champion)
        if known is not None and known.origin != "adopted":
            why = f"version {champion} was registered by Podium"
        elif any(entry.state in LIVE for entry in told):
            why = "it had a champion before"
        elif self._is_governed(model):
            why = "people have to approve what becomes its champion ([approvals] in podium.toml)"
        else:
            return
        raise Refused(
            f"Model {model} has no champion in the registry, and adopting sets none: {why}. "
            f"`podium promote {model} --version {champion}` goes through the gate, `podium rollback {model} --to "
            "VERSION` back to a former champion; or set the alias in the registry, and adopt what is there then."
        )

    def _take_over(self, appraisal: Appraisal) -> AdoptedVersion:
        registered, digest = appraisal.registered, appraisal.digest
        model, version = registered.model, registered.version
        if appraisal.refusal is not None or digest is None:
            return AdoptedVersion(version, "refused", digest, (appraisal.refusal or "",), appraisal.by_policy)
        if appraisal.known is not None:
            return AdoptedVersion(version, "known", digest, appraisal.notes)
        taken = ModelVersion(model, version, digest, registered.source, lineage=None, origin="adopted")
        with self._database.write() as connection:
            store.add_version(connection, taken, step_key=f"adopt:{model}/{version}", at=self._clock.now())
        faults.reach("adopt.after_version")
        return AdoptedVersion(version, "adopted", digest, appraisal.notes)

    def _accept(
        self, model: str, before: str | None, champion: str | None, *, actor: str, actor_verified: bool, reason: str
    ) -> HistoryEntry:
        with self._database.write() as connection:
            found = None if champion is None else store.find_version(connection, model, champion)
            fact = Fact(
                at=self._clock.now(),
                action="adopt",
                state="adopted",
                from_version=before,
                to_version=champion,
                actor=actor,
                actor_verified=actor_verified,
                reason=reason,
                evidence_digest=None if found is None else found.evidence_digest,
            )
            return history.append(connection, model, fact)

    def _no_model(self, model: str) -> str:
        names = self._registry.models()
        shown = ", ".join(names[:_SHOWN_NAMES]) + (" …" if len(names) > _SHOWN_NAMES else "")
        return f"The registry has no version of a model {model!r}; its models are: {shown or 'none'}."


def _chosen(
    model: str, choice: Choice, there: Mapping[str, RegisteredVersion], aliases: Mapping[str, str], champion: str | None
) -> list[str]:
    """Return the versions to take over, oldest first."""
    absent = [version for version in choice.versions if version not in there]
    if absent:
        raise NotFound(f"The registry has no version {absent[0]} of {model}; there are: {', '.join(there)}.")
    named = {*choice.versions, champion, aliases.get(CHALLENGER)}
    return [version for version in there if choice.everything or version in named]


def _notes(model: str, found: _Found, lost: set[str]) -> tuple[str, ...]:
    champion, notes = found.champion, []
    if champion is None:
        others = _listed({name: version for name, version in found.aliases.items() if name != CHALLENGER})
        notes.append(
            f"The registry has no champion of {model}; --champion-alias NAME or --champion-version VERSION says which "
            f"version it is (other aliases: {others})."
        )
    elif champion in lost and champion in found.known:
        notes.append(f"Version {champion} of {model} was refused, so nothing about it was written into the history.")
    elif champion in lost:
        notes.append(
            f"Version {champion}, the champion of {model}, is not on record, so no candidate can be compared with it."
        )
    elif champion in found.blocked:
        notes.append(f"Version {champion} of {model} is blocked since a rollback; it serves until another replaces it.")
    return tuple(notes)


def _nothing_chosen(model: str, aliases: Mapping[str, str]) -> str:
    return (
        f"No version of {model} has the alias champion or challenger, so there is nothing to adopt; its aliases are: "
        f"{_listed(aliases)}. Say which is champion with --champion-alias NAME or --champion-version VERSION, or take "
        "over versions with --version VERSION or --all."
    )


def _listed(aliases: Mapping[str, str]) -> str:
    return ", ".join(f"{name} (version {version})" for name, version in sorted(aliases.items())) or "none"
