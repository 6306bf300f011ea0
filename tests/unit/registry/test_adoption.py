"""What was in the registry before Podium is taken over: on record, in the history, and by the rules from then on."""

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from podium import faults
from podium.clock import FakeClock
from podium.db.engine import Database
from podium.errors import Conflict, NotFound, Refused, UsageError
from podium.faults import FaultRaised
from podium.registry import store, tally, timeline
from podium.registry.adoption import Adoption, AdoptionService, Choice
from podium.registry.entities import CHALLENGER, CHAMPION, LoggedModel
from podium.registry.memory_registry import MemoryRegistry
from podium.registry.model_page import model_document
from podium.registry.packaging import requirements_of
from podium.registry.port import KEY_TAG
from podium.registry.stored_model import StoredModel
from podium.registry.trust import Trust
from tests.promotion_world import SAMPLE, World, estimator

on_sqlite = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
"""For what an adoption decides, which is the same on every database."""


class Files(MemoryRegistry):
    """Says whose files were read, and whether a test's lock was held then."""

    def __init__(self) -> None:
        super().__init__()
        self.locked = False
        self.read: list[tuple[str, bool]] = []

    def check_files(self, source: str, *, digest: str) -> None:
        self.read.append((source, self.locked))
        super().check_files(source, digest=digest)

    def describe(self, source: str) -> StoredModel:
        self.read.append((source, self.locked))
        return super().describe(source)


def hostile(world: World) -> str:
    """Register a version as somebody does whose pickle calls `eval`."""
    assert isinstance(world.registry, MemoryRegistry)
    (version,) = foreign(world)
    registered = world.registry.get_version(world.model, version)
    world.registry.stored[registered.source] = {"model.cloudpickle": pickle.dumps(eval)}
    world.registry._versions[world.model][-1] = replace(registered, tags={KEY_TAG: registered.tags[KEY_TAG]})
    return version


@pytest.fixture
def world(database: Database, clock: FakeClock) -> World:
    return World(database, MemoryRegistry(), clock)


def foreign(world: World, count: int = 1, *, digest: str | None = None) -> list[str]:
    """Register versions as somebody without Podium does: nothing of them is on record."""
    made = []
    for _ in range(count):
        key = f"foreign-{len(world.registry.versions(world.model))}"
        logged = world.registry.log_model(
            estimator(), SAMPLE, model=world.model, key=key, requirements=requirements_of(estimator()), tags={}
        )
        if digest is not None:
            logged = LoggedModel(logged.source, digest, logged.serialization, "", "")
        made.append(world.registry.create_version(world.model, logged, key=key, tags={}))
    return made


def adopt(world: World, **choice: Any) -> Adoption:
    """Adopt as grace; what is no choice is told to the service."""
    changes = {name: choice.pop(name) for name in ("trust", "lock", "model_before") if name in choice}
    return service_of(world, **changes).adopt(
        world.model, Choice(**choice), actor="grace", actor_verified=False, reason="served before Podium"
    )


def service_of(world: World, **changes: Any) -> AdoptionService:
    given: dict[str, Any] = {"moves": world.service, "trust": Trust()}
    return AdoptionService(world.database, world.registry, world.clock, **(given | changes))


def outcomes(adoption: Adoption) -> dict[str, str]:
    return {each.version: each.outcome for each in adoption.versions}


def test_champion_and_challenger_are_taken_over_and_the_history_begins_with_it(world: World, clock: FakeClock) -> None:
    first, second, third = foreign(world, 3)
    world.registry.set_alias(world.model, CHAMPION, second)
    world.registry.set_alias(world.model, CHALLENGER, third)
    adoption = adopt(world)
    assert outcomes(adoption) == {second: "adopted", third: "adopted"}
    assert (adoption.champion, adoption.alias_set, adoption.notes, adoption.complete) == (second, False, (), True)
    (entry,) = world.history
    assert adoption.entry == entry
    assert (entry.action, entry.state, entry.from_version, entry.to_version) == ("adopt", "adopted", None, second)
    assert (entry.actor, entry.reason, entry.promotion_id) == ("grace", "served before Podium", None)
    assert world.verify().ok
    with world.database.read() as connection:
        taken = store.find_version(connection, world.model, second)
        assert store.find_version(connection, world.model, first) is None
        assert [(each.model, each.version) for each in tally.champions(connection)] == [(world.model, second)]
        document = model_document(connection, world.model)
    assert taken is not None
    assert (taken.origin, taken.lineage, taken.run_id) == ("adopted", None, None)
    assert taken.digest == world.registry.digest_of(taken.source)
    assert document["aliases"]["champion"] == second
    assert [(each["version"], each["state"], each["verdict"], each["interval"]) for each in document["versions"]] == [
        (third, "registered", None, None),
        (second, "champion", None, None),
    ]
    live = timeline.live_document(world.model, world.history, clock.now())
    assert (live["version"], live["fact"], live["actor"]) == (second, "adopted", "grace")


def test_adopting_again_does_nothing(world: World) -> None:
    (only,) = foreign(world)
    world.registry.set_alias(world.model, CHAMPION, only)
    adopt(world)
    before = world.history
    again = adopt(world, everything=True)
    assert outcomes(again) == {only: "known"}
    assert (again.entry, again.alias_set) == (None, False)
    assert world.history == before


def test_every_version_or_some_are_taken_over_when_asked_for(world: World) -> None:
    versions = foreign(world, 4)
    assert outcomes(adopt(world, versions=(versions[1],))) == {versions[1]: "adopted"}
    assert world.history == []
    assert outcomes(adopt(world, everything=True)) == {
        version: "known" if version == versions[1] else "adopted" for version in versions
    }
    assert world.history == []


def test_an_alias_of_another_name_makes_its_version_champion_where_there_is_none(world: World) -> None:
    versions = foreign(world, 2)
    world.registry.set_alias(world.model, "production", versions[0])
    with pytest.raises(UsageError, match=r"aliases are: production \(version 1\).*--champion-alias") as nothing:
        adopt(world)
    assert nothing.value.exit_code == 2
    adoption = adopt(world, champion_alias="production")
    assert (adoption.champion, adoption.alias_set) == (versions[0], True)
    assert world.champion == versions[0]
    assert world.registry.alias(world.model, "production") == versions[0]
    assert world.told == [("adopt", "adopted", versions[0])]
    assert not adopt(world, champion_alias="production").alias_set


def test_a_version_may_be_named_where_no_alias_says_it(world: World) -> None:
    versions = foreign(world, 2)
    assert adopt(world, champion_version=versions[1]).alias_set
    assert world.champion == versions[1]


def test_a_champion_that_is_there_is_moved_by_no_adoption(world: World) -> None:
    versions = foreign(world, 2)
    world.registry.set_alias(world.model, CHAMPION, versions[0])
    with pytest.raises(Refused, match=r"is version 1 in the registry, not version 2.*podium promote"):
        adopt(world, champion_version=versions[1])
    assert (world.champion, world.history) == (versions[0], [])


def test_a_blocked_version_is_not_set_as_champion(world: World) -> None:
    first, second = world.champions(2)
    world.rollback()
    world.registry.delete_alias(world.model, CHAMPION)
    with pytest.raises(Refused, match=f"Version {second} of flight_delay is blocked.*podium models unblock"):
        adopt(world, champion_version=second)
    assert adopt(world, champion_version=first).entry is None  # the history says so already
    assert world.champion == first


def test_adopting_is_no_way_past_the_gate(world: World) -> None:
    own = world.candidate(verdict="failed")
    with pytest.raises(Refused, match=f"adopting sets none: version {own} was registered by Podium"):
        adopt(world, champion_version=own)
    (version,) = foreign(world, 1)
    governed = service_of(world, is_governed=lambda _: True)
    with pytest.raises(Refused, match="people have to approve what becomes its champion"):
        governed.adopt(world.model, Choice(champion_version=version), actor="eve", actor_verified=False, reason="mine")
    (promoted,) = world.champions(1)
    world.registry.delete_alias(world.model, CHAMPION)
    with pytest.raises(Refused, match="it had a champion before"):
        adopt(world, champion_version=version)
    assert world.champion is None
    assert [entry.to_version for entry in world.history if entry.state in ("adopted", "applied")] == [promoted]


def test_what_does_not_exist_is_named_with_what_does(world: World) -> None:
    foreign(world, 2)
    with pytest.raises(NotFound, match="no version 9 of flight_delay; there are: 1, 2"):
        adopt(world, versions=("9",))
    with pytest.raises(NotFound, match="no version 9 of flight_delay; there are: 1, 2"):
        adopt(world, champion_version="9")
    with pytest.raises(NotFound, match="no alias 'live' in the registry; its aliases are: none"):
        adopt(world, champion_alias="live")
    other = World(world.database, world.registry, world.clock, "elsewhere")
    with pytest.raises(NotFound, match="no version of a model 'elsewhere'; its models are: flight_delay"):
        adopt(other)


def test_a_version_without_its_files_is_refused_and_its_champion_is_not_accepted(world: World) -> None:
    lost, there = foreign(world, 2)
    world.registry.set_alias(world.model, CHAMPION, lost)
    assert isinstance(world.registry, MemoryRegistry)
    world.registry.stored.pop(world.registry.get_version(world.model, lost).source)
    adoption = adopt(world, everything=True)
    assert outcomes(adoption) == {lost: "refused", there: "adopted"}
    assert not adoption.complete
    assert "No model files are stored" in adoption.versions[0].notes[0]
    assert "is not on record" in adoption.notes[0]
    assert (adoption.entry, world.history) == (None, [])


def test_a_version_whose_files_were_changed_since_is_refused(world: World) -> None:
    foreign(world, digest="f" * 64)
    (version,) = adopt(world, everything=True).versions
    assert version.outcome == "refused"
    assert "Its tag podium.digest says ffffffffffff…" in version.notes[0]


@on_sqlite
@pytest.mark.parametrize("known", [False, True])
def test_a_dangerous_champion_is_refused_and_what_is_beside_it_taken_over(world: World, *, known: bool) -> None:
    version, challenger = hostile(world), foreign(world)[0]
    world.registry.set_alias(world.model, CHALLENGER, challenger)
    if known:  # one among others is put on record: no gate promotes it
        assert outcomes(adopt(world, versions=(version,)))[version] == "adopted"
    world.registry.set_alias(world.model, CHAMPION, version)
    adoption = adopt(world)
    assert outcomes(adoption) == {version: "refused", challenger: "known" if known else "adopted"}
    assert (adoption.entry, adoption.complete, adoption.refused_by_policy) == (None, False, True)
    (note,) = adoption.versions[0].notes
    assert note.startswith("Its pickle is dangerous: it imports builtins.eval. Do not load it before")
    assert note.endswith(f"`podium models scan {world.model} {version}` shows what it is made of.")
    assert ("nothing about it was written" if known else "is not on record") in adoption.notes[0]
    assert (world.history, world.champion) == ([], version)


@on_sqlite
def test_a_dangerous_version_is_not_set_as_champion_and_a_dangerous_challenger_is_refused(world: World) -> None:
    version = hostile(world)
    world.registry.set_alias(world.model, CHALLENGER, version)
    adoption = adopt(world, champion_version=version)
    assert (adoption.champion, adoption.alias_set, adoption.refused_by_policy) == (None, False, True)
    (clean,) = foreign(world)
    adoption = adopt(world, champion_version=clean)
    assert outcomes(adoption) == {version: "refused", clean: "adopted"}
    assert (world.champion, adoption.alias_set) == (clean, True)


@on_sqlite
def test_what_the_project_loads_all_the_same_is_adopted_and_said(world: World) -> None:
    version = hostile(world)
    world.registry.set_alias(world.model, CHAMPION, version)
    adoption = adopt(world, trust=Trust(pickle="allow"))
    assert outcomes(adoption) == {version: "adopted"}
    note = "Its pickle is dangerous: it imports builtins.eval. It is loaded all the same: pickle"
    assert note in adoption.versions[0].notes[-1]
    assert adoption.entry is not None


@on_sqlite
def test_a_champion_on_record_whose_files_changed_since_is_not_accepted(world: World) -> None:
    first, second = world.champions(2)
    world.registry.set_alias(world.model, CHAMPION, first)
    assert isinstance(world.registry, MemoryRegistry)
    world.registry.stored[world.registry.get_version(world.model, first).source]["more"] = b""
    adoption = adopt(world)
    assert outcomes(adoption) == {first: "refused"}
    assert not adoption.refused_by_policy
    assert timeline.live_now(world.history) == second


@on_sqlite
def test_a_champion_of_a_later_environment_has_the_files_of_one_before(world: World) -> None:
    before = World(world.database, world.registry, world.clock, "staging.m")
    model = World(world.database, world.registry, world.clock, "prod.m")
    (version,) = foreign(model)
    model.registry.set_alias(model.model, CHAMPION, version)

    def adopted() -> Adoption:
        return adopt(model, model_before={"prod.m": "staging.m"}.get)

    refused = adopted()
    assert (outcomes(refused), refused.refused_by_policy, refused.entry) == ({version: "refused"}, True, None)
    assert "no version there has its files" in refused.versions[0].notes[0]
    assert "`podium models advance staging.m --version V --reason TEXT`" in refused.versions[0].notes[0]
    source = model.registry.get_version(model.model, version).source
    same = LoggedModel(source, model.registry.digest_of(source), "skops", "", "")
    twin = before.register(logged=same).version
    before.service.block("staging.m", twin, actor="ada", actor_verified=False, reason="it was the feed")
    assert f"those of version {twin} of staging.m, which is blocked there" in adopted().versions[0].notes[0]
    before.unblock(twin)
    assert adopted().entry is not None
    assert model.told == [("adopt", "adopted", version)]
    # What served here was let in once: it may come back, whatever became of the other since.
    before.service.block("staging.m", twin, actor="ada", actor_verified=False, reason="it was the feed")
    model.registry.delete_alias(model.model, CHAMPION)
    adopted()
    model.registry.set_alias(model.model, CHAMPION, version)
    assert adopted().entry is not None


@on_sqlite
def test_files_are_read_before_the_lock_and_under_it_only_what_changed_since(world: World) -> None:
    registry = Files()
    world = replace(world, registry=registry)
    first, second, third = foreign(world, 3)
    registry.set_alias(world.model, CHAMPION, first)
    meanwhile: list[str] = []

    @contextmanager
    def lock(name: str) -> Iterator[None]:
        if meanwhile and name.startswith("model-"):
            registry.set_alias(world.model, CHAMPION, meanwhile.pop())  # as somebody does without Podium
        registry.locked = True
        yield
        registry.locked = False

    sources = [registry.get_version(world.model, each).source for each in (first, second, third)]
    adopt(world, lock=lock, everything=True)
    assert registry.read == [(source, False) for source in sources]
    registry.read.clear()
    meanwhile.append(third)
    entry = adopt(world, lock=lock).entry
    assert entry is not None
    assert entry.to_version == third, "which is champion under the lock"
    assert registry.read == [(sources[0], False), (sources[2], True)]


def test_a_move_outside_podium_is_accepted_by_adopting_it(world: World) -> None:
    first, second = world.champions(2)
    outside = world.candidate(champion=second)
    world.registry.set_alias(world.model, CHAMPION, outside)
    entry = adopt(world).entry
    assert entry is not None
    assert (entry.from_version, entry.to_version, entry.state) == (second, outside, "adopted")
    assert entry.evidence_digest is not None  # Podium had registered it
    # Now it has a place in the order of champions: a rollback from it leads to the one before.
    assert world.rollback().raise_unless_applied().to_version == second
    assert world.rollback().to_version == first
    assert world.verify().ok


def test_a_champion_that_is_gone_is_accepted_as_gone(world: World) -> None:
    world.champions(1)
    world.registry.delete_alias(world.model, CHAMPION)
    adoption = adopt(world)
    assert adoption.entry is not None
    assert (adoption.entry.from_version, adoption.entry.to_version) == ("1", None)
    assert "The registry has no champion of flight_delay" in adoption.notes[0]
    assert timeline.live_now(world.history) is None
    with world.database.read() as connection:
        assert tally.champions(connection) == []


def test_a_rollback_leads_back_to_an_adopted_champion(world: World) -> None:
    (old,) = foreign(world)
    world.registry.set_alias(world.model, CHAMPION, old)
    adopt(world)
    new = world.candidate(champion=old)
    run = world.promote(new, run_id="r1")
    assert "version 1, was adopted, so nobody knows whether its data is newer" in run.reasons[0]
    assert world.promote(new).applied
    back = world.rollback().raise_unless_applied()
    assert (back.from_version, back.to_version) == (new, old)
    again = world.promote(old)
    assert "is champion" in again.reasons[0]


def test_an_adopted_version_is_not_promoted_without_evidence(world: World) -> None:
    first, second = foreign(world, 2)
    world.registry.set_alias(world.model, CHAMPION, first)
    adopt(world, everything=True)
    refused = world.promote(second)
    assert "No evidence is stored for version 2 of flight_delay: it was adopted, not judged." in refused.reasons[0]


@pytest.mark.parametrize("point", ["adopt.after_version", "adopt.after_alias"])
def test_what_an_adoption_left_undone_the_next_one_does(
    world: World, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = foreign(world, 2)
    world.registry.set_alias(world.model, "production", second)
    monkeypatch.setattr(faults, "_armed", {point: "raise"})
    with pytest.raises(FaultRaised):
        adopt(world, everything=True, champion_alias="production")
    monkeypatch.setattr(faults, "_armed", {})
    assert world.history == []
    adoption = adopt(world, everything=True, champion_alias="production")
    assert outcomes(adoption).keys() == {first, second}
    assert world.champion == second
    assert world.told == [("adopt", "adopted", second)]
    assert adoption.alias_set == (point == "adopt.after_version")


def test_a_move_that_nobody_ended_is_ended_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    version = world.candidate()
    monkeypatch.setattr(faults, "_armed", {"promotion.after_intent": "raise"})
    with pytest.raises(FaultRaised):
        world.promote(version)
    monkeypatch.setattr(faults, "_armed", {})

    class Idle:
        def reconcile(self, model: str) -> None:
            pass

    stuck = service_of(world, moves=Idle())
    with pytest.raises(Conflict, match="is being moved"):
        stuck.adopt(world.model, Choice(everything=True), actor="grace", actor_verified=False, reason="x")
    assert adopt(world).entry is None
    assert world.told == [("promote", "applied", version)]


def test_what_podium_cannot_do_with_a_version_is_said(world: World) -> None:
    assert isinstance(world.registry, MemoryRegistry)
    world.registry.stored["memory:/elsewhere"] = {"weights.bin": b"1"}
    logged = LoggedModel("memory:/elsewhere", world.registry.digest_of("memory:/elsewhere"), "", "", "")
    world.registry.create_version(world.model, logged, key="torch", tags={})
    (version,) = adopt(world, everything=True).versions
    assert version.outcome == "adopted"
    assert "Its flavor is unknown: Podium loads scikit-learn models alone" in version.notes[0]
    assert "It has no signature of columns" in version.notes[1]
    world.registry.create_version(world.model, logged, key="served", tags={})
    world.registry.set_alias(world.model, CHAMPION, "2")
    (served,) = adopt(world).versions
    assert (served.outcome, served.notes[2]) == (
        "adopted",
        "Nobody scanned what it is made of: None of the files is a model. Register it again.",
    )


def test_of_two_who_adopt_at_once_one_writes_the_history(world: World) -> None:
    versions = foreign(world, 3)
    world.registry.set_alias(world.model, CHAMPION, versions[0])
    with ThreadPoolExecutor(4) as pool:
        adoptions = list(pool.map(lambda _: adopt(world, everything=True), range(4)))
    assert world.told == [("adopt", "adopted", versions[0])]
    assert sum(each.entry is not None for each in adoptions) == 1
    assert sum(list(outcomes(each).values()).count("adopted") for each in adoptions) == 3
