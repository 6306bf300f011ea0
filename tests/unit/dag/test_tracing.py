"""Tracing the architecture's example: what a plan says about a pipeline."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import NamedTuple

import pytest

import podium
from podium import Cache, Interval, Schedule, pipeline, run_after, step, when
from podium.dag.plan import (
    Constant,
    IntervalInput,
    Parameter,
    ParameterInput,
    Plan,
    Reference,
    Resources,
)
from podium.dag.schedule import Timing
from podium.dag.tracing import trace
from podium.dag.values import decode
from podium.errors import DefinitionError


class Months(NamedTuple):
    history: list[float]
    holdout: list[float]
    replay: list[float]


@dataclass(frozen=True)
class Evidence:
    auc: float

    @property
    def passed(self) -> bool:
        return self.auc > 0.5


class Fitted:
    pass


@step(retries=2, timeout="10m")
def validate(month: Interval) -> Months:
    return Months([1.0], [2.0], [3.0])


@step(cpu=2, memory="2GiB", gpu=1, cache=True, tags=("slow",))
def train(history: list[float], depth: int = 3) -> Fitted:
    return Fitted()


@step
def evaluate(
    candidate: Fitted, holdout: list[float], *, label: str, floors: dict[str, float] | None = None
) -> Evidence:
    return Evidence(0.6)


@step
def register(candidate: Fitted, evidence: Evidence) -> str:
    return "1"


@step
def canary(version: str, *, replay: list[float] | None = None) -> None:
    pass


@step
def check(text: str) -> bool:
    return True


@step
def report(text: str = "done") -> None:
    pass


@pipeline(
    model="flight_delay",
    team="network-ops",
    environment="prod",
    grain="month",
    timezone="America/New_York",
)
def flight_delay(month: Interval, depth: int, note: str = "none") -> None:
    """Will a flight arrive late?

    Decided at scheduled departure.
    """
    data = validate(month)
    candidate = train(data.history, depth)
    evidence = evaluate(candidate, data.holdout, label="late", floors={"auc": 0.58})
    with when(evidence.passed):
        version = register(candidate, evidence)
        canary(version, replay=data.replay)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return trace(flight_delay, file="pipelines/flight_delay.py", modules={"pipelines/flight_delay.py": "0" * 64})


def test_a_plan_says_who_owns_the_pipeline(plan: Plan) -> None:
    assert (plan.pipeline, plan.model, plan.team, plan.environment) == (
        "flight_delay",
        "flight_delay",
        "network-ops",
        "prod",
    )
    assert (plan.grain, plan.schedule, plan.timezone) == ("month", None, "America/New_York")
    assert plan.ticks is None
    assert plan.description == "Will a flight arrive late?"


def scheduled(schedule: str | Schedule) -> Plan:
    @pipeline(model="m", team="t", environment="prod", grain="day", schedule=schedule, timezone="Europe/Berlin")
    def nightly(day: Interval) -> None:
        report()

    return trace(nightly)


def test_a_plan_says_when_its_pipeline_retrains_and_a_plain_cron_says_no_more_than_that() -> None:
    plain = scheduled("0 2 * * *")
    assert (plain.schedule, plain.timing) == ("0 2 * * *", Timing())
    assert "timing" not in plain.to_document()
    every = scheduled(
        Schedule(every="6h", delay="90m", jitter=60, exclude=("sat", "12-25"), missed="all", missed_limit=9)
    )
    assert every.schedule == "every 6h"
    assert every.timing == Timing(5400.0, 60.0, ("sat", "12-25"), "all", 9)
    assert Plan.from_document(every.to_document()) == every
    assert every.digest != scheduled(Schedule(every="6h")).digest
    assert plain.ticks is not None
    tick = plain.ticks.after(datetime(2026, 11, 2, tzinfo=UTC))
    assert tick is not None
    assert tick.due_at == datetime(2026, 11, 2, 1, tzinfo=UTC)
    assert tick.interval.name == "2026-11-01"


def test_a_parameter_without_a_default_and_a_schedule_do_not_go_together() -> None:
    @pipeline(model="m", team="t", environment="prod", schedule="0 2 * * *")
    def nightly(day: Interval, text: str) -> None:
        report(text)

    with pytest.raises(DefinitionError, match="has a schedule, and its parameter text has no default"):
        trace(nightly)


def test_steps_are_in_the_order_they_can_run(plan: Plan) -> None:
    assert [each.name for each in plan.steps] == ["validate", "train", "evaluate", "register", "canary"]


def test_inputs_say_where_each_parameter_comes_from(plan: Plan) -> None:
    assert plan.step("validate").inputs == {"month": IntervalInput()}
    assert plan.step("train").inputs == {
        "history": Reference("validate", "history"),
        "depth": ParameterInput("depth"),
    }
    assert plan.step("canary").inputs == {
        "version": Reference("register"),
        "replay": Reference("validate", "replay"),
    }
    floors = plan.step("evaluate").inputs["floors"]
    assert isinstance(floors, Constant)
    assert decode(floors.value) == {"auc": 0.58}


def test_steps_in_a_when_carry_its_condition_and_wait_for_it(plan: Plan) -> None:
    assert plan.step("register").conditions == (Reference("evaluate", "passed"),)
    assert plan.step("canary").dependencies == ("register", "validate", "evaluate")
    assert plan.step("evaluate").conditions == ()


def test_outputs_are_the_fields_of_a_named_tuple_else_the_result_and_what_is_read(plan: Plan) -> None:
    assert plan.step("validate").outputs == ("history", "holdout", "replay")
    assert plan.step("evaluate").outputs == ("result", "passed")
    assert plan.step("canary").outputs == ("result",)


def test_options_are_in_base_units(plan: Plan) -> None:
    assert plan.step("train").resources == Resources(cpu=2.0, memory_bytes=2 * 2**30, gpu=1)
    assert (plan.step("train").cache, plan.step("train").tags) == (True, ("slow",))
    assert (plan.step("validate").retries, plan.step("validate").timeout_seconds) == (2, 600.0)
    assert plan.step("evaluate").timeout_seconds is None


def test_parameters_carry_their_defaults(plan: Plan) -> None:
    assert plan.parameters == {
        "depth": Parameter("int", required=True),
        "note": Parameter("str", False, "none"),
    }


def test_a_plan_knows_what_a_step_needs_and_which_steps_wait_for_it(plan: Plan) -> None:
    assert plan.upstream("register") == ("validate", "train", "evaluate")
    assert plan.dependents("validate") == ("train", "evaluate", "canary")
    assert plan.upstream("validate") == ()


def test_a_plan_reads_back_from_its_json_with_its_digest(plan: Plan) -> None:
    back = Plan.from_document(json.loads(json.dumps(plan.to_document())))
    assert back == plan
    assert back.digest == plan.digest


def test_any_change_changes_the_digest(plan: Plan) -> None:
    assert replace(plan, team="others").digest != plan.digest
    assert replace(plan, steps=(replace(plan.steps[0], retries=3), *plan.steps[1:])).digest != plan.digest


def test_a_malformed_document_is_refused_with_the_place() -> None:
    with pytest.raises(DefinitionError, match="no plan of this version of Podium: pipeline: Field required"):
        Plan.from_document({})


def test_a_cycle_in_a_document_is_shown(plan: Plan) -> None:
    document = plan.to_document()
    document["steps"][0]["after"] = ["evaluate"]
    with pytest.raises(DefinitionError, match="validate → train → evaluate → validate"):
        Plan.from_document(document)


def test_a_document_that_refers_to_nothing_is_refused(plan: Plan) -> None:
    document = plan.to_document()
    document["steps"][1]["after"] = ["gone"]
    with pytest.raises(DefinitionError, match="step train waits for gone, which is no step"):
        Plan.from_document(document)
    document = plan.to_document()
    document["steps"][1]["inputs"]["history"]["output"] = "past"
    with pytest.raises(DefinitionError, match="reads output 'past' of validate, which stores only history, holdout"):
        Plan.from_document(document)


@pipeline(model="m", team="t", environment="prod")
def ordered(day: Interval) -> None:
    first = report("first")
    evidence = evaluate(train([1.0]), [2.0], label="late")
    last = report.named("last_report")("last")
    run_after(first, evidence, last)
    run_after(first, last)
    with when(evidence.passed), when(evidence.passed):
        with when(check("train")):
            report.named("twice_conditional")()
        report.named("conditional")()
    report.named("unconditional")()


def test_run_after_orders_without_data_and_reorders_the_plan() -> None:
    plan = trace(ordered)
    assert plan.step("report").after == ("evaluate", "last_report")
    names = [each.name for each in plan.steps]
    assert names.index("report") > names.index("last_report")
    assert plan.step("last_report").qualname == "report"
    assert plan.step("last_report").inputs == {"text": Constant("last")}


def test_nested_conditions_must_all_hold_and_end_with_their_block() -> None:
    plan = trace(ordered)
    passed = Reference("evaluate", "passed")
    assert plan.step("twice_conditional").conditions == (passed, Reference("check"))
    assert plan.step("conditional").conditions == (passed,)
    assert plan.step("unconditional").conditions == ()


def test_outside_a_pipeline_a_step_is_its_function() -> None:
    assert validate(Interval.parse("2013-03")) == Months([1.0], [2.0], [3.0])
    assert evaluate(Fitted(), [1.0], label="late").passed
    assert repr(validate) == "<step validate>"
    assert (train.name, train.named("other").name) == ("train", "other")


def test_tracing_is_over_when_a_trace_ends_even_by_an_error() -> None:
    @pipeline(model="m", team="t", environment="prod")
    def broken(day: Interval) -> None:
        report()
        raise RuntimeError("boom")

    with pytest.raises(DefinitionError, match=r"broken raised RuntimeError at .*test_tracing.py:\d+ .*boom"):
        trace(broken)
    assert report() is None


def test_the_public_names_are_these_and_cost_nothing_until_used() -> None:
    assert podium.__all__ == sorted(podium.__all__, key=lambda name: (name.islower(), name))
    assert podium.__version__ == version("podium")
    with pytest.raises(AttributeError, match="no attribute 'stop'"):
        _ = podium.stop  # type: ignore[attr-defined]  # what is tested
    script = (
        "import sys, podium; assert not [m for m in sys.modules if m.startswith('podium.')]\n"
        "from podium import *\n"
        "heavy = {'pydantic', 'numpy', 'json', 'hashlib'} & {m.partition('.')[0] for m in sys.modules}\n"
        "assert not heavy, heavy"
    )
    subprocess.run(
        [sys.executable, "-S", "-c", script], check=True, env={"PYTHONPATH": str(podium.__path__[0] + "/..")}
    )


def test_a_declared_environment_is_kept_and_a_package_of_it_must_be_there() -> None:
    @step(cache=Cache(environment=("pytest", "$REGION_NOBODY_SET")))
    def fit(day: Interval) -> int:
        return 1

    @pipeline(model="m", team="t", environment="dev")
    def declared(day: Interval) -> None:
        fit(day)

    assert trace(declared).step("fit").cache_environment == ("pytest", "$REGION_NOBODY_SET")

    @step(cache=Cache(environment=("pytset",)))
    def misspelt(day: Interval) -> int:
        return 1

    @pipeline(model="m", team="t", environment="dev")
    def wrong(day: Interval) -> None:
        misspelt(day)

    with pytest.raises(DefinitionError, match=r"step misspelt .*'pytset', which is not installed.*'\$pytset'"):
        trace(wrong)
