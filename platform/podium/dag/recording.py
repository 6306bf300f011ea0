"""Recording: while a pipeline function runs under a trace, each step call becomes a checked `Call`."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Literal

from podium.dag import location, values
from podium.dag.annotations import (
    Annotation,
    is_named_tuple,
    item_type,
    list_of,
    named_outputs,
    parameter_types,
    without_none,
)
from podium.dag.handles import Handle, Origin
from podium.dag.options import StepOptions
from podium.dag.references import ITEM_LIMIT, RESULT, Constant, Input, Reference
from podium.dag.typecheck import accepts, accepts_value, describe
from podium.errors import DefinitionError, NoCodec


@dataclass(frozen=True)
class StepDefinition:
    """A step as it was written: its function, its name, and how it is attempted."""

    name: str
    function: Callable[..., Any]
    options: StepOptions

    @property
    def location(self) -> str:
        """`file:line` of the function."""
        return location.of_function(self.function)


@dataclass(frozen=True)
class ApprovalTerms:
    """What a person is asked, for how long, and what is decided if nobody answers."""

    message: str
    within_seconds: float
    otherwise: Literal["approve", "reject"]


@dataclass(frozen=True)
class Call:
    """One step call of a trace."""

    step: StepDefinition
    location: str
    returns: Annotation
    inputs: Mapping[str, Input]
    conditions: tuple[Reference, ...]
    over: str | None = None
    approval: ApprovalTerms | None = None
    after: list[str] = field(default_factory=list)


class Trace:
    """What one pipeline function did, in order, while it was called with handles."""

    def __init__(self, pipeline: str) -> None:
        self.pipeline = pipeline
        self.active = True
        self.calls: dict[str, Call] = {}
        self.conditions: list[Reference] = []
        self.unentered: dict[object, str] = {}  # tokens of `when`s not yet used in a `with` → location

    def call(
        self, step: StepDefinition, arguments: tuple[Any, ...], keywords: dict[str, Any], over: str | None = None
    ) -> Handle:
        """Record a step call and return the handle of its result; DefinitionError if no run could make it.

        `over` is the parameter that gets the items of a mapped call, one in each step run.
        """
        where = location.of_caller()
        self._check_first(where, step, f'{step.function.__name__}.named("{step.name}_2")(…)')
        try:
            signature = inspect.signature(step.function)
            signature.bind_partial(*arguments, **keywords)  # so that a misspelt argument is named as such
            bound = signature.bind(*arguments, **keywords)
        except TypeError as error:
            raise DefinitionError(
                f"{where}: step {step.name} is called wrongly: {error}; it is defined as "
                f"{step.function.__name__}{_parameters_of(step.function)} at {step.location}."
            ) from None
        types = parameter_types(step.function)
        types["return"] = self._returned(where, step, types["return"])
        if is_named_tuple(types["return"]) and RESULT in named_outputs(types["return"]):
            raise DefinitionError(
                f"{where}: step {step.name} returns {describe(types['return'])}, which has a field {RESULT!r}; that "
                "name stands for a whole value, so rename the field."
            )
        inputs = {
            name: (self._items if name == over else self._input)(
                f"{where}: parameter {name} of step {step.name}", types[name], value
            )
            for name, value in bound.arguments.items()
        }
        for name, source in inputs.items():
            if step.options.run_if != "all_succeeded" and isinstance(source, Reference) and name != over:
                _check_takes_none(f"{where}: parameter {name} of step {step.name}", step, types[name], source)
        self.calls[step.name] = Call(step, where, types["return"], inputs, tuple(dict.fromkeys(self.conditions)), over)
        if over is not None:
            label = f"the list of results of step {step.name}"
            return Handle(Origin(self, Reference(step.name), label, list_of(types["return"]), collects=True))
        return Handle(Origin(self, Reference(step.name), f"the result of step {step.name}", types["return"]))

    def approval(self, step: StepDefinition, shown: tuple[object, ...], terms: ApprovalTerms) -> Handle:
        """Record an approval and return the handle of what is decided; DefinitionError unless results are shown."""
        where = location.of_caller()
        self._check_first(where, step, f'wait_for_approval(…, name="{step.name}_2")')
        inputs: dict[str, Input] = {}
        for value in shown:
            origin = self._own(where, value) if isinstance(value, Handle) else None
            if origin is None or not isinstance(origin.source, Reference):
                raise DefinitionError(
                    f"{where}: approval {step.name} shows {value!r}; show what steps returned, and say the rest in its "
                    "message."
                )
            _refuse_whole(f"{where}: approval {step.name}", origin)
            inputs[f"{origin.source.step}.{origin.source.output}"] = origin.source
        returns = parameter_types(step.function)["return"]
        conditions = tuple(dict.fromkeys(self.conditions))
        self.calls[step.name] = Call(step, where, returns, inputs, conditions, approval=terms)
        return Handle(Origin(self, Reference(step.name), f"the approval {step.name}", returns))

    def condition(self, value: object) -> Reference:
        """Return the output that a `when` asks about; DefinitionError unless it is a step's bool."""
        where = location.of_caller()
        if not isinstance(value, Handle):
            raise DefinitionError(
                f"{where}: when({value!r}) in pipeline {self.pipeline} is decided before any run; give it an "
                "output of a step, as when(evidence.passed), or use a plain `if`."
            )
        origin = self._own(where, value)
        if not isinstance(origin.source, Reference) or not accepts(bool, origin.annotation):
            raise DefinitionError(
                f"{where}: when(…) needs a bool, but {origin.label} is {describe(origin.annotation)}; have a "
                f"step {'that gets the list ' if origin.collects else ''}return a bool, or an object with a bool "
                "attribute, and name that."
            )
        return origin.source

    def order(self, later: object, earlier: tuple[object, ...]) -> None:
        """Make the step of `later` wait for those of `earlier`; DefinitionError unless all are results."""
        where = location.of_caller()
        names = []
        for value in (later, *earlier):
            source = self._own(where, value).source if isinstance(value, Handle) else None
            if not isinstance(source, Reference):
                raise DefinitionError(
                    f"{where}: run_after(later, *earlier) orders steps of pipeline {self.pipeline}; give it "
                    "only what step calls returned."
                )
            names.append(source.step)
        after = self.calls[names[0]].after
        after.extend(name for name in names[1:] if name not in after)

    def _check_first(self, where: str, step: StepDefinition, remedy: str) -> None:
        earlier = self.calls.get(step.name)
        if earlier is not None:
            raise DefinitionError(
                f"{where}: pipeline {self.pipeline} calls step {step.name} a second time (first at "
                f"{earlier.location}); give this call its own name: {remedy}."
            )

    def _returned(self, where: str, step: StepDefinition, annotation: Annotation) -> Annotation:
        """Return what later steps get of a step; of a sensor, what it returns at last instead of None."""
        if step.options.every_seconds is None:
            return annotation
        if not accepts(annotation, NoneType):
            raise DefinitionError(
                f"{where}: sensor {step.name} returns {describe(annotation)}, but a sensor returns None until what it "
                f"waits for is there; annotate its return as {describe(annotation)} | None."
            )
        return without_none(annotation)

    def _input(self, where: str, wanted: Annotation, value: Any) -> Input:
        if isinstance(value, Handle):
            origin = self._own(where, value)
            _refuse_whole(where, origin)
            if not accepts(wanted, origin.annotation):
                raise DefinitionError(
                    f"{where} takes {describe(wanted)}, but {origin.label} is {describe(origin.annotation)}; "
                    "change one of the two annotations, or convert in a step between them."
                )
            return origin.source
        if _holds_handle(value):
            raise DefinitionError(
                f"{where} gets a {type(value).__name__} with handles in it; give each its own parameter."
            )
        return _constant(where, wanted, value)

    def _items(self, where: str, wanted: Annotation, value: Any) -> Input:
        """Return what a mapped parameter takes its items from: a list, each item of which it must accept."""
        if isinstance(value, Handle):
            origin = self._own(where, value)
            _refuse_whole(where, origin)
            item = item_type(origin.annotation)
            if item is None:
                raise DefinitionError(
                    f"{where} is mapped over {origin.label}, which is {describe(origin.annotation)}; map over a "
                    "list, and annotate it as one: list[…]."
                )
            if not accepts(wanted, item):
                raise DefinitionError(
                    f"{where} takes {describe(wanted)}, but the items of {origin.label} are {describe(item)}; "
                    "change one of the two annotations, or convert in a step between them."
                )
            return origin.source
        if not isinstance(value, list | tuple):
            raise DefinitionError(
                f"{where} is mapped over {value!r}, which is no list; give a list of constants, or a list that a step "
                "returned."
            )
        if len(value) > ITEM_LIMIT:
            raise DefinitionError(
                f"{where} is mapped over a list of {len(value):,} items > {ITEM_LIMIT:,} allowed; give each call "
                "several of them."
            )
        if _holds_handle(value):
            raise DefinitionError(
                f"{where} is mapped over a {type(value).__name__} with handles in it; have one step return the list."
            )
        return Constant([_constant(f"{where}, item {n},", wanted, item).value for n, item in enumerate(value)])

    def _own(self, where: str, handle: Handle) -> Origin:
        origin: Origin = handle.__podium__
        if origin.tracer is not self:
            raise DefinitionError(
                f"{where}: {origin.label} belongs to another trace of pipeline {origin.tracer.pipeline}; a "
                f"handle is of use in its own pipeline only, so call the step in {self.pipeline} too."
            )
        return origin


_current: ContextVar[Trace | None] = ContextVar("podium_trace", default=None)


def current_trace() -> Trace | None:
    """Return the trace under way in this context, if any."""
    return _current.get()


@contextlib.contextmanager
def recording(pipeline: str) -> Iterator[Trace]:
    """Make a new trace the current one; after the block, its handles are of no use any more."""
    trace = Trace(pipeline)
    token = _current.set(trace)
    try:
        yield trace
    finally:
        trace.active = False
        _current.reset(token)


def refuse_handles(step: StepDefinition, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
    """Raise DefinitionError if a step that is called as a plain function is given a handle."""
    for value in (*arguments, *keywords.values()):
        if isinstance(value, Handle):
            raise DefinitionError(
                f"{location.of_caller()}: step {step.name} is called outside a pipeline with {value!r}, "
                "which was kept after its trace ended; pass a value, or call the step in the pipeline."
            )


def _constant(where: str, wanted: Annotation, value: Any) -> Constant:
    if not accepts_value(wanted, value):
        raise DefinitionError(f"{where} takes {describe(wanted)}, but is given {value!r}; pass a fitting value.")
    try:
        return Constant(values.encode(value))
    except NoCodec as error:
        raise DefinitionError(f"{where} gets a constant that cannot be kept in a plan. {error}") from None


def _check_takes_none(where: str, step: StepDefinition, wanted: Annotation, source: Reference) -> None:
    """Raise DefinitionError unless a parameter takes the None that stands for the output of a step without success."""
    if not accepts(wanted, NoneType):
        raise DefinitionError(
            f"{where}, which has run_if={step.options.run_if!r}, takes {describe(wanted)}, but is None where "
            f"{source.step} did not succeed; annotate it as {describe(wanted)} | None, and handle None in the step."
        )


def _refuse_whole(where: str, origin: Origin) -> None:
    """Raise DefinitionError for a whole NamedTuple: its fields are outputs, it itself is none."""
    value = item_type(origin.annotation) if origin.collects else origin.annotation
    if isinstance(origin.source, Reference) and origin.source.output == RESULT and is_named_tuple(value):
        fields = ", ".join(named_outputs(value))
        raise DefinitionError(
            f"{where} gets {origin.label} whole, but its fields are stored one by one; pass the fields it needs "
            f"({fields})."
        )


def _holds_handle(value: object) -> bool:
    if isinstance(value, dict):
        value = [*value.values()]
    return isinstance(value, list | tuple) and any(isinstance(item, Handle) or _holds_handle(item) for item in value)


def _parameters_of(function: Callable[..., Any]) -> str:
    return f"({', '.join(str(parameter) for parameter in inspect.signature(function).parameters.values())})"
