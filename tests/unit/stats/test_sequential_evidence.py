"""The counters give what a walk over the requests gives, and nothing else moves the evidence."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit, logit

from podium.errors import EvaluationError
from podium.stats.sequential import (
    Cell,
    Cells,
    log_e_better,
    log_e_sample_ratio,
    log_e_within_margin,
    log_e_worse,
    relative_risk_interval,
)

EVIDENCE: dict[str, Callable[[Cells], float]] = {
    "worse": log_e_worse,
    "better": lambda cells: log_e_better(cells, ratio=1.2),
    "within the margin": lambda cells: log_e_within_margin(cells, margin=0.01, centre=0.05),
    "sample ratio": log_e_sample_ratio,
}
every_evidence = pytest.mark.parametrize("log_e", EVIDENCE.values(), ids=EVIDENCE.keys())
weights = st.floats(0.01, 0.99)
ratios = st.floats(0.3, 3.0)


@st.composite
def some_cells(draw: st.DrawFn, most: int = 40) -> Cell:
    exposures = draw(st.tuples(st.integers(0, most), st.integers(0, most)))
    errors = [draw(st.integers(0, exposed)) for exposed in exposures]
    return Cell(draw(weights), exposures[0], errors[0], exposures[1], errors[1])


cell_lists = st.lists(some_cells(), max_size=4)


def requests_of(cells: Cells) -> list[tuple[float, int, int]]:
    """Every request as (weight, to the challenger, wrong)."""
    return [
        request
        for cell in cells
        for variant, exposures, errors in (
            (1, cell.challenger_exposures, cell.challenger_errors),
            (0, cell.champion_exposures, cell.champion_errors),
        )
        for request in [(cell.weight, variant, 1)] * errors + [(cell.weight, variant, 0)] * (exposures - errors)
    ]


def mixture(log_factors: list[float], shares: list[float]) -> float:
    return float(np.logaddexp.reduce(np.array(log_factors) + np.log(shares)))


def attribution(cells: Cells, null_ratio: float, sign: int, smallest_change: float) -> float:
    """The e-process of the errors, request by request."""
    distances = [math.exp(x) for x in np.linspace(math.log(0.03), math.log(math.log(4)), 24)]
    halves = [
        [b * math.exp(-(b**2) / (2 * spread**2)) for b in distances]
        for spread in (math.log(1 + smallest_change), math.log(2))
    ]
    shares = [(a / sum(halves[0]) + b / sum(halves[1])) / 2 for a, b in zip(*halves, strict=True)]
    products = []
    for b in distances:
        r = null_ratio * math.exp(sign * b)
        products.append(
            sum(
                to_challenger * math.log(r / null_ratio)
                - math.log((1 + weight * (r - 1)) / (1 + weight * (null_ratio - 1)))
                for weight, to_challenger, wrong in requests_of(cells)
                if wrong
            )
        )
    return mixture(products, shares)


def betting(cells: Cells, margin: float, centre: float) -> float:
    """The product of bets on the assignment, request by request."""
    products = []
    for multiple in (0.5, 0.5**0.5, 1, 2**0.5, 2):
        total = 0.0
        for weight, to_challenger, wrong in requests_of(cells):
            drift = margin * weight * (1 - weight)
            greatest = max((a - weight) * (y - centre) - drift for a in (0, 1) for y in (0, 1))
            wanted = multiple * margin / max(centre * (1 - centre), margin * (1 - margin))
            bet = min(wanted, 0.95 / greatest)
            total += math.log(1 - bet * ((to_challenger - weight) * (wrong - centre) - drift))
        products.append(total)
    return mixture(products, [0.2] * 5)


def urn(cells: Cells) -> float:
    """Odds of each assignment under an urn that learns, over those recorded."""
    total = 0.0
    for cell in cells:
        black, white = 100 * cell.weight, 100 * (1 - cell.weight)
        for _, to_challenger, _ in requests_of([cell]):
            if to_challenger:
                total += math.log(black / (black + white) / cell.weight)
                black += 1
            else:
                total += math.log(white / (black + white) / (1 - cell.weight))
                white += 1
    return total


@given(cell_lists, ratios, st.sampled_from([0.05, 0.2, 1.0]))
def test_evidence_of_worse_and_better_is_the_product_over_the_errors(
    cells: list[Cell], ratio: float, smallest_change: float
) -> None:
    worse = log_e_worse(cells, ratio=ratio, smallest_change=smallest_change)
    better = log_e_better(cells, ratio=ratio, smallest_change=smallest_change)
    assert worse == pytest.approx(attribution(cells, ratio, 1, smallest_change), abs=1e-9)
    assert better == pytest.approx(attribution(cells, ratio, -1, smallest_change), abs=1e-9)


@given(cell_lists, st.floats(0.001, 0.9), st.floats(0, 1))
def test_evidence_of_within_the_margin_is_the_product_of_the_bets(
    cells: list[Cell], margin: float, centre: float
) -> None:
    counted = log_e_within_margin(cells, margin=margin, centre=centre)
    assert counted == pytest.approx(betting(cells, margin, centre), rel=1e-9, abs=1e-9)


@given(cell_lists)
def test_evidence_of_a_wrong_sample_ratio_is_that_of_an_urn(cells: list[Cell]) -> None:
    assert log_e_sample_ratio(cells) == pytest.approx(urn(cells), abs=1e-9)


@every_evidence
@given(cells=cell_lists, order=st.randoms())
@settings(max_examples=30)
def test_the_order_of_the_cells_does_not_matter(
    log_e: Callable[[Cells], float], cells: list[Cell], order: object
) -> None:
    assert log_e(cells[::-1]) == pytest.approx(log_e(cells), abs=1e-9)


@pytest.mark.parametrize("question", ["worse", "better", "within the margin"])
@given(first=some_cells(), second=some_cells())
def test_two_phases_at_one_weight_count_as_one(question: str, first: Cell, second: Cell) -> None:
    log_e = EVIDENCE[question]
    apart = [first, Cell(first.weight, *(getattr(second, name) for name in Cell.__slots__[1:]))]
    together = [Cell(first.weight, *(sum(getattr(cell, name) for cell in apart) for name in Cell.__slots__[1:]))]
    assert log_e(apart) == pytest.approx(log_e(together), abs=1e-9)


@given(cell_lists, ratios)
def test_worse_is_better_with_the_variants_exchanged(cells: list[Cell], ratio: float) -> None:
    exchanged = [
        Cell(
            1 - cell.weight,
            cell.champion_exposures,
            cell.champion_errors,
            cell.challenger_exposures,
            cell.challenger_errors,
        )
        for cell in cells
    ]
    assert log_e_worse(cells, ratio=ratio) == pytest.approx(log_e_better(exchanged, ratio=1 / ratio), abs=1e-9)


@every_evidence
def test_where_nothing_was_seen_there_is_exactly_no_evidence(log_e: Callable[[Cells], float]) -> None:
    assert log_e([]) == 0.0
    assert log_e([Cell(0.05, 0, 0, 0, 0), Cell(0.5, 0, 0, 0, 0)]) == 0.0
    seen = Cell(0.3, 40, 3, 80, 5)
    assert log_e([seen, Cell(0.9, 0, 0, 0, 0)]) == log_e([seen])


def test_answers_without_errors_say_nothing_of_the_relative_risk() -> None:
    right = [Cell(0.05, 400, 0, 7600, 0), Cell(0.5, 4000, 0, 4000, 0)]
    assert log_e_worse(right) == log_e_better(right, ratio=1.0) == 0.0
    assert relative_risk_interval(right, alpha=0.05) == (0.0, math.inf)


HUGE = 10**15


@every_evidence
@pytest.mark.parametrize(
    "cell",
    [
        Cell(0.5, HUGE, HUGE, HUGE, 0),
        Cell(0.5, HUGE, 0, HUGE, HUGE),
        Cell(1e-9, HUGE, HUGE // 20, HUGE, HUGE // 20),
        Cell(1 - 1e-9, HUGE, HUGE // 20, HUGE, HUGE // 20),
        Cell(0.5, HUGE, 0, 0, 0),
        Cell(0.5, 0, 0, HUGE, HUGE),
        Cell(0.5, HUGE**2, HUGE**2, 1, 0),
    ],
)
def test_counts_of_any_size_give_a_finite_number(log_e: Callable[[Cells], float], cell: Cell) -> None:
    with np.errstate(all="raise", under="ignore"):
        assert math.isfinite(log_e([cell]))
    low, high = relative_risk_interval([cell], alpha=0.05)
    assert 0 <= low <= high


@given(cell_lists, st.sampled_from([0.01, 0.05, 0.5]))
def test_the_interval_ends_where_a_test_at_half_the_level_begins_to_reject(cells: list[Cell], alpha: float) -> None:
    low, high = relative_risk_interval(cells, alpha=alpha)
    assert low <= high
    threshold = math.log(2 / alpha)
    if low > 0:
        assert log_e_worse(cells, ratio=low) == pytest.approx(threshold, abs=1e-5)
    else:
        assert log_e_worse(cells, ratio=1e-15) < threshold
    if high < math.inf:
        assert log_e_better(cells, ratio=high) == pytest.approx(threshold, abs=1e-5)
    else:
        assert log_e_better(cells, ratio=1e15) < threshold


@given(cell_lists)
def test_the_interval_holds_the_most_likely_relative_risk(cells: list[Cell]) -> None:
    own = sum(cell.challenger_errors for cell in cells)
    errors = own + sum(cell.champion_errors for cell in cells)

    def slope(log_ratio: float) -> float:
        return own - sum(
            (cell.challenger_errors + cell.champion_errors) * float(expit(logit(cell.weight) + log_ratio))
            for cell in cells
        )

    low, high = relative_risk_interval(cells, alpha=0.05)
    if 0 < own < errors:
        assert low < math.exp(brentq(slope, -30, 30)) < high
    if own == errors:
        assert high == math.inf
    if own == 0:
        assert low == 0.0


def test_many_errors_narrow_the_interval_around_the_truth() -> None:
    low, high = relative_risk_interval([Cell(0.25, 25_000, 1750, 75_000, 3750)], alpha=0.05)
    assert 1.25 < low < 1.4 < high < 1.55


def test_impossible_counts_and_weights_are_refused() -> None:
    for weight in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(EvaluationError, match="weight"):
            Cell(weight, 1, 0, 1, 0)
    for counts in ((1, 2, 1, 0), (1, -1, 1, 0), (1, 0, 1, 2), (-1, 0, 1, 0)):
        with pytest.raises(EvaluationError, match="Impossible counts"):
            Cell(0.5, *counts)


def test_impossible_questions_are_refused() -> None:
    cells = [Cell(0.5, 100, 5, 100, 5)]
    for ratio in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(EvaluationError, match="relative risk"):
            log_e_worse(cells, ratio=ratio)
        with pytest.raises(EvaluationError, match="relative risk"):
            log_e_better(cells, ratio=ratio)
    for change in (0.0, 4.0, math.nan):
        with pytest.raises(EvaluationError, match="smallest change"):
            log_e_worse(cells, smallest_change=change)
    for margin in (0.0, 1.0, math.nan):
        with pytest.raises(EvaluationError, match="margin"):
            log_e_within_margin(cells, margin=margin, centre=0.05)
    for centre in (-0.1, 1.1, math.nan):
        with pytest.raises(EvaluationError, match="centre"):
            log_e_within_margin(cells, margin=0.01, centre=centre)
    for alpha in (0.0, 1.0, math.nan):
        with pytest.raises(EvaluationError, match="alpha"):
            relative_risk_interval(cells, alpha=alpha)
