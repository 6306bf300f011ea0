import json

import pytest
import sqlalchemy as sa
from sklearn.dummy import DummyClassifier

from podium.clock import FakeClock
from podium.db.engine import Database
from podium.db.schema import promotion_history
from podium.errors import ChampionMoved, NotFound, Refused, ServiceUnavailable, UsageError
from podium.registry import model_files, store
from podium.registry.entities import CHAMPION, Promotion
from podium.registry.load_report import LoadMemory
from podium.registry.memory_registry import MemoryRegistry
from podium.registry.promotion import ANY
from tests.promotion_world import SAMPLE, World, estimator


@pytest.fixture
def world(database: Database, clock: FakeClock) -> World:
    return World(database, MemoryRegistry(), clock)


def assert_stayed(world: World, promotion: Promotion, champion: str | None, *words: str) -> None:
    """The alias did not move, and the promotion, its error and the history all say why."""
    assert not promotion.applied
    assert world.champion == promotion.champion == champion
    (reason,) = promotion.reasons
    for word in words:
        assert word in reason
    with pytest.raises(Refused) as caught:
        promotion.raise_unless_applied()
    assert reason in str(caught.value)
    last = world.history[-1]
    assert (last.state, last.promotion_id) == (promotion.state, promotion.promotion_id)
    assert reason in last.reason
    assert world.verify().ok


# Promotion


def test_the_first_model_becomes_champion(world: World) -> None:
    version = world.candidate()
    promotion = world.promote(version, expect=None)
    assert promotion.raise_unless_applied() is promotion
    assert world.champion == version == promotion.champion
    assert (promotion.from_version, promotion.state, promotion.reasons) == (None, "applied", ())
    (entry,) = world.history
    assert (entry.action, entry.state, entry.from_version, entry.to_version) == (
        "promote",
        "applied",
        None,
        version,
    )
    assert (entry.actor, entry.actor_verified, entry.reason) == ("ada", False, "monthly retraining")
    assert entry.evidence_digest == promotion.evidence_digest is not None
    assert world.verify().ok


def test_a_challenger_replaces_the_champion_it_was_judged_against(world: World) -> None:
    first = world.candidate()
    world.promote(first)
    second = world.candidate(champion=first, month=2)
    promotion = world.promote(second, expect=first, run_id="r2")
    assert (promotion.from_version, promotion.champion) == (first, second)
    assert world.champion == second


def test_a_promotion_has_the_interfaces_names(world: World) -> None:
    document = world.promote(world.candidate()).to_document()
    assert json.loads(json.dumps(document)) == document
    names = {"promotion_id", "state", "model", "from_version", "to_version", "champion", "reasons"}
    assert document.keys() >= names


def test_the_same_key_is_the_same_promotion(world: World, clock: FakeClock) -> None:
    version = world.candidate()
    promotion = world.promote(version, key="step-7")
    clock.advance(60)
    assert world.promote(version, key="step-7") == promotion
    assert len(world.history) == 1
    refused = world.promote(version, key="step-8")
    assert refused.state == "refused"
    assert world.promote(version, key="step-8") == refused
    assert len(world.history) == 2


def test_a_key_is_not_lent_to_another_version(world: World) -> None:
    first, second = world.candidate(), world.candidate()
    world.promote(first, key="step-7")
    with pytest.raises(UsageError, match="'step-7' belongs to the promote of flight_delay to version 1"):
        world.promote(second, key="step-7")


def test_an_unexpected_champion_refuses_and_names_who_moved_it(world: World, clock: FakeClock) -> None:
    first, second = world.champions(2)
    third = world.candidate(champion=second)
    clock.advance(3600)
    promotion = world.promote(third, expect=first)
    assert promotion.state == "refused"
    assert_stayed(
        world,
        promotion,
        second,
        f"is version {second}, not version {first} as expected",
        f"ada promoted version {second} at 2013-03-01T00:00:00.000000Z (monthly retraining)",
    )
    with pytest.raises(ChampionMoved):
        promotion.raise_unless_applied()


def test_expecting_no_champion_is_not_expecting_any(world: World) -> None:
    (first,) = world.champions(1)
    promotion = world.promote(world.candidate(champion=first), expect=None)
    assert_stayed(world, promotion, first, f"is version {first}, not no version as expected")


def test_a_move_outside_podium_is_noticed(world: World) -> None:
    first, second = world.champions(2)
    third = world.candidate(champion=second)
    world.registry.set_alias(world.model, CHAMPION, first)
    assert_stayed(world, world.promote(third, expect=second), first, "outside Podium")
    assert_stayed(world, world.promote(third), first, "judged against version 2", "outside Podium", "Judge it again")


def test_evidence_against_another_champion_is_void(world: World) -> None:
    (first,) = world.champions(1)
    slow, quick = world.candidate(champion=first), world.candidate(champion=first)
    world.promote(quick)
    promotion = world.promote(slow)
    assert promotion.state == "void"
    assert_stayed(
        world, promotion, quick, f"judged against version {first}", f"champion is version {quick}", "ada promoted"
    )


def test_evidence_of_a_first_model_is_void_once_there_is_a_champion(world: World) -> None:
    late = world.candidate()
    (first,) = world.champions(1)
    promotion = world.promote(late)
    assert promotion.state == "void"
    assert_stayed(world, promotion, first, "judged against no version")


@pytest.mark.parametrize("verdict", ["failed", "insufficient"])
def test_the_gates_verdict_is_kept(world: World, verdict: str) -> None:
    version = world.candidate(verdict=verdict, reasons=("AUC 0.571 < 0.580 required.",))
    promotion = world.promote(version)
    assert promotion.state == "refused"
    assert_stayed(world, promotion, None, f"is {verdict}", "AUC 0.571 < 0.580 required.")


def test_a_version_without_evidence_is_refused(world: World) -> None:
    version = _by_hand(world)
    assert_stayed(world, world.promote(version), None, "No evidence is stored for version 1")


def test_a_version_that_exists_nowhere_is_not_found(world: World) -> None:
    with pytest.raises(NotFound, match="version 4 of model flight_delay"):
        world.promote("4")
    assert world.history == []


def test_the_champion_is_not_promoted_again(world: World) -> None:
    (first,) = world.champions(1)
    promotion = world.promote(first)
    assert promotion.state == "refused"
    assert_stayed(world, promotion, first, "is champion of flight_delay already")


def test_a_run_of_an_older_interval_does_not_promote_but_a_person_may(world: World) -> None:
    march = world.candidate(month=3)
    world.promote(march)
    february = world.candidate(champion=march, month=2)
    promotion = world.promote(february, run_id="backfill")
    assert promotion.state == "refused"
    assert_stayed(
        world, promotion, march, "2013-03-01T00:00:00.000000Z < 2013-04-01T00:00:00.000000Z", "podium promote"
    )
    assert world.promote(february).applied


def test_a_run_does_not_replace_a_champion_whose_interval_nobody_knows(world: World) -> None:
    (first,) = world.champions(1)
    foreign = _by_hand(world)
    world.registry.set_alias(world.model, CHAMPION, foreign)
    candidate = world.candidate(champion=foreign)
    assert_stayed(world, world.promote(candidate, run_id="r9"), foreign, "was not registered by Podium")
    assert world.promote(candidate).applied
    assert world.rollback(to=first).applied


def test_damaged_files_do_not_become_champion(world: World) -> None:
    version = world.register()
    _damage(world, version.source)
    assert_stayed(world, world.promote(version.version), None, "is damaged", "digest")


def test_files_that_are_gone_do_not_become_champion(world: World) -> None:
    version = world.register()
    _memory(world).stored.pop(version.source)
    assert_stayed(world, world.promote(version.version), None, "No model files are stored")


# Rollback


def test_a_rollback_leads_to_the_last_champion_and_blocks_the_one_it_left(world: World) -> None:
    _, second, third = world.champions(3)
    promotion = world.rollback()
    assert promotion.applied
    assert (promotion.from_version, promotion.to_version, world.champion) == (third, second, second)
    assert world.told[-2:] == [("rollback", "applied", second), ("block", "blocked", third)]
    assert world.service.blocked(world.model) == {third}
    assert world.verify().ok


@pytest.mark.parametrize(("rows", "found"), [(1, 5), (2, 4)])
def test_a_block_cut_off_the_history_is_noticed(world: World, rows: int, found: int) -> None:
    world.champions(3)
    world.rollback()
    _cut(world, rows)
    verification = world.verify()
    assert (verification.ok, verification.first_bad) == (False, found)


def test_an_unblock_cut_off_the_history_blocks_again(world: World) -> None:
    _, second = world.champions(2)
    world.rollback()
    world.unblock(second)
    _cut(world, 1)
    assert world.verify().ok
    assert world.service.blocked(world.model) == {second}
    _cut(world, 1)
    assert "blocked version 2: it was cut off" in str(world.verify().problem)


def test_a_second_rollback_leads_further_back_not_forth(world: World) -> None:
    first, second, third = world.champions(3)
    world.rollback()
    assert world.rollback().to_version == first
    assert world.service.blocked(world.model) == {second, third}
    with pytest.raises(NotFound, match="no champion before version 1 to roll back to that is not blocked"):
        world.rollback()


def test_a_rollback_after_one_that_skipped_a_champion_does_not_lead_to_the_skipped_one(world: World) -> None:
    first, second, _ = world.champions(3)
    world.rollback(to=first)
    with pytest.raises(NotFound, match="no champion before version 1 to roll back to"):
        world.rollback()
    assert world.champion == first
    assert world.rollback(to=second).applied, "a person who names it may"


def test_a_champion_that_came_back_rolls_back_to_the_one_before_its_first_time(world: World) -> None:
    first, second, third = world.champions(3)
    world.rollback()
    world.unblock(third)
    world.rollback(to=third)
    world.unblock(second)
    assert world.rollback().to_version == second
    assert world.rollback().to_version == first


def test_a_champion_set_outside_podium_rolls_back_to_the_last_one_of_the_history(world: World) -> None:
    _, second = world.champions(2)
    world.registry.set_alias(world.model, CHAMPION, _by_hand(world))
    assert world.rollback().to_version == second


def test_a_blocked_version_waits_for_its_unblock(world: World) -> None:
    first, second = world.champions(2)
    world.rollback()
    assert_stayed(
        world,
        world.promote(second),
        first,
        "is blocked since ",
        "complaints from the desk",
        "podium models unblock flight_delay --version 2",
    )
    assert_stayed(world, world.rollback(to=second), first, "is blocked")
    entry = world.unblock(second)
    assert (entry.state, entry.to_version, entry.reason) == ("unblocked", second, "it was the feed")
    assert world.service.blocked(world.model) == set()
    with pytest.raises(NotFound, match="is not blocked"):
        world.unblock(second)
    assert world.rollback(to=second).applied


def test_a_rollback_compares_and_swaps_too(world: World) -> None:
    first, second = world.champions(2)
    assert_stayed(world, world.rollback(expect=first), second, "not version 1 as expected")
    assert world.rollback(expect=second).applied


def test_a_rollback_goes_only_where_a_champion_was(world: World) -> None:
    _, second = world.champions(2)
    never = world.candidate(champion=second)
    assert_stayed(world, world.rollback(to=never), second, "was never champion (these were: 1, 2)")
    assert_stayed(world, world.rollback(to=second), second, "is champion of flight_delay already")


def test_a_rollback_checks_its_target_first(world: World) -> None:
    first = world.register()
    world.promote(first.version)
    second = world.candidate(champion=first.version)
    world.promote(second)
    _damage(world, first.source)
    assert_stayed(world, world.rollback(), second, "Version 1 of flight_delay is damaged")
    _memory(world).stored.pop(first.source)
    assert_stayed(world, world.rollback(), second, "No model files are stored")


def test_a_rollback_checks_that_its_target_loads(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = world.champions(2)
    monkeypatch.setattr(LoadMemory, "find", lambda *_: None)

    def broken(*_: object, **__: object) -> None:
        raise Refused("The model at here is not loaded: its pickle is dangerous.")

    asked: list[bool] = []

    def load(*_: object, own_code: bool, **__: object) -> DummyClassifier:
        asked.append(own_code)
        return estimator()

    with monkeypatch.context() as patch:
        patch.setattr(model_files, "load_bytes", broken)
        assert_stayed(
            world, world.rollback(), second, f"Version {first} of flight_delay may not be loaded", "dangerous"
        )
    monkeypatch.setattr(model_files, "load_bytes", load)
    assert world.rollback().applied
    assert asked == [True], "a run made it, so its code may come with it"


def test_a_model_without_champions_has_nothing_to_roll_back_to(world: World) -> None:
    with pytest.raises(NotFound, match="flight_delay has no champion to roll back to"):
        world.rollback()


def test_a_rollback_under_the_same_key_is_the_same_rollback(world: World) -> None:
    world.champions(3)
    promotion = world.rollback(key="now")
    assert world.rollback(key="now") == promotion
    assert world.champion == "2"


# What MLflow does meanwhile


class Stubborn(MemoryRegistry):
    """A registry that says yes and does nothing."""

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Accept."""


class Contested(MemoryRegistry):
    """A registry in which somebody else moves the alias right after Podium."""

    intruder: str | None = None

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Point the alias elsewhere."""
        super().set_alias(model, alias, self.intruder or version)


def test_an_alias_that_does_not_move_is_not_success(database: Database, clock: FakeClock) -> None:
    world = World(database, Stubborn(), clock)
    version = world.candidate()
    with pytest.raises(ServiceUnavailable, match=r"accepted version 1 as champion .* still shows none"):
        world.promote(version)
    assert world.history == []
    with database.read() as connection:
        assert store.open_promotion(connection, world.model) is not None


def test_a_champion_moved_by_somebody_else_meanwhile_makes_it_void(database: Database, clock: FakeClock) -> None:
    registry = Contested()
    world = World(database, registry, clock)
    first, second = world.champions(2)
    third = world.candidate(champion=second)
    registry.intruder = first
    promotion = world.promote(third)
    assert (promotion.state, world.champion) == ("void", first)
    assert "moved to version 1 outside Podium while on its way from version 2 to version 3" in promotion.reasons[0]
    assert world.verify().ok


# An intent left by a dead process


@pytest.fixture
def left(world: World, monkeypatch: pytest.MonkeyPatch) -> str:
    """A champion, and a promotion to the returned version whose process died before it moved the alias."""
    (first,) = world.champions(1)
    second = world.candidate(champion=first)
    with monkeypatch.context() as patch:
        patch.setattr(world.registry, "set_alias", _die)
        with pytest.raises(KeyboardInterrupt):
            world.promote(second, key="dead")
    assert world.champion == first
    return second


def _die(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_an_intent_left_open_is_completed(world: World, left: str) -> None:
    promotion = world.service.reconcile(world.model)
    assert promotion is not None
    assert promotion.applied
    assert world.champion == left
    assert world.told == [("promote", "applied", "1"), ("promote", "applied", left)]
    assert world.service.reconcile(world.model) is None
    assert world.verify().ok


def test_an_intent_whose_alias_was_moved_elsewhere_is_void(world: World, left: str) -> None:
    third = world.candidate(champion="1")
    world.registry.set_alias(world.model, CHAMPION, third)
    promotion = world.service.reconcile(world.model)
    assert promotion is not None
    assert promotion.state == "void"
    assert world.champion == third
    assert "outside Podium" in world.history[-1].reason


def test_an_intent_whose_target_was_deleted_is_void_and_frees_the_model(
    world: World, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = world.registry.versions
    monkeypatch.setattr(
        world.registry, "versions", lambda model: [each for each in every(model) if each.version != left]
    )
    third = world.candidate(champion="1")
    assert world.promote(third).applied
    ended = world.promote(left, key="dead")
    assert (ended.state, ended.to_version) == ("void", left)
    assert f"The registry has no version {left} of model flight_delay." in ended.reasons[0]
    assert world.told[-2:] == [("promote", "void", left), ("promote", "applied", third)]
    assert world.verify().ok


def test_the_next_request_first_ends_what_was_left_open(world: World, left: str) -> None:
    third = world.candidate(champion="1")
    promotion = world.promote(third, expect="1")
    assert_stayed(world, promotion, left, "ada promoted version 2")


def _memory(world: World) -> MemoryRegistry:
    assert isinstance(world.registry, MemoryRegistry)
    return world.registry


def _cut(world: World, rows: int) -> None:
    """Delete the last rows of the history, as somebody with the database's password could."""
    kept = len(world.history) - rows
    with world.database.write() as connection:
        connection.execute(sa.delete(promotion_history).where(promotion_history.c.id > kept))


def _damage(world: World, source: str) -> None:
    files = _memory(world).stored[source]
    files["requirements.txt"] += b"#"


def _by_hand(world: World) -> str:
    """Register a version as somebody would who does not use Podium."""
    logged = world.registry.log_model(
        estimator(),
        SAMPLE,
        model=world.model,
        key="by hand",
        requirements=("scikit-learn==1.9.1",),
        tags={},
    )
    return world.registry.create_version(world.model, logged, key="by hand", tags={})


def test_any_expects_whatever_there_is(world: World) -> None:
    _, second = world.champions(2)
    assert world.promote(world.candidate(champion=second), expect=ANY).expected_version == second
