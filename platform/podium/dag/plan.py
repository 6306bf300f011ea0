"""Plans: what tracing a pipeline yields and everybody but the tracer reads; plain data, with a digest."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from podium.dag import graph
from podium.dag.interval import Grain
from podium.dag.options import Resources
from podium.dag.references import ITEM_LIMIT, RESULT, Constant, Input, IntervalInput, ParameterInput, Reference
from podium.errors import DefinitionError

__all__ = [
    "ITEM_LIMIT",
    "RESULT",
    "Constant",
    "Input",
    "IntervalInput",
    "Parameter",
    "ParameterInput",
    "Plan",
    "Reference",
    "Resources",
    "StepNode",
]


@dataclass(frozen=True)
class Parameter:
    """A run parameter: its annotation's text, and its default as JSON unless it is `required`."""

    annotation: str
    required: bool
    default: Any = None


@dataclass(frozen=True)
class StepNode:
    """One step of a plan.

    `module_file` is relative to the project's root, None for a module that is imported from elsewhere.
    `outputs` are the names that an attempt stores: the fields of a NamedTuple, else `result` and the
    attributes somebody reads. The step runs only if every one of `conditions` is true. A mapped step is `over` one
    of its inputs: a list, for each item of which it is executed once.
    """

    name: str
    module: str
    module_file: str | None
    qualname: str
    inputs: Mapping[str, Input]
    conditions: tuple[Reference, ...]
    after: tuple[str, ...]
    outputs: tuple[str, ...]
    resources: Resources
    retries: int
    timeout_seconds: float | None
    cache: bool
    tags: tuple[str, ...]
    over: str | None = None

    @property
    def references(self) -> tuple[Reference, ...]:
        """The outputs of other steps that this step reads, its conditions included."""
        return (*(each for each in self.inputs.values() if isinstance(each, Reference)), *self.conditions)

    @property
    def dependencies(self) -> tuple[str, ...]:
        """The steps that must have ended before this one may start, each once."""
        return tuple(dict.fromkeys((*(reference.step for reference in self.references), *self.after)))


@dataclass(frozen=True)
class Plan:
    """A pipeline, traced: its steps in topological order, and the code they were traced from.

    `file` and the keys of `modules` (path → SHA-256) are relative to the project's root. A duplicate name,
    an unknown step or output, or a cycle raises DefinitionError.
    """

    pipeline: str
    model: str
    team: str
    environment: str
    grain: Grain
    schedule: str | None
    timezone: str
    file: str
    description: str
    steps: tuple[StepNode, ...]
    parameters: Mapping[str, Parameter]
    modules: Mapping[str, str]
    code_digest: str

    def __post_init__(self) -> None:
        by_name = {step.name: step for step in self.steps}
        if len(by_name) != len(self.steps):
            raise DefinitionError(
                f"{self._label} has two steps of one name; give one of them another with `.named(…)`."
            )
        self._check_references(by_name)
        try:
            order = graph.topological_order({step.name: step.dependencies for step in self.steps})
        except graph.CycleError as error:
            raise DefinitionError(
                f"{self._label} has steps that wait for each other: {error}. Remove one of these dependencies."
            ) from None
        object.__setattr__(self, "steps", tuple(by_name[name] for name in order))

    def step(self, name: str) -> StepNode:
        """Return the step called `name`; KeyError if there is none."""
        return self._by_name[name]

    def dependents(self, name: str) -> tuple[str, ...]:
        """Return the steps that wait for `name` directly, in the plan's order."""
        return self._dependents[name]

    def upstream(self, name: str) -> tuple[str, ...]:
        """Return every step that `name` needs, directly or not, in the plan's order."""
        found = graph.reachable(name, {step.name: step.dependencies for step in self.steps})
        return tuple(step.name for step in self.steps if step.name in found)

    def is_list(self, reference: Reference) -> bool:
        """Tell whether an output is stored item by item: that of a mapped step, and a list that a step is mapped over.

        Who reads it whole gets the list put together again.
        """
        return self.step(reference.step).over is not None or reference.output in self.split_outputs(reference.step)

    def split_outputs(self, name: str) -> frozenset[str]:
        """Return which outputs of a step that is not mapped itself are lists that others are mapped over."""
        return self._split_outputs.get(name, frozenset())

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-256 of the plan in canonical JSON: equal plans, equal digest."""
        from podium.ids import digest_json

        return digest_json(self.to_document())

    def to_document(self) -> dict[str, Any]:
        """Return the plan as JSON-able lists and dicts."""
        document: dict[str, Any] = _adapter().dump_python(self, mode="json")
        for step in document["steps"]:
            if step["over"] is None:  # a plan without mapped steps keeps the digest it had before there were any
                del step["over"]
        return document

    @classmethod
    def from_document(cls, document: Any) -> Self:
        """Return the plan of a `to_document`; DefinitionError if it is none."""
        from pydantic import ValidationError

        try:
            plan: Self = _adapter().validate_python(document)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the document"
            raise DefinitionError(
                f"The document is no plan of this version of Podium: {where}: {first['msg']}. Trace the pipeline again."
            ) from None
        return plan

    @property
    def _label(self) -> str:
        return f"{self.file}: pipeline {self.pipeline}"

    @functools.cached_property
    def _by_name(self) -> dict[str, StepNode]:
        return {step.name: step for step in self.steps}

    @functools.cached_property
    def _dependents(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {step.name: [] for step in self.steps}
        for step in self.steps:
            for name in step.dependencies:
                found[name].append(step.name)
        return {name: tuple(waiting) for name, waiting in found.items()}

    @functools.cached_property
    def _split_outputs(self) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for step in self.steps:
            items = step.inputs[step.over] if step.over is not None else None
            if isinstance(items, Reference) and self.step(items.step).over is None:
                found[items.step] = found.get(items.step, frozenset()) | {items.output}
        return found

    def _check_references(self, by_name: Mapping[str, StepNode]) -> None:
        for step in self.steps:
            if step.over is not None and step.over not in step.inputs:
                raise DefinitionError(f"{self._label}: step {step.name} is mapped over {step.over}, which is no input.")
            for name in step.dependencies:
                if name not in by_name:
                    raise DefinitionError(f"{self._label}: step {step.name} waits for {name}, which is no step of it.")
            for reference in step.references:
                if reference.output not in by_name[reference.step].outputs:
                    raise DefinitionError(
                        f"{self._label}: step {step.name} reads output {reference.output!r} of "
                        f"{reference.step}, which stores only {', '.join(by_name[reference.step].outputs)}."
                    )


@functools.cache
def _adapter() -> Any:
    from pydantic import TypeAdapter  # costs 0.1 s, so only those who read or write plans pay

    return TypeAdapter(Plan)
