import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import EvaluationError
from podium.stats.sequential import (
    Cell,
    Difference,
    expected_requests_to_roll_back,
    requests_for_margin,
    stratified_difference,
)

RAMP = [(0.05, 8000), (0.25, 16_000), (0.50, 31_200)]


def test_a_base_rate_that_rises_with_the_weight_makes_no_difference() -> None:
    ramp = [Cell(0.05, 400, 12, 7600, 228), Cell(0.25, 4000, 200, 12_000, 600), Cell(0.5, 15_600, 1248, 15_600, 1248)]
    difference = stratified_difference(ramp)
    assert difference is not None
    assert difference.estimate == pytest.approx(0, abs=1e-15)
    pooled = sum(c.challenger_errors for c in ramp) / 20_000 - sum(c.champion_errors for c in ramp) / 35_200
    assert pooled > 0.01  # what comparing pooled rates would have concluded


def test_one_cell_is_the_plain_difference() -> None:
    difference = stratified_difference([Cell(0.25, 1000, 60, 3000, 150)])
    assert difference is not None
    assert difference.estimate == pytest.approx(0.01)
    plain = math.sqrt(0.06 * 0.94 / 1000 + 0.05 * 0.95 / 3000)
    assert difference.standard_error == pytest.approx(plain, rel=0.02)
    assert difference.z(0.01) == pytest.approx(0, abs=1e-12)
    assert difference.p_value(0.01) == pytest.approx(0.5)


def test_where_a_variant_answered_nothing_the_difference_is_unknown() -> None:
    assert stratified_difference([]) is None
    assert stratified_difference([Cell(0.5, 0, 0, 100, 5), Cell(0.5, 100, 5, 0, 0)]) is None
    both = Cell(0.5, 100, 5, 100, 5)
    assert stratified_difference([Cell(0.05, 0, 0, 100, 50), both]) == Difference((both,))


@given(
    st.lists(st.tuples(st.integers(1, 500), st.integers(1, 500), st.floats(0, 1), st.floats(0, 1)), min_size=1),
    st.floats(1e-6, 0.999),
)
def test_no_counts_make_the_standard_error_vanish(arms: list[tuple[int, int, float, float]], margin: float) -> None:
    cells = [Cell(0.5, n1, int(n1 * share1), n0, int(n0 * share0)) for n1, n0, share1, share0 in arms]
    difference = stratified_difference(cells)
    assert difference is not None
    assert difference.standard_error > 0
    assert -1 <= difference.estimate <= 1
    assert math.isfinite(difference.z(margin))
    assert 0 <= difference.p_value(margin) <= 1


def test_few_exposures_without_errors_do_not_pass() -> None:
    few, many = Cell(0.05, 20, 0, 380, 0), Cell(0.05, 2000, 0, 38_000, 0)
    for cell, passes in ((few, False), (many, True)):
        difference = stratified_difference([cell])
        assert difference is not None
        assert (difference.p_value(0.01) <= 0.025) is passes


def test_at_the_margin_a_small_canary_passes_about_as_often_as_its_level_says() -> None:
    # Exact: every count of errors times its probability. The observed rates' standard error gives 9.6 % in one case.
    for weight, exposures, rate, margin in ((0.05, (100, 1900), 0.02, 0.02), (0.25, (250, 750), 0.02, 0.02)):
        own = binomial(exposures[0], rate + margin)
        other = binomial(exposures[1], rate)
        false_pass = 0.0
        for errors, others in itertools.product(range(25), range(70)):
            difference = stratified_difference([Cell(weight, exposures[0], errors, exposures[1], others)])
            assert difference is not None
            if difference.p_value(margin) <= 0.025:
                false_pass += own[errors] * other[others]
        assert 0.005 < false_pass <= 0.03


def binomial(trials: int, rate: float) -> list[float]:
    return [math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(min(trials, 70) + 1)]


def test_a_margin_that_is_no_share_is_refused() -> None:
    for margin in (0.0, 1.0, math.nan):
        with pytest.raises(EvaluationError, match="margin"):
            Difference((Cell(0.5, 10, 1, 10, 1),)).z(margin)


@pytest.mark.parametrize(
    ("error_rate", "margin", "ramp"),
    [
        (0.05, 0.01, RAMP),
        (0.01, 0.02, [(0.05, 2000), (0.5, 1)]),
        (0.30, 0.03, [(0.1, 4000), (0.5, 2000), (0.2, 0)]),
    ],
)
def test_the_planned_requests_find_an_equal_challenger_as_often_as_planned(
    error_rate: float, margin: float, ramp: list[tuple[float, int]]
) -> None:
    total = requests_for_margin(error_rate=error_rate, margin=margin, weights=ramp, alpha=0.025, power=0.9)
    generator = np.random.default_rng(21)
    passed, canaries = 0, 1500
    for _ in range(canaries):
        cells, left = [], total
        for number, (weight, planned) in enumerate(ramp):
            requests = left if number == len(ramp) - 1 else min(planned, left)
            left -= requests
            exposed = int(generator.binomial(requests, weight))
            errors = generator.binomial([exposed, requests - exposed], error_rate)
            cells.append(Cell(weight, exposed, int(errors[0]), requests - exposed, int(errors[1])))
        difference = stratified_difference(cells)
        passed += difference is not None and difference.p_value(margin) <= 0.025
    assert abs(passed / canaries - 0.9) < 0.03


def test_a_harder_question_needs_more_requests() -> None:
    def needed(error_rate: float = 0.05, margin: float = 0.01, alpha: float = 0.025, power: float = 0.9) -> int:
        return requests_for_margin(error_rate=error_rate, margin=margin, weights=RAMP, alpha=alpha, power=power)

    for harder in (
        [needed(margin=margin) for margin in (0.2, 0.05, 0.01, 0.005, 0.001)],
        [needed(error_rate=rate) for rate in (0.0, 0.001, 0.01, 0.05, 0.2, 0.45)],
        [needed(power=power) for power in (0.5, 0.8, 0.9, 0.99)],
        [needed(alpha=alpha) for alpha in (0.2, 0.05, 0.025, 0.001)],
    ):
        assert harder == sorted(set(harder))
    assert needed(margin=0.2) < 8000  # within the first phase
    assert needed(margin=0.001) > 55_200  # long after the last one's plan


def test_the_last_weight_goes_on_for_as_long_as_needed() -> None:
    short, long = (
        requests_for_margin(error_rate=0.05, margin=0.01, weights=[*RAMP[:2], (0.5, last)], alpha=0.025, power=0.9)
        for last in (0, 100_000)
    )
    assert short == long > 24_000


def test_rolling_back_takes_the_errors_that_tell_the_variants_apart() -> None:
    requests = expected_requests_to_roll_back(error_rate=0.05, relative_risk=1.4, weight=0.05, alpha=0.05)
    share = 0.05 * 1.4 / (0.05 * 1.4 + 0.95)
    per_error = share * math.log(share / 0.05) + (1 - share) * math.log((1 - share) / 0.95)
    assert requests == pytest.approx(math.log(20) / (0.05 * (0.05 * 1.4 + 0.95) * per_error))


def test_a_worse_challenger_is_rolled_back_sooner() -> None:
    by_risk = [
        expected_requests_to_roll_back(error_rate=0.05, relative_risk=risk, weight=0.05, alpha=0.05)
        for risk in (1.01, 1.1, 1.4, 2.0, 20.0)
    ]
    by_rate = [
        expected_requests_to_roll_back(error_rate=rate, relative_risk=2, weight=0.05, alpha=0.05)
        for rate in (0.001, 0.05, 0.5)
    ]
    assert by_risk == sorted(by_risk, reverse=True)
    assert by_rate == sorted(by_rate, reverse=True)


def test_impossible_plans_are_refused() -> None:
    def needed(
        error_rate: float = 0.05,
        margin: float = 0.01,
        weights: tuple[tuple[float, int], ...] = ((0.5, 1),),
        alpha: float = 0.05,
    ) -> int:
        return requests_for_margin(error_rate=error_rate, margin=margin, weights=weights, alpha=alpha, power=0.9)

    for margin in (0.0, -0.01, 1.0, math.nan):
        with pytest.raises(EvaluationError, match="margin"):
            needed(margin=margin)
    for rate in (-0.01, 0.995, math.nan):
        with pytest.raises(EvaluationError, match="error rate"):
            needed(error_rate=rate)
    for weights in ((), ((0.0, 10),), ((1.0, 10),), ((0.5, -1),)):
        with pytest.raises(EvaluationError, match="ramp"):
            needed(weights=weights)
    with pytest.raises(EvaluationError, match="alpha < power"):
        needed(alpha=0.95)


@pytest.mark.parametrize(
    ("error_rate", "relative_risk", "weight", "alpha", "names"),
    [
        (0.0, 2.0, 0.5, 0.05, "rate"),
        (0.6, 2.0, 0.5, 0.05, "rate"),
        (0.05, 1.0, 0.5, 0.05, "relative risk"),
        (0.05, math.nan, 0.5, 0.05, "relative risk"),
        (0.05, 2.0, 1.0, 0.05, "weight"),
        (0.05, 2.0, 0.5, 0.0, "alpha"),
    ],
)
def test_a_roll_back_that_cannot_be_planned_is_refused(
    error_rate: float, relative_risk: float, weight: float, alpha: float, names: str
) -> None:
    with pytest.raises(EvaluationError, match=names):
        expected_requests_to_roll_back(error_rate=error_rate, relative_risk=relative_risk, weight=weight, alpha=alpha)
