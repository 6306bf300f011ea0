"""Whether a candidate can serve whoever calls the champion."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from podium.registry.evidence import Feature
from podium.registry.policy import GatePolicy
from podium.registry.signature import kind_of_column
from tests.judging_world import HOLDOUT, TRAINING, Scripted, fitted, good, judged, weak


def narrow() -> Any:
    """A champion that needs one column of the two."""
    return fitted(LogisticRegression(), "first")


def test_a_column_that_callers_do_not_send_fails_and_is_named_unless_nobody_asks() -> None:
    evidence = judged(good(), narrow())
    assert evidence.verdict == "failed"
    assert evidence.signature is not None
    assert evidence.signature.new == ("second",)
    assert evidence.reasons[0].startswith("The candidate needs the column second, which callers of the champion do not")
    assert judged(good(), narrow(), policy=GatePolicy(signature="any")).passed


def test_a_column_that_is_no_longer_needed_is_told_and_blocks_nothing() -> None:
    champion = LogisticRegression().fit(TRAINING[["first", "minutes"]].assign(minutes=0.0), TRAINING["late"])
    champion.coef_ *= -1
    evidence = judged(fitted(LogisticRegression(), "first"), champion)
    assert evidence.passed
    assert evidence.reasons[-1] == "The candidate does without the column minutes that the champion needs."


def test_a_column_that_holds_something_else_than_for_the_champion_fails() -> None:
    before = (Feature(name="first", kind="text"), Feature(name="second", kind="number"))
    evidence = judged(good(), weak(), champion_features=before)
    assert evidence.verdict == "failed"
    assert "The column first is number for the candidate and text for the champion" in evidence.reasons[0]
    unknown = (Feature(name="first", kind="unknown"),)
    assert judged(good(), weak(), champion_features=unknown).passed


def test_what_was_written_down_of_one_is_what_the_next_is_compared_with() -> None:
    first = judged(weak())
    assert first.signature is not None
    assert first.signature.features == (Feature(name="first", kind="number"), Feature(name="second", kind="number"))
    assert judged(good(), weak(), champion_features=first.signature.features).passed


def test_classes_that_changed_fail_even_where_python_takes_them_for_equal() -> None:
    champion = weak()
    champion.fit(TRAINING[["first", "second"]].assign(second=0.0), TRAINING["late"].astype(int))
    evidence = judged(good(), champion)
    assert evidence.verdict == "failed"
    assert "in the classes False, True, the champion in 0, 1; callers" in evidence.reasons[0]
    assert judged(good(), champion, policy=GatePolicy(signature="any")).passed


def test_a_class_that_the_champion_never_answered_with_fails() -> None:
    size = TRAINING["size"].mask(TRAINING.index < 100, "enormous")
    candidate = LogisticRegression().fit(TRAINING[["first", "second"]], size)
    evidence = judged(candidate, weak("size"), label="size", policy=GatePolicy(mode="refresh", margin=0.2))
    assert evidence.verdict == "failed"
    assert (
        "the classes 'enormous', 'large', 'medium', 'small', the champion in 'large', 'medium'" in evidence.reasons[0]
    )


def test_numbers_have_no_classes_to_change() -> None:
    candidate, champion = (fitted(LinearRegression(), *names, label="minutes") for names in (("first", "second"),) * 2)
    champion.coef_ = champion.coef_ * 0.5
    assert judged(candidate, champion, label="minutes").passed


def test_a_model_that_does_not_say_its_columns_is_told_and_insufficient_only_where_compatibility_is_asked_for() -> None:
    model = good()
    silent = Scripted(
        lambda features: model.predict_proba(features[["first", "second"]]),
        lambda features: model.predict(features[["first", "second"]]),
    )
    told = judged(silent, weak())
    assert told.passed
    assert "unknown: the candidate does not say which columns it was trained on" in told.reasons[-1]
    asked = judged(silent, weak(), policy=GatePolicy(signature="compatible"))
    assert asked.verdict == "insufficient"
    shown = judged(good(), weak(), policy=GatePolicy(signature="compatible"))
    assert shown.passed
    assert shown.reasons[-1] == "All 2 columns that the candidate needs are sent by callers of the champion."


def test_a_first_model_has_nobody_to_be_compatible_with() -> None:
    assert judged(good(), policy=GatePolicy(signature="compatible")).passed


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "number"),
        ([1.5, None], "number"),
        ([True, False], "boolean"),
        (pd.Series([True, None], dtype="object"), "boolean"),
        (["a", None], "text"),
        (pd.Series(["a", "b"], dtype="object"), "text"),
        (pd.Series(["a", "b"], dtype="category"), "text"),
        (pd.Series([1, 2], dtype="category"), "number"),
        (pd.Series([1, None], dtype="Int64"), "number"),
        (pd.to_datetime(["2013-01-01", "2013-01-02"], utc=True), "time"),
        (pd.to_timedelta([1, 2], unit="h"), "duration"),
        ([None, None], "unknown"),
        ([np.nan, np.nan], "unknown"),
        ([None] * 5_000 + ["late"], "text"),
        ([[1], [2]], "other"),
        ([1j, 2j], "other"),
    ],
)
def test_what_a_column_holds(values: Any, kind: str) -> None:
    assert kind_of_column(pd.Series(values)) == kind


def test_columns_are_named_up_to_ten_and_counted_beyond() -> None:
    names = [f"f{number}" for number in range(12)]
    wide = HOLDOUT.assign(**dict.fromkeys(names, 0.0))
    training = TRAINING.assign(**dict.fromkeys(names, 0.0))
    candidate = LogisticRegression().fit(training[["first", "second", *names]], training["late"])
    evidence = judged(candidate, weak(), wide)
    assert "the columns f0, f1, f2, f3, f4, f5, f6, f7, f8, f9 and 2 more, which" in evidence.reasons[0]
