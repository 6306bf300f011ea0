import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from podium.errors import EvaluationError
from podium.stats import bootstrap
from podium.stats.bootstrap import compare_means


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def skewed(rows: int = 200, seed: int = 1) -> npt.NDArray[np.float64]:
    return rng(seed).lognormal(size=rows) - 1.4


def test_the_interval_is_the_bca_interval_of_an_independent_implementation() -> None:
    gains = skewed()
    ours = compare_means(gains, rng(), resamples=20_000).interval(0.90)
    theirs = reference.bootstrap(
        (gains,), np.mean, confidence_level=0.90, n_resamples=20_000, method="BCa", rng=rng(9)
    ).confidence_interval
    tolerance = 0.03 * (theirs.high - theirs.low)
    assert ours.low == pytest.approx(theirs.low, abs=tolerance)
    assert ours.high == pytest.approx(theirs.high, abs=tolerance)


@pytest.mark.parametrize("errors", [-2.0, 0.3, 2.0])
def test_the_p_value_is_the_level_at_which_the_interval_reaches_zero(errors: float) -> None:
    gains = skewed()
    error = gains.std(ddof=1) / np.sqrt(gains.size)
    comparison = compare_means(gains - gains.mean() + errors * error, rng(), resamples=20_000)
    p_value = comparison.p_superior()
    low, high = comparison.interval(abs(1 - 2 * p_value))
    assert (low if p_value < 0.5 else high) == pytest.approx(0.0, abs=0.02 * error)
    assert comparison.p_superior() + comparison.p_worse() == pytest.approx(1)


def test_many_rows_agree_with_the_normal_approximation() -> None:
    gains = rng(2).normal(0.02, 1.0, size=5000)
    comparison = compare_means(gains, rng())
    error = gains.std(ddof=1) / np.sqrt(gains.size)
    assert comparison.p_superior() == pytest.approx(reference.norm.sf(gains.mean() / error), abs=0.02)
    assert comparison.p_not_inferior(0.05) < comparison.p_superior()
    assert comparison.smallest_visible(alpha=0.05, power=0.8) == pytest.approx(2.486 * error, rel=0.01)


def test_few_distinct_values_are_drawn_as_counts_and_give_the_same_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gains = rng(3).choice([-1.0, 0.0, 1.0], p=[0.05, 0.88, 0.07], size=3000)
    as_counts = compare_means(gains, rng(), resamples=10_000)
    monkeypatch.setattr(bootstrap, "_ROWS_PER_VALUE", gains.size)  # from here on, row by row
    by_rows = compare_means(gains, rng(), resamples=10_000)
    assert as_counts.p_superior() == pytest.approx(by_rows.p_superior(), abs=0.01)
    assert as_counts.interval(0.9) == pytest.approx(by_rows.interval(0.9), abs=0.0008)


@pytest.mark.parametrize("rows", [skewed(2000), rng(4).standard_t(2, size=2000), rng(5).normal(size=2000)])
def test_very_many_rows_are_drawn_by_bins_and_give_the_same_answer(
    monkeypatch: pytest.MonkeyPatch, rows: npt.NDArray[np.float64]
) -> None:
    by_rows = compare_means(rows, rng(), resamples=10_000)
    monkeypatch.setattr(bootstrap, "_ROWS_TO_BIN", rows.size)
    by_bins = compare_means(rows, rng(1), resamples=10_000)
    assert reference.ks_2samp(by_rows.replicates, by_bins.replicates).pvalue > 0.01
    means, variance = by_bins.replicates, rows.var() / rows.size
    assert means.mean() == pytest.approx(rows.mean(), abs=4 * np.sqrt(variance / means.size))
    assert means.var() == pytest.approx(variance, rel=0.08)
    skewness = reference.skew(rows) / np.sqrt(rows.size)
    assert reference.skew(means) == pytest.approx(skewness, abs=4 * np.sqrt(6 / means.size))
    assert by_bins.p_superior() == pytest.approx(by_rows.p_superior(), abs=0.015)


def test_bins_wider_than_the_bulk_of_the_rows_keep_the_spread_within_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.append(rng(6).normal(size=5000), [-500.0, 500.0])  # all but two of them in two bins
    monkeypatch.setattr(bootstrap, "_ROWS_TO_BIN", rows.size)
    means = compare_means(rows, rng(), resamples=10_000).replicates
    assert means.var() == pytest.approx(rows.var() / rows.size, rel=0.08)
    assert np.unique(means).size == means.size


def test_the_time_of_very_many_rows_is_linear_in_them() -> None:
    drawn = []

    class Counting(np.random.Generator):
        def integers(self, *arguments: Any, **options: Any) -> Any:
            drawn.append("row by row")
            return super().integers(*arguments, **options)

    compare_means(skewed(bootstrap._ROWS_TO_BIN), Counting(np.random.PCG64(0)))
    assert drawn == []


def test_blocks_change_the_memory_but_not_the_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    gains = skewed()
    whole = compare_means(gains, rng())
    monkeypatch.setattr(bootstrap, "_DRAWS_AT_ONCE", 3 * gains.size + 1)
    blocks = compare_means(gains, rng())
    np.testing.assert_array_equal(whole.replicates, blocks.replicates)


def test_memory_does_not_grow_with_rows_times_resamples() -> None:
    gains = rng(5).normal(size=300_000)
    tracemalloc.start()
    compare_means(gains, rng(), resamples=100)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 80e6 < gains.size * 100 * 8


def test_the_same_seed_gives_the_same_answer() -> None:
    assert compare_means(skewed(), rng(7)).p_superior() == compare_means(skewed(), rng(7)).p_superior()


@pytest.mark.parametrize("gains", [[0.0, 0.0, 0.0], [0.1] * 7, [0.5], [0.1 + 0.2, 0.3, 0.3]])
def test_equal_gains_carry_no_information_and_say_so(gains: list[float]) -> None:
    comparison = compare_means(gains, rng())
    assert not comparison.informative
    assert comparison.gain == pytest.approx(gains[0])
    for ask in (
        comparison.p_superior,
        comparison.p_worse,
        lambda: comparison.p_not_inferior(0.1),
        lambda: comparison.interval(0.9),
        lambda: comparison.rows_needed(0.1, alpha=0.05, power=0.8),
        lambda: comparison.smallest_visible(alpha=0.05, power=0.8),
    ):
        with pytest.raises(EvaluationError, match="gain the same"):
            ask()


@pytest.mark.parametrize(
    ("gains", "fact"),
    [
        ([], "0 rows < 1"),
        ([1.0, float("nan")], "1 of 2 gains per row are NaN"),
        ([1.0, float("inf")], "infinite"),
        ([1e200, -1e200], "too wide"),
    ],
)
def test_bad_gains_are_refused(gains: list[float], fact: str) -> None:
    with pytest.raises(EvaluationError, match=fact):
        compare_means(gains, rng())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e9, 1e9, allow_subnormal=False), min_size=1, max_size=30), st.floats(1e-6, 1e6))
def test_no_nan_comes_out_of_finite_gains(gains: list[float], margin: float) -> None:
    comparison = compare_means(gains, rng(), resamples=100)
    if comparison.informative:
        answers = [comparison.p_superior(), comparison.p_worse(), comparison.p_not_inferior(margin)]
        assert all(0 <= answer <= 1 for answer in answers)
        low, high = comparison.interval(0.9)
        assert min(gains) - 1e-6 <= low <= high <= max(gains) + 1e-6
