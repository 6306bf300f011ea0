"""What a rerun keeps and what it runs again."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.dag import graph
from podium.errors import NotFound
from podium.execution.rerun import RerunStep, rerun_of
from tests.execution_world import node, plan_of

DIAMOND = plan_of(node("validate"), node("train", "validate"), node("report", "validate"), node("judge", "train"))
DONE = dict.fromkeys(("validate", "train", "report", "judge"), "succeeded")


def again(states: Mapping[str, str], from_step: str | None = None) -> list[str]:
    return [step.name for step in rerun_of(DIAMOND, states, from_step=from_step) if step.action == "run"]


def reasons(states: Mapping[str, str], from_step: str | None = None) -> dict[str, str]:
    return {step.name: step.reason for step in rerun_of(DIAMOND, states, from_step=from_step)}


def test_a_run_goes_on_with_what_did_not_succeed() -> None:
    stopped = {"validate": "succeeded", "train": "failed", "report": "succeeded", "judge": "skipped"}
    assert rerun_of(DIAMOND, stopped, from_step=None) == [
        RerunStep("validate", "keep", "it succeeded"),
        RerunStep("train", "run", "it failed"),
        RerunStep("report", "keep", "it succeeded"),
        RerunStep("judge", "run", "it was skipped, which is decided anew"),
    ]


def test_from_a_step_on_everything_after_it_runs_again_and_nothing_beside_it() -> None:
    assert again(DONE, "train") == ["train", "judge"]
    assert reasons(DONE, "train")["train"] == "it is where the rerun begins"
    assert reasons(DONE, "train")["judge"] == "it comes after train, which runs again"
    assert again(DONE, "validate") == ["validate", "train", "report", "judge"]


def test_what_did_not_succeed_runs_too_wherever_the_rerun_begins() -> None:
    assert again({**DONE, "report": "cancelled"}, "judge") == ["report", "judge"]
    assert reasons({**DONE, "report": "cancelled"}, "judge")["report"] == "it was cancelled"


def test_a_step_after_two_that_run_again_names_both() -> None:
    join = plan_of(node("a"), node("b", "a"), node("c", "a"), node("d", "b", "c"))
    done = dict.fromkeys("abcd", "succeeded")
    (last,) = [step for step in rerun_of(join, done, from_step="a") if step.name == "d"]
    assert last.reason == "it comes after b and c, which run again"


def test_what_a_person_skipped_stays_skipped_unless_the_rerun_begins_there() -> None:
    states = {**DONE, "judge": "skipped"}
    assert rerun_of(DIAMOND, states, from_step="train", skipped_by_hand=["judge"])[-1].action == "keep"
    assert rerun_of(DIAMOND, states, from_step="judge", skipped_by_hand=["judge"])[-1].action == "run"


def test_of_an_open_run_what_has_not_ended_is_still_to_run() -> None:
    assert again({"validate": "succeeded", "train": "running"}) == ["train", "report", "judge"]
    assert reasons({"validate": "succeeded", "train": "running"})["judge"] == "it has not ended"


def test_a_step_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with pytest.raises(NotFound, match="has no step 'trian'; its steps are validate, train"):
        rerun_of(DIAMOND, DONE, from_step="trian")


@given(st.dictionaries(st.sampled_from(list(DONE)), st.sampled_from(("succeeded", "failed", "skipped"))), st.data())
def test_nothing_that_runs_is_kept_and_nothing_kept_comes_after_where_it_begins(
    states: dict[str, str], data: st.DataObject
) -> None:
    start = data.draw(st.sampled_from((None, *DONE)))
    steps = {step.name: step.action for step in rerun_of(DIAMOND, states, from_step=start)}
    assert all(states[name] in ("succeeded", "skipped") for name, action in steps.items() if action == "keep")
    if start is not None:
        dependents = {each.name: DIAMOND.dependents(each.name) for each in DIAMOND.steps}
        assert all(steps[name] == "run" for name in {start, *graph.reachable(start, dependents)})


def test_a_clean_up_step_runs_again_with_what_it_cleans_up_after() -> None:
    plan = plan_of(node("train"), replace(node("tidy", "train"), run_if="always"))
    steps = rerun_of(plan, {"train": "failed", "tidy": "succeeded"}, from_step=None)
    assert steps[1] == RerunStep("tidy", "run", "it comes after train, which runs again", afresh=True)


def test_what_was_skipped_is_decided_anew_only_where_something_changed() -> None:
    plan = plan_of(node("a"), node("b", "a"), node("c", "b"))
    states = {"a": "succeeded", "b": "skipped", "c": "skipped"}
    assert [step.action for step in rerun_of(plan, states, from_step=None)] == ["keep", "keep", "keep"]
    assert [step.action for step in rerun_of(plan, states, from_step=None, skipped_by_hand=["b"])] == [
        "keep",
        "keep",
        "run",
    ]
