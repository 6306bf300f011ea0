"""Plans: what tracing a pipeline yields and everybody but the tracer reads; plain data, with a digest."""

import functools
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, Self

from podium.dag import graph
from podium.dag.interval import Grain
from podium.dag.options import Resources, RetryPolicy, RunIf
from podium.dag.references import ITEM_LIMIT, RESULT, Constant, Input, IntervalInput, ParameterInput, Reference
from podium.dag.schedule import Ticks, Timing
from podium.dag.triggers import PlannedTrigger
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
    "RetryPolicy",
    "RunIf",
    "StepNode",
]


@dataclass(frozen=True)
class Parameter:
    """A run parameter: its annotation's text, and its default as JSON unless it is `required`.

    A text for one that is `validated` can only be read with the pipeline's code at hand.
    """

    annotation: str
    required: bool
    default: Any = None
    validated: bool = False


@dataclass(frozen=True)
class StepNode:
    """One step of a plan.

    `module_file` is relative to the project's root, None for a module that is imported from elsewhere.
    `outputs` are the names that an attempt stores: the fields of a NamedTuple, else `result` and the
    attributes somebody reads. The step runs only if every one of `conditions` is true. A mapped step is `over` one
    of its inputs: a list, for each item of which it is executed once. `run_if` says what the ends of the steps upstream
    must be. Equal steps may share results (`cache`) for `cache_ttl_seconds`: `code_digest` is of the code that this
    step alone consists of, `upstream_code_digest` of that and of all steps before it (None: nobody can tell less than
    the whole project), `cache_environment` what else a result depends on, by name. An `approval` is no function: a
    person who is shown its inputs and its `message` decides, or after `timeout_seconds` its `default`. A sensor looks
    again `every_seconds` until something has come, for `timeout_seconds` in all. Only a worker with all of `labels`
    executes it, and at most as many at once as its `pool` allows. In a backfilled run it is skipped without `backfill`.
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
    kind: Literal["step", "approval"] = "step"
    run_if: RunIf = "all_succeeded"
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    cache_ttl_seconds: float | None = None
    cache_environment: tuple[str, ...] = ()
    code_digest: str | None = None
    upstream_code_digest: str | None = None
    pool: str | None = None
    labels: tuple[str, ...] = ()
    default: Literal["approve", "reject"] = "reject"
    message: str | None = None
    every_seconds: float | None = None
    backfill: bool = True

    @property
    def references(self) -> tuple[Reference, ...]:
        """The outputs of other steps that this step reads, its conditions included."""
        return (*(each for each in self.inputs.values() if isinstance(each, Reference)), *self.conditions)

    @property
    def feeders(self) -> tuple[str, ...]:
        """The steps whose ends `run_if` is about: those it reads from or is ordered after, each once."""
        read = (each.step for each in self.inputs.values() if isinstance(each, Reference))
        return tuple(dict.fromkeys((*read, *self.after)))

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
    priority: int = 0
    deadline_seconds: float | None = None
    timing: Timing = field(default_factory=Timing)
    triggers: tuple[PlannedTrigger, ...] = ()

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

    @property
    def ticks(self) -> Ticks | None:
        """When it retrains by itself; None without a schedule."""
        if self.schedule is None:
            return None
        return Ticks.of(self.pipeline, self.schedule, self.timezone, self.grain, self.timing)

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
        # What is said by default is left out, so that a plan keeps its digest when Podium learns to say more.
        for name, default in _defaults(Plan).items():
            if document[name] == default:
                del document[name]
        for parameter in document["parameters"].values():
            if not parameter["validated"]:
                del parameter["validated"]
        for step in document["steps"]:
            for name, default in _defaults(StepNode).items():
                if step[name] == default:
                    del step[name]
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
def _defaults(kind: type[Plan] | type[StepNode]) -> dict[str, Any]:
    """Return what each field that has a default is in JSON when nothing else was said."""
    from pydantic import TypeAdapter

    found = {each.name: each.default for each in fields(kind) if each.default is not MISSING}
    found |= {each.name: each.default_factory() for each in fields(kind) if each.default_factory is not MISSING}
    document: dict[str, Any] = TypeAdapter(dict[str, Any]).dump_python(found, mode="json")
    return document


@functools.cache
def _adapter() -> Any:
    from pydantic import TypeAdapter  # costs 0.1 s, so only those who read or write plans pay

    return TypeAdapter(Plan)
