import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.canary.plan import CanaryPlan, Phase
from podium.errors import ConfigurationError
from podium.stats.cells import Cell
from podium.stats.sequential import SMALLEST_CHANGE, log_e_worse


def test_the_default_sends_twenty_thousand_requests_to_the_challenger() -> None:
    assert sum(weight * requests for weight, requests in CanaryPlan().weights) == 20_000
    assert CanaryPlan().smallest_change == SMALLEST_CHANGE


@pytest.mark.parametrize("smallest_change", [0.01, 3.0])
def test_what_a_plan_may_be_most_sensitive_to_the_evidence_can_weigh(smallest_change: float) -> None:
    plan = CanaryPlan(smallest_change=smallest_change)
    assert log_e_worse([Cell(0.5, 900, 90, 900, 30)], smallest_change=plan.smallest_change) > 3


def test_equal_plans_have_equal_digests() -> None:
    assert CanaryPlan().digest == CanaryPlan.from_document({}).digest
    assert CanaryPlan().digest != CanaryPlan(margin=0.02).digest


def test_a_plan_reads_what_a_file_states() -> None:
    plan = CanaryPlan.from_document({"phases": [{"weight_percent": 10, "requests": 500}], "margin": 0.02})
    assert plan.phases == (Phase(weight_percent=10, requests=500),)


@pytest.mark.parametrize("weight", [0, 100, -5, 130])
def test_a_weight_at_which_nothing_is_assigned_says_why_it_is_wrong(weight: float) -> None:
    with pytest.raises(ConfigurationError) as caught:
        CanaryPlan.from_document({"phases": [{"weight_percent": weight, "requests": 500}]})
    assert f"phases.0.weight_percent is {weight}" in str(caught.value)
    assert "the assignment carries no information" in str(caught.value)
    assert "phases is" not in str(caught.value), "a wrong phase is told once, not once more as a phase that is missing"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"phases": []}, r"phases is \[\]"),
        ({"phases": [{"weight_percent": 5, "requests": 0}]}, "phases.0.requests is 0"),
        ({"phases": [{"weight_percent": float("nan"), "requests": 10}]}, "phases.0.weight_percent is nan"),
        ({"margin": 0}, "margin is 0"),
        ({"margin": 1}, "margin is 1"),
        ({"alpha": 0.5}, "alpha is 0.5"),
        ({"power": 1}, "power is 1"),
        ({"look_every": 0}, "look_every is 0"),
        ({"smallest_change": float("inf")}, "smallest_change is inf"),
        ({"smallest_change": 0.009}, "smallest_change is 0.009"),
        ({"smallest_change": 3.1}, "smallest_change is 3.1"),
        ({"tolerance": 0}, "tolerance is 0"),
        ({"steps": 3}, "'steps' is no part of a plan; the parts are phases, margin"),
    ],
)
def test_a_wrong_plan_is_one_paragraph_that_names_the_part(document: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        CanaryPlan.from_document(document)
    assert "\n" not in str(caught.value)


plans = st.builds(
    CanaryPlan,
    phases=st.lists(
        st.builds(Phase, weight_percent=st.floats(1, 99), requests=st.integers(1, 40)), min_size=1, max_size=4
    ).map(tuple),
    look_every=st.integers(1, 30),
)


@given(plans, st.integers(0, 200))
def test_requests_fall_into_phases_as_their_weights_say(plan: CanaryPlan, until: int) -> None:
    until = plan.horizon(until)
    by_phase = plan.requests_by_phase(until)
    weights = [plan.weight_at(index) for index in range(until)]
    expected = [phase.weight for phase, count in zip(plan.phases, by_phase, strict=True) for _ in range(count)]
    assert weights == expected


@given(plans, st.integers(0, 200), st.data())
def test_looks_go_on_where_they_stopped_and_end_at_the_horizon(
    plan: CanaryPlan, available: int, data: st.DataObject
) -> None:
    horizon = plan.horizon(available)
    looks = list(plan.looks(horizon))
    assert looks == sorted(set(looks))
    assert looks[-1] == horizon
    assert all(position % plan.look_every == 0 for position in looks[:-1])
    done = data.draw(st.sampled_from([0, *looks]))
    if horizon:
        assert [position for position in looks if position <= done] + list(plan.looks(horizon, after=done)) == looks
