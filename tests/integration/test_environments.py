"""A version on its way from dev to prod: the gate of each environment, copies without uploads, crashes, damage."""

import importlib
import linecache
import sys
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from podium import faults
from podium.clock import FakeClock
from podium.db.engine import Database
from podium.db.schema import evidence
from podium.errors import EvaluationError, NotFound, Refused, UsageError
from podium.registry import store
from podium.registry.approval import ApprovalRule
from podium.registry.entities import CHAMPION, LoggedModel
from podium.registry.evidence import DataCheck
from podium.registry.memory_registry import MemoryRegistry
from podium.registry.policy import GatePolicy
from tests.environments_world import HOLDOUT, POLICY, Environments


class CountingRegistry(MemoryRegistry):
    """Counts uploads, lets a test act right after a version was made, and gives the digests that it was told first."""

    def __init__(self) -> None:
        super().__init__()
        self.uploads = 0
        self.digests: list[str] = []
        self.after_version: Callable[[], None] = lambda: None

    def log_model(self, *arguments: Any, **options: Any) -> LoggedModel:
        self.uploads += 1
        return super().log_model(*arguments, **options)

    def create_version(self, *arguments: Any, **options: Any) -> str:
        version = super().create_version(*arguments, **options)
        self.after_version()
        return version

    def digest_of(self, source: str) -> str:
        return self.digests.pop() if self.digests else super().digest_of(source)

    def damage(self, source: str) -> None:
        self.stored[source]["requirements.txt"] += b"\nmalware==1.0"


@pytest.fixture
def registry() -> CountingRegistry:
    return CountingRegistry()


@pytest.fixture
def world(database: Database, registry: CountingRegistry, clock: FakeClock) -> Environments:
    return Environments(database, registry, clock)


def evidence_of(world: Environments, environment: str) -> list[tuple[str, str | None, int]]:
    """Verdict, champion and earlier uses of the rows of all evidence on candidates of an environment, by the uses."""
    query = sa.select(evidence.c.digest).where(evidence.c.model == world.name(environment))
    with world.database.read() as connection:
        found = [store.find_evidence(connection, digest) for digest in connection.scalars(query).all()]
    told = [(each.verdict, each.champion_version, each.document["holdout_uses"]) for each in found if each]
    return sorted(told, key=lambda each: each[2])


# The way


def test_a_champion_goes_all_the_way_as_the_same_files(world: Environments, registry: CountingRegistry) -> None:
    version = world.serve()
    first = world.advance("dev", version).raise_unless_applied()
    second = world.advance("staging", world.champion("staging") or "").raise_unless_applied()
    assert [world.champion(each) for each in ("dev", "staging", "prod")] == [version, "1", "1"]
    origin, staging, prod = world.version("dev", version), world.version("staging", "1"), world.version("prod", "1")
    assert origin.digest == staging.digest == prod.digest
    assert origin.source == staging.source == prod.source
    assert registry.uploads == 1
    assert (staging.origin, staging.copied_from) == ("copied", ("dev.flight_delay", version))
    assert (prod.origin, prod.copied_from) == ("copied", ("staging.flight_delay", "1"))
    assert staging.run_id == prod.run_id == origin.run_id
    assert len({origin.evidence_digest, staging.evidence_digest, prod.evidence_digest}) == 3
    assert world.grounds.copies == [staging, prod]
    tags = registry.get_version("staging.flight_delay", "1").tags
    assert tags["podium.copied_from"] == f"dev.flight_delay/{version}"
    assert tags["podium.evidence_digest"] == staging.evidence_digest
    assert [world.told(each) for each in ("staging", "prod")] == [[("promote", "applied", "1")]] * 2
    assert (first.promotion.reason, first.promotion.actor) == ("a week without complaints", "ada")  # type: ignore[union-attr]
    assert second.to_document()["to_version"] == "1"


def test_a_former_champion_may_go_on_too(world: Environments) -> None:
    first = world.serve()
    world.serve(0.9)
    assert world.advance("dev", first).applied


def test_the_rows_that_judged_in_any_environment_are_counted(world: Environments) -> None:
    version = world.serve()
    world.advance("dev", version)
    world.advance("staging", "1")
    assert evidence_of(world, "staging") == [("passed", None, 1)]
    assert evidence_of(world, "prod") == [("passed", None, 2)]


def test_a_run_s_outcome_and_records_stay_its_own(world: Environments, clock: FakeClock) -> None:
    version = world.serve(key="run-1", verdict="passed")
    clock.advance(60)
    world.grounds.policies["staging"] = GatePolicy(floors={"auc": 0.999})
    assert world.advance("dev", version).state == "failed"
    with world.database.read() as connection:
        assert store.run_outcome(connection, "run-1") == "none", "what a later environment says is not the run's"
    world.grounds.policies["staging"] = POLICY
    assert world.advance("dev", version).applied
    with world.database.read() as connection:
        assert [each.model for each in store.evidence_of_run(connection, "run-1")] == ["dev.flight_delay"]
        assert [each.model for each in store.versions_of_run(connection, "run-1")] == ["dev.flight_delay"]


# The gate of the next environment


def test_a_version_is_judged_against_the_next_environment_s_champion(world: Environments) -> None:
    world.advance("dev", world.serve(1.0))
    worse = world.serve(0.3)
    made = world.advance("dev", worse)
    assert made.state == "failed"
    assert (made.copy, made.promotion) == (None, None)
    assert evidence_of(world, "staging")[-1][:2] == ("failed", "1")
    assert [each.version for each in world.registry.versions("staging.flight_delay")] == ["1"]
    assert world.told("staging") == [("promote", "applied", "1")]
    with pytest.raises(Refused, match=r"does not enter staging: the gate's verdict there is failed\. "):
        made.raise_unless_applied()


def test_each_environment_has_its_own_policy(world: Environments) -> None:
    version = world.serve(0.6)
    world.grounds.policies = {"staging": POLICY, "prod": GatePolicy(floors={"auc": 0.999})}
    assert world.advance("dev", version).applied
    made = world.advance("staging", "1")
    assert made.state == "failed"
    assert made.evidence is not None
    assert made.evidence.document["policy_digest"] == world.grounds.policies["prod"].digest
    assert world.champion("prod") is None


def test_an_environment_without_a_policy_asks_what_was_asked_before(world: Environments) -> None:
    strict = GatePolicy(floors={"auc": 0.6}, minimum_rows=100)
    made = world.advance("dev", world.serve(policy=strict, policy_digest=strict.digest))
    assert made.evidence is not None
    assert made.evidence.document["policy_digest"] == strict.digest


def test_a_policy_that_cannot_be_read_back_is_not_asked_again(world: Environments) -> None:
    version = world.serve(policy_digest="9" * 64)
    with pytest.raises(Refused, match=r"cannot be asked again for staging; name one in \[environments.policies\]"):
        world.advance("dev", version)


def test_a_failed_gate_is_not_asked_again_by_the_same_command(world: Environments) -> None:
    world.grounds.policies["staging"] = GatePolicy(floors={"auc": 0.999})
    version = world.serve()
    first, again = world.advance("dev", version), world.advance("dev", version)
    assert first.evidence == again.evidence
    assert (world.grounds.asked, len(evidence_of(world, "staging"))) == (1, 1)
    world.grounds.policies["staging"] = POLICY
    assert world.advance("dev", version).applied
    assert evidence_of(world, "staging")[-1] == ("passed", None, 2), "each policy that was tried used the rows once"


def test_a_champion_that_moved_since_is_judged_against_anew(world: Environments) -> None:
    world.grounds.policies["staging"] = GatePolicy(mode="refresh", minimum_rows=100, margin=0.3)
    first, second = world.serve(0.8), world.serve(0.9)
    world.advance("dev", first)
    world.advance("dev", second)
    assert world.champion("staging") == "2"
    assert world.advance("dev", first).applied
    assert world.champion("staging") == "3"
    assert world.version("staging", "3").copied_from == ("dev.flight_delay", first)


def test_rows_that_trained_either_model_judge_neither(world: Environments) -> None:
    first = world.serve()
    world.advance("dev", first)
    second = world.serve()
    world.grounds.trained["staging.flight_delay", "1"] = [HOLDOUT]
    with pytest.raises(EvaluationError, match=r"were read on the way to version 1 of staging.flight_delay"):
        world.advance("dev", second)
    world.grounds.trained = {("dev.flight_delay", second): [HOLDOUT]}
    with pytest.raises(EvaluationError, match=rf"were read on the way to version {second} of dev.flight_delay"):
        world.advance("dev", second)
    assert len(evidence_of(world, "staging")) == 1


def test_to_lose_against_a_champion_of_a_later_interval_proves_nothing(world: Environments) -> None:
    world.advance("dev", world.serve(1.0, month=5))
    made = world.advance("dev", world.serve(0.3, month=2))
    assert made.state == "insufficient"
    assert made.evidence is not None
    assert "is from a later interval (from 2013-05-01) than version 2's" in made.evidence.reasons[0]


def test_what_the_run_cost_and_what_was_checked_count_in_every_environment(world: Environments) -> None:
    checked = DataCheck(report="holdout", check="volume", severity="stop", outcome="passed", reason="600 rows")
    version = world.serve(data_checks=(checked,))
    world.grounds.policies["staging"] = GatePolicy.from_document(
        {**POLICY.model_dump(exclude_defaults=True), "data_checks": "required", "limits": {"cost_usd": "5"}}
    )
    assert world.advance("dev", version).state == "insufficient", "nobody knows what the run cost"
    world.grounds.costs["dev.flight_delay", version] = Decimal(6)
    world.grounds.policies["staging"] = world.grounds.policies["staging"].model_copy(update={"alpha": 0.04})
    made = world.advance("dev", version)
    assert made.state == "failed"
    assert made.evidence is not None
    assert "6" in " ".join(made.evidence.reasons)
    world.grounds.costs["dev.flight_delay", version] = Decimal(4)
    world.grounds.policies["staging"] = world.grounds.policies["staging"].model_copy(update={"alpha": 0.03})
    assert world.advance("dev", version).applied


def test_a_rule_whose_code_changed_is_asked_anew(
    world: Environments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = f"rules_of_{tmp_path.name}"  # no other test has imported it
    rule = (
        "from podium.registry.rules import Finding, RuleInput\n\n"
        "def never(given: RuleInput) -> Finding:\n    return Finding({!r}, 'so it is')\n"
    )
    (tmp_path / f"{module}.py").write_text(rule.format("insufficient"))
    asked = {**POLICY.model_dump(exclude_defaults=True), "rules": [f"{module}:never"]}
    world.grounds.policies["staging"] = GatePolicy.from_document(asked)
    version = world.serve()
    assert world.advance("dev", version).state == "insufficient"
    (tmp_path / f"{module}.py").write_text(rule.format("passed"))
    del sys.modules[module]
    linecache.clearcache()
    importlib.invalidate_caches()
    assert world.advance("dev", version).applied


# Approvals


def test_an_advance_waits_for_approval_as_any_promotion(world: Environments) -> None:
    version = world.serve()
    world.rule = ApprovalRule(1, ("bo",), timedelta(days=7))
    made = world.advance("dev", version)
    assert made.state == "awaiting_approval"
    assert made.promotion is not None
    with pytest.raises(Refused):
        made.raise_unless_applied()
    again = world.advance("dev", version)
    assert again.promotion is not None
    assert again.promotion.promotion_id == made.promotion.promotion_id

    word: dict[str, Any] = {"actor": "bo", "actor_verified": False, "reason": "looked at it"}
    assert world.promotions.reject(made.promotion.promotion_id, **word).state == "refused"
    anew = world.advance("dev", version)
    assert anew.state == "awaiting_approval"
    assert anew.promotion is not None
    assert world.promotions.approve(anew.promotion.promotion_id, **word).applied
    assert world.advance("dev", version).applied
    assert [each.version for each in world.registry.versions("staging.flight_delay")] == ["1"]


def test_a_block_where_it_came_from_voids_what_awaits_approval(world: Environments) -> None:
    world.serve()
    bad = world.serve(0.9)
    world.rule = ApprovalRule(1, ("bo",), timedelta(days=7))
    made = world.advance("dev", bad)
    assert made.promotion is not None
    world.rollback("dev")
    word: dict[str, Any] = {"actor": "bo", "actor_verified": False, "reason": "looked at it"}
    assert not world.promotions.approve(made.promotion.promotion_id, **word).applied
    assert world.champion("staging") is None


# Who may go on


def test_a_version_that_never_served_stays(world: Environments) -> None:
    version = world.register()
    with pytest.raises(Refused, match=r"was never champion"):
        world.advance("dev", version)


def test_a_version_that_is_blocked_where_it_is_stays(world: Environments) -> None:
    world.serve()
    bad = world.serve(0.9)
    world.rollback("dev")
    with pytest.raises(Refused, match=r"Version 2 of dev.flight_delay is blocked, so it goes no further"):
        world.advance("dev", bad)
    assert world.told("staging") == []


def test_a_version_that_is_blocked_in_the_next_environment_does_not_come_back_as_another_copy(
    world: Environments,
) -> None:
    world.advance("dev", world.serve(0.9))
    bad = world.serve(1.0)
    world.advance("dev", bad)
    world.rollback("staging")
    with pytest.raises(Refused, match=r"in staging.flight_delay already, as version 2, which is blocked"):
        world.advance("dev", bad)
    world.promotions.unblock("staging.flight_delay", "2", actor="ada", actor_verified=False, reason="it was the feed")
    assert world.advance("dev", bad).applied
    assert world.champion("staging") == "2", "judged against the same champion by the same policy: the same copy"


def test_what_is_not_there_or_leads_nowhere_is_told(world: Environments) -> None:
    with pytest.raises(NotFound, match=r"Podium registered no version 7 of dev.flight_delay"):
        world.advance("dev", "7")
    with pytest.raises(UsageError, match=r"prod is the last environment of the path"):
        world.advance("prod", "1")


# Entering without an advance


def test_what_was_registered_in_a_later_environment_is_not_promoted(world: Environments) -> None:
    version = world.register(environment="staging")
    promotion = world.promote("staging", version)
    assert promotion.state == "refused"
    assert "did not come from dev.flight_delay" in promotion.reasons[0]
    assert "did not come from" in str(world.promotions.objection("staging.flight_delay", version))
    assert world.champion("staging") is None


def test_a_copy_is_promoted_by_a_person_as_any_version(world: Environments) -> None:
    world.advance("dev", world.serve(0.9))
    world.advance("dev", world.serve(1.0))
    world.rollback("staging")
    world.promotions.unblock("staging.flight_delay", "2", actor="ada", actor_verified=False, reason="it was the feed")
    assert world.promote("staging", "2").applied


def test_a_copy_whose_original_was_blocked_since_does_not_enter(
    world: Environments, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.serve()
    bad = world.serve(0.9)
    monkeypatch.setattr(faults, "_armed", {"advance.after_copy": "raise"})
    with pytest.raises(faults.FaultRaised):
        world.advance("dev", bad)
    monkeypatch.setattr(faults, "_armed", {})
    world.rollback("dev")
    promotion = world.promote("staging", "1")
    assert promotion.state == "refused"
    assert "is a copy of version 2 of dev.flight_delay, which is blocked there" in promotion.reasons[0]


# Again, and after a crash


def test_the_same_command_again_finds_all_done(world: Environments) -> None:
    version = world.serve()
    made = world.advance("dev", version)
    again = world.advance("dev", version)
    assert again.applied
    assert (again.copy, again.promotion, again.evidence) == (made.copy, made.promotion, made.evidence)
    assert world.told("staging") == [("promote", "applied", "1")]
    assert world.grounds.asked == 1


@pytest.mark.parametrize(
    "point",
    [
        "advance.after_evidence",
        "registry.after_create_version",
        "registry.after_record_version",
        "advance.after_copy",
        "promotion.after_intent",
        "promotion.after_alias",
        "promotion.after_applied",
    ],
)
def test_the_same_command_completes_what_was_begun(
    world: Environments, registry: CountingRegistry, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    version = world.serve()
    monkeypatch.setattr(faults, "_armed", {point: "raise"})
    with pytest.raises(faults.FaultRaised):
        world.advance("dev", version)
    monkeypatch.setattr(faults, "_armed", {})
    assert world.advance("dev", version).applied
    assert world.champion("staging") == "1"
    assert world.told("staging") == [("promote", "applied", "1")]
    assert [each.version for each in registry.versions("staging.flight_delay")] == ["1"]
    assert (world.grounds.asked, len(evidence_of(world, "staging"))) == (1, 1)
    assert world.grounds.copies[-1] == world.version("staging", "1")


def test_a_refused_promotion_may_be_asked_for_anew(world: Environments, registry: CountingRegistry) -> None:
    version = world.serve()
    source = world.version("dev", version).source
    whole = dict(registry.stored[source])

    def damaged_later() -> None:
        registry.digests = [registry.digest_of(source)]  # to the check of the copy; the promotion finds the damage
        registry.damage(source)

    registry.after_version = damaged_later
    made = world.advance("dev", version)
    assert made.state == "refused"
    assert made.copy is not None
    registry.stored[source] = whole
    assert world.advance("dev", version).applied
    assert world.told("staging") == [("promote", "refused", "1"), ("promote", "applied", "1")]


# Damage


def test_files_that_were_changed_where_they_are_go_nowhere(world: Environments, registry: CountingRegistry) -> None:
    version = world.serve()
    recorded = world.version("dev", version)
    registry.damage(recorded.source)
    found = registry.digest_of(recorded.source)
    with pytest.raises(Refused, match=rf"have the digest {found[:12]}…, on record is {recorded.digest[:12]}…"):
        world.advance("dev", version)
    assert evidence_of(world, "staging") == []
    assert registry.versions("staging.flight_delay") == []


def test_files_that_change_while_they_are_copied_do_not_serve(world: Environments, registry: CountingRegistry) -> None:
    version = world.serve()
    source = world.version("dev", version).source
    registry.after_version = lambda: registry.damage(source)
    with pytest.raises(Refused, match=r"of version 1 of staging.flight_delay .* changed after they were copied"):
        world.advance("dev", version)
    assert registry.alias("staging.flight_delay", CHAMPION) is None
    assert world.promote("staging", "1").state == "refused"


def test_a_record_that_was_changed_between_environments_does_not_enter(
    world: Environments, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = world.serve()
    monkeypatch.setattr(faults, "_armed", {"advance.after_copy": "raise"})
    with pytest.raises(faults.FaultRaised):
        world.advance("dev", version)
    monkeypatch.setattr(faults, "_armed", {})
    with world.database.write() as connection:
        connection.exec_driver_sql(
            f"UPDATE model_version SET digest = '{'0' * 64}' WHERE model = 'staging.flight_delay'"  # noqa: S608
        )
    promotion = world.promote("staging", "1")
    assert promotion.state == "refused"
    assert "its files have the digest 000000000000… and not" in promotion.reasons[0]
