"""The guard: sees that somebody moved `champion` outside Podium, puts that on record, and moves it back if it is to.

MLflow lets everybody who may write move an alias, and tells nobody. So each look compares the alias with the history's
last word on it. A difference becomes a fact, once: from then on the history says what is live. Under the policy
`restore` the alias then goes back to the version that was last made champion on purpose, and that is a fact as well.

Everything that writes happens under the model's lock, after the moves that dead processes left open: a move of Podium's
own is never taken for a foreign one, and of two guards that look at once only one finds a difference. A kill between
the two facts leaves the first, from which the next look goes on.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Literal

from podium import faults
from podium.clock import Clock
from podium.db.engine import Database
from podium.errors import ArtifactError, ConfigurationError, Conflict, NotFound, ServiceUnavailable
from podium.registry import history, store, watching
from podium.registry.entities import CHAMPION, HistoryEntry, instant_text
from podium.registry.history import Fact
from podium.registry.port import ModelRegistry
from podium.registry.timeline import live_now
from podium.registry.transitions import blocked_versions
from podium.registry.trust import Trust
from podium.registry.watching import Record

Policy = Literal["alert", "restore"]

NOBODY_KNOWN = "unknown"
"""The actor of a move that somebody made outside Podium."""
GUARD = "podium-guard"
"""The actor of what the guard does itself."""


@dataclass(frozen=True)
class Sight:
    """What a look came to for one model; a model whose champion is as recorded has none.

    `unknown`: the registry, or the lock, was not to be had, so nobody knows whether anything moved.
    """

    kind: Literal["noticed", "restored", "not_restored", "unknown"]
    model: str
    text: str


class Guard:
    """Looks at the champions of all models on record; threads and processes may look at once.

    `reconcile` brings a model's open move to its end, as the promotion service does. `trust` is what the project says
    of loading models: what it would not load is not put back. `obstacle` says why the registry cannot be asked at all,
    None where it can.
    """

    def __init__(
        self,
        database: Database,
        registry: ModelRegistry,
        clock: Clock,
        policy: Policy,
        *,
        reconcile: Callable[[str], object],
        trust: Trust,
        obstacle: Callable[[], str | None] = lambda: None,
        lock: Callable[[str], AbstractContextManager[None]] | None = None,
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._policy = policy
        self._reconcile = reconcile
        self._trust = trust
        self._obstacle = obstacle
        self._lock = lock or database.lock
        self._in_vain: dict[str, int] = {}  # by model the noticed entry that could not be undone: told once
        self._unanswered: set[str] = set()  # looked at last, so that one model does not hide the others

    def look(self) -> list[Sight]:
        """Look at every model once, and do what is to be done; ServiceUnavailable while the database is away."""
        with self._database.read() as connection:
            records = watching.records(connection)
        obstacle = self._obstacle() if records else None
        if obstacle is not None:
            return [Sight("unknown", "", obstacle)]
        seen: list[Sight] = []
        for model in sorted(records, key=lambda name: (name in self._unanswered, name)):
            try:
                seen += self._look_at(model, records[model])
                self._unanswered.discard(model)
            except Conflict as error:
                seen.append(Sight("unknown", model, str(error)))
            except (ServiceUnavailable, ConfigurationError) as error:
                seen.append(Sight("unknown", model, str(error)))
                if self._unanswered:  # the second one without an answer: no need to wait a minute for each of the rest
                    self._unanswered.add(model)
                    break
                self._unanswered.add(model)
            except faults.FaultRaised:
                raise
            except Exception as error:  # noqa: BLE001 - whatever one model's is, the others are looked at
                seen.append(Sight("unknown", model, f"{type(error).__name__}: {error}"))
        return seen

    def _look_at(self, model: str, record: Record) -> list[Sight]:
        """Compare without the lock, which costs one call; only a difference takes it, and is looked at again there."""
        found = self._registry.alias(model, CHAMPION)
        pending = self._policy == "restore" and record.state == "noticed" and self._in_vain.get(model) != record.entry
        if found == record.version and not pending:
            return []
        self._reconcile(model)
        with self._lock(f"model-{model}"):
            with self._database.read() as connection:
                if watching.is_moving(connection, model):
                    return []  # begun since by one that died at once: the next look reconciles it
                told = history.entries(connection, model)
            return self._settle(model, told, self._registry.alias(model, CHAMPION))

    def _settle(self, model: str, told: Sequence[HistoryEntry], found: str | None) -> list[Sight]:
        seen: list[Sight] = []
        standing, accepted = watching.unaccepted(told), watching.last_accepted(told)
        restores = self._policy == "restore"
        if restores and standing is not None and accepted is not None and found == accepted.to_version:
            return [self._restored(model, standing, accepted, found)]  # a guard was killed before it could tell
        is_new = found != live_now(told)
        undoes = (
            restores
            and (accepted is None or found != accepted.to_version)
            and (is_new or (standing is not None and self._in_vain.get(model) != standing.id))
        )
        target = None if accepted is None else accepted.to_version
        objection = self._objection(model, told, target) if undoes else None
        if is_new:
            fact = self._foreign_move(model, told, found)
            if objection is not None:
                fact = replace(fact, reason=f"{fact.reason} It stays there: {objection}")
            with self._database.write() as connection:
                noticed = history.append(connection, model, fact)
            seen.append(Sight("noticed", model, noticed.reason))
            faults.reach("guard.after_noticed")
            standing = watching.unaccepted([*told, noticed])
        if undoes and standing is not None:
            seen.append(self._restore(model, standing, accepted, objection))
        return seen

    def _foreign_move(self, model: str, told: Sequence[HistoryEntry], found: str | None) -> Fact:
        recorded = live_now(told)
        with self._database.read() as connection:
            known = found is not None and store.find_version(connection, model, found) is not None
        if found is None:
            text = f"Somebody removed the alias champion of {model}, which was at {_named(recorded)}, outside Podium."
        else:
            text = f"Somebody moved champion of {model} from {_named(recorded)} to version {found} outside Podium."
            if not known:
                text += f" Podium has no version {found} on record: nobody knows what it was made from and judged on."
            elif found in blocked_versions(told):
                text += f" Version {found} is blocked."
        if recorded is not None and recorded != found and self._is_gone(model, recorded):
            text += f" Version {recorded} is gone from the registry."
        return Fact(
            at=self._clock.now(),
            action="watch",
            state="noticed",
            from_version=recorded,
            to_version=found,
            actor=NOBODY_KNOWN,
            actor_verified=False,
            reason=text,
        )

    def _is_gone(self, model: str, version: str) -> bool:
        try:
            self._registry.get_version(model, version)
        except NotFound:
            return True
        return False

    def _restore(
        self, model: str, standing: HistoryEntry, accepted: HistoryEntry | None, objection: str | None
    ) -> Sight:
        """Move champion back to the version accepted last, unless something speaks against it."""
        target = None if accepted is None else accepted.to_version
        if target is None or objection is not None:
            return self._left(model, standing, objection or "")
        try:
            self._registry.set_alias(model, CHAMPION, target)
        except NotFound as error:
            return self._left(model, standing, str(error))
        faults.reach("guard.after_restore")
        if self._registry.alias(model, CHAMPION) != target:
            raise ServiceUnavailable(
                f"The registry accepted version {target} as champion of {model} but does not show it. The next look "
                "tries again; look at the registry."
            )
        assert accepted is not None  # noqa: S101 - for mypy: `target` is its
        return self._restored(model, standing, accepted, target)

    def _objection(self, model: str, told: Sequence[HistoryEntry], target: str | None) -> str | None:
        """Say why champion cannot go back to `target`.

        None where that is there, with the files that are on record, and the project would load it.
        """
        if target is None:
            return f"By the history {model} never had a champion, so there is none to go back to."
        if target in blocked_versions(told):
            return f"Version {target} is blocked."
        with self._database.read() as connection:
            on_record = store.find_version(connection, model, target)
        if on_record is None:
            return f"Podium has no version {target} on record, so nobody knows the digest of its files."
        try:
            source = self._registry.get_version(model, target).source
            self._registry.check_files(source, digest=on_record.digest)
        except (NotFound, ArtifactError) as error:
            return str(error)
        try:
            scan = self._registry.scan(source)
        except ArtifactError:  # as of another flavor: accepted as what Podium loads in no case, and unchanged since
            return None
        refused = self._trust.objection(scan, own_code=on_record.made_by_run)
        return None if refused is None else f"Version {target} may not be loaded, for {refused}"

    def _left(self, model: str, standing: HistoryEntry, why: str) -> Sight:
        self._in_vain[model] = standing.id
        text = (
            f"Champion of {model} stays at {_named(standing.to_version)}, where somebody moved it outside Podium: "
            f"{why} `podium models doctor {model}` says what to do."
        )
        return Sight("not_restored", model, text)

    def _restored(self, model: str, standing: HistoryEntry, accepted: HistoryEntry, target: str | None) -> Sight:
        text = (
            f"Brought champion of {model} back to {_named(target)}, which {accepted.actor} made or accepted as "
            f"champion in entry {accepted.id}, from {_named(standing.to_version)}, where somebody had moved it "
            f"outside Podium (noticed at {instant_text(standing.at)}, entry {standing.id}): champion_moved in [guard] "
            "is restore."
        )
        fact = Fact(
            at=self._clock.now(),
            action="watch",
            state="restored",
            from_version=standing.to_version,
            to_version=target,
            actor=GUARD,
            actor_verified=False,
            reason=text,
        )
        with self._database.write() as connection:
            history.append(connection, model, fact)
        return Sight("restored", model, text)


def _named(version: str | None) -> str:
    return "no version" if version is None else f"version {version}"
