import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from podium.registry.evidence import Comparison, Discordant, Evidence, Measurement, SliceCheck
from podium.registry.metrics import Kind, Metric
from podium.registry.policy import GatePolicy, Guard


def evidence(**changes: Any) -> Evidence:
    policy = GatePolicy(guards=(Guard(metric=Metric.LOG_LOSS),), floors={Metric.AUC: 0.58}, slices=("carrier",))
    comparison = Comparison(
        metric=Metric.AUC,
        question="superiority",
        margin=0.01,
        confidence=0.9,
        test="DeLong",
        candidate=0.1 + 0.2,
        champion=1 / 3,
        gain=-1e-17,
        low=-0.02,
        high=5e-324,
        p_value=0.5,
        smallest_visible=0.01,
        rows_needed=3000,
    )
    facts: dict[str, Any] = {
        "model": "flight_delay",
        "kind": Kind.BINARY,
        "label": "late",
        "candidate_digest": "c" * 64,
        "champion_version": "3",
        "rows": 4000,
        "rarer_class_rows": 900,
        "holdout_digest": "h" * 64,
        "holdout_uses": 2,
        "policy": policy,
        "policy_digest": policy.digest,
        "seed": 7,
        "primary_metric": Metric.AUC,
        "primary": comparison,
        "guards": (comparison,),
        "slices": (
            SliceCheck(column="carrier", value="AA", rows=800, gain=0.0, p_value=0.5, p_blocking=1.0, p_pointing=0.5),
        ),
        "slices_not_checked": 1,
        "measurements": (Measurement(metric=Metric.AUC, candidate=0.6, champion=None, baseline=0.5),),
        "discordant": Discordant(
            only_candidate=3, only_champion=2, only_candidate_rows=(1, 5, 9), only_champion_rows=(2, 4)
        ),
        "verdict": "failed",
        "reasons": ("AUC 0.571 < 0.580 required.",),
    }
    return Evidence(**(facts | changes))


def test_evidence_survives_json_with_its_digest() -> None:
    original = evidence()
    read_back = Evidence.model_validate_json(original.model_dump_json())
    assert read_back == original
    assert read_back.digest == original.digest
    assert Evidence.model_validate(json.loads(json.dumps(original.model_dump(mode="json")))).digest == original.digest


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_survives_json(number: float) -> None:
    original = evidence(measurements=(Measurement(metric=Metric.AUC, candidate=number),))
    assert Evidence.model_validate_json(original.model_dump_json()).digest == original.digest


@pytest.mark.parametrize("unknown", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_does_not_get_in(unknown: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Measurement(metric=Metric.AUC, candidate=unknown)


@pytest.mark.parametrize(
    "change",
    [{"verdict": "passed"}, {"holdout_uses": 3}, {"champion_version": "4"}, {"seed": 8}, {"rows": 4001}],
)
def test_the_digest_depends_on_every_fact(change: dict[str, Any]) -> None:
    assert evidence(**change).digest != evidence().digest


def test_evidence_cannot_be_changed_and_takes_no_unknown_facts() -> None:
    original = evidence()
    with pytest.raises(ValidationError):
        original.verdict = "passed"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Evidence.model_validate(original.model_dump() | {"approved": True})


@pytest.mark.parametrize(("verdict", "passed"), [("passed", True), ("failed", False), ("insufficient", False)])
def test_only_the_verdict_passed_passes(verdict: str, passed: bool) -> None:
    assert evidence(verdict=verdict).passed is passed
