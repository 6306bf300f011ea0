import json
from typing import Any

import pytest

from podium import faults
from podium.clock import FakeClock
from podium.db.engine import Database
from podium.errors import NotFound
from podium.registry import store, versions
from podium.registry.entities import CHALLENGER, CHAMPION, Lineage
from podium.registry.memory_registry import MemoryRegistry
from podium.registry.model_page import model_document
from podium.registry.port import KEY_TAG
from tests.promotion_world import SAMPLE, World, estimator, evidence


@pytest.fixture
def world(database: Database, clock: FakeClock) -> World:
    return World(database, MemoryRegistry(), clock)


def outcome(world: World, run_id: str) -> str:
    with world.database.read() as connection:
        return store.run_outcome(connection, run_id)


def document(world: World, **options: Any) -> dict[str, Any]:
    with world.database.read() as connection:
        return model_document(connection, world.model, **options)


# Versions and evidence


@pytest.mark.parametrize("point", ["registry.before_attach", "registry.after_attach"])
def test_no_version_is_without_its_report(world: World, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(world.registry, MemoryRegistry)
    with monkeypatch.context() as patch:
        patch.setattr(faults, "_armed", {point: "raise"})
        with pytest.raises(faults.FaultRaised):
            world.register(key="run-1")
    assert world.registry.versions(world.model) == []
    version = world.register(key="run-1")
    assert world.registry.digest_of(version.source) == version.digest
    assert set(world.registry.attached) == {version.source}
    assert set(world.registry.attached[version.source]) == {
        f"podium/gate/{name}" for name in ("report.html", "report.md", "evidence.json")
    }


def test_a_version_carries_its_whole_lineage(world: World) -> None:
    version = world.register(month=3, key="run-1")
    assert json.loads(json.dumps(version.to_document())) == {
        "model": "flight_delay",
        "version": "1",
        "digest": world.registry.digest_of(version.source),
        "source": version.source,
        "origin": "run",
        "copied_from": None,
        "run_id": "run-1",
        "interval": {"start": "2013-03-01T00:00:00.000000Z", "end": "2013-04-01T00:00:00.000000Z"},
        "data_digest": "d" * 64,
        "code_digest": "e" * 64,
        "evidence_digest": version.evidence_digest,
    }
    tags = world.registry.get_version(world.model, "1").tags
    assert tags["podium.interval"] == "2013-03-01T00:00:00.000000Z/2013-04-01T00:00:00.000000Z"
    assert (tags["podium.run_id"], tags[KEY_TAG]) == ("run-1", "run-1/register")


def test_a_step_run_registers_one_version_however_often_it_is_tried(world: World) -> None:
    first = world.register(key="run-1")
    assert world.register(key="run-1") == first
    assert [version.version for version in world.registry.versions(world.model)] == ["1"]
    with world.database.read() as connection:
        assert store.versions_of_run(connection, "run-1") == [first]
        assert [found.digest for found in store.evidence_of_run(connection, "run-1")] == [first.evidence_digest]


def test_a_version_without_recorded_evidence_is_not_registered(world: World) -> None:
    logged = versions.upload(world.registry, estimator(), SAMPLE, model=world.model, step_key="run-1/register", tags={})
    lineage = Lineage("run-1", world.clock.now(), world.clock.now(), "d", "e", "f" * 64)
    with pytest.raises(NotFound, match=r"Evidence ffffffffffff… on a candidate for flight_delay is not on record"):
        versions.register(
            world.database,
            world.registry,
            world.clock,
            model=world.model,
            logged=logged,
            lineage=lineage,
            step_key="run-1/register",
        )
    assert world.registry.versions(world.model) == []


def test_evidence_comes_back_as_it_was_measured(world: World) -> None:
    measured = evidence(world.model, champion_version="3", verdict="failed", reasons=("AUC 0.571 < 0.580.",))
    with world.database.write() as connection:
        for _ in range(2):
            recorded = versions.record_evidence(
                connection, measured, run_id="run-1", step_key="run-1/evaluate", at=world.clock.now()
            )
        assert store.find_evidence(connection, measured.digest) == recorded
    assert type(measured).model_validate(recorded.document) == measured
    assert (recorded.champion_version, recorded.reasons) == ("3", ("AUC 0.571 < 0.580.",))


def test_a_holdout_counts_the_other_steps_that_used_it(world: World) -> None:
    def uses(step_key: str, model: str = world.model) -> int:
        with world.database.read() as connection:
            return versions.holdout_uses(connection, model, "a" * 64, step_key=step_key)

    assert uses("run-1/evaluate") == 0
    world.register(key="run-1")
    assert uses("run-1/evaluate") == 0, "a step's own lost attempt is no earlier use"
    assert uses("run-2/evaluate") == 1
    assert uses("run-2/evaluate", "other") == 0


# What a run came to


def test_an_applied_promotion_makes_a_run_promoted(world: World) -> None:
    world.promote(world.candidate(key="run-1"), run_id="run-1")
    assert outcome(world, "run-1") == "promoted"


@pytest.mark.parametrize(
    ("verdict", "expected"), [("failed", "rejected"), ("insufficient", "inconclusive"), ("passed", "none")]
)
def test_without_a_promotion_the_evidence_decides(world: World, verdict: str, expected: str) -> None:
    world.register(key="run-1", verdict=verdict)
    assert outcome(world, "run-1") == expected
    assert outcome(world, "run-2") == "none"


def test_a_promotion_refused_by_a_rule_makes_a_run_rejected(world: World) -> None:
    march = world.candidate(month=3)
    world.promote(march)
    world.promote(world.candidate(champion=march, month=2, key="run-1"), run_id="run-1")
    assert outcome(world, "run-1") == "rejected"


def test_a_champion_that_moved_leaves_a_run_inconclusive(world: World) -> None:
    (first,) = world.champions(1)
    void, swapped = world.candidate(champion=first, key="run-1"), world.candidate(champion=first, key="run-2")
    world.promote(world.candidate(champion=first))
    assert world.promote(void, run_id="run-1").state == "void"
    assert world.promote(swapped, expect=first, run_id="run-2").state == "refused"
    assert (outcome(world, "run-1"), outcome(world, "run-2")) == ("inconclusive", "inconclusive")
    with world.database.read() as connection:
        (asked,) = store.promotions_of_run(connection, "run-2")
    assert asked.lost_the_swap


# Documents


def test_a_models_versions_have_their_states(world: World, clock: FakeClock) -> None:
    first, second = world.champions(2)
    clock.advance(60)
    third = world.candidate(champion=second)
    world.promote(third)
    clock.advance(60)
    fourth = world.candidate(champion=third)
    world.rollback()
    shown = document(world, aliases={CHAMPION: second, CHALLENGER: fourth})
    assert json.loads(json.dumps(shown)) == shown
    assert (shown["name"], shown["aliases"]) == (world.model, {"champion": second, "challenger": fourth})
    found = {version["version"]: (version["state"], version["blocked"]) for version in shown["versions"]}
    assert found == {
        fourth: ("challenger", False),
        third: ("blocked", True),
        second: ("champion", False),
        first: ("retired", False),
    }
    assert [version["version"] for version in shown["versions"]][:2] == [fourth, third]


def test_without_the_registry_the_history_says_who_is_champion(world: World) -> None:
    _, second = world.champions(2)
    shown = document(world)
    assert (shown["aliases"], shown["aliases_from"]) == ({"champion": second, "challenger": None}, "history")
    with world.database.read() as connection:
        assert store.model_names(connection) == [world.model]
        assert model_document(connection, "nobody")["versions"] == []


# Many versions


@pytest.fixture
def many(world: World, clock: FakeClock) -> World:
    """Twelve versions: 1 served and was blocked, 2 served, 3 is champion, 4 challenger, 5 blocked and let in again."""
    world.champions(3)
    for _ in range(9):
        clock.advance(60)
        world.candidate(champion="3")
    world.registry.set_alias(world.model, CHALLENGER, "4")
    for version in ("1", "5"):
        world.service.block(world.model, version, actor="grace", actor_verified=False, reason="it is slow")
    world.unblock("5")
    return world


def test_of_many_versions_the_newest_the_aliased_and_the_blocked_are_shown_as_among_all(many: World) -> None:
    aliases: dict[str, str | None] = {CHAMPION: "3", CHALLENGER: "4"}
    every, some = document(many, aliases=aliases), document(many, aliases=aliases, limit=2)
    assert [each["version"] for each in every["versions"]] == [str(number) for number in range(12, 0, -1)]
    assert [each["version"] for each in some["versions"]] == ["12", "11", "4", "3", "1"]
    assert all(each in every["versions"] for each in some["versions"])
    assert (every["versions_total"], some["versions_total"]) == (12, 12)
    states = [each["state"] for each in some["versions"]]
    assert states == ["registered", "registered", "challenger", "champion", "blocked"]
    assert document(many, limit=12) == document(many)


def test_a_former_champion_among_the_newest_is_retired(many: World) -> None:
    for _ in range(40):  # so many that the last move lies further back than the history is read at first
        many.promote("7", expect="nobody")
    states = {each["version"]: each["state"] for each in document(many, limit=11)["versions"]}
    assert (states["2"], states["3"], states["7"]) == ("retired", "champion", "registered")


def test_the_newest_version_besides_the_champion(many: World) -> None:
    def newest(besides: str | None) -> str | None:
        with many.database.read() as connection:
            return store.newest_version(connection, many.model, besides=besides)

    assert (newest(None), newest("3"), newest("12")) == ("12", "12", "11")
    with many.database.read() as connection:
        assert store.newest_version(connection, "nobody", besides=None) is None
        assert (store.is_known(connection, many.model), store.is_known(connection, "nobody")) == (True, False)
