"""Sign-off: who may agree, to what exactly, until when, and what moves the champion."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from podium.clock import FakeClock
from podium.db.engine import Database
from podium.db.schema import approval, promotion, promotion_history
from podium.errors import ConfigurationError, NotFound, PromotionOpen, Refused
from podium.registry import promotion_documents
from podium.registry.approval import ApprovalRule
from podium.registry.entities import CHAMPION, Promotion
from podium.registry.in_force import PolicyInForce
from podium.registry.memory_registry import MemoryRegistry
from podium.registry.policy import GatePolicy
from podium.registry.promotion import ANY
from tests.promotion_world import World


@dataclass
class SignedWorld(World):
    """A model whose promotions need two approvals of three people; ada asks."""

    rule: ApprovalRule | None = field(default_factory=lambda: ApprovalRule(2, ("Bo", "cy", "di"), timedelta(days=7)))
    policy: GatePolicy = field(default_factory=GatePolicy)

    def __post_init__(self) -> None:
        self.approval_rule = lambda _: self.rule
        self.in_force = lambda _: PolicyInForce("gates/m.yaml", self.policy)

    def ungoverned(self, count: int) -> list[str]:
        """Let versions become champion that nobody had to sign off."""
        rule, self.rule = self.rule, None
        made = self.champions(count)
        self.rule = rule
        return made

    def approve(self, promotion: Promotion, actor: str) -> Promotion:
        return self.service.approve(
            promotion.promotion_id, actor=actor, actor_verified=False, reason=f"{actor} has looked"
        )

    def reject(self, promotion: Promotion, actor: str) -> Promotion:
        return self.service.reject(promotion.promotion_id, actor=actor, actor_verified=False, reason="too soon")


@pytest.fixture
def world(database: Database, clock: FakeClock) -> SignedWorld:
    return SignedWorld(database, MemoryRegistry(), clock)


@pytest.fixture
def waiting(world: SignedWorld) -> Promotion:
    """A promotion to version 2 that awaits approval; version 1 is champion."""
    (first,) = world.ungoverned(1)
    asked = world.promote(world.candidate(champion=first, policy_source="file"))
    assert (asked.state, world.champion) == ("awaiting_approval", first)
    return asked


def test_the_last_approval_that_is_needed_moves_the_champion(world: SignedWorld, waiting: Promotion) -> None:
    assert world.approve(waiting, "bo ").state == "awaiting_approval"
    assert world.champion == "1"
    applied = world.approve(waiting, "CY")
    assert (applied.state, world.champion) == ("applied", "2")
    assert world.told[1:] == [
        ("promote", "proposed", "2"),
        ("approve", "approved", "2"),
        ("approve", "approved", "2"),
        ("promote", "applied", "2"),
    ]
    assert set(world.history[-1].approvers) == {"bo ", "CY"}
    assert world.verify().ok


def test_the_same_request_gets_the_promotion_that_waits(world: SignedWorld) -> None:
    version = world.candidate()
    first = world.promote(version, key="once")
    assert world.promote(version, key="once") == first
    assert len(world.history) == 1


def test_a_promotion_that_the_rules_refuse_asks_nobody(world: SignedWorld) -> None:
    refused = world.promote(world.candidate(verdict="failed"))
    assert (refused.state, refused.approvals_required) == ("refused", 0)


@pytest.mark.parametrize(
    ("actor", "words"),
    [
        ("ada", "asked for promotion"),
        (" ADA", "so has no say in it. The approvers are Bo, cy, di."),
        ("eve", "eve is none of the approvers of flight_delay"),
    ],
)
def test_some_have_no_say(world: SignedWorld, waiting: Promotion, actor: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        world.approve(waiting, actor)
    assert world.told[-1] == ("promote", "proposed", "2")


def test_a_promotion_that_too_few_others_could_approve_is_refused(world: SignedWorld) -> None:
    world.rule = ApprovalRule(2, ("Ada ", "bo"))
    refused = world.promote(world.candidate())
    assert refused.state == "refused"
    assert "has no say in it: 1 < 2 are left" in refused.reasons[0]
    assert world.promote(world.candidate(), actor="cy").state == "awaiting_approval"


def test_nobody_agrees_twice(world: SignedWorld, waiting: Promotion) -> None:
    world.approve(waiting, "bo")
    with pytest.raises(Refused, match=r"[Bb]o approved promotion .* already, at 20"):
        world.approve(waiting, "Bo")
    assert world.champion == "1"


def test_without_names_anybody_but_the_requester_may_approve(world: SignedWorld) -> None:
    world.rule = ApprovalRule(1)
    asked = world.promote(world.candidate())
    with pytest.raises(Refused, match="Anybody else may approve it"):
        world.approve(asked, "ada")
    assert world.approve(asked, "whoever").applied


def test_one_rejection_ends_it_and_the_requester_may_take_it_back(world: SignedWorld, waiting: Promotion) -> None:
    world.approve(waiting, "bo")
    ended = world.reject(waiting, "di")
    assert (ended.state, ended.reasons) == ("refused", ("di rejected it: too soon",))
    with pytest.raises(Refused, match="awaits no approval: it was refused"):
        world.approve(waiting, "cy")
    again = world.promote("2")
    assert world.reject(again, "ada").state == "refused"
    assert world.champion == "1"
    assert world.verify().ok


def test_who_is_no_approver_rejects_nothing(world: SignedWorld, waiting: Promotion) -> None:
    with pytest.raises(Refused, match="none of the approvers"):
        world.reject(waiting, "eve")


def test_it_expires(world: SignedWorld, waiting: Promotion, clock: FakeClock) -> None:
    world.approve(waiting, "bo")
    clock.advance(7 * 86_400)
    ended = world.approve(waiting, "cy")
    assert ended.state == "void"
    assert "expired" in ended.reasons[0]
    assert world.champion == "1"


def test_what_nobody_touches_expires_all_the_same(world: SignedWorld, waiting: Promotion, clock: FakeClock) -> None:
    assert world.service.look_at(world.model) is None
    clock.advance(7 * 86_400)
    ended = world.service.look_at(world.model)
    assert ended is not None
    assert (ended.promotion_id, ended.state) == (waiting.promotion_id, "void")
    assert world.service.look_at(world.model) is None


def _swap_files(world: SignedWorld) -> None:
    registry = world.registry
    assert isinstance(registry, MemoryRegistry)
    registry.stored[registry.get_version(world.model, "2").source]["extra"] = b"other bytes"


def _change_policy(world: SignedWorld) -> None:
    world.policy = GatePolicy(mode="refresh", minimum_rows=500)


def _change_rule(world: SignedWorld) -> None:
    world.rule = ApprovalRule(1, ("Bo",))


def _block(world: SignedWorld) -> None:
    world.service.block(world.model, "2", actor="grace", actor_verified=False, reason="it is the feed")


def _move_champion(world: SignedWorld) -> None:
    world.registry.set_alias(world.model, CHAMPION, "2")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_swap_files, "is damaged"),
        (
            _change_policy,
            "Version 2 of flight_delay was judged by gates/m.yaml as it was, and mode, minimum_rows changed",
        ),
        (
            _change_rule,
            "The rule of who approves (was 2 of bo, cy, di within 7 d, is 1 of bo within 7 d) changed since",
        ),
        (_block, "is blocked since"),
        (_move_champion, "is version 2, not version 1"),
    ],
)
def test_whatever_changes_makes_it_void(
    world: SignedWorld, waiting: Promotion, change: Callable[[SignedWorld], None], words: str
) -> None:
    world.approve(waiting, "bo")
    change(world)
    ended = world.approve(waiting, "cy")
    assert ended.state == "void"
    assert words in ended.reasons[0]
    assert world.told[-1] == ("promote", "void", "2")
    assert world.verify().ok


def test_what_was_asked_before_its_parts_were_kept_is_void_by_its_digest(
    world: SignedWorld, waiting: Promotion
) -> None:
    with world.database.write() as connection:
        connection.execute(sa.update(promotion).values(binding=None))
    assert world.approve(waiting, "bo").awaits_approval
    _change_rule(world)
    ended = world.approve(waiting, "cy")
    assert ended.state == "void"
    assert ended.reasons[0].startswith("The version's files or evidence, or the rule of who approves changed since")


def test_a_rejection_ends_it_whatever_has_become_of_it(world: SignedWorld, waiting: Promotion) -> None:
    def broken(_: str) -> PolicyInForce:
        raise ConfigurationError("The gate policy gates/m.yaml is empty.")

    world.in_force = broken
    with pytest.raises(ConfigurationError):
        world.approve(waiting, "bo")
    assert world.reject(waiting, "bo").state == "refused"


@pytest.mark.parametrize(
    ("change", "holds", "words"),
    [
        (lambda _: None, True, None),
        (_change_rule, False, "The rule of who approves"),
        (_block, False, "is blocked since"),
        (_move_champion, False, "is version 2, not version 1"),
        (_swap_files, False, "is damaged"),
    ],
)
def test_whether_it_still_holds_is_told_before_anybody_decides(
    world: SignedWorld,
    waiting: Promotion,
    change: Callable[[SignedWorld], None],
    holds: bool | None,
    words: str | None,
) -> None:
    change(world)
    binding = shown(world, waiting)["binding"]
    assert binding["still_holds"] is holds
    assert binding["objection"] is None if words is None else words in binding["objection"]
    assert ("promote", "void", "2") not in world.told, "it was looked at, and not ended"


def test_that_it_expired_is_told_before_anybody_decides(
    world: SignedWorld, waiting: Promotion, clock: FakeClock
) -> None:
    clock.advance(8 * 86_400)
    binding = shown(world, waiting)["binding"]
    assert (binding["still_holds"], "expired" in binding["objection"]) == (False, True)


def test_without_the_gate_s_file_nobody_can_tell_and_all_else_is_shown(world: SignedWorld, waiting: Promotion) -> None:
    def broken(_: str) -> PolicyInForce:
        raise ConfigurationError("The gate policy gates/m.yaml is empty.")

    world.in_force = broken
    document = shown(world, waiting)
    assert document["may_approve"] == ["Bo", "cy", "di"]
    assert document["binding"] == {
        "digest": waiting.binding_digest,
        "model_digest": world.registry.digest_of(world.registry.get_version(world.model, "2").source),
        "evidence_digest": waiting.evidence_digest,
        "policy_digest": GatePolicy().digest,
        "expected_champion": "1",
        "still_holds": None,
        "objection": "The gate policy gates/m.yaml is empty.",
    }


def shown(world: SignedWorld, promotion: Promotion) -> dict[str, Any]:
    return promotion_documents.show(
        world.database, promotion.promotion_id, approval_rule=world.approval_rule, doubt=world.service.doubt
    )


def test_a_run_asks_again_later_instead_of_being_refused(world: SignedWorld, waiting: Promotion) -> None:
    version = world.candidate(champion="1")
    with pytest.raises(
        PromotionOpen, match=rf"Promotion {waiting.promotion_id} of flight_delay to version 2, asked for"
    ):
        world.promote(version, run_id="run-9", key="run-9/promote")
    assert world.service.answer_to("run-9/promote") is None
    world.reject(waiting, "bo")
    assert world.promote(version, run_id="run-9", key="run-9/promote").awaits_approval


def test_another_promotion_has_to_wait_and_is_told_for_what(world: SignedWorld, waiting: Promotion) -> None:
    refused = world.promote(world.candidate(champion="1"))
    assert refused.state == "refused"
    assert f"`podium approve {waiting.promotion_id} --reason TEXT`, by bo or cy or di." in refused.reasons[0]
    assert "asked for by ada" in refused.reasons[0]


def test_a_rollback_waits_for_nobody(world: SignedWorld) -> None:
    first, second = world.ungoverned(2)
    waiting = world.promote(world.candidate(champion=second))
    assert world.rollback().applied
    assert world.champion == first
    assert ("promote", "void", waiting.to_version) in world.told
    with pytest.raises(Refused, match="awaits no approval: it is void"):
        world.approve(waiting, "bo")
    assert world.verify().ok


def test_a_rollback_does_not_even_ask_what_is_in_force(database: Database, clock: FakeClock) -> None:
    world = World(database, MemoryRegistry(), clock)
    first, second = world.champions(2)
    world.approval_rule = lambda _: ApprovalRule(1)
    asked = world.promote(world.candidate(champion=second))

    def broken(_: str) -> ApprovalRule:
        raise ConfigurationError("The gate policy gates/m.yaml is empty.")

    world.approval_rule = broken
    with pytest.raises(ConfigurationError):
        world.approved_by(asked.promotion_id, "bo")
    assert world.rollback().applied
    assert world.champion == first


def test_runs_may_be_let_pass(world: SignedWorld) -> None:
    world.rule = ApprovalRule(1, runs=False)
    assert world.promote(world.candidate(), run_id="run-1").applied


def test_an_unknown_promotion_is_said_to_be_so(world: SignedWorld) -> None:
    with pytest.raises(NotFound, match="There is no promotion 'nothing'"):
        world.service.approve("nothing", actor="bo", actor_verified=False, reason="yes")


def test_an_approval_that_the_history_does_not_tell_of_is_found(world: SignedWorld, waiting: Promotion) -> None:
    world.approve(waiting, "bo")
    with world.database.write() as connection:
        connection.execute(sa.delete(promotion_history).where(promotion_history.c.action == "approve"))
    found = world.verify()
    assert (found.ok, found.first_bad) == (False, 3)
    assert found.problem is not None
    assert "that bo approved promotion" in found.problem


def test_a_proposal_that_was_cut_off_is_found(world: SignedWorld, waiting: Promotion) -> None:
    with world.database.write() as connection:
        last = sa.select(sa.func.max(promotion_history.c.id)).scalar_subquery()
        connection.execute(sa.delete(promotion_history).where(promotion_history.c.id == last))
    found = world.verify()
    assert not found.ok
    assert f"No entry tells that ada proposed promotion {waiting.promotion_id}" in str(found.problem)


def test_an_approval_that_nobody_gave_is_found(world: SignedWorld, waiting: Promotion) -> None:
    world.approve(waiting, "bo")
    with world.database.write() as connection:
        connection.execute(sa.delete(approval))
    found = world.verify()
    assert (found.ok, found.first_bad) == (False, 3)


def test_what_a_dead_process_had_left_of_a_decision_is_completed(
    world: SignedWorld, waiting: Promotion, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.approve(waiting, "bo")
    with monkeypatch.context() as patch:
        patch.setattr("podium.registry.signing.faults.reach", _die)
        with pytest.raises(KeyboardInterrupt):
            world.approve(waiting, "cy")
    assert world.champion == "1"
    completed = world.service.reconcile(world.model)
    assert completed is not None
    assert (completed.state, world.champion) == ("applied", "2")


@pytest.mark.parametrize(("change", "words"), [(_swap_files, "is damaged"), (_block, "is blocked since")])
def test_what_a_dead_process_had_not_begun_to_move_is_looked_at_once_more(
    world: SignedWorld,
    waiting: Promotion,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[SignedWorld], None],
    words: str,
) -> None:
    world.approve(waiting, "bo")
    with monkeypatch.context() as patch:
        patch.setattr("podium.registry.signing.faults.reach", _die)
        with pytest.raises(KeyboardInterrupt):
            world.approve(waiting, "cy")
    change(world)
    ended = world.service.reconcile(world.model)
    assert ended is not None
    assert (ended.state, world.champion) == ("void", "1")
    assert words in ended.reasons[0]


def test_what_a_run_left_that_is_over_is_not_completed(world: SignedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.rule = None
    version = world.candidate()
    with monkeypatch.context() as patch:
        patch.setattr("podium.registry.moving.faults.reach", _die_at_intent)
        with pytest.raises(KeyboardInterrupt):
            world.promote(version, run_id="run-9")
    world.run_is_open = lambda _: False
    ended = world.service.reconcile(world.model)
    assert ended is not None
    assert (ended.state, world.champion) == ("void", None)
    assert "Run run-9, which asked for it, has ended without it." in ended.reasons[0]


def test_what_a_dead_process_had_left_of_a_rejection_is_completed(
    world: SignedWorld, waiting: Promotion, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("podium.registry.signing.faults.reach", _die)
        with pytest.raises(KeyboardInterrupt):
            world.reject(waiting, "bo")
    assert world.approve(waiting, "cy").state == "refused"
    assert world.verify().ok


def _die(point: str) -> None:
    if point == "promotion.after_decision":
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["José", "JOSE\u0301", "jos\u200bé", " ｊｏｓé"])
def test_one_person_has_one_say_however_the_name_is_written(world: SignedWorld, name: str) -> None:
    world.rule = ApprovalRule(2)
    asked = world.service.promote(
        world.model,
        world.candidate(),
        expect_champion=ANY,
        idempotency_key="asked",
        actor="josé",
        actor_verified=False,
        reason="monthly",
    )
    with pytest.raises(Refused, match="so has no say in it"):
        world.approve(asked, name)


def test_a_rollback_does_not_first_complete_what_a_dead_process_began(
    world: SignedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = world.ungoverned(2)
    world.rule = None
    third = world.candidate(champion=second)
    with monkeypatch.context() as patch:
        patch.setattr("podium.registry.moving.faults.reach", _die_at_intent)
        with pytest.raises(KeyboardInterrupt):
            world.promote(third)
    rolled_back = world.rollback(expect=second)
    assert (rolled_back.state, world.champion) == ("applied", first)
    assert [told for told in world.told if told[2] == third] == [("promote", "void", third)]
    assert world.service.blocked(world.model) == {second}
    assert world.verify().ok


def _die_at_intent(point: str) -> None:
    if point == "promotion.after_intent":
        raise KeyboardInterrupt
