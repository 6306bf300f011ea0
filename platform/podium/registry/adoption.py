"""Taking over what a registry held before Podium, or what somebody changed in it since.

Versions that Podium did not register are put on record under the digest of their stored files, with no lineage: nobody
knows what made them. The champion that the registry has is accepted as the history's, so that rollbacks lead back to it
and candidates are judged against it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from podium import faults
from podium.clock import Clock
from podium.db.engine import Database
from podium.errors import ArtifactError, Conflict, NotFound, Refused, UsageError
from podium.registry import history, records, store, transitions
from podium.registry.entities import (
    CHALLENGER,
    CHAMPION,
    HistoryEntry,
    ModelVersion,
    RegisteredVersion,
)
from podium.registry.history import Fact
from podium.registry.port import DIGEST_TAG, ModelRegistry
from podium.registry.stored_model import StoredModel
from podium.registry.timeline import LIVE, is_accepted, live_now

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
    """What became of one version: put on record now, `known` from before, or `refused`; `notes` say what follows."""

    version: str
    outcome: Literal["adopted", "known", "refused"]
    digest: str | None
    notes: tuple[str, ...] = ()

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
        """Whether every version that was chosen is on record now."""
        return all(each.outcome != "refused" for each in self.versions)

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


class AdoptionService:
    """Puts on record what is in the registry; doing it again does nothing that was done."""

    def __init__(
        self,
        database: Database,
        registry: ModelRegistry,
        clock: Clock,
        moves: Reconciler,
        *,
        lock: Callable[[str], AbstractContextManager[None]] | None = None,
        is_governed: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._moves = moves
        self._lock = lock or database.lock
        self._is_governed = is_governed

    def adopt(self, model: str, choice: Choice, *, actor: str, actor_verified: bool, reason: str) -> Adoption:
        """Take over the chosen versions of `model`, and its champion as the registry has it.

        The alias `champion` is set only where the registry has none, nor ever had one by the history, and `choice` says
        which version it is. Raises NotFound for a model, version or alias that does not exist, Refused where the
        registry has another champion than the chosen one or a promotion is what moves it, and UsageError where there is
        nothing to take over.
        """
        self._moves.reconcile(model)
        with self._lock(f"model-{model}"), self._lock(f"versions-{model}"):
            there = {each.version: each for each in self._registry.versions(model)}
            aliases = dict(self._registry.aliases(model))
            with self._database.read() as connection:
                if records.move_is_open(connection, model):
                    raise Conflict(f"The champion of {model} is being moved; adopt it when that has ended.")
                told = history.entries(connection, model)
            if not there and live_now(told) is None:
                raise NotFound(self._no_model(model))
            champion = self._champion(model, choice, there, aliases, blocked=transitions.blocked_versions(told))
            chosen = _chosen(model, choice, there, aliases, champion)
            if not chosen and champion is None and live_now(told) is None:
                raise UsageError(_nothing_chosen(model, aliases))
            versions = tuple(self._take_over(there[version]) for version in chosen)
            lost = {each.version for each in versions if each.outcome == "refused"}
            if champion is not None and CHAMPION not in aliases:
                self._require_free(model, champion, told)
            alias_set = champion is not None and champion not in lost and CHAMPION not in aliases
            if alias_set and champion is not None:
                self._registry.set_alias(model, CHAMPION, champion)
                faults.reach("adopt.after_alias")
            entry = None
            if champion not in lost and not is_accepted(told, champion):
                entry = self._accept(
                    model, live_now(told), champion, actor=actor, actor_verified=actor_verified, reason=reason
                )
            return Adoption(
                model=model,
                champion=champion if champion not in lost else aliases.get(CHAMPION),
                versions=versions,
                alias_set=alias_set,
                entry=entry,
                notes=_notes(model, aliases, champion, lost, transitions.blocked_versions(told)),
            )

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

    def _take_over(self, registered: RegisteredVersion) -> AdoptedVersion:
        model, version = registered.model, registered.version
        with self._database.read() as connection:
            known = store.find_version(connection, model, version)
        if known is not None:
            return AdoptedVersion(version, "known", known.digest)
        try:
            stored = self._registry.describe(registered.source)
        except ArtifactError as error:
            return AdoptedVersion(version, "refused", None, (str(error),))
        tagged = registered.tags.get(DIGEST_TAG, stored.digest)
        if tagged != stored.digest:
            changed = (
                f"Its tag {DIGEST_TAG} says {tagged[:12]}…, its files have {stored.digest[:12]}…: they were changed "
                "after they were registered. Restore them from a backup."
            )
            return AdoptedVersion(version, "refused", stored.digest, (changed,))
        taken = ModelVersion(model, version, stored.digest, registered.source, lineage=None, origin="adopted")
        with self._database.write() as connection:
            store.add_version(connection, taken, step_key=f"adopt:{model}/{version}", at=self._clock.now())
        faults.reach("adopt.after_version")
        return AdoptedVersion(version, "adopted", stored.digest, tuple(_shortcomings(stored)))

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


def _shortcomings(stored: StoredModel) -> Iterable[str]:
    """Say what Podium cannot do with a version for what its files lack."""
    if "sklearn" not in stored.flavors:
        flavors = ", ".join(stored.flavors) or "unknown"
        yield (
            f"Its flavor is {flavors}: Podium loads scikit-learn models alone, so no candidate is compared with it and "
            "no rollback leads to it."
        )
    if stored.inputs is None:
        yield "It has no signature of columns, so a rollback cannot tell whether it takes the requests of today."


def _notes(
    model: str, aliases: Mapping[str, str], champion: str | None, lost: set[str], blocked: set[str]
) -> tuple[str, ...]:
    found = []
    if champion is None:
        others = _listed({name: version for name, version in aliases.items() if name != CHALLENGER})
        found.append(
            f"The registry has no champion of {model}; --champion-alias NAME or --champion-version VERSION says which "
            f"version it is (other aliases: {others})."
        )
    elif champion in lost:
        found.append(
            f"Version {champion}, the champion of {model}, is not on record, so no candidate can be compared with it."
        )
    elif champion in blocked:
        found.append(f"Version {champion} of {model} is blocked since a rollback; it serves until another replaces it.")
    return tuple(found)


def _nothing_chosen(model: str, aliases: Mapping[str, str]) -> str:
    return (
        f"No version of {model} has the alias champion or challenger, so there is nothing to adopt; its aliases are: "
        f"{_listed(aliases)}. Say which is champion with --champion-alias NAME or --champion-version VERSION, or take "
        "over versions with --version VERSION or --all."
    )


def _listed(aliases: Mapping[str, str]) -> str:
    return ", ".join(f"{name} (version {version})" for name, version in sorted(aliases.items())) or "none"
