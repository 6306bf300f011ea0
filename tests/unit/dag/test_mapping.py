"""`step.map`: what a plan says about it, and what is refused before anything runs."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from podium import Interval, pipeline, run_after, step, when
from podium.dag.parameters import bind_parameters
from podium.dag.plan import ITEM_LIMIT, Constant, ParameterInput, Plan, Reference
from podium.dag.tracing import trace
from podium.errors import DefinitionError, UsageError
from podium.ids import digest_json

untyped_step: Callable[[Callable[..., Any]], Any] = step  # without its types: mypy would find most mistakes first


class Split(NamedTuple):
    train: list[int]
    test: list[int]


@dataclass(frozen=True)
class Fitted:
    model: str
    score: float


@untyped_step
def depths(day: Interval) -> list[int]:
    return [1, 2]


@untyped_step
def anything(day: Interval):  # type: ignore[no-untyped-def]  # what is tested
    return [1]


@untyped_step
def fit(depth: int, rows: Sequence[int] = (), mark: str = "") -> Fitted:
    return Fitted(f"{depth}{mark}", depth / 2)


@untyped_step
def folds(number: int) -> Split:
    return Split([number], [number])


@untyped_step
def score(rows: list[int]) -> float:
    return float(len(rows))


@untyped_step
def choose(fitted: list[Fitted]) -> Fitted:
    return fitted[0]


@untyped_step
def best(scores: Sequence[float]) -> bool:
    return bool(scores)


@untyped_step
def nothing() -> str:
    return ""


@untyped_step
def publish(text: str) -> None:
    pass


def plan_of(body: Callable[..., object], *, parameters: bool = False) -> Plan:
    def daily(day: Interval, numbers: list[int] = [1, 2], ratio: float = 0.5) -> None:  # noqa: B006 - only read
        body(day, numbers, ratio) if parameters else body(day)

    return trace(pipeline(model="m", team="t", environment="prod")(daily))


def refusal(body: Callable[..., object], *, parameters: bool = False) -> str:
    with pytest.raises(DefinitionError) as caught:
        plan_of(body, parameters=parameters)
    assert "test_mapping.py:" in str(caught.value)
    return str(caught.value)


def test_a_mapped_step_says_which_input_it_is_mapped_over() -> None:
    plan = plan_of(lambda day: choose(fit.map(depths(day), rows=[7], mark="x")))
    node = plan.step("fit")
    assert (node.over, node.inputs["depth"]) == ("depth", Reference("depths"))
    assert node.inputs["mark"] == Constant("x")
    assert plan.step("choose").inputs == {"fitted": Reference("fit")}
    assert plan.step("choose").over is None


def test_constants_parameters_and_mapped_results_may_be_mapped_over() -> None:
    def body(day: Any, numbers: Any, ratio: Any) -> None:
        fit.map([1, 2])
        fit.named("given").map(numbers)
        folded = folds.map(numbers)
        score.map(folded.train)

    plan = plan_of(body, parameters=True)
    assert plan.step("fit").inputs["depth"] == Constant([1, 2])
    assert plan.step("given").inputs["depth"] == ParameterInput("numbers")
    assert plan.step("score").inputs["rows"] == Reference("folds", "train")
    assert plan.step("folds").outputs == ("train", "test")


def test_a_named_output_of_a_mapped_step_is_the_list_of_it() -> None:
    plan = plan_of(lambda day: best(fit.map(depths(day)).score))
    assert plan.step("fit").outputs == ("result", "score")
    assert "takes list[int], but the list of score of step fit is list[float]" in refusal(
        lambda day: score(fit.map(depths(day)).score)
    )
    assert "no output 'scroe'; did you mean score?" in refusal(lambda day: fit.map(depths(day)).scroe)


def test_only_what_others_are_mapped_over_is_stored_item_by_item() -> None:
    def body(day: Any) -> None:
        found = depths(day)
        fit.map(found)
        score(found)
        folded = folds.named("fold").map([1])
        score.named("trains").map(folded.train)

    plan = plan_of(body)
    assert plan.split_outputs("depths") == {"result"}
    assert plan.split_outputs("fold") == frozenset()
    assert plan.is_list(Reference("depths"))
    assert plan.is_list(Reference("fold", "test"))
    assert not plan.is_list(Reference("score"))


def test_a_plan_keeps_its_maps_as_json_and_one_without_keeps_the_digest_it_always_had() -> None:
    plan = plan_of(lambda day: fit.map(depths(day)))
    assert Plan.from_document(json.loads(json.dumps(plan.to_document()))) == plan
    plain = plan_of(lambda day: score(depths(day)))
    document = plain.to_document()
    assert all("over" not in each for each in document["steps"])
    assert Plan.from_document(document) == plain
    assert plain.digest == digest_json(document)


def test_outside_a_pipeline_a_map_is_a_list() -> None:
    assert fit.map([1, 2], mark="x") == [Fitted("1x", 0.5), Fitted("2x", 1.0)]
    assert fit.map(number for number in (3,)) == [Fitted("3", 1.5)]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (lambda day: fit.map(day), "is mapped over the interval day, which is Interval; map over a list"),
        (lambda day: fit.map(score(depths(day))), "is mapped over the result of step score, which is float"),
        (lambda _: fit.map(3), "is mapped over 3, which is no list; give a list of constants"),
        (lambda _: fit.map("12"), "is mapped over '12', which is no list"),
        (lambda _: fit.map([1, "2"]), "parameter depth of step fit, item 1, takes int, but is given '2'"),
        (lambda day: fit.map([depths(day)]), "with handles in it; have one step return the list"),
        (lambda day: fit.map([[depths(day)]]), "with handles in it; have one step return the list"),
        (lambda _: fit.map([0] * (ITEM_LIMIT + 1)), "a list of 10,001 items > 10,000 allowed"),
        (lambda day: publish.map(depths(day)), "takes str, but the items of the result of step depths are int"),
        (lambda day: nothing.map(depths(day)), "step nothing has no parameter to hand an item to"),
        (lambda day: fit.map(depths(day), depth=1), "mapped over its first parameter depth, which is given by name"),
        (lambda day: fit.map(depths(day), marc="x"), "step fit is called wrongly: got an unexpected keyword argument"),
        (
            lambda day: score.map(folds.map(depths(day))),
            "fields are stored one by one; pass the fields it needs (train",
        ),
        (lambda day: choose(folds.map(depths(day))), "gets the list of results of step folds whole, but its fields"),
        (lambda day: publish(fit.map(depths(day))), "takes str, but the list of results of step fit is list["),
        (
            lambda _: when(best.map([[1.0]])),
            "when(…) needs a bool, but the list of results of step best is list[bool]",
        ),
        (lambda _: (fit(1), fit.map([1])), "calls step fit a second time"),
        (lambda _: len(fit.map([1])), "the list of results of step fit has no length"),
        (lambda day: list(depths(day)), "call a step for each item with `step.map(…)`"),
        (lambda day: depths(day)[0], "call a step for each item with `step.map(…)`"),
    ],
)
def test_a_map_that_no_run_could_make_is_refused(body: Callable[[Any], object], words: str) -> None:
    assert words in refusal(body)


def test_a_parameter_that_is_no_list_is_not_mapped_over() -> None:
    message = refusal(lambda _day, _numbers, ratio: fit.map(ratio), parameters=True)
    assert "is mapped over the run parameter ratio, which is float" in message


def test_what_says_nothing_of_its_type_may_be_mapped_over() -> None:
    assert plan_of(lambda day: fit.map(anything(day))).step("fit").over == "depth"


def test_a_map_is_ordered_and_conditional_like_a_call() -> None:
    def body(day: Any) -> None:
        fitted = fit.map([1])
        with when(best(fitted.score)):
            run_after(publish.map(["a"]), depths(day))

    node = plan_of(body).step("publish")
    assert (node.conditions, node.after) == ((Reference("best"),), ("depths",))


def test_a_run_is_not_started_with_a_longer_list_than_a_step_may_be_mapped_over() -> None:
    plan = plan_of(lambda _day, numbers, _ratio: fit.map(numbers), parameters=True)
    assert bind_parameters(plan, {"numbers": "[3]"})["numbers"] == [3]
    with pytest.raises(UsageError, match="numbers of pipeline daily has 10,001 items > 10,000"):
        bind_parameters(plan, {"numbers": json.dumps([0] * (ITEM_LIMIT + 1))})
