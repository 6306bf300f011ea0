import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import EvaluationError
from podium.stats.mcnemar import PairedAccuracy, compare_accuracy


@pytest.mark.parametrize(
    ("only_candidate", "only_champion", "rows", "confidence", "low", "high"),
    [
        # Airway responsiveness before and after transplantation (Bentur 2009), as tabulated for Tango's
        # interval by Fagerland, Lydersen & Laake, Statistics in Medicine 33 (2014) 2850.
        (1, 7, 21, 0.95, -0.517, -0.026),
        # R: PropCIs::scoreci.mp(25, 28, 618, 0.90); its difference is second less first.
        (28, 25, 618, 0.90, -0.0148, 0.0247),
    ],
)
def test_tangos_interval_is_the_published_one(
    only_candidate: int, only_champion: int, rows: int, confidence: float, low: float, high: float
) -> None:
    interval = PairedAccuracy(only_candidate, only_champion, rows).interval(confidence)
    digits = 3 if confidence == 0.95 else 4
    assert (round(interval.low, digits), round(interval.high, digits)) == (low, high)


def test_the_mid_p_is_the_published_one() -> None:
    # Bentur 2009 again, in Fagerland, Lydersen & Laake (2013): the two-sided mid-p is 0.0391.
    assert round(2 * PairedAccuracy(7, 1, 21).p_superior(), 4) == 0.0391


def test_the_mid_p_follows_its_definition() -> None:
    tail = sum(math.comb(9, k) for k in range(7, 10)) / 2**9
    at = math.comb(9, 6) / 2**9
    assert PairedAccuracy(6, 3, 40).p_superior() == pytest.approx(tail + at / 2, abs=1e-12)


def test_without_disagreement_neither_model_is_favoured_and_the_interval_is_not_a_point() -> None:
    nothing = PairedAccuracy(0, 0, 2000)
    assert nothing.p_superior() == nothing.p_worse() == 0.5
    z_squared = 1.6448536269514722**2
    assert nothing.interval(0.90).high == pytest.approx(z_squared / (2000 + z_squared), abs=1e-9)
    assert 0 < nothing.p_not_inferior(0.01) < 0.001


def test_disagreement_in_one_direction_only_reaches_the_end_of_the_range() -> None:
    assert PairedAccuracy(10, 0, 10).interval(0.9).high == 1.0
    assert PairedAccuracy(0, 10, 10).interval(0.9).low == -1.0


counts = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 400)).map(
    lambda three: (three[0], three[1], three[0] + three[1] + three[2])
)


@given(counts, st.floats(0.005, 0.5))
def test_non_inferiority_and_the_interval_agree(three: tuple[int, int, int], margin: float) -> None:
    comparison = PairedAccuracy(*three)
    low, high = comparison.interval(0.90)
    assert low <= comparison.gain <= high
    p_value = comparison.p_not_inferior(margin)
    assert 0 <= p_value <= 1
    if abs(low + margin) > 1e-9:
        assert (low > -margin) == (p_value < 0.05)


@given(counts)
def test_exchanging_the_models_mirrors_everything(three: tuple[int, int, int]) -> None:
    ours, theirs = PairedAccuracy(*three), PairedAccuracy(three[1], three[0], three[2])
    assert ours.p_superior() == pytest.approx(theirs.p_worse())
    assert ours.p_superior() + ours.p_worse() == pytest.approx(1)
    assert ours.interval(0.9).low == pytest.approx(-theirs.interval(0.9).high, abs=1e-9)


def test_a_margin_needs_rows_even_where_the_models_never_disagreed() -> None:
    agreeing = PairedAccuracy(0, 0, 300)
    assert agreeing.rows_needed(0.01, alpha=0.05, power=0.8) == 619
    assert agreeing.smallest_visible(alpha=0.05, power=0.8) > 0


def test_counts_come_from_the_rows_that_one_model_alone_got_right() -> None:
    comparison = compare_accuracy([1, 1, 0, 0, 1], [1, 0, 1, 0, 0])
    assert comparison == PairedAccuracy(only_candidate=2, only_champion=1, rows=5)


@pytest.mark.parametrize(
    ("candidate", "champion", "fact"),
    [
        ([], [], "0 rows < 1"),
        ([1, 0], [1], "2 rows and the champion on 1"),
        ([1, float("nan")], [1, 0], "1 of 2 marks of the candidate are NaN"),
        ([1, 2], [1, 0], "not all 0 or 1"),
        ([[1, 0]], [[1, 0]], "shape"),
    ],
)
def test_bad_marks_are_refused(candidate: list[float], champion: list[float], fact: str) -> None:
    with pytest.raises(EvaluationError, match=fact):
        compare_accuracy(candidate, champion)


@pytest.mark.parametrize("impossible", [(-1, 0, 5), (3, 3, 5), (0, 0, 0)])
def test_impossible_counts_are_refused(impossible: tuple[int, int, int]) -> None:
    with pytest.raises(EvaluationError):
        PairedAccuracy(*impossible)


@pytest.mark.parametrize("margin", [0.0, -0.1, float("nan"), float("inf")])
def test_a_margin_must_be_positive(margin: float) -> None:
    with pytest.raises(EvaluationError, match="margin"):
        PairedAccuracy(5, 3, 100).p_not_inferior(margin)


def test_large_counts_keep_their_precision() -> None:
    comparison = PairedAccuracy(51_000, 49_000, 1_000_000)
    z = 2_000 / np.sqrt(100_000)
    assert comparison.p_superior() == pytest.approx(0.5 * math.erfc(z / math.sqrt(2)), rel=0.02)
