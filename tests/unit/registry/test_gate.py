from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from podium.errors import ConfigurationError
from podium.registry.evidence import Comparison, Measurement, SliceCheck
from podium.registry.gate import Decision, decide, tell_apart
from podium.registry.metrics import Kind, Metric, metrics_of
from podium.registry.policy import GatePolicy, Guard


def compared(**changes: Any) -> Comparison:
    """A comparison that passes: better, shown, on enough rows."""
    facts = {
        "metric": Metric.AUC,
        "question": "superiority",
        "margin": 0.01,
        "confidence": 0.9,
        "test": "DeLong",
        "candidate": 0.614,
        "champion": 0.601,
        "gain": 0.013,
        "low": 0.005,
        "high": 0.021,
        "p_value": 0.004,
        "smallest_visible": 0.009,
        "rows_needed": 3000,
    }
    return Comparison.model_validate(facts | changes)


def asked(**changes: Any) -> Comparison:
    """A guard that holds by its margin."""
    guard = {"metric": Metric.LOG_LOSS, "question": "non_inferiority", "margin": 0.05, "low": -0.03}
    return compared(**guard | changes)


def judged(policy: GatePolicy | None = None, **changes: Any) -> Decision:
    arguments: dict[str, Any] = {
        "rows": 4000,
        "rarer_class_rows": 900,
        "primary_metric": Metric.AUC,
        "measurements": [
            Measurement(metric=Metric.AUC, candidate=0.614, champion=0.601, baseline=0.5),
            Measurement(metric=Metric.LOG_LOSS, candidate=0.51, champion=0.52, baseline=0.55),
        ],
        "primary": compared(),
    }
    return decide(policy or GatePolicy(), **(arguments | changes))


def test_a_better_candidate_passes_and_the_reason_shows_the_inequality() -> None:
    verdict, reasons = judged()
    assert verdict == "passed"
    assert len(reasons) == 1
    assert reasons[0] == (
        "AUC 0.614 > 0.601 is shown to be better than the champion's: p 0.004 ≤ 0.050 allowed "
        "(DeLong; gain +0.013, 90% interval +0.005 to +0.021)."
    )


def test_a_candidate_not_shown_to_be_better_fails() -> None:
    verdict, reasons = judged(primary=compared(p_value=0.21, gain=0.004, low=-0.003, high=0.011))
    assert verdict == "failed"
    assert "p 0.210 > 0.050 allowed" in reasons[0]


def test_a_gain_that_the_rows_could_have_missed_is_insufficient() -> None:
    primary = compared(p_value=0.21, gain=0.004, low=-0.01, high=0.018, rows_needed=9000, smallest_visible=0.015)
    verdict, reasons = judged(primary=primary)
    assert verdict == "insufficient"
    assert "4,000 rows < 9,000 that the margin 0.01 needs at power 80%" in reasons[0]
    assert "smallest change they show is 0.015" in reasons[0]


def test_a_candidate_shown_to_be_worse_fails_however_few_the_rows() -> None:
    primary = compared(p_value=0.99, gain=-0.02, low=-0.03, high=-0.01, candidate=0.58, rows_needed=9000)
    assert judged(primary=primary).verdict == "failed"


def test_superiority_shown_on_few_rows_still_passes_because_no_margin_was_asked() -> None:
    assert judged(primary=compared(rows_needed=9000)).verdict == "passed"


def test_a_candidate_on_fewer_rows_than_the_margin_needs_is_insufficient() -> None:
    refresh = GatePolicy(mode="refresh")
    question = asked(metric=Metric.AUC, p_value=0.001, rows_needed=4001)
    assert judged(refresh, primary=question).verdict == "insufficient"
    assert judged(refresh, primary=question, rows=4001).verdict == "passed"


@pytest.mark.parametrize(
    ("guard", "verdict"),
    [
        (asked(), "passed"),
        (asked(p_value=0.4), "failed"),
        (asked(p_value=0.4, rows_needed=5000), "insufficient"),
        (asked(p_value=0.001, rows_needed=5000), "insufficient"),
        (asked(p_value=1.0, low=-0.09, high=-0.06, rows_needed=5000), "failed"),
        (asked(p_value=0.001, low=0.002, rows_needed=5000), "passed"),
        (asked(rows_needed=None, margin=0.0), "insufficient"),
        (asked(p_value=None, unknown="no row tells the two models apart"), "insufficient"),
    ],
)
def test_a_guard_holds_by_its_margin_on_enough_rows_or_by_being_better(guard: Comparison, verdict: str) -> None:
    policy = GatePolicy(guards=(Guard(metric=Metric.LOG_LOSS),))
    assert judged(policy, guards=[asked(), guard]).verdict == verdict


def test_what_decided_comes_first_and_a_failure_outweighs_an_unknown() -> None:
    verdict, reasons = judged(guards=[asked(p_value=None, unknown="why"), asked(p_value=0.4)])
    assert verdict == "failed"
    assert "0.400 > 0.050" in reasons[0]
    assert "cannot be compared: why" in reasons[1]
    assert reasons[2].startswith("AUC 0.614 > 0.601 is shown")


def test_fewer_rows_than_the_minimum_are_insufficient_whatever_was_measured() -> None:
    verdict, reasons = judged(rows=199)
    assert (verdict, reasons) == ("insufficient", ("The holdout has 199 rows < 200 required.",))
    assert judged(GatePolicy(floors={Metric.AUC: 0.9}), rows=199, primary=None).verdict == "insufficient"


def test_too_few_rows_of_the_rarer_class_are_insufficient_for_auc_only() -> None:
    verdict, reasons = judged(rarer_class_rows=9)
    assert (verdict, reasons) == ("insufficient", ("The rarer class has 9 rows < 10 required for AUC.",))
    by_accuracy = GatePolicy(primary=Metric.ACCURACY)
    primary = compared(metric=Metric.ACCURACY)
    decision = judged(by_accuracy, rarer_class_rows=9, primary_metric=Metric.ACCURACY, primary=primary)
    assert decision.verdict == "passed"


@pytest.mark.parametrize(
    ("value", "verdict", "reason"),
    [(0.571, "failed", "AUC 0.571 < 0.580 required."), (0.58, "passed", "AUC 0.580 ≥ 0.580 required.")],
)
def test_a_first_model_is_judged_by_its_floors_and_the_reason_says_so(value: float, verdict: str, reason: str) -> None:
    decision = judged(
        GatePolicy(floors={Metric.AUC: 0.58}),
        primary=None,
        measurements=[Measurement(metric=Metric.AUC, candidate=value, baseline=0.5)],
    )
    assert decision.verdict == verdict
    assert decision.reasons[0].startswith("First model")
    assert decision.reasons[1] == reason


@pytest.mark.parametrize(("value", "verdict"), [(0.501, "passed"), (0.5, "failed"), (0.4, "failed")])
def test_a_first_model_without_a_floor_must_beat_the_best_constant_answer(value: float, verdict: str) -> None:
    measurements = [Measurement(metric=Metric.AUC, candidate=value, baseline=0.5)]
    decision = judged(primary=None, measurements=measurements)
    assert decision.verdict == verdict
    assert "0.500 of the best constant answer" in decision.reasons[-1]


def test_floors_hold_for_later_models_too_and_are_upper_limits_where_low_is_good() -> None:
    verdict, reasons = judged(GatePolicy(floors={Metric.LOG_LOSS: 0.5}))
    assert verdict == "failed"
    assert reasons[0] == "log loss 0.510 > 0.500 allowed."


def test_an_unknown_metric_with_a_floor_is_insufficient() -> None:
    measurements = [Measurement(metric=Metric.AUC, candidate=None)]
    decision = judged(GatePolicy(floors={Metric.AUC: 0.58}), primary=None, measurements=measurements)
    assert decision.verdict == "insufficient"


def sliced(p_blocking: float, p_pointing: float) -> SliceCheck:
    return SliceCheck(
        column="carrier",
        value="AA",
        rows=812,
        gain=-0.05,
        p_value=0.003,
        p_blocking=p_blocking,
        p_pointing=p_pointing,
    )


def test_a_slice_blocks_by_holm_and_is_only_pointed_at_by_benjamini_hochberg() -> None:
    blocked, pointed = judged(slices=[sliced(0.036, 0.02)]), judged(slices=[sliced(0.07, 0.02)])
    assert blocked.verdict == "failed"
    assert "carrier = AA (812 rows, gain -0.05) is worse" in blocked.reasons[0]
    assert "p 0.036 ≤ 0.050" in blocked.reasons[0]
    assert pointed.verdict == "passed"
    assert "worth a look" in pointed.reasons[-1]
    assert len(judged(slices=[sliced(0.5, 0.4)]).reasons) == 1


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
@example(0.0, -0.0)
@example(0.0001, -0.0001)
def test_numbers_that_differ_look_different(left: float, right: float) -> None:
    shown = tell_apart(left, right)
    assert (shown[0] == shown[1]) == (left == right)
    assert "-0.000" not in shown


@pytest.mark.parametrize(
    ("document", "fact"),
    [
        ({"guard": []}, r"'guard' is no rule \(did you mean guards\?\); the rules are primary"),
        ({"alpha": 0.7}, "alpha is 0.7"),
        ({"primary": "f1"}, "primary is 'f1'"),
        ({"guards": [{"metric": "auc", "margin": 0}]}, "guards.0.margin is 0"),
        ({"guards": [{"metric": "auc", "margin": 1.5}]}, "accepts anything"),
        ({"guards": [{"metric": "auc"}, {"metric": "auc"}]}, "auc twice"),
        ({"slices": ["a", "a"]}, "a twice"),
        ({"primary": "auc", "floors": {"mean_absolute_error": 3}}, "mixes metrics"),
        ({"floors": {"auc": float("nan")}}, "finite"),
    ],
)
def test_a_wrong_policy_is_refused_with_the_rule_and_the_remedy(document: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^The gate policy is wrong: .*" + fact):
        GatePolicy.from_document(document)


def test_equal_policies_have_one_digest_and_different_ones_do_not() -> None:
    written = GatePolicy.from_document({"floors": {"auc": 0.58, "log_loss": 0.6}})
    assert written.digest == GatePolicy(floors={Metric.LOG_LOSS: 0.6, Metric.AUC: 0.58}).digest
    assert written.digest != GatePolicy(floors={Metric.AUC: 0.58}).digest


def test_every_metric_knows_its_direction_and_its_kind_of_problem() -> None:
    assert [metric for metric in Metric if metric.higher_is_better] == [Metric.AUC, Metric.ACCURACY]
    assert metrics_of(Kind.BINARY, probabilities=True)[0] is Metric.AUC
    assert metrics_of(Kind.BINARY, probabilities=False)[0] is Metric.ACCURACY
    assert metrics_of(Kind.REGRESSION, probabilities=False)[0] is Metric.MEAN_ABSOLUTE_ERROR
