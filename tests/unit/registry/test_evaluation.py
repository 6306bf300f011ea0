from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.tree import DecisionTreeClassifier

from podium.errors import EvaluationError
from podium.registry.evidence import Evidence
from podium.registry.metrics import Kind, Metric
from podium.registry.policy import GatePolicy, Guard
from tests.judging_world import HOLDOUT, TRAINING, Numbers, Scripted, ScriptedNumbers, fitted, good, judged, weak


def test_a_better_classifier_passes_by_delong_with_both_values_in_the_reason() -> None:
    evidence = judged(good(), weak())
    assert evidence.passed
    assert evidence.kind is Kind.BINARY
    primary = evidence.primary
    assert primary is not None
    assert (primary.metric, primary.test, primary.question) == (Metric.AUC, "DeLong", "superiority")
    assert primary.candidate is not None
    assert primary.champion is not None
    assert primary.gain == pytest.approx(primary.candidate - primary.champion)
    assert f"AUC {primary.candidate:.3f} > {primary.champion:.3f}" in evidence.reasons[0]


def test_the_measured_values_are_scikit_learns() -> None:
    from sklearn import metrics as reference

    candidate = good()
    evidence = judged(candidate, weak())
    features, truth = HOLDOUT[["first", "second"]], HOLDOUT["late"]
    scores = candidate.predict_proba(features)[:, 1]
    expected = {
        Metric.AUC: reference.roc_auc_score(truth, scores),
        Metric.ACCURACY: candidate.score(features, truth),
        Metric.ERROR_RATE: 1 - candidate.score(features, truth),
        Metric.LOG_LOSS: reference.log_loss(truth, scores),
    }
    assert {one.metric: one.candidate for one in evidence.measurements} == pytest.approx(expected)
    majority = max(truth.mean(), 1 - truth.mean())
    accuracy = evidence.measurement(Metric.ACCURACY)
    assert accuracy is not None
    assert accuracy.baseline == pytest.approx(majority)


def test_a_worse_candidate_fails_and_an_identical_one_tells_nothing() -> None:
    assert judged(weak(), good()).verdict == "failed"
    evidence = judged(good(), good())
    assert evidence.verdict == "insufficient"
    assert "no row tells the two models apart" in evidence.reasons[0]


def test_a_first_model_is_judged_by_floors_alone() -> None:
    low, high = (judged(good(), policy=GatePolicy(floors={Metric.AUC: floor})) for floor in (0.6, 0.99))
    assert (low.verdict, high.verdict) == ("passed", "failed")
    assert low.primary is None
    assert low.champion_version is None
    assert low.discordant is None
    assert "First model" in low.reasons[0]


def test_three_classes_are_judged_by_accuracy_with_mcnemar() -> None:
    evidence = judged(good("size"), weak("size"), label="size")
    assert evidence.kind is Kind.MULTICLASS
    assert evidence.primary is not None
    assert evidence.primary.metric is Metric.ACCURACY
    assert evidence.primary.test is not None
    assert "McNemar" in evidence.primary.test
    discordant = evidence.discordant
    assert discordant is not None
    assert evidence.primary.gain == pytest.approx(
        (discordant.only_candidate - discordant.only_champion) / evidence.rows
    )
    right = good("size").predict(HOLDOUT[["first", "second"]]) == HOLDOUT["size"].to_numpy()
    assert all(right[row] for row in discordant.only_candidate_rows)
    assert not any(right[row] for row in discordant.only_champion_rows)


def test_numbers_are_judged_by_the_mean_absolute_error_with_the_bootstrap() -> None:
    candidate = fitted(LinearRegression(), "first", "second", label="minutes")
    champion = fitted(LinearRegression(), "first", label="minutes")
    policy = GatePolicy(guards=(Guard(metric=Metric.MEAN_SQUARED_ERROR),), signature="any")
    evidence = judged(candidate, champion, label="minutes", policy=policy)
    assert evidence.passed
    assert evidence.primary is not None
    assert evidence.primary.metric is Metric.MEAN_ABSOLUTE_ERROR
    assert evidence.primary.test == "paired bootstrap (BCa)"
    assert evidence.primary.gain is not None
    assert evidence.primary.gain > 0  # less error is a gain
    guard = evidence.guards[0]
    assert guard.champion is not None
    assert guard.margin == pytest.approx(0.1 * guard.champion)


def test_guards_are_asked_for_non_inferiority() -> None:
    policy = GatePolicy(guards=(Guard(metric=Metric.LOG_LOSS), Guard(metric=Metric.ERROR_RATE, margin=0.02)))
    evidence = judged(good(), weak(), policy=policy)
    assert evidence.passed
    assert [guard.question for guard in evidence.guards] == ["non_inferiority"] * 2
    assert len(evidence.reasons) == 3


def test_refresh_promotes_an_equal_model_that_superiority_rejects() -> None:
    generator = np.random.default_rng(5)
    noise = dict(zip(HOLDOUT["first"], generator.normal(scale=0.02, size=len(HOLDOUT)), strict=True))
    model = good()

    def jittered(features: pd.DataFrame) -> Numbers:
        scores = model.predict_proba(features[["first", "second"]])[:, 1]
        moved = np.clip(scores + features["first"].map(noise).to_numpy(), 0, 1)
        return np.column_stack([1 - moved, moved])

    equal = Scripted(jittered, lambda features: jittered(features)[:, 1] > 0.5)
    assert judged(equal, model, policy=GatePolicy(mode="refresh")).verdict == "passed"
    assert judged(equal, model).verdict != "passed"


def test_rows_are_predicted_in_blocks_and_the_blocks_do_not_change_the_evidence() -> None:
    sizes = []

    class Watched(LogisticRegression):  # type: ignore[misc]
        def predict_proba(self, features: Any) -> Any:
            sizes.append(len(features))
            return super().predict_proba(features)

    watched = fitted(Watched(), "first", "second")
    blocks = judged(watched, weak(), block_rows=1000)
    assert sizes == [1000, 1000, 1000]
    assert blocks == judged(good(), weak())


def test_the_same_arguments_give_the_same_evidence_and_another_seed_another() -> None:
    policy = GatePolicy(guards=(Guard(metric=Metric.LOG_LOSS),))
    first, again, other = (judged(good(), weak(), policy=policy, seed=seed) for seed in (1, 1, 2))
    assert first.digest == again.digest != other.digest


def test_labels_of_any_spelling_are_understood() -> None:
    for spelling in (HOLDOUT["late"].astype(int), HOLDOUT["late"].astype("boolean")):
        assert judged(good(), weak(), HOLDOUT.assign(late=spelling)).passed
    as_words = {True: "late", False: "on time"}
    words = fitted(LogisticRegression(), "first", "second", label="late")
    words.fit(TRAINING[["first", "second"]], TRAINING["late"].map(as_words))
    assert judged(words, None, HOLDOUT.assign(late=HOLDOUT["late"].map(as_words))).passed


def test_columns_that_a_model_was_not_trained_on_are_not_shown_to_it() -> None:
    assert judged(good(), weak(), HOLDOUT.assign(extra="text")).passed


def test_slices_find_a_candidate_that_is_worse_for_one_group() -> None:
    model = good()

    def spoilt(features: pd.DataFrame) -> Numbers:
        scores = model.predict_proba(features[["first", "second"]])[:, 1]
        scores = np.where(features["group"] == "b", 1 - scores, scores)
        return np.column_stack([1 - scores, scores])

    policy = GatePolicy(slices=("group",))
    evidence = judged(Scripted(spoilt), model, policy=policy)
    assert evidence.verdict == "failed"
    assert any("group = b" in reason and "Holm" in reason for reason in evidence.reasons)
    assert [one.value for one in evidence.slices] == ["b"]  # in "a" both rank alike, "c" has too few rows
    assert evidence.slices_not_checked == 2
    assert judged(model, weak(), policy=policy).passed


def missing_labels(rows: int) -> pd.DataFrame:
    late = HOLDOUT["late"].astype("object")
    late.iloc[:rows] = np.nan
    return HOLDOUT.assign(late=late)


@pytest.mark.parametrize(
    ("holdout", "fact"),
    [
        (HOLDOUT.drop(columns="late"), "no label column 'late'.*first, second, group"),
        (HOLDOUT.rename(columns={"late": "lat"}), "no label column 'late'. Did you mean 'lat'?"),
        (HOLDOUT.iloc[:0], "empty: 0 rows < 1 required"),
        (missing_labels(3), "missing in 3 of 3,000 rows"),
        (pd.concat([HOLDOUT, HOLDOUT[["first"]]], axis=1), "more than one column first"),
        (HOLDOUT.drop(columns="second"), "lacks 1 of the 2 feature columns that the candidate.*second"),
        (HOLDOUT[HOLDOUT["late"]], "single value True in all"),
        (HOLDOUT.assign(late="maybe"), "knows the classes .*holds 'maybe'"),
        (HOLDOUT.assign(late=HOLDOUT["minutes"]), "knows the classes"),
        (HOLDOUT.assign(second=np.nan), "candidate failed on rows 0 to 2,999.*NaN"),
        (HOLDOUT.to_numpy(), "DataFrame is needed"),
    ],
)
def test_rows_that_cannot_be_judged_on_are_refused_in_one_paragraph(holdout: Any, fact: str) -> None:
    with pytest.raises(EvaluationError, match=fact):
        judged(good(), weak(), holdout)


def test_a_champion_whose_columns_are_gone_is_named_with_them() -> None:
    champion = fitted(LogisticRegression(), "first", "second")
    with pytest.raises(EvaluationError, match=r"the champion was trained on: second \(the label"):
        judged(fitted(LogisticRegression(), "first"), champion, HOLDOUT.drop(columns="second"))


@pytest.mark.parametrize(
    ("candidate", "changes", "fact"),
    [
        (
            fitted(LinearRegression(), "first", label="minutes"),
            {"label": "size"},
            "predicts numbers, but the label",
        ),
        (fitted(LinearRegression(), "first", label="minutes"), {}, "holds .*bool"),
        (fitted(DummyClassifier(), "first"), {}, "same answer to all 3,000 rows"),
        (object(), {}, "neither a scikit-learn classifier nor a regressor"),
        (LogisticRegression(), {}, "classes_"),
        (
            DecisionTreeClassifier().fit(TRAINING[["first"]], np.ones(len(TRAINING))),
            {"label": "late"},
            "single class",
        ),
        (
            ScriptedNumbers(lambda x: np.full(len(x), np.nan)),
            {"label": "minutes"},
            "NaN or infinity for 3,000",
        ),
        (ScriptedNumbers(lambda x: ["soon"] * len(x)), {"label": "minutes"}, "'soon' where a number"),
        (ScriptedNumbers(lambda _: [1.0]), {"label": "minutes"}, r"shape \(1,\)"),
        (ScriptedNumbers(lambda x: np.ones((len(x), 2))), {"label": "minutes"}, "one answer per row"),
        (Scripted(lambda x: np.full((len(x), 2), np.nan)), {}, "NaN or infinity"),
        (Scripted(lambda x: np.full((len(x), 2), 0.7)), {}, "do not add to 1"),
        (Scripted(lambda x: np.full((len(x), 3), 1 / 3)), {}, "column for each of its 2"),
        (Scripted(None, lambda x: np.array(["?"] * len(x))), {}, "none of its classes"),
        (good(), {"policy": GatePolicy(primary=Metric.MEAN_ABSOLUTE_ERROR)}, "does not apply to binary"),
        (good(), {"policy": GatePolicy(slices=("carrier",))}, "slices by carrier"),
        (good(), {"policy": GatePolicy(margin=2.0)}, "2.0 ≥ 1 on auc"),
        (fitted(RidgeClassifier(), "first"), {"policy": GatePolicy(primary=Metric.AUC)}, "no predict_proba"),
        (good(), {"champion_version": "3"}, "half there"),
    ],
)
def test_a_broken_candidate_or_policy_is_refused_in_one_paragraph(
    candidate: Any, changes: dict[str, Any], fact: str
) -> None:
    with pytest.raises(EvaluationError, match=fact) as caught:
        judged(candidate, None, **changes)
    assert "\n" not in str(caught.value)


def test_models_that_answer_different_questions_are_not_compared() -> None:
    with pytest.raises(EvaluationError, match="binary_classification and the champion for regression"):
        judged(
            good(),
            fitted(LinearRegression(), "first", label="minutes"),
            HOLDOUT.assign(late=HOLDOUT["late"] * 1),
        )


@pytest.mark.parametrize("rows", [1, 5, 199])
def test_a_tiny_holdout_is_insufficient_even_with_one_class_and_constant_answers(rows: int) -> None:
    evidence = judged(fitted(DummyClassifier(), "first"), weak(), HOLDOUT[HOLDOUT["late"]].iloc[:rows])
    assert evidence.verdict == "insufficient"
    assert evidence.reasons[0] == f"The holdout has {rows} rows < 200 required."
    assert Evidence.model_validate_json(evidence.model_dump_json()).digest == evidence.digest


def test_a_rare_class_is_insufficient_for_auc() -> None:
    rare = pd.concat([HOLDOUT[~HOLDOUT["late"]], HOLDOUT[HOLDOUT["late"]].iloc[:1]])
    evidence = judged(good(), weak(), rare)
    assert evidence.verdict == "insufficient"
    assert "1 rows < 10 required for AUC" in evidence.reasons[0]


def test_a_constant_champion_can_be_replaced() -> None:
    assert judged(good(), fitted(DummyClassifier(), "first", "second")).passed


def test_a_flawless_champion_leaves_no_relative_margin_and_nothing_passes() -> None:
    truth = dict(zip(HOLDOUT["first"], HOLDOUT["minutes"], strict=True))
    flawless = ScriptedNumbers(lambda features: features["first"].map(truth).to_numpy())
    candidate = fitted(LinearRegression(), "first", "second", label="minutes")
    evidence = judged(candidate, flawless, label="minutes", policy=GatePolicy(mode="refresh"))
    assert evidence.verdict == "failed"
    assert evidence.primary is not None
    assert evidence.primary.rows_needed is None


def test_a_class_that_is_new_among_many_is_a_wrong_answer() -> None:
    size = HOLDOUT["size"].copy()
    size.iloc[:50] = "enormous"
    evidence = judged(good("size"), weak("size"), HOLDOUT.assign(size=size), label="size")
    loss = evidence.measurement(Metric.LOG_LOSS)
    assert loss is not None
    assert loss.candidate is not None
    assert np.isfinite(loss.candidate)
