"""Which step runs may start, and which never will."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.dag.options import RUN_IF
from podium.dag.plan import Plan, Reference, RunIf
from podium.execution.readiness import Decision, decide, waiting_counts
from tests.execution_world import node, plan_of


def decided(upstream: Mapping[str, str], **values: Any) -> Decision:
    conditions = [f"{name}.result" for name in values]
    return decide(node("it", *upstream, when=conditions), upstream, lambda reference: values[reference.step])


def test_a_step_whose_upstream_steps_all_succeeded_is_ready() -> None:
    assert decided({"a": "succeeded", "b": "succeeded"}) == Decision("ready")


@pytest.mark.parametrize(
    ("state", "reason"), [("failed", "b failed"), ("skipped", "b was skipped"), ("cancelled", "b was cancelled")]
)
def test_a_step_is_skipped_with_the_reason_when_one_upstream_did_not_succeed(state: str, reason: str) -> None:
    assert decided({"a": "succeeded", "b": state}) == Decision("skipped", reason)


@pytest.mark.parametrize("value", [False, 0, None, ""])
def test_a_false_condition_skips_and_says_its_value(value: Any) -> None:
    assert decided({"a": "succeeded"}, a=value) == Decision("skipped", f"a.result is {value!r}")


def test_every_condition_must_hold() -> None:
    assert decided({"a": "succeeded", "b": "succeeded"}, a=True, b=False).state == "skipped"
    assert decided({"a": "succeeded", "b": "succeeded"}, a=True, b=1).state == "ready"


def test_a_condition_is_not_read_when_its_step_did_not_succeed() -> None:
    def read(reference: Reference) -> Any:
        raise AssertionError(f"{reference} was read")

    assert decide(node("it", when=["a.result"]), {"a": "failed"}, read).state == "skipped"


FAR = ("succeeded", "failed", "cancelled", "skipped")


def joined(run_if: RunIf, *ends: str) -> str:
    upstream = {f"s{n}": end for n, end in enumerate(ends)}
    it = replace(node("it", *upstream), run_if=run_if)
    return decide(it, upstream, lambda _: True).state


@pytest.mark.parametrize(
    ("run_if", "runs_after"),
    [
        ("all_succeeded", {("succeeded", "succeeded")}),
        ("any_succeeded", {(a, b) for a in FAR for b in FAR if "succeeded" in (a, b)}),
        ("none_failed", {(a, b) for a in FAR for b in FAR if {a, b} <= {"succeeded", "skipped"}}),
        ("always", {(a, b) for a in FAR for b in FAR}),
    ],
)
def test_a_join_runs_after_just_these_ends(run_if: RunIf, runs_after: set[tuple[str, str]]) -> None:
    assert {(a, b) for a in FAR for b in FAR if joined(run_if, a, b) == "ready"} == runs_after


def test_a_join_that_does_not_run_says_why() -> None:
    upstream = {"a": "failed", "b": "skipped"}
    it = node("it", "a", "b")
    assert decide(replace(it, run_if="any_succeeded"), upstream, lambda _: 1).reason == "none of a, b succeeded"
    assert decide(replace(it, run_if="none_failed"), upstream, lambda _: 1).reason == "a failed"


@pytest.mark.parametrize("run_if", ["all_succeeded", "any_succeeded", "none_failed", "always"])
def test_no_step_runs_under_a_condition_that_is_false_or_unknown(run_if: RunIf) -> None:
    it = replace(node("it", "a", when=["asked.result"]), run_if=run_if)
    known, unknown = {"a": "succeeded", "asked": "succeeded"}, {"a": "succeeded", "asked": "failed"}
    assert decide(it, known, lambda _: True) == Decision("ready")
    assert decide(it, known, lambda _: False) == Decision("skipped", "asked.result is False")
    assert decide(it, unknown, lambda _: True) == Decision("skipped", "asked failed")


def test_that_a_condition_is_known_is_no_success_to_join_after() -> None:
    it = replace(node("it", "a", when=["asked.result"]), run_if="any_succeeded")
    assert decide(it, {"a": "failed", "asked": "succeeded"}, lambda _: True).state == "skipped"


def test_a_step_that_always_runs_is_not_mapped_over_a_list_that_did_not_come() -> None:
    it = replace(node("it", over=Reference("a")), run_if="always")
    assert decide(it, {"a": "failed"}, lambda _: 1) == Decision("skipped", "a failed")


def test_a_step_waits_once_on_a_step_it_needs_twice() -> None:
    plan = plan_of(node("a"), node("b", "a", when=["a.result"]))
    assert waiting_counts(plan, {}) == {"a": 0, "b": 1}
    assert waiting_counts(plan, {"a": "succeeded"}) == {"a": 0, "b": 0}


@st.composite
def fates(draw: st.DrawFn) -> tuple[Plan, dict[str, bool], dict[str, bool], list[float]]:
    """A random plan; which of its steps would succeed; what conditions on them say; an order of completion."""
    names = [f"s{n}" for n in range(draw(st.integers(1, 8)))]
    nodes = []
    for position, name in enumerate(names):
        earlier = st.lists(st.sampled_from(names[:position]), unique=True) if position else st.just([])
        made = node(name, *draw(earlier), when=[f"{each}.result" for each in draw(earlier)[:1]])
        nodes.append(replace(made, run_if=draw(st.sampled_from(RUN_IF))))
    booleans = st.fixed_dictionaries({name: st.booleans() for name in names})
    return plan_of(*nodes), draw(booleans), draw(booleans), draw(st.lists(st.floats(0, 1), min_size=8, max_size=8))


def completed(plan: Plan, succeeds: dict[str, bool], values: dict[str, bool], order: list[float]) -> dict[str, str]:
    """Complete a plan, always that ready step next which `order` ranks first."""
    rank = {each.name: order[position] for position, each in enumerate(plan.steps)}
    final: dict[str, str] = {}
    ready: set[str] = set()
    while len(final) < len(plan.steps):
        for name, count in waiting_counts(plan, final).items():
            if count == 0 and name not in final and name not in ready:
                upstream = {each: final[each] for each in plan.step(name).dependencies}
                decision = decide(plan.step(name), upstream, lambda reference: values[reference.step])
                if decision.state == "ready":
                    ready.add(name)
                else:
                    final[name] = "skipped"
        if ready:
            ended = min(ready, key=lambda name: rank[name])
            ready.remove(ended)
            final[ended] = "succeeded" if succeeds[ended] else "failed"
    return final


@given(fates())
def test_every_order_of_completion_leads_to_the_same_final_states(
    fate: tuple[Plan, dict[str, bool], dict[str, bool], list[float]],
) -> None:
    plan, succeeds, values, order = fate
    final = completed(plan, succeeds, values, order)
    assert final == completed(plan, succeeds, values, [-rank for rank in order])
    for each in plan.steps:
        ends = [final[name] for name in each.feeders]
        fits = {
            "all_succeeded": set(ends) <= {"succeeded"},
            "any_succeeded": "succeeded" in ends or not ends,
            "none_failed": set(ends) <= {"succeeded", "skipped"},
            "always": True,
        }[each.run_if]
        runs = fits and all(final[ref.step] == "succeeded" and values[ref.step] for ref in each.conditions)
        assert final[each.name] == (("succeeded" if succeeds[each.name] else "failed") if runs else "skipped")
