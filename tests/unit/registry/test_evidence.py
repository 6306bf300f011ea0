import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from podium.dag import values
from podium.ids import digest_json
from podium.registry.calibration import Calibration, Reliability, ReliabilityBin
from podium.registry.evidence import (
    Comparison,
    DataCheck,
    Discordant,
    Evidence,
    Feature,
    LimitCheck,
    Measurement,
    RuleCheck,
    SignatureCheck,
    SliceCheck,
)
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


def test_evidence_of_an_earlier_version_keeps_its_digest() -> None:
    recorded = json.loads((Path(__file__).parent / "evidence_before_reports.json").read_text(encoding="utf-8"))
    digest = "b2c65016242ab7b349eff30cf2e5385c86d368a980c01f573bfe83cdfcd2cbd9"
    assert digest_json(recorded) == digest
    assert "calibration" not in recorded
    assert "low" not in recorded["slices"][0]
    read = Evidence.model_validate(recorded)
    assert read.digest == digest
    assert read.model_dump(mode="json") == recorded


def test_what_a_later_version_added_is_part_of_the_digest_where_it_is_known() -> None:
    one = ReliabilityBin(rows=9, lowest=0.1, highest=0.3, predicted=0.2, observed=0.2, low=0.1, high=0.4)
    known = Calibration(positive="1", confidence=0.9, candidate=Reliability(brier=0.1, bins=(one,)))
    read_back = Evidence.model_validate_json(evidence(calibration=known).model_dump_json())
    assert read_back.calibration == known
    assert read_back.digest == evidence(calibration=known).digest != evidence().digest


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


RECORDED_DIGEST = "b2c65016242ab7b349eff30cf2e5385c86d368a980c01f573bfe83cdfcd2cbd9"
RECORDED = """{
 "model": "flight_delay",
 "kind": "binary_classification",
 "label": "late",
 "candidate_digest": "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc",
 "champion_version": "3",
 "rows": 4000,
 "rarer_class_rows": 900,
 "holdout_digest": "hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh",
 "holdout_uses": 2,
 "policy": {
  "primary": null,
  "mode": "superiority",
  "margin": null,
  "guards": [
   {
    "metric": "log_loss",
    "margin": null
   }
  ],
  "floors": {
   "auc": 0.58
  },
  "alpha": 0.05,
  "power": 0.8,
  "minimum_rows": 200,
  "minimum_class_rows": 10,
  "slices": [
   "carrier"
  ],
  "minimum_slice_rows": 200
 },
 "policy_digest": "82be5a8064eadf1386d9abb05879fb6820d70d7a2a5637b32d8d29195164c0c1",
 "seed": 7,
 "primary_metric": "auc",
 "primary": {
  "metric": "auc",
  "question": "superiority",
  "margin": 0.01,
  "confidence": 0.9,
  "test": "DeLong",
  "candidate": 0.30000000000000004,
  "champion": 0.3333333333333333,
  "gain": -1e-17,
  "low": -0.02,
  "high": 5e-324,
  "p_value": 0.5,
  "smallest_visible": 0.01,
  "rows_needed": 3000,
  "unknown": null
 },
 "guards": [
  {
   "metric": "auc",
   "question": "superiority",
   "margin": 0.01,
   "confidence": 0.9,
   "test": "DeLong",
   "candidate": 0.30000000000000004,
   "champion": 0.3333333333333333,
   "gain": -1e-17,
   "low": -0.02,
   "high": 5e-324,
   "p_value": 0.5,
   "smallest_visible": 0.01,
   "rows_needed": 3000,
   "unknown": null
  }
 ],
 "slices": [
  {
   "column": "carrier",
   "value": "AA",
   "rows": 800,
   "gain": 0.0,
   "p_value": 0.5,
   "p_blocking": 1.0,
   "p_pointing": 0.5
  }
 ],
 "slices_not_checked": 1,
 "measurements": [
  {
   "metric": "auc",
   "candidate": 0.6,
   "champion": null,
   "baseline": 0.5
  }
 ],
 "discordant": {
  "only_candidate": 3,
  "only_champion": 2,
  "only_candidate_rows": [
   1,
   5,
   9
  ],
  "only_champion_rows": [
   2,
   4
  ]
 },
 "verdict": "failed",
 "reasons": [
  "AUC 0.571 < 0.580 required."
 ]
}"""


def test_evidence_that_an_earlier_version_recorded_is_read_and_keeps_its_digest() -> None:
    """As it was recorded before a policy had limits, rules, a signature or data checks."""
    read_back = Evidence.model_validate_json(RECORDED)
    assert read_back == evidence()
    assert read_back.digest == RECORDED_DIGEST
    assert read_back.model_dump(mode="json") == json.loads(RECORDED)
    assert read_back.policy.digest == read_back.policy_digest
    assert (read_back.signature, read_back.limits, read_back.duplicate_rows) == (None, (), None)


LATER: dict[str, Any] = {
    "duplicate_rows": 0,
    "signature": SignatureCheck(features=(Feature(name="first", kind="number"),), classes=("0", "1")),
    "limits": (LimitCheck(limit="cost_usd", allowed="0.50", value="1E-7"),),
    "rules": (RuleCheck(rule="pipelines.rules:night", verdict="passed", reason="as good"),),
    "data_checks": (DataCheck(report="history", check="volume", severity="stop", outcome="passed", reason="9 rows"),),
}


@pytest.mark.parametrize("name", LATER)
def test_what_came_later_counts_where_it_says_something(name: str) -> None:
    original = evidence(**{name: LATER[name]})
    assert original.digest != RECORDED_DIGEST
    for read_back in (
        Evidence.model_validate_json(original.model_dump_json()),
        Evidence.model_validate(original.model_dump()),
        values.decode(json.loads(json.dumps(values.encode(original)))),
    ):
        assert read_back == original
        assert read_back.digest == original.digest
