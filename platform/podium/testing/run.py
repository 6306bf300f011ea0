"""`run_pipeline`: from a pipeline, an interval and fakes to a run that ended."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from podium import ids
from podium.clock import FakeClock
from podium.dag.authoring import Pipeline
from podium.dag.interval import Interval, check_grain
from podium.dag.parameter_types import read_texts
from podium.dag.parameters import bind_parameters
from podium.dag.tracing import trace_calls
from podium.errors import UsageError
from podium.execution.entities import Actor, Run
from podium.settings import PROJECT_FILE
from podium.testing.artifacts import StoredValues, ValuesAsTheyAre
from podium.testing.fakes import check_choices, with_fakes
from podium.testing.registry import FakeRegistry
from podium.testing.result import RunResult
from podium.testing.running import Running


def run_pipeline(
    pipeline: Pipeline,
    interval: str | Interval,
    *,
    parameters: Mapping[str, Any] | None = None,
    fakes: Mapping[str, Callable[..., Any]] | None = None,
    approvals: Mapping[str, bool | None] | None = None,
    clock: FakeClock | None = None,
    registry: FakeRegistry | None = None,
    stored: bool = True,
) -> RunResult:
    """Run a pipeline to its end in this process, one step at a time, and return what it came to.

    The pipeline is checked, its steps are decided about, tried again and mapped as in a real run; back-off and snoozes
    move the `clock` instead of taking time. Each of `fakes` stands in for the function of the step it is named after.
    `approvals` says what is decided where the run is held, by the approval's name; None stands for nobody, whose time
    runs out. Stages ask the `registry`, by default an empty one. What a step returns goes through the codecs of a real
    run; with `stored=False` later steps get the very object. Not in process: time and memory limits, deadlines,
    results taken over from a cache.

    An exception of a step is a result, as it is in a run. Raises DefinitionError for a pipeline that could not run,
    InvalidInterval and UsageError for an interval, a parameter or a fake that does not fit, and UsageError for a step
    that snoozes for ever and for an approval that nothing is said about.
    """
    plan, definitions = trace_calls(pipeline)
    definitions = with_fakes(plan, definitions, fakes or {})
    check_choices(plan, approvals or {})
    if isinstance(interval, str):
        interval = Interval.parse(interval, plan.timezone)
    check_grain(interval, plan.grain, plan.pipeline)
    bound = bind_parameters(
        plan,
        {name: _text(name, value) for name, value in (parameters or {}).items()},
        validate=lambda _, texts: read_texts(pipeline.name, pipeline.function, dict(texts)),
    )
    if registry is None:
        registry = FakeRegistry(clock)
    if clock is not None and clock is not registry.clock:
        raise UsageError("The run and its registry have two clocks; give one, or the same: FakeRegistry(clock).")
    run = Run(
        run_id=ids.new_id(registry.clock.now()),
        pipeline=plan.pipeline,
        team=plan.team,
        model=plan.model,
        environment=plan.environment,
        plan_digest="",  # the plan is not stored
        interval=interval,
        parameters=bound,
        idempotency_key=f"test:{ids.digest_json([plan.pipeline, interval.to_document(), bound])}",
        state="running",
        outcome=None,
        reason=None,
        actor=Actor("tester"),
    )
    artifacts = StoredValues() if stored else ValuesAsTheyAre()
    return Running(plan, run, definitions, approvals or {}, registry, artifacts, _root_of(pipeline)).to_its_end()


def _text(name: str, value: Any) -> str:
    """Return a parameter's value as the command line would be given it."""
    if isinstance(value, str):
        return value
    try:
        return to_json(value).decode()
    except ValueError as error:
        raise UsageError(f"Parameter {name} is {value!r}, which no run can be given as JSON: {error}.") from None


def _root_of(pipeline: Pipeline) -> Path:
    """Return the project that a pipeline's file is in, or the current folder: what errors name files relative to."""
    file = Path(pipeline.function.__code__.co_filename).absolute()
    return next((folder for folder in file.parents if (folder / PROJECT_FILE).is_file()), Path.cwd())
