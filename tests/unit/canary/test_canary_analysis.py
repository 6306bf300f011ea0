import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.canary.analysis import assess, verdict_of
from podium.canary.entities import Assessment, GuardrailEvidence
from podium.canary.plan import CanaryPlan, Phase
from podium.stats.cells import Cell, Cells
from podium.stats.sequential import log_e_within_margin, requests_for_margin, stratified_difference

PLAN = CanaryPlan()
NOT_BEGUN = (Cell(0.25, 0, 0, 0, 0), Cell(0.5, 0, 0, 0, 0))


def look(*cells: Cell, plan: CanaryPlan = PLAN, horizon: int | None = None, baseline: float = 0.05) -> Assessment:
    return assess(plan, plan.requests if horizon is None else horizon, baseline, cells)


def test_an_undecided_look_continues_and_shows_how_far_it_is() -> None:
    found = look(Cell(0.05, 100, 5, 1900, 95), *NOT_BEGUN)
    assert found.verdict == "continue"
    (reason,) = found.reasons
    assert reason.startswith("2,000 of 55,200 requests: e-value 0.")
    assert "< 20 for a higher error rate" in reason
    assert "< 40 for one within 0.010" in reason


def test_a_challenger_that_errs_more_is_rolled_back() -> None:
    found = look(Cell(0.05, 400, 60, 7600, 380), *NOT_BEGUN)
    assert found.verdict == "roll_back"
    assert "errs more often: e-value" in found.reasons[0]
    assert "≥ 20 allowed after 8,000 requests, relative risk in [" in found.reasons[0]
    assert "challenger 60 errors in 400 exposures, champion 380 in 7,600" in found.reasons[1]
    row = found.evidence[1]
    assert row.guardrail == "error_rate"
    assert row.low is not None
    assert row.high is not None
    assert row.estimate is not None
    assert 1 < row.low < row.estimate < row.high
    assert row.estimate == pytest.approx(3.0)


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.01, 0.05, 0.2]))
def test_the_shown_relative_risk_excludes_one_exactly_when_the_challenger_is_rolled_back(
    own: int, others: int, alpha: float
) -> None:
    plan = CanaryPlan(alpha=alpha)
    found = look(Cell(0.05, 200, own, 3800, 10 * others), *NOT_BEGUN, plan=plan)
    risk = found.evidence[1]
    assert (found.verdict == "roll_back") == (risk.low is not None and risk.low >= 1)


def test_a_challenger_within_the_margin_is_promoted_before_the_horizon() -> None:
    ramp = (Cell(0.05, 400, 16, 7600, 380), Cell(0.25, 4000, 170, 12_000, 600), Cell(0.5, 9000, 390, 9000, 450))
    assert log_e_within_margin(ramp, margin=0.01, centre=0.05) >= math.log(40)
    found = look(*ramp)
    assert found.verdict == "promote"
    assert "is not higher by 0.010 or more: e-value" in found.reasons[0]
    assert "≥ 40 required after 42,000 requests" in found.reasons[0]


def test_a_promotion_before_the_horizon_takes_half_of_alpha() -> None:
    ramp = (Cell(0.05, 400, 20, 7600, 380), Cell(0.25, 4000, 200, 12_000, 600), Cell(0.5, 6000, 325, 6000, 300))
    assert math.log(20) < log_e_within_margin(ramp, margin=0.01, centre=0.05) < math.log(40)
    assert look(*ramp).verdict == "continue"


def at_the_horizon() -> Cells:
    """Counts that only the test at the horizon calls within the margin."""
    return (Cell(0.5, 10_500, 560, 10_500, 525),)


def test_the_horizons_test_promotes_at_the_horizon_alone() -> None:
    plan = CanaryPlan(phases=(Phase(weight_percent=50, requests=40_000),))
    difference = stratified_difference(at_the_horizon())
    assert difference is not None
    assert difference.p_value(0.01) <= 0.025
    assert log_e_within_margin(at_the_horizon(), margin=0.01, centre=0.05) < math.log(40)
    assert look(*at_the_horizon(), plan=plan).verdict == "continue"
    found = look(*at_the_horizon(), plan=plan, horizon=21_000)
    assert found.verdict == "promote"
    assert "≤ 0.025 at the horizon of 21,000 requests" in found.reasons[0]


def test_neither_at_the_horizon_is_inconclusive_and_says_how_many_requests_the_margin_takes() -> None:
    plan = CanaryPlan(phases=(Phase(weight_percent=50, requests=13_204),))
    counts = Cell(0.5, 6_602, 1_530, 6_602, 1_520)
    found = look(counts, plan=plan, baseline=0.23)
    assert found.verdict == "inconclusive"
    rate = 3_050 / 13_204
    needed = requests_for_margin(error_rate=rate, margin=0.01, weights=plan.weights, alpha=0.025, power=0.9)
    assert found.reasons[-1] == (
        f"13,204 requests < {needed:,} needed for a margin of 0.010 at the observed error rate of 0.231. "
        "The champion stays."
    )
    assert "> 0.025" in found.reasons[0]


def test_enough_requests_that_fell_between_are_told_as_such() -> None:
    found = look(
        Cell(0.5, 15_000, 825, 15_000, 750), plan=CanaryPlan(phases=(Phase(weight_percent=50, requests=30_000),))
    )
    assert found.verdict == "inconclusive"
    assert "30,000 requests ≥ " in found.reasons[-1]


def test_requests_that_go_elsewhere_than_recorded_are_invalid_whatever_else_they_show() -> None:
    for errors in (0, 140, 1400):
        found = look(Cell(0.05, 1400, errors, 6600, 330), *NOT_BEGUN)
        assert found.verdict == "invalid"
        assert (
            "The challenger got 1,400 of 8,000 requests where the recorded weights say 400: e-value over 1,000,000"
            in (found.reasons[0])
        )


def test_harm_comes_before_a_promotion() -> None:
    plan = CanaryPlan(phases=(Phase(weight_percent=50, requests=40_000),), margin=0.2)
    found = look(Cell(0.5, 5_000, 350, 5_000, 250), plan=plan)
    assert found.evidence[2].log_e_value is not None
    assert found.evidence[2].log_e_value >= math.log(40)
    assert found.verdict == "roll_back"


@pytest.mark.parametrize(
    ("cell", "unseen"),
    [
        (Cell(0.05, 0, 0, 40, 2), "challenger"),
        (Cell(0.5, 13, 13, 0, 0), "champion"),
        (Cell(0.5, 13, 0, 0, 0), "champion"),
        (Cell(0.05, 0, 0, 0, 0), "challenger"),
    ],
)
def test_a_variant_without_exposures_is_unknown_and_never_a_success(cell: Cell, unseen: str) -> None:
    plan = CanaryPlan(phases=(Phase(weight_percent=cell.weight * 100, requests=50_000),), margin=0.5)
    requests = cell.challenger_exposures + cell.champion_exposures
    for horizon, verdict in ((50_000, "continue"), (requests, "inconclusive")):
        found = look(cell, plan=plan, horizon=horizon)
        assert found.verdict == verdict
        assert f"The {unseen} has no exposures in {requests} requests: its error rate is unknown." in found.reasons
        assert [(row.estimate, row.low, row.high) for row in found.evidence[1:]] == [(None, None, None)] * 2


def test_no_requests_at_all_are_planned_for_with_the_expected_error_rate() -> None:
    found = look(*(Cell(phase.weight, 0, 0, 0, 0) for phase in PLAN.phases), horizon=0, baseline=0.2)
    assert found.verdict == "inconclusive"
    assert found.reasons[-1].startswith("0 requests < ")
    assert "at the expected error rate of 0.200" in found.reasons[-1]
    assert found.evidence[0].estimate is None


def test_models_that_only_err_are_inconclusive() -> None:
    plan = CanaryPlan(phases=(Phase(weight_percent=50, requests=200),))
    found = look(Cell(0.5, 100, 100, 100, 100), plan=plan, baseline=1.0)
    assert found.verdict == "inconclusive"


def test_an_e_value_beyond_floats_still_has_a_json() -> None:
    found = look(
        Cell(0.5, 100_000, 60_000, 100_000, 5_000),
        plan=CanaryPlan(phases=(Phase(weight_percent=50, requests=900_000),)),
    )
    row = found.evidence[1]
    assert row.e_value == 1e300
    assert row.log_e_value is not None
    assert row.log_e_value > 700
    document = json.loads(json.dumps([row.to_document() for row in found.evidence], allow_nan=False))
    assert tuple(GuardrailEvidence.from_document(each) for each in document) == found.evidence


def test_a_ramp_over_a_drifting_base_rate_is_not_called_harm() -> None:
    drifting = (
        Cell(0.05, 400, 12, 7600, 228),
        Cell(0.25, 4000, 200, 12_000, 600),
        Cell(0.5, 15_600, 1248, 15_600, 1248),
    )
    pooled = 1460 / 20_000 - 2076 / 35_200
    assert pooled > 0.013
    found = look(*drifting)
    assert found.verdict == "promote"
    assert found.evidence[2].estimate == pytest.approx(0, abs=1e-12)
    assert found.evidence[1].estimate == pytest.approx(1)


cells = st.builds(
    lambda weight, exposures, shares: Cell(
        weight,
        int(exposures * weight),
        int(exposures * weight * shares[0]),
        exposures - int(exposures * weight),
        int((exposures - int(exposures * weight)) * shares[1]),
    ),
    st.sampled_from([0.05, 0.25, 0.5]),
    st.integers(0, 20_000),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)


@given(st.lists(cells, min_size=1, max_size=3), st.booleans(), st.floats(0, 1))
def test_the_short_way_to_the_verdict_agrees_and_everything_is_finite(
    counts: list[Cell], at_horizon: bool, baseline: float
) -> None:
    requests = sum(cell.challenger_exposures + cell.champion_exposures for cell in counts)
    horizon = requests if at_horizon else requests + 1
    found = assess(PLAN, horizon, baseline, counts)
    assert found.verdict == verdict_of(PLAN, horizon, baseline, counts)
    assert found.reasons
    json.dumps([row.to_document() for row in found.evidence], allow_nan=False)
    assert found == assess(PLAN, horizon, baseline, counts)


def test_a_look_is_cheap() -> None:
    ramp = [Cell(0.05, 400, 20, 7600, 380), Cell(0.25, 4000, 200, 12_000, 600), Cell(0.5, 100, 5, 100, 5)]
    seconds = []
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(10):
            verdict_of(PLAN, PLAN.requests, 0.05, ramp)
        seconds.append((time.perf_counter() - began) / 10)
    assert min(seconds) < 0.0005
