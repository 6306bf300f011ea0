"""How often the gate decides wrongly: 400 candidates of each scenario; `make soak` has 4,000 judged.

What so few show is held against the bar with all that chance may do; that a broken gate is found out is shown below.
"""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import stats as reference

from podium.registry import evaluation
from podium.registry.evaluation import evaluate
from podium.registry.evidence import Evidence
from tests.gate_bars import CONFIDENCE, SCENARIOS, Scenario, Share, simulate

SEED = 2026
REPETITIONS, OF_A_BROKEN_GATE = 400, 150


@cache
def judged(name: str) -> Share:
    return simulate(REPETITIONS, SEED, SCENARIOS[name])


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_gate_decides_wrongly_as_rarely_as_promised(name: str) -> None:
    assert judged(name).refutes(SCENARIOS[name]) is None


@pytest.mark.parametrize("name", ["equal, 2,000 rows", "equal by AUC, 2,000 rows", "a margin worse, 10,000 rows"])
def test_tests_at_the_wrong_level_are_found_out(name: str) -> None:
    scenario = SCENARIOS[name]
    loose = replace(scenario, policy=scenario.policy.model_copy(update={"alpha": 0.2}))
    assert simulate(OF_A_BROKEN_GATE, SEED, loose).refutes(scenario)


def promoting_whoever_looks_better(*arguments: Any, **options: Any) -> Evidence:
    evidence = evaluate(*arguments, **options)
    assert evidence.primary is not None
    assert evidence.primary.gain is not None
    return evidence.model_copy(update={"verdict": "passed" if evidence.primary.gain > 0 else "failed"})


@pytest.mark.parametrize("name", ["equal, 500 rows", "equal, 10,000 rows", "equal by AUC, 2,000 rows"])
def test_a_gate_that_promotes_on_the_estimate_alone_is_found_out(name: str) -> None:
    found = simulate(OF_A_BROKEN_GATE, SEED, SCENARIOS[name], promoting_whoever_looks_better)
    assert found.refutes(SCENARIOS[name])


def test_a_gate_that_sees_too_little_is_found_out() -> None:
    scenario = SCENARIOS["1.5 points better, 2,000 rows"]
    strict = replace(scenario, policy=scenario.policy.model_copy(update={"alpha": 0.005}))
    assert simulate(OF_A_BROKEN_GATE, SEED, strict).refutes(scenario)


def test_a_gate_that_accepts_twice_the_margin_is_found_out() -> None:
    scenario = SCENARIOS["a margin worse, 10,000 rows"]
    lenient = replace(scenario, policy=scenario.policy.model_copy(update={"margin": 0.02}))
    assert simulate(OF_A_BROKEN_GATE, SEED, lenient).refutes(scenario)


def test_slices_without_a_correction_for_their_number_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "holm", np.array)
    scenario = SCENARIOS["equal in 23 slices, 10,000 rows"]
    assert simulate(OF_A_BROKEN_GATE, SEED, scenario).refutes(scenario)


@pytest.mark.parametrize(("happened", "of"), [(0, 400), (1, 400), (23, 400), (399, 400), (400, 400)])
def test_the_interval_of_a_share_is_the_exact_one(happened: int, of: int) -> None:
    theirs = reference.binomtest(happened, of).proportion_ci(CONFIDENCE, method="exact")
    assert Share(happened, of).interval == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_the_same_seed_is_the_same_share() -> None:
    scenario: Scenario = SCENARIOS["equal, 500 rows"]
    assert simulate(20, 7, scenario) == simulate(20, 7, scenario)
