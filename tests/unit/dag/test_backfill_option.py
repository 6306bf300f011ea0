"""`@step(backfill=False)`: which steps say so, and that saying nothing leaves a plan as it was."""

from typing import Any

import pytest

from podium import Interval, pipeline, step
from podium.dag.plan import Plan
from podium.dag.tracing import trace_calls
from podium.errors import DefinitionError
from podium.stages import evaluate_candidate, promote_version, register_version, run_canary


@step
def first(day: Interval) -> int:
    return day.start.day


@step(backfill=False)
def deploy(number: int) -> None:
    assert number > 0


@pipeline(model="flow", team="research", environment="dev")
def flow(day: Interval) -> None:
    deploy(first(day))


def test_a_step_that_says_so_is_marked_in_the_plan_and_another_one_s_document_stays() -> None:
    plan, _ = trace_calls(flow)
    document = plan.to_document()
    assert [each.get("backfill") for each in document["steps"]] == [None, False]
    assert [node.backfill for node in Plan.from_document(document).steps] == [True, False]


def test_the_stages_that_act_on_what_serves_are_marked_and_the_others_are_not() -> None:
    stages: dict[str, Any] = {each.name: each for each in (run_canary, promote_version)}
    assert [each.definition.options.backfill for each in stages.values()] == [False, False]
    others: list[Any] = [evaluate_candidate, register_version]
    assert [each.definition.options.backfill for each in others] == [True, True]


def test_what_is_neither_true_nor_false_is_refused() -> None:
    with pytest.raises(DefinitionError, match="backfill='no' is neither True nor False"):
        step(backfill="no")(first.function)  # type: ignore[call-overload]
