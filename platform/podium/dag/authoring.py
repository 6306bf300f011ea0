"""What a pipeline file is written with: `@step`, `@pipeline`, `when` and `run_after`."""

import functools
import inspect
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Never, ParamSpec, TypeVar, cast, overload

from podium.dag import location
from podium.dag.interval import Grain
from podium.dag.options import (
    Cache,
    OptionError,
    Retry,
    RunIf,
    StepOptions,
    check_name,
    sensor_options,
    step_options,
)
from podium.dag.pipeline_options import PipelineOptions, pipeline_options
from podium.dag.recording import StepDefinition, Trace, current_trace, refuse_handles
from podium.dag.schedule import Schedule
from podium.dag.triggers import Trigger
from podium.errors import DefinitionError

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

if TYPE_CHECKING:

    class Mapped(list[Returned]):
        """What a mapped call returns in a pipeline: the list of results, whose attributes are lists too."""

        def __getattr__(self, name: str) -> list[Any]: ...


class Step(Generic[Parameters, Returned]):
    """A function that a pipeline may run as a step; called outside a pipeline, it is just the function."""

    def __init__(self, definition: StepDefinition) -> None:
        functools.update_wrapper(self, definition.function)
        self.definition = definition

    def __call__(self, *arguments: Parameters.args, **keywords: Parameters.kwargs) -> Returned:
        """Run the function; while a pipeline is traced, record the call instead and return a handle."""
        trace = current_trace()
        if trace is None:
            refuse_handles(self.definition, arguments, keywords)
            return cast(Returned, self.definition.function(*arguments, **keywords))
        return cast(Returned, trace.call(self.definition, arguments, keywords))

    def map(self, items: Sequence[Any], /, **others: Any) -> "Mapped[Returned]":
        """Call the step for each of `items`, which go to its first parameter; return the list of results.

        `others` are the same for each call. In a pipeline, `items` may be known at run time only: a list that a step
        returns, another mapped call's result, a run parameter. Each item is then a step run of its own, with its own
        attempts, log and cost; the list is in the order of `items`, and so is that of a named output of theirs::

            fitted = fit.map(configurations(month), history=data.history)
            best = choose(fitted.model, data.tuning)
        """
        over = self._first_parameter(others)
        trace = current_trace()
        if trace is None:
            refuse_handles(self.definition, (items,), others)
            results = [self.definition.function(**{over: item}, **others) for item in items]
            return cast("Mapped[Returned]", results)
        return cast("Mapped[Returned]", trace.call(self.definition, (), {over: items, **others}, over))

    def __repr__(self) -> str:
        return f"<step {self.name}>"

    @property
    def name(self) -> str:
        """The name that its call has in a plan."""
        return self.definition.name

    @property
    def function(self) -> Callable[..., Any]:
        """The function as it was written."""
        return self.definition.function

    def named(self, name: str) -> "Step[Parameters, Returned]":
        """Return the same step under another name, for a second call in one pipeline."""
        check_name("step", name, location.of_caller())
        return Step(StepDefinition(name, self.definition.function, self.definition.options))

    def _first_parameter(self, others: dict[str, Any]) -> str:
        first = next(iter(inspect.signature(self.function).parameters), None)
        if first is None:
            raise DefinitionError(
                f"{location.of_caller()}: step {self.name} has no parameter to hand an item to; give it one, or call "
                "it without `map`."
            )
        if first in others:
            raise DefinitionError(
                f"{location.of_caller()}: step {self.name} is mapped over its first parameter {first}, which is given "
                "by name as well; give it once, as the list of items."
            )
        return first


class Pipeline:
    """A function that lays out a DAG of steps; `podium.dag.tracing.trace` turns it into a plan."""

    def __init__(self, function: Callable[..., Any], options: PipelineOptions) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = function.__name__
        self.options = options
        self.location = location.of_function(function)

    def __call__(self, *_arguments: object, **_keywords: object) -> Never:
        """Refuse: what a pipeline lays out is run by `podium run`."""
        trace = current_trace()
        if trace is not None:
            raise DefinitionError(
                f"{location.of_caller()}: pipeline {trace.pipeline} calls pipeline {self.name}; a pipeline "
                "calls steps only, so put what both share into a step or a plain function."
            )
        raise DefinitionError(
            f"{location.of_caller()}: pipeline {self.name} cannot be called like a function; run it with "
            f"`podium run {self.name} --for INTERVAL`, and call its steps one by one in a test."
        )

    def __repr__(self) -> str:
        return f"<pipeline {self.name}>"


@overload
def step(function: Callable[Parameters, Returned], /) -> Step[Parameters, Returned]: ...


@overload
def step(
    *,
    retries: int | Retry = 0,
    timeout: str | float | None = None,
    cpu: float = 1,
    memory: str | int = "1GiB",
    gpu: int = 0,
    cache: bool | Cache = False,
    tags: Sequence[str] = (),
    run_if: RunIf = "all_succeeded",
    pool: str | None = None,
    labels: Sequence[str] = (),
    backfill: bool = True,
) -> Callable[[Callable[Parameters, Returned]], Step[Parameters, Returned]]: ...


def step(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a step, with or without options; a wrong option raises DefinitionError.

    An attempt reserves `cpu` cores, `memory` (bytes, or text as "2GiB") and `gpu` whole GPUs. It is killed
    after `timeout` (seconds, or text as "10m") and tried again up to `retries` times; a `Retry` says when and on what.
    `cache` reuses the result of an earlier attempt with equal code and inputs; a `Cache` says for how long. `run_if`
    says how the steps before must have ended. At most as many attempts as its `pool` has places run at once, and
    only on workers that have all of its `labels`. With `backfill=False` it is skipped in backfilled runs: what acts on
    the present, such as a deployment, has nothing to do for the past.

    >>> @step(retries=2, timeout="10m")
    ... def double(number: int) -> int:
    ...     return 2 * number
    >>> double(4)
    8
    """
    if function is not None:
        return _define_step(function, options)
    return functools.partial(_define_step, options=options)


def sensor(
    *,
    every: str | float,
    timeout: str | float,
    retries: int | Retry = 0,
    cpu: float = 1,
    memory: str | int = "1GiB",
    gpu: int = 0,
    tags: Sequence[str] = (),
    run_if: RunIf = "all_succeeded",
    pool: str | None = None,
    labels: Sequence[str] = (),
) -> Callable[[Callable[Parameters, Returned | None]], Step[Parameters, Returned]]:
    """Make a function a step that waits: it looks whether something has come, and returns None if not.

    Then it is asked again after `every` (seconds, or text as "5m"); no slot is held meanwhile. Once `timeout` has
    passed since its first look the step fails with NothingCame. What it returns instead of None is its result, so
    later steps get `T` of its `T | None`. The other options are those of `step`. Called outside a pipeline, it looks
    once.

    >>> @sensor(every="1m", timeout="6h")
    ... def delivered(folder: str) -> str | None:
    ...     return None
    >>> delivered("/nowhere") is None
    True
    """
    given: dict[str, Any] = {"every": every, "timeout": timeout, "retries": retries, "cpu": cpu, "memory": memory}
    given |= {"gpu": gpu, "tags": tags, "run_if": run_if, "pool": pool, "labels": labels}
    make: Any = functools.partial(_define_step, options=given, read=sensor_options)
    return cast(Callable[[Callable[Parameters, Returned | None]], Step[Parameters, Returned]], make)


@overload
def pipeline(
    *,
    model: str,
    team: str,
    environment: str,
    grain: Grain = "day",
    schedule: str | Schedule | None = None,
    timezone: str = "UTC",
    priority: int = 0,
    deadline: str | float | None = None,
    triggers: Sequence[Trigger] = (),
) -> Callable[[Callable[..., Any]], Pipeline]: ...


@overload
def pipeline(function: Callable[..., Any], /) -> Never: ...


def pipeline(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a pipeline that retrains `model`; `team` and `environment` own its cost.

    Its first parameter is the interval a run is about, as long as one `grain` in `timezone`; further ones
    are run parameters. `schedule` is five fields of cron, or a Schedule that says more; `triggers` make
    runs when something has happened. Of several runs, that of the higher `priority` gets slots first. A run that has
    not ended `deadline` (seconds, or text as "2h") after it was asked for is stopped. A wrong or missing option raises
    DefinitionError.
    """
    if function is not None:
        return _define_pipeline(function, {})  # without owners: refused there
    return functools.partial(_define_pipeline, options=options)


class When:
    """A block of steps that run only if a condition is true; made by `when`."""

    def __init__(self, condition: object) -> None:
        trace = current_trace()
        if trace is None:
            raise DefinitionError(
                f"{location.of_caller()}: when(…) is for pipelines; outside of one, use a plain `if`."
            )
        self._trace: Trace = trace
        self._condition = trace.condition(condition)
        self._token = object()
        trace.unentered[self._token] = location.of_caller()

    def __enter__(self) -> None:
        self._trace.unentered.pop(self._token, None)
        self._trace.conditions.append(self._condition)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._trace.conditions.pop()

    def __bool__(self) -> Literal[True]:
        raise DefinitionError(f"{location.of_caller()}: when(…) opens a block; write `with when(…):` instead of `if`.")


def when(condition: object) -> When:
    """Open a block whose steps run only if `condition`, a bool output of a step, is true; nested ones all.

    ::

        with when(evidence.passed):
            version = register_version(candidate, evidence)
    """
    return When(condition)


def run_after(later: object, *earlier: object) -> None:
    """Make the step of `later` wait for the steps of `earlier`, though it reads nothing of them."""
    trace = current_trace()
    if trace is None:
        raise DefinitionError(
            f"{location.of_caller()}: run_after(…) is for pipelines; outside of one, call the steps in that order."
        )
    trace.order(later, earlier)


def _define_step(
    function: Callable[..., Any],
    options: dict[str, Any],
    read: Callable[[dict[str, Any]], StepOptions] = step_options,
) -> Step[..., Any]:
    where = _check_function("step", function)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise DefinitionError(
                f"{where}: step {function.__name__} takes {parameter}, which has no name to pass it by; a "
                "step's inputs are named parameters."
            )
    try:
        return Step(StepDefinition(function.__name__, function, read(options)))
    except OptionError as error:
        raise DefinitionError(f"{where}: step {function.__name__}: {error}") from None


def _define_pipeline(function: Callable[..., Any], options: dict[str, Any]) -> Pipeline:
    where = _check_function("pipeline", function)
    try:
        return Pipeline(function, pipeline_options(function.__name__, options))
    except OptionError as error:
        raise DefinitionError(f"{where}: pipeline {function.__name__}: {error}") from None


def _check_function(kind: str, function: Any) -> str:
    if not inspect.isfunction(function):
        raise DefinitionError(
            f"{location.of_caller()}: @{kind} is for functions, and {function!r} is none; write it above a `def`."
        )
    where = location.of_function(function)
    check_name(kind, function.__name__, where)
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise DefinitionError(f"{where}: {kind} {function.__name__} is async or yields; write a function that returns.")
    return where
