import time

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from podium.errors import EvaluationError
from podium.stats.delong import PairedAuc, auc, compare_auc

Scores = npt.NDArray[np.float64]


def definition(
    positive: npt.NDArray[np.bool_], first: Scores, second: Scores
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Both AUCs and their covariances from the definition: every positive against every negative, ties one half."""
    wins = []
    for scores in (first, second):
        difference = scores[positive][:, None] - scores[~positive][None, :]
        wins.append((difference > 0) + 0.5 * (difference == 0))
    of_positives = [one.mean(axis=1) for one in wins]
    of_negatives = [one.mean(axis=0) for one in wins]
    covariances = np.zeros((2, 2))
    for components in (of_positives, of_negatives):
        size = len(components[0])
        deviations = [one - one.mean() for one in components]
        covariances += np.array([[a @ b for b in deviations] for a in deviations]) / (size - 1) / size
    return np.array([one.mean() for one in wins]), covariances


def defined_z(positive: npt.NDArray[np.bool_], first: Scores, second: Scores) -> float:
    (ours, theirs), covariances = definition(positive, first, second)
    return float((ours - theirs) / np.sqrt(covariances[0, 0] + covariances[1, 1] - 2 * covariances[0, 1]))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("levels", [4, 20, None])
def test_z_equals_the_quadratic_definition(seed: int, levels: int | None) -> None:
    generator = np.random.default_rng(seed)
    positive = generator.random(300) < 0.3
    signal = generator.normal(size=300) + positive
    first, second = (signal + generator.normal(size=300) for _ in range(2))
    if levels:  # few levels: many ties, within and across classes
        first, second = (np.round(one * levels / 8) for one in (first, second))
    comparison = compare_auc(positive, first, second)
    assert_equals_the_definition(comparison, positive, first, second)
    assert comparison.z == pytest.approx(defined_z(positive, first, second), abs=1e-9)


def assert_equals_the_definition(
    comparison: PairedAuc, positive: npt.NDArray[np.bool_], first: Scores, second: Scores
) -> None:
    aucs, covariances = definition(positive, first, second)
    ours = [
        [comparison.candidate_variance, comparison.covariance],
        [comparison.covariance, comparison.champion_variance],
    ]
    np.testing.assert_allclose([comparison.candidate, comparison.champion], aucs, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours, covariances, rtol=0, atol=1e-9)
    gain_variance = covariances[0, 0] + covariances[1, 1] - 2 * covariances[0, 1]
    assert comparison.gain_variance == pytest.approx(gain_variance, rel=0, abs=1e-9)
    assert auc(positive, first) == comparison.candidate


# Of few levels most scores are equal to others, of both classes.
LEVELS = st.one_of(st.integers(0, 3), st.integers(-20, 20), st.floats(-1e6, 1e6))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.booleans(), LEVELS, LEVELS), min_size=6, max_size=60))
def test_any_table_with_ties_equals_the_definition(rows: list[tuple[bool, float, float]]) -> None:
    positive = np.array([row[0] for row in rows])
    first, second = (np.array([float(row[column]) for row in rows]) for column in (1, 2))
    assume(2 <= positive.sum() <= len(rows) - 2)
    comparison = compare_auc(positive, first, second)
    assert_equals_the_definition(comparison, positive, first, second)
    if comparison.informative:
        assert comparison.z == pytest.approx(defined_z(positive, first, second), rel=1e-9, abs=1e-9)


def test_the_covariance_matrix_explains_the_variance_of_the_gain() -> None:
    generator = np.random.default_rng(3)
    positive = generator.random(500) < 0.5
    one = compare_auc(positive, positive + generator.normal(size=500), positive + generator.normal(size=500))
    assert one.gain_variance == pytest.approx(
        one.candidate_variance + one.champion_variance - 2 * one.covariance, rel=1e-9
    )


def test_only_the_ranking_matters() -> None:
    generator = np.random.default_rng(4)
    positive = generator.random(200) < 0.5
    first, second = positive + generator.normal(size=200), generator.normal(size=200)
    assert compare_auc(positive, np.exp(first), second).z == compare_auc(positive, first, second).z


def test_p_values_and_interval_tell_one_story() -> None:
    generator = np.random.default_rng(5)
    positive = generator.random(800) < 0.4
    comparison = compare_auc(
        positive, positive + generator.normal(size=800), 0.5 * positive + generator.normal(size=800)
    )
    assert comparison.p_superior() < 0.001
    assert comparison.p_superior() + comparison.p_worse() == pytest.approx(1)
    low, high = comparison.interval(0.90)
    assert low < comparison.gain < high
    assert comparison.p_not_inferior(-low + 1e-6 if low < 0 else 0.001) < 0.05


def test_equal_rankings_carry_no_information_and_say_so() -> None:
    positive, scores = [0, 1, 0, 1, 1], [0.1, 0.4, 0.5, 0.8, 0.9]
    comparison = compare_auc(positive, scores, scores)
    assert not comparison.informative
    assert comparison.gain == 0
    for ask in (
        comparison.p_superior,
        lambda: comparison.p_not_inferior(0.1),
        lambda: comparison.interval(0.9),
        lambda: comparison.smallest_visible(alpha=0.05, power=0.8),
    ):
        with pytest.raises(EvaluationError, match="no spread on these 5 rows"):
            ask()


def test_constant_scores_have_an_auc_of_one_half() -> None:
    assert auc([0, 1, 1, 0], [7.0, 7.0, 7.0, 7.0]) == 0.5


def test_a_perfect_candidate_against_a_constant_champion_is_a_gain_without_spread() -> None:
    comparison = compare_auc([0, 0, 1, 1, 1], [1, 2, 3, 4, 5], [0, 0, 0, 0, 0])
    assert comparison.gain == 0.5
    assert not comparison.informative


@pytest.mark.parametrize(
    ("positive", "scores", "fact"),
    [
        ([1, 1, 1], [1, 2, 3], "3 positive and 0 negative rows, 0 < 2 required"),
        ([1, 0, 0], [1, 2, 3], "1 positive and 2 negative rows, 1 < 2 required"),
        ([], [], "0 rows < 1"),
        ([0, 0, 1, 1], [1, 2, float("nan"), 4], "1 of 4 scores of the candidate are NaN"),
        ([0, 0, 1, 1], [1, 2, 3], "3 scores of the candidate for 4 rows"),
        ([0, 2, 1, 1], [1, 2, 3, 4], "not all 0 or 1"),
    ],
)
def test_bad_input_is_refused(positive: list[int], scores: list[float], fact: str) -> None:
    with pytest.raises(EvaluationError, match=fact):
        compare_auc(positive, scores, scores)


def test_auc_needs_both_classes() -> None:
    with pytest.raises(EvaluationError, match="0 < 1 required"):
        auc([0, 0], [1, 2])


def test_a_hundred_thousand_rows_take_no_quadratic_time() -> None:
    generator = np.random.default_rng(6)
    positive = generator.random(100_000) < 0.2
    scores = positive + generator.normal(size=100_000)
    started = time.perf_counter()
    compare_auc(positive, scores, scores + generator.normal(size=100_000))
    assert time.perf_counter() - started < 2  # a quadratic table of 1.6e9 cells takes far longer
