"""Stages that wait for people: without a worker, woken or not, and the run comes to what they decided."""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from podium import Interval, pipeline, step
from podium.canary.plan import CanaryPlan, Phase
from podium.execution.context import AttemptContext, Snooze, current, entered
from podium.registry.approval import ApprovalRule
from podium.registry.entities import Promotion
from podium.registry.policy import GatePolicy
from podium.registry.promotion import PromotionService
from podium.stages import evaluate_candidate, promote_version, register_version, run_canary
from podium.stages.approval import until_decided
from podium.testing import FakeRegistry, run_pipeline
from podium.testing.result import RunResult

_RANDOM = np.random.default_rng(7)
ROWS = pd.DataFrame({"x": _RANDOM.normal(size=1_500), "noise": _RANDOM.normal(size=1_500)})
ROWS["y"] = (ROWS["x"] + _RANDOM.normal(size=1_500) > 0).astype("int64")
POLICY = GatePolicy(mode="refresh", margin=0.2, floors={"auc": 0.6})
PLAN = CanaryPlan(phases=(Phase(weight_percent=50, requests=600),), margin=0.2)


class Rows(NamedTuple):
    history: pd.DataFrame
    holdout: pd.DataFrame
    replay: pd.DataFrame


@step
def rows(day: Interval) -> Rows:
    first = 100 * (day.start.day - 1)
    return Rows(ROWS[first:500], ROWS[500 + first : 900], ROWS[900 + first :])


@step
def train(history: pd.DataFrame) -> LogisticRegression:
    return LogisticRegression().fit(history[["x", "noise"]], history["y"])


@step
def boss(day: Interval) -> str:
    if current().number == 1:
        raise Snooze(3_600, "lunch")
    return "nothing to say"


@pipeline(model="signed", team="research", environment="dev")
def signed(day: Interval) -> None:
    data = rows(day)
    candidate = train(data.history)
    evidence = evaluate_candidate(candidate, data.holdout, label="y", policy=POLICY)
    promote_version(register_version(candidate, evidence))
    boss(day)


@pipeline(model="signed", team="research", environment="dev")
def tried(day: Interval) -> None:
    data = rows(day)
    candidate = train(data.history)
    evidence = evaluate_candidate(candidate, data.holdout, label="y", policy=POLICY)
    run_canary(register_version(candidate, evidence), replay=data.replay, plan=PLAN)
    boss(day)


@pytest.fixture
def registry() -> FakeRegistry:
    """A registry whose promotions one person has to approve."""
    made = FakeRegistry()
    rule = ApprovalRule(1, (), timedelta(days=7))
    made.__dict__["promotions"] = PromotionService(
        made.database, made.registry, made.clock, approval_rule=lambda _: rule
    )
    return made


def decide(registry: FakeRegistry, *, approve: bool) -> Callable[[Interval], str]:
    """A boss who decides an hour after lunch began."""

    def boss(day: Interval) -> str:
        if current().number == 1:
            raise Snooze(3_600, "lunch")
        (asked,) = [each for each in registry.history("signed") if each.state == "proposed"][-1:]
        act = registry.promotions.approve if approve else registry.promotions.reject
        assert asked.promotion_id is not None
        return act(asked.promotion_id, actor="boss", actor_verified=False, reason=f"for {day.name}").state

    return boss


def waits(result: RunResult, step: str) -> list[float]:
    """How long each attempt let the step be, in seconds."""
    starts = [each.started_at for each in result.steps[step].attempts]
    return [(after - before).total_seconds() for before, after in pairwise(starts)]


def test_an_approval_promotes_and_the_step_looked_ever_more_rarely(registry: FakeRegistry) -> None:
    result = run_pipeline(signed, "2013-03-01", registry=registry, fakes={"boss": decide(registry, approve=True)})
    assert (result.state, result.outcome, registry.champion("signed")) == ("succeeded", "promoted", "1"), result.reason
    assert result.value("promote_version").applied
    assert waits(result, "promote_version") == [15, 30, 60, 120, 240, 480, 960, 1_920]
    (first, *_) = [each for each in result.events if each.kind == "step.snoozed" and each.step == "promote_version"]
    assert first.reason is not None
    assert "version 1 of signed awaits approval; `podium promotions show " in first.reason


def test_a_rejection_is_a_refusal_and_no_failure(registry: FakeRegistry) -> None:
    result = run_pipeline(signed, "2013-03-01", registry=registry, fakes={"boss": decide(registry, approve=False)})
    assert (result.state, result.outcome, registry.champion("signed")) == ("succeeded", "rejected", None)
    assert result.value("promote_version").reasons == ("boss rejected it: for 2013-03-01",)


def test_what_nobody_answers_expires_and_is_inconclusive(registry: FakeRegistry) -> None:
    result = run_pipeline(signed, "2013-03-01", registry=registry)
    assert (result.state, result.outcome, registry.champion("signed")) == ("succeeded", "inconclusive", None)
    assert result.value("promote_version").state == "void"
    assert max(waits(result, "promote_version")) == 3_600
    assert len(result.steps["promote_version"].attempts) < 180


def test_a_run_waits_for_the_end_of_a_person_s_promotion(registry: FakeRegistry) -> None:
    first = run_pipeline(signed, "2013-03-01", registry=registry, fakes={"boss": decide(registry, approve=False)})
    asked = registry.promotions.promote(
        "signed",
        first.value("register_version").version,
        expect_champion=None,
        idempotency_key="person",
        actor="ana",
        actor_verified=False,
        reason="it is fine",
    )
    assert asked.awaits_approval
    acts: list[Callable[..., Promotion]] = [registry.promotions.reject, registry.promotions.approve]

    def boss(day: Interval) -> str:
        del day
        if current().number % 2:
            raise Snooze(3_600, "lunch")
        waiting = [each for each in registry.history("signed") if each.state == "proposed"][-1]
        act = acts.pop(0)
        assert waiting.promotion_id is not None
        act(waiting.promotion_id, actor="boss", actor_verified=False, reason="looked")
        if acts:
            raise Snooze(3_600, "tea")
        return "done"

    result = run_pipeline(signed, "2013-03-02", registry=registry, fakes={"boss": boss})
    assert (result.state, result.outcome) == ("succeeded", "promoted"), result.reason
    (first_wait, *_) = [
        each for each in result.events if each.kind == "step.snoozed" and each.step == "promote_version"
    ]
    assert first_wait.reason is not None
    assert f"Promotion {asked.promotion_id} of signed to version 1, asked for by ana" in first_wait.reason


@pytest.mark.parametrize("approve", [True, False])
def test_a_decided_canary_waits_for_people_and_loads_no_model_meanwhile(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, *, approve: bool
) -> None:
    run_pipeline(signed, "2013-03-01", registry=registry, fakes={"boss": decide(registry, approve=True)})
    loaded: list[str] = []
    load = registry.registry.load_model

    def counted(source: str, **options: Any) -> object:
        loaded.append(source)
        return load(source, **options)

    monkeypatch.setattr(registry.registry, "load_model", counted)
    result = run_pipeline(
        tried,
        "2013-03-02",
        registry=registry,
        fakes={"boss": decide(registry, approve=approve)},
    )
    assert result.state == "succeeded", result.reason
    assert result.outcome == ("promoted" if approve else "rejected")
    assert result.value("run_canary").state == ("promoted" if approve else "aborted")
    assert registry.champion("signed") == ("2" if approve else "1")
    assert len(waits(result, "run_canary")) > 5
    assert loaded.count("memory:/signed/1") == 2, "once to judge the candidate, once for the canary"


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 15), (2, 30), (9, 3_600), (11, 3_600), (50_000, 3_600)])
def test_a_wait_of_years_has_no_attempt_too_many(attempt: int, seconds: float) -> None:
    context = AttemptContext(
        run_id="r",
        step_key="r/promote_version",
        number=attempt,
        pipeline="signed",
        model="signed",
        team="research",
        environment="dev",
        interval=Interval.parse("2013-03-01"),
        code_digest="c" * 64,
        input_digests={},
        build_services=dict,
        read_before=lambda _: [],
        artifact=lambda _: None,
    )
    with entered(context):
        assert until_decided("it is open").seconds == seconds
