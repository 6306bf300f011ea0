from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from podium.errors import EvaluationError
from podium.stats.multiplicity import benjamini_hochberg, holm
from podium.stats.power import required_rows, smallest_visible

p_value_lists = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_holm_reproduces_a_worked_example() -> None:
    # Holm's procedure on 0.01, 0.04, 0.03, 0.005 by hand: 4·0.005, 3·0.01, 2·0.03, then not below 2·0.03.
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(p_value_lists)
def test_benjamini_hochberg_equals_scipys(p_values: list[float]) -> None:
    np.testing.assert_allclose(benjamini_hochberg(p_values), reference.false_discovery_control(p_values))


@given(p_value_lists)
def test_holm_lies_between_the_plain_p_value_and_bonferroni(p_values: list[float]) -> None:
    adjusted, plain = holm(p_values), np.array(p_values)
    assert np.all(adjusted >= plain)
    assert np.all(adjusted <= np.minimum(plain * plain.size, 1) + 1e-12)
    assert np.all(adjusted >= benjamini_hochberg(p_values) - 1e-12)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_no_questions_have_no_answers_and_impossible_ones_are_refused(
    adjust: Callable[[object], npt.NDArray[np.float64]],
) -> None:
    assert adjust([]).size == 0
    for wrong in ([0.1, float("nan")], [1.2], [-0.1], [[0.1]]):
        with pytest.raises(EvaluationError):
            adjust(wrong)


def test_rows_and_smallest_change_are_two_sides_of_one_formula() -> None:
    rows = required_rows(0.06, 0.01, alpha=0.05, power=0.8)
    assert rows == 3710
    assert smallest_visible(0.06, rows, alpha=0.05, power=0.8) <= 0.01
    assert smallest_visible(0.06, rows - 1, alpha=0.05, power=0.8) > 0.01


@pytest.mark.parametrize("variance", [-1.0, float("nan"), float("inf")])
def test_an_impossible_variance_is_refused(variance: float) -> None:
    with pytest.raises(EvaluationError, match="variance"):
        required_rows(variance, 0.01, alpha=0.05, power=0.8)


def test_impossible_plans_are_refused() -> None:
    with pytest.raises(EvaluationError, match="margin"):
        required_rows(0.06, 0.0, alpha=0.05, power=0.8)
    with pytest.raises(EvaluationError, match="alpha < power"):
        required_rows(0.06, 0.01, alpha=0.9, power=0.8)
    with pytest.raises(EvaluationError, match="0 rows"):
        smallest_visible(0.06, 0, alpha=0.05, power=0.8)
