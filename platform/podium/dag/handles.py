"""Handles: what a step call returns while a pipeline is traced, in place of its value."""

import difflib
from dataclasses import dataclass
from typing import NoReturn, Protocol

from podium.dag import location
from podium.dag.annotations import Annotation, is_named_tuple, item_type, list_of, named_outputs
from podium.dag.references import RESULT, Input, Reference
from podium.errors import DefinitionError


class Tracer(Protocol):
    """The trace that a handle belongs to."""

    pipeline: str
    active: bool


@dataclass(frozen=True)
class Origin:
    """Where a handle's value will come from, and of which type it will be."""

    tracer: Tracer
    source: Input
    label: str  # as messages name it: "the result of step train", "the interval month"
    annotation: Annotation
    collects: bool = False  # one value of each item of a mapped step: `annotation` is a list of them


def _refuse_comparison(handle: "Handle", *_others: object) -> NoReturn:
    _refuse(handle, "cannot be compared", "compare inside a step that returns bool, then `with when(…):`")


def _refuse_arithmetic(handle: "Handle", *_others: object) -> NoReturn:
    _refuse(handle, "cannot be computed with", "compute inside a step")


class Handle:
    """Stands for a value that a run will compute: passes between steps, refuses whatever needs the value now.

    An attribute of a step's handle is a handle of that named output. All else raises DefinitionError.
    """

    __slots__ = ("__podium__",)
    __podium__: Origin

    def __init__(self, origin: Origin) -> None:
        object.__setattr__(self, "__podium__", origin)

    def __getattr__(self, name: str) -> "Handle":
        if name.startswith("__"):  # a protocol asks (copy, pickle, numpy): the answer is "not supported"
            raise AttributeError(name)
        return Handle(_output(self.__podium__, name))

    def __repr__(self) -> str:
        return f"<handle of {self.__podium__.label}>"

    def __bool__(self) -> NoReturn:
        _refuse(self, "has no truth value", "put the steps that depend on it into `with when(…):`")

    def __iter__(self) -> NoReturn:
        annotation = self.__podium__.annotation
        remedy = "loop inside a step, or call a step for each item with `step.map(…)`"
        if is_named_tuple(annotation):
            remedy = f"take its fields by name ({', '.join(named_outputs(annotation))})"
        _refuse(self, "cannot be iterated or unpacked", remedy)

    def __len__(self) -> NoReturn:
        _refuse(self, "has no length", "measure it inside a step; `step.map(…)` needs none")

    def __getitem__(self, _key: object) -> NoReturn:
        _refuse(
            self,
            "cannot be indexed",
            "index it inside a step, return a NamedTuple and take its field by name, or call a step for each item "
            "with `step.map(…)`",
        )

    def __contains__(self, _item: object) -> NoReturn:
        _refuse(self, "cannot be searched", "look inside a step")

    def __call__(self, *_args: object, **_keywords: object) -> NoReturn:
        """Refuse."""
        _refuse(self, "cannot be called", "call it inside a step")

    def __setattr__(self, name: str, _value: object) -> NoReturn:
        _refuse(self, f"cannot have its {name!r} set", "return a changed value from a step")

    def __str__(self) -> NoReturn:
        _refuse(self, "has no text", "format it inside a step")

    def __format__(self, _spec: str) -> NoReturn:
        _refuse(self, "has no text", "format it inside a step")

    def __hash__(self) -> NoReturn:
        _refuse(self, "cannot be a key or in a set", "key by the step's name")

    def __array__(self, *_args: object, **_keywords: object) -> NoReturn:
        _refuse(self, "is no array", "compute with it inside a step")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse_comparison
    __add__ = __sub__ = __mul__ = __matmul__ = __truediv__ = __floordiv__ = __mod__ = __pow__ = _refuse_arithmetic
    __radd__ = __rsub__ = __rmul__ = __rmatmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = _refuse_arithmetic
    __and__ = __or__ = __xor__ = __rand__ = __ror__ = __rxor__ = __lshift__ = __rshift__ = _refuse_arithmetic
    __neg__ = __pos__ = __abs__ = __invert__ = __round__ = __int__ = __float__ = __index__ = _refuse_arithmetic


def _refuse(handle: Handle, fact: str, remedy: str) -> NoReturn:
    raise DefinitionError(
        f"{location.of_caller()}: {handle.__podium__.label} {fact} while pipeline "
        f"{handle.__podium__.tracer.pipeline} is traced: it exists only during a run; {remedy}."
    )


def _output(origin: Origin, name: str) -> Origin:
    where = f"{location.of_caller()}: "
    if not origin.tracer.active:
        raise DefinitionError(f"{where}{origin.label} was kept after its trace ended; use it inside its pipeline only.")
    if not isinstance(origin.source, Reference) or origin.source.output != RESULT:
        raise DefinitionError(
            f"{where}{origin.label} has no named output {name!r}; take {name!r} inside a step, or return it "
            "as a field of a NamedTuple."
        )
    known = named_outputs(item_type(origin.annotation) if origin.collects else origin.annotation)
    if name == RESULT:
        raise DefinitionError(
            f"{where}{origin.label} has an output {RESULT!r}, but that name stands for the whole value; rename the "
            "field or attribute."
        )
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        raise DefinitionError(
            f"{where}{origin.label} has no output {name!r}"
            + (f"; did you mean {close[0]}? " if close else ". ")
            + (f"Known are {', '.join(known)}. " if known else "Its return annotation names none. ")
            + "Annotate the step's return with a NamedTuple, or a class, that has it."
        )
    reference = Reference(origin.source.step, name)
    if origin.collects:
        return Origin(
            origin.tracer,
            reference,
            f"the list of {name} of step {reference.step}",
            list_of(known[name]),
            collects=True,
        )
    return Origin(origin.tracer, reference, f"output {name} of step {reference.step}", known[name])
