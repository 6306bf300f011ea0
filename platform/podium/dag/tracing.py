"""Tracing: call a pipeline function with handles and turn what it did into a checked plan."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from podium.dag import complaints, environment, location
from podium.dag.annotations import is_named_tuple, named_outputs, parameter_types
from podium.dag.authoring import Pipeline
from podium.dag.handles import Handle, Origin
from podium.dag.interval import Interval
from podium.dag.options import duration
from podium.dag.parameter_types import declared_parameters
from podium.dag.plan import Plan, Resources, StepNode
from podium.dag.recording import Call, StepDefinition, Trace, recording
from podium.dag.references import RESULT, Input, IntervalInput, ParameterInput, Reference
from podium.dag.typecheck import accepts
from podium.errors import DefinitionError


def trace(
    pipeline: Pipeline,
    *,
    file: str = "",
    modules: Mapping[str, str] | None = None,
    module_files: Mapping[str, str] | None = None,
) -> Plan:
    """Return the plan of `pipeline`, or raise DefinitionError for the first thing in it that cannot work.

    `modules` maps the project's own files to their digests, `module_files` its modules' names to these
    files; without them (in a test, say) the plan says that its code is imported from elsewhere.
    """
    return trace_calls(pipeline, file=file, modules=modules, module_files=module_files)[0]


def trace_calls(
    pipeline: Pipeline,
    *,
    file: str = "",
    modules: Mapping[str, str] | None = None,
    module_files: Mapping[str, str] | None = None,
) -> tuple[Plan, dict[str, StepDefinition]]:
    """Like `trace`, and return by name which step each node of the plan calls: for who executes them here."""
    label = f"{pipeline.location}: pipeline {pipeline.name}"
    parameters = declared_parameters(label, pipeline.function)
    recorded = _record(pipeline, label, list(parameters))
    if not recorded.calls:
        raise DefinitionError(f"{label} calls no step; call at least one, and decorate functions with @step to be one.")
    for where in recorded.unentered.values():
        raise DefinitionError(f"{where}: when(…) has no effect by itself; write `with when(…):` around its steps.")
    from podium.ids import digest_json

    options = pipeline.options
    needed = [name for name, parameter in parameters.items() if parameter.required]
    by_itself = "a schedule" if options.schedule is not None else "triggers" if options.triggers else None
    if needed and by_itself is not None:
        raise DefinitionError(
            f"{label} has {by_itself}, and its parameter {needed[0]} has no default: nobody is there to give it. "
            f"Give it a default, or take {by_itself.removeprefix('a ')} away."
        )
    _check_waits(recorded, options.deadline_seconds)
    plan = Plan(
        pipeline=pipeline.name,
        model=options.model,
        team=options.team,
        environment=options.environment,
        grain=options.grain,
        schedule=options.schedule,
        timezone=options.timezone,
        file=file,
        description=inspect.cleandoc(pipeline.function.__doc__ or "").partition("\n\n")[0],
        steps=tuple(_node(name, call, recorded, module_files or {}) for name, call in recorded.calls.items()),
        parameters=parameters,
        modules=modules or {},
        code_digest=digest_json(modules or {}),
        priority=options.priority,
        deadline_seconds=options.deadline_seconds,
        timing=options.timing,
        triggers=options.triggers,
    )
    return plan, {name: call.step for name, call in recorded.calls.items()}


def _record(pipeline: Pipeline, label: str, parameters: list[str]) -> Trace:
    types = parameter_types(pipeline.function)
    first = _interval_parameter(label, pipeline.function)
    if not accepts(types[first], Interval):
        raise DefinitionError(
            f"{label}: its first parameter, {first}, is the run's interval; annotate it with Interval."
        )
    with recording(pipeline.name) as recorded:

        def handle(source: Input, what: str, annotation: Any) -> Handle:
            return Handle(Origin(recorded, source, what, annotation))

        interval = handle(IntervalInput(), f"the interval {first}", Interval)
        others = {name: handle(ParameterInput(name), f"the run parameter {name}", types[name]) for name in parameters}
        try:
            pipeline.function(interval, **others)
        except DefinitionError:
            raise
        except Exception as error:
            where = location.of_traceback(error.__traceback__)
            about_a_model = complaints.about_a_model(error)
            if about_a_model is not None:
                raise DefinitionError(f"{where}: {about_a_model}") from error
            raise DefinitionError(
                f"{label} raised {type(error).__name__} at {where} while it was traced: "
                f"{complaints.in_one_line(error)}. Correct it there; a pipeline function only calls steps, and values "
                "exist inside of them."
            ) from error
    return recorded


def _interval_parameter(label: str, function: Callable[..., Any]) -> str:
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            return parameter.name
        break
    raise DefinitionError(
        f"{label} takes no interval; make its first parameter one, as def {function.__name__}(month: Interval)."
    )


def _check_waits(recorded: Trace, deadline_seconds: float | None) -> None:
    """Raise DefinitionError for a step that may wait for longer than the whole run may take."""
    for name, call in recorded.calls.items():
        terms, options = call.approval, call.step.options
        waits_seconds = terms.within_seconds if terms else options.timeout_seconds if options.every_seconds else None
        if deadline_seconds is not None and waits_seconds is not None and waits_seconds > deadline_seconds:
            raise DefinitionError(
                f"{call.location}: {name} may wait for {duration(waits_seconds)}, but the deadline of the pipeline is "
                f"{duration(deadline_seconds)} after a run is asked for; make one of them fit the other."
            )


def _node(name: str, call: Call, recorded: Trace, module_files: Mapping[str, str]) -> StepNode:
    function, options = call.step.function, call.step.options
    node = StepNode(
        name=name,
        module=function.__module__,
        module_file=module_files.get(function.__module__),
        qualname=function.__qualname__,
        inputs=call.inputs,
        conditions=call.conditions,
        after=tuple(call.after),
        outputs=_outputs(name, call, recorded),
        resources=options.resources,
        retries=options.retries,
        timeout_seconds=options.timeout_seconds,
        cache=options.cache,
        tags=options.tags,
        over=call.over,
        run_if=options.run_if,
        retry=options.retry,
        cache_ttl_seconds=options.cache_ttl_seconds,
        cache_environment=_declared(name, call),
        pool=options.pool,
        labels=options.labels,
        every_seconds=options.every_seconds,
        backfill=options.backfill,
    )
    terms = call.approval
    if terms is None:
        return node
    return replace(
        node,
        kind="approval",
        message=terms.message,
        timeout_seconds=terms.within_seconds,
        default=terms.otherwise,
        resources=Resources(cpu=0.0, memory_bytes=0, gpu=0),  # nothing of it is executed
    )


def _declared(name: str, call: Call) -> tuple[str, ...]:
    """Return what a cached step's result depends on beside code and inputs; DefinitionError for no such package."""
    declared = call.step.options.cache_environment
    for missing in environment.missing_packages(declared):
        raise DefinitionError(
            f"{call.step.location}: step {name} declares in its Cache(environment=…) the package {missing!r}, which is "
            f"not installed here; install it, correct its name, or write '${missing}' for an environment variable."
        )
    return declared


def _outputs(name: str, call: Call, recorded: Trace) -> tuple[str, ...]:
    if is_named_tuple(call.returns):
        return tuple(named_outputs(call.returns))
    read = {
        source.output
        for other in recorded.calls.values()
        for source in (*other.inputs.values(), *other.conditions)
        if isinstance(source, Reference) and source.step == name
    }
    return (RESULT, *sorted(read - {RESULT}))
