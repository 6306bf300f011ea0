"""The guard on a registry in memory: what somebody does to aliases behind Podium's back, and what becomes of it."""

import threading
from typing import Any

import pytest

from podium.clock import FakeClock
from podium.db.engine import Database
from podium.errors import ArtifactError, ServiceUnavailable
from podium.faults import FaultRaised
from podium.registry import history, store, watching
from podium.registry.entities import CHAMPION, HistoryEntry, RegisteredVersion
from podium.registry.guard import GUARD, NOBODY_KNOWN, Guard, Policy
from podium.registry.history import Fact
from podium.registry.memory_registry import MemoryRegistry
from podium.registry.model_page import model_document
from podium.registry.model_scan import ModelScan
from podium.registry.trust import Trust
from tests.promotion_world import World

on_sqlite = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
"""For what a guard decides, which is the same on every database; what it reads, writes and locks is tested on both."""


class Registry(MemoryRegistry):
    """Counts what it is asked for aliases, can be away, and forgets versions as MLflow does."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.away: set[str] = set()
        self.everything_away = False
        self.scanned: dict[str, ModelScan | ArtifactError] = {}

    def alias(self, model: str, alias: str) -> str | None:
        self.asked.append(model)
        if self.everything_away or model in self.away:
            raise ServiceUnavailable("MLflow did not answer. Check that it runs and try again.")
        return super().alias(model, alias)

    def scan(self, source: str) -> ModelScan:
        found = self.scanned.get(source) or super().scan(source)
        if isinstance(found, ArtifactError):
            raise found
        return found

    def delete_version(self, model: str, version: str) -> None:
        self._versions[model] = [known for known in self._versions[model] if known.version != version]
        if super().alias(model, CHAMPION) == version:
            self.delete_alias(model, CHAMPION)

    def add_foreign_version(self, model: str) -> str:
        """A version that somebody registered without Podium."""
        number = str(len(self._versions[model]) + 1)
        self._versions[model].append(RegisteredVersion(model, number, "memory:/elsewhere", {}))
        return number


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def world(database: Database, clock: FakeClock, registry: Registry) -> World:
    return World(database, registry, clock)


def guard_of(world: World, policy: Policy, **changes: Any) -> Guard:
    given: dict[str, Any] = {"reconcile": world.service.reconcile, "trust": Trust()}
    return Guard(world.database, world.registry, world.clock, policy, **(given | changes))


def kinds(guard: Guard) -> list[str]:
    """What a look came to, short."""
    return [sight.kind for sight in guard.look()]


def seen_by(world: World) -> list[tuple[str, str | None, str | None]]:
    """What the guard has put on record: state, from, to."""
    return [(entry.state, entry.from_version, entry.to_version) for entry in world.history if entry.action == "watch"]


def last_of(world: World, state: str) -> HistoryEntry:
    return [entry for entry in world.history if entry.state == state][-1]


def test_a_champion_as_recorded_costs_one_call_and_no_lock(world: World, registry: Registry) -> None:
    world.champions(2)
    registry.asked.clear()

    def lock(name: str) -> Any:
        raise AssertionError(name)

    assert guard_of(world, "restore", lock=lock).look() == []
    assert registry.asked == [world.model]


@on_sqlite
def test_without_a_model_the_registry_is_not_asked(world: World, registry: Registry) -> None:
    assert guard_of(world, "alert", obstacle=lambda: "MLflow's file is not there.").look() == []
    assert registry.asked == []


@on_sqlite
def test_what_keeps_it_from_asking_is_told_and_nothing_is_found(world: World, registry: Registry) -> None:
    world.champions(1)
    registry.asked.clear()
    (sight,) = guard_of(world, "restore", obstacle=lambda: "MLflow's file is not there.").look()
    assert (sight.kind, sight.text) == ("unknown", "MLflow's file is not there.")
    assert registry.asked == []
    assert seen_by(world) == []


def test_a_foreign_move_is_noticed_once_and_left_by_the_policy_alert(world: World, registry: Registry) -> None:
    first, second = world.champions(2)
    registry.set_alias(world.model, CHAMPION, first)
    guard = guard_of(world, "alert")
    assert kinds(guard) == ["noticed"]
    assert kinds(guard) == kinds(guard_of(world, "alert")) == []
    assert seen_by(world) == [("noticed", second, first)]
    entry = last_of(world, "noticed")
    assert (entry.actor, entry.actor_verified, entry.promotion_id) == (NOBODY_KNOWN, False, None)
    assert f"from version {second} to version {first} outside Podium" in entry.reason
    assert world.champion == first
    assert world.verify().ok


@on_sqlite
def test_each_further_move_is_noticed(world: World, registry: Registry) -> None:
    first, second, third = world.champions(3)
    guard = guard_of(world, "alert")
    for version in (first, second, third):
        registry.set_alias(world.model, CHAMPION, version)
        assert kinds(guard) == ["noticed"]
    assert seen_by(world) == [("noticed", third, first), ("noticed", first, second), ("noticed", second, third)]


def test_the_policy_restore_moves_it_back_and_says_why(world: World, registry: Registry) -> None:
    first, second = world.champions(2)
    registry.set_alias(world.model, CHAMPION, first)
    guard = guard_of(world, "restore")
    assert kinds(guard) == ["noticed", "restored"]
    assert kinds(guard) == []
    assert world.champion == second
    assert seen_by(world) == [("noticed", second, first), ("restored", first, second)]
    noticed, restored = last_of(world, "noticed"), last_of(world, "restored")
    assert restored.actor == GUARD
    assert f"entry {noticed.id}" in restored.reason
    assert world.verify().ok


def test_a_removed_alias_is_put_back(world: World, registry: Registry) -> None:
    (version,) = world.champions(1)
    registry.delete_alias(world.model, CHAMPION)
    assert kinds(guard_of(world, "restore")) == ["noticed", "restored"]
    assert seen_by(world) == [("noticed", version, None), ("restored", None, version)]
    assert "removed the alias champion" in last_of(world, "noticed").reason
    assert world.champion == version


@on_sqlite
def test_a_version_that_podium_never_registered_is_called_so(world: World, registry: Registry) -> None:
    (version,) = world.champions(1)
    foreign = registry.add_foreign_version(world.model)
    registry.set_alias(world.model, CHAMPION, foreign)
    assert kinds(guard_of(world, "alert")) == ["noticed"]
    assert f"no version {foreign} on record" in last_of(world, "noticed").reason
    # From then on the history says what is live, and a person decides: that version is no target of a rollback.
    assert world.rollback().to_version == version
    assert world.champion == version
    assert world.service.blocked(world.model) == {foreign}


@on_sqlite
def test_a_blocked_version_is_called_so(world: World, registry: Registry) -> None:
    world.champions(2)
    assert world.rollback().applied
    registry.set_alias(world.model, CHAMPION, "2")
    assert kinds(guard_of(world, "restore")) == ["noticed", "restored"]
    assert "Version 2 is blocked." in last_of(world, "noticed").reason
    assert world.champion == "1"


@on_sqlite
def test_a_recorded_version_that_is_gone_cannot_be_restored_which_is_told_once(
    world: World, registry: Registry
) -> None:
    first, second = world.champions(2)
    registry.delete_version(world.model, second)
    guard = guard_of(world, "restore")
    noticed, left = guard.look()
    assert (noticed.kind, left.kind) == ("noticed", "not_restored")
    assert f"Version {second} is gone from the registry." in noticed.text
    assert "no version 2" in left.text
    assert f"podium models doctor {world.model}" in left.text
    assert kinds(guard) == []
    assert seen_by(world) == [("noticed", second, None)]
    assert world.champion is None
    assert world.rollback(to=first).applied


@on_sqlite
def test_files_that_were_changed_are_not_restored(world: World, registry: Registry) -> None:
    first, second = world.champions(2)
    files = registry.stored[registry.get_version(world.model, second).source]
    name = next(iter(files))
    files[name] = files[name][:-1] + bytes([files[name][-1] ^ 1])
    registry.set_alias(world.model, CHAMPION, first)
    noticed, left = guard_of(world, "restore").look()
    assert (noticed.kind, left.kind) == ("noticed", "not_restored")
    assert "recorded is" in left.text
    assert world.champion == first


@on_sqlite
def test_a_champion_that_may_not_be_loaded_any_more_is_not_restored(world: World, registry: Registry) -> None:
    first, second = world.champions(2)
    registry.set_alias(world.model, CHAMPION, first)
    registry.scanned[registry.get_version(world.model, second).source] = ModelScan("cloudpickle", ())
    noticed, left = guard_of(world, "restore", trust=Trust(pickle="refuse")).look()
    why = f"Version {second} may not be loaded, for it is a pickle, and this project loads none"
    assert (noticed.kind, left.kind) == ("noticed", "not_restored")
    assert why in left.text
    assert f"It stays there: {why}" in last_of(world, "noticed").reason, "which is what the alert says"
    assert world.champion == first
    assert kinds(guard_of(world, "restore")) == ["restored"], "where the project loads pickles"
    assert world.champion == second


@on_sqlite
def test_a_champion_that_podium_loads_in_no_case_is_restored_as_it_was_accepted(
    world: World, registry: Registry
) -> None:
    (first,) = world.champions(1)
    registry.scanned[registry.get_version(world.model, first).source] = ArtifactError("It has no flavor sklearn.")
    registry.delete_alias(world.model, CHAMPION)
    assert kinds(guard_of(world, "restore")) == ["noticed", "restored"]
    assert world.champion == first


@on_sqlite
def test_a_first_champion_that_podium_did_not_make_is_noticed_and_never_removed(
    world: World, registry: Registry
) -> None:
    version = world.candidate()
    registry.set_alias(world.model, CHAMPION, version)
    noticed, left = guard_of(world, "restore").look()
    assert (noticed.kind, left.kind) == ("noticed", "not_restored")
    assert "never had a champion" in left.text
    assert seen_by(world) == [("noticed", None, version)]
    assert world.champion == version


def test_a_move_left_open_by_a_dead_process_is_completed_and_no_foreign_one(
    world: World, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = world.candidate()
    monkeypatch.setattr("podium.faults._armed", {"promotion.after_alias": "raise"})
    with pytest.raises(FaultRaised):
        world.promote(version)
    monkeypatch.setattr("podium.faults._armed", {})
    assert world.champion == version
    assert kinds(guard_of(world, "restore")) == []
    assert world.told == [("promote", "applied", version)]


@pytest.mark.parametrize("point", ["guard.after_noticed", "guard.after_restore"])
def test_a_restoration_that_was_cut_off_is_completed(
    world: World, registry: Registry, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    first, second = world.champions(2)
    registry.set_alias(world.model, CHAMPION, first)
    monkeypatch.setattr("podium.faults._armed", {point: "raise"})
    with pytest.raises(FaultRaised):
        guard_of(world, "restore").look()
    monkeypatch.setattr("podium.faults._armed", {})
    assert kinds(guard_of(world, "restore")) == ["restored"]
    assert seen_by(world) == [("noticed", second, first), ("restored", first, second)]
    assert world.champion == second
    assert kinds(guard_of(world, "restore")) == []


@on_sqlite
def test_a_move_undone_by_hand_is_noticed_and_needs_nobodys_word(world: World, registry: Registry) -> None:
    first, second = world.champions(2)
    for version in (first, second):
        registry.set_alias(world.model, CHAMPION, version)
        assert kinds(guard_of(world, "alert")) == ["noticed"]
    assert kinds(guard_of(world, "restore")) == []
    assert watching.unaccepted(world.history) is None


@on_sqlite
def test_a_policy_changed_to_restore_undoes_what_stands(world: World, registry: Registry) -> None:
    first, second = world.champions(2)
    registry.set_alias(world.model, CHAMPION, first)
    assert kinds(guard_of(world, "alert")) == ["noticed"]
    assert kinds(guard_of(world, "restore")) == ["restored"]
    assert world.champion == second


@on_sqlite
def test_what_a_person_accepted_is_left(world: World, registry: Registry) -> None:
    first, second = world.champions(2)
    registry.set_alias(world.model, CHAMPION, first)
    assert kinds(guard_of(world, "alert")) == ["noticed"]
    accepted = Fact(world.clock.now(), "adopt", "adopted", second, first, "ada", False, "rolled back at night")
    with world.database.write() as connection:
        history.append(connection, world.model, accepted)
    assert kinds(guard_of(world, "restore")) == []
    assert world.champion == first
    # A later foreign move goes back to what was accepted, not to what was before.
    registry.set_alias(world.model, CHAMPION, second)
    assert kinds(guard_of(world, "restore")) == ["noticed", "restored"]
    assert world.champion == first


@on_sqlite
def test_a_promotion_after_a_noticed_move_says_that_it_was_nobody_known(world: World, registry: Registry) -> None:
    first, second = world.champions(2)
    third = world.candidate(champion=second, month=3)
    registry.set_alias(world.model, CHAMPION, first)
    assert kinds(guard_of(world, "alert")) == ["noticed"]
    lost = world.promote(third, expect=second)
    assert lost.lost_the_swap
    assert "outside Podium" in lost.reasons[0]
    with world.database.read() as connection:
        document = model_document(connection, world.model)
    assert document["aliases"]["champion"] == first
    # Expecting what is there, a person may promote again: that accepts nothing but ends it.
    assert world.promote(world.candidate(champion=first, month=4), expect=first).applied
    assert kinds(guard_of(world, "restore")) == []


@on_sqlite
def test_a_restored_champion_was_restored_by_the_guard(world: World, registry: Registry) -> None:
    first, second = world.champions(2)
    registry.set_alias(world.model, CHAMPION, first)
    guard_of(world, "restore").look()
    (reason,) = world.promote(first, expect=first).reasons
    assert f"{GUARD} restored version {second}" in reason
    assert world.rollback().to_version == first


@on_sqlite
def test_a_registry_that_is_away_is_unknown_and_no_finding(world: World, registry: Registry) -> None:
    world.champions(1)
    registry.everything_away = True
    (sight,) = guard_of(world, "restore").look()
    assert (sight.kind, sight.model) == ("unknown", world.model)
    assert "did not answer" in sight.text
    assert seen_by(world) == []


@on_sqlite
def test_one_model_without_an_answer_hides_no_other(world: World, registry: Registry) -> None:
    others = [World(world.database, registry, world.clock, model) for model in ("a", "b", "c")]
    for other in others:
        other.champions(2)
    registry.away = {"a"}
    registry.set_alias("c", CHAMPION, "1")
    found = {sight.model: sight.kind for sight in guard_of(world, "alert").look()}
    assert found == {"a": "unknown", "c": "noticed"}


@on_sqlite
def test_one_model_that_cannot_be_looked_at_at_all_hides_no_other(
    world: World, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        World(world.database, registry, world.clock, name).champions(2)
    registry.set_alias("b", CHAMPION, "1")
    asked = registry.alias

    def alias(model: str, name: str) -> str | None:
        if model == "a":
            raise ValueError("not enough values to unpack")
        return asked(model, name)

    monkeypatch.setattr(registry, "alias", alias)
    found = guard_of(world, "alert").look()
    assert {sight.model: sight.kind for sight in found} == {"a": "unknown", "b": "noticed"}
    assert "ValueError: not enough values to unpack" in found[0].text


@on_sqlite
def test_a_registry_that_is_away_is_not_waited_for_model_by_model(world: World, registry: Registry) -> None:
    for model in ("a", "b", "c", "d", "e"):
        World(world.database, registry, world.clock, model).champions(1)
    registry.everything_away = True
    registry.asked.clear()
    guard = guard_of(world, "alert")
    guard.look()
    assert len(registry.asked) == 2
    guard.look()
    assert len(registry.asked) == 3
    registry.everything_away = False
    registry.set_alias("e", CHAMPION, "1")
    registry.delete_alias("e", CHAMPION)
    assert kinds(guard) == ["noticed"]


def test_guards_that_look_at_once_put_it_on_record_once(world: World, registry: Registry) -> None:
    first, second = world.champions(2)
    registry.set_alias(world.model, CHAMPION, first)
    count = 4
    together = threading.Barrier(count)
    found: list[str] = []

    class Together(Guard):
        def _look_at(self, model: str, record: Any) -> Any:
            together.wait(30)
            return super()._look_at(model, record)

    def look() -> None:
        told: dict[str, Any] = {"reconcile": world.service.reconcile, "trust": Trust()}
        guard = Together(world.database, registry, world.clock, "restore", **told)
        found.extend(sight.kind for sight in guard.look())

    threads = [threading.Thread(target=look) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == ["noticed", "restored"]
    assert seen_by(world) == [("noticed", second, first), ("restored", first, second)]
    assert world.verify().ok


@on_sqlite
def test_a_collection_keeps_what_every_champion_of_the_history_was_made_from_and_judged_on(
    world: World, registry: Registry
) -> None:
    served = world.champions(5)
    challenger = world.candidate(champion=served[-1], month=6)
    registry.set_alias(world.model, CHAMPION, served[0])
    guard_of(world, "alert").look()
    needed: set[str] = set()
    with world.database.read() as connection:
        for digests in store.needed_digests(connection).values():
            needed |= set(digests)
        for version in (*served, challenger):
            on_record = store.find_version(connection, world.model, version)
            assert on_record is not None
            assert on_record.lineage is not None
            evidence = store.find_evidence(connection, on_record.evidence_digest)
            assert evidence is not None
            assert {on_record.lineage.data_digest, evidence.candidate_digest, evidence.holdout_digest} <= needed
