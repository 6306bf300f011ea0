"""Reliability bins, Brier scores and Wilson's interval, held against what can be said without them."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from podium.registry.calibration import MOST_BINS, Reliability, ReliabilityBin, reliability, wilson
from tests.judging_world import HOLDOUT, Scripted, good, judged, weak

Numbers = npt.NDArray[np.float64]


def drawn(rows: int, seed: int = 0) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Predictions of a rare class that come true as often as they say."""
    generator = np.random.default_rng(seed)
    predicted = generator.beta(0.5, 8, rows)
    return predicted, generator.random(rows) < predicted


def test_bins_of_a_rare_class_hold_equally_many_rows_and_lie_on_the_diagonal() -> None:
    predicted, positive = drawn(20_000)
    found = reliability(predicted, positive, confidence=0.999)
    assert [one.rows for one in found.bins] == [2000] * MOST_BINS
    assert all(one.low <= one.predicted <= one.high for one in found.bins)
    assert found.brier == pytest.approx(np.mean((predicted - positive) ** 2))


def test_a_model_that_is_too_sure_leaves_the_diagonal() -> None:
    predicted, positive = drawn(20_000)
    found = reliability(predicted**2, positive, confidence=0.999)
    assert all(one.predicted < one.low for one in found.bins[2:])
    assert found.brier > reliability(predicted, positive, confidence=0.999).brier


@given(st.integers(1, 400), st.integers(1, 30), st.integers(0, 10**6))
@settings(max_examples=60)
def test_every_row_is_in_one_bin_and_equal_predictions_in_the_same(rows: int, values: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    predicted = generator.integers(0, values, rows) / values
    positive = generator.random(rows) < 0.3
    bins = reliability(predicted, positive, confidence=0.9).bins
    assert sum(one.rows for one in bins) == rows
    assert sum(round(one.observed * one.rows) for one in bins) == positive.sum()
    assert math.fsum(one.predicted * one.rows for one in bins) == pytest.approx(predicted.sum())
    assert all(one.lowest <= one.predicted + 1e-9 and one.predicted <= one.highest + 1e-9 for one in bins)
    assert all(left.highest < right.lowest for left, right in pairwise(bins))
    assert len(bins) <= max(1, rows // 20)


def test_single_precision_above_one_is_one() -> None:
    (one,) = reliability(np.array([1.0000001, 1.0]), np.array([True, True]), confidence=0.9).bins
    assert (one.predicted, one.highest, one.observed, one.high) == (1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(("hits", "rows"), [(0, 1), (1, 1), (3, 10), (50, 100), (0, 10_000), (9_999, 10_000)])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.999])
def test_wilsons_interval_is_scipys(hits: int, rows: int, confidence: float) -> None:
    theirs = stats.binomtest(hits, rows).proportion_ci(confidence, method="wilson")
    assert wilson(hits, rows, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_a_bin_outside_of_zero_to_one_does_not_get_in() -> None:
    facts: dict[str, Any] = {"rows": 1, "lowest": 0, "highest": 1, "predicted": 0.5, "observed": 0, "low": 0, "high": 1}
    ReliabilityBin(**facts)
    for change in ({"rows": 0}, {"high": 1.1}, {"predicted": math.nan}):
        with pytest.raises(ValidationError):
            ReliabilityBin(**(facts | change))
    with pytest.raises(ValidationError):
        Reliability(brier=0.1, bins=())


def test_evidence_holds_both_models_calibration() -> None:
    found = judged(good(), weak()).calibration
    assert found is not None
    assert found.positive == "True"
    assert found.confidence == pytest.approx(0.9)
    assert found.champion is not None
    assert found.candidate.brier < found.champion.brier
    assert found.candidate.brier == pytest.approx(
        np.mean((good().predict_proba(HOLDOUT[["first", "second"]])[:, 1] - HOLDOUT["late"]) ** 2)
    )
    assert judged(good()).calibration == found.model_copy(update={"champion": None})


def test_without_probabilities_of_two_classes_there_is_none() -> None:
    from sklearn.linear_model import LinearRegression, RidgeClassifier

    from tests.judging_world import fitted

    ridge = fitted(RidgeClassifier(), "first")
    assert judged(ridge, good()).calibration is None
    assert judged(good(label="size"), label="size").calibration is None
    assert judged(fitted(LinearRegression(), "first", label="minutes"), label="minutes").calibration is None
    beside = judged(good(), ridge).calibration
    assert beside is not None
    assert beside.champion is None


def test_a_holdout_of_a_few_rows_and_one_class_has_a_curve_of_one_bin() -> None:
    rows = pd.DataFrame({"first": [0.1, 0.2, 0.3], "late": [False, False, False]})
    half = Scripted(probability=lambda features: np.full((len(features), 2), 0.5))
    found = judged(half, None, rows).calibration
    assert found is not None
    assert [(one.rows, one.observed) for one in found.candidate.bins] == [(3, 0.0)]
