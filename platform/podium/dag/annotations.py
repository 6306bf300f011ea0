"""What a function's annotations say: resolved types, and which named outputs a type has."""

import collections.abc
import functools
import inspect
import operator
import types
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Union, get_args, get_origin, get_type_hints

Annotation = Any
"""A resolved annotation: a class, a generic alias, a union …; `typing.Any` where nothing is known."""


def parameter_types(function: Callable[..., Any], *, with_metadata: bool = False) -> dict[str, Annotation]:
    """Return the annotation of each parameter and of `return`; Any where none is given or resolves.

    `with_metadata` keeps `Annotated[int, …]` as it is, and else only its type.
    """
    names = [*inspect.signature(function).parameters, "return"]
    given = {name: function.__annotations__.get(name, Any) for name in names}
    return {name: _resolved(each, function.__globals__, with_metadata=with_metadata) for name, each in given.items()}


def is_named_tuple(annotation: Annotation) -> bool:
    """Tell whether `annotation` is a NamedTuple class."""
    return isinstance(annotation, type) and issubclass(annotation, tuple) and hasattr(annotation, "_fields")


def item_type(annotation: Annotation) -> Annotation | None:
    """Return the type of the items of a list or Sequence, Any where it is not said; None for what is no list.

    >>> item_type(list[int]), item_type(list), item_type(dict[str, int])
    (<class 'int'>, typing.Any, None)
    """
    if annotation is Any or annotation is object:
        return Any
    owner: Any = get_origin(annotation) or annotation
    if owner not in (list, collections.abc.Sequence):
        return None
    arguments = get_args(annotation)
    return arguments[0] if arguments else Any


def without_none(annotation: Annotation) -> Annotation:
    """Return what is left of `T | None`; any other annotation as it is.

    >>> without_none(int | str | None), without_none(int)
    (int | str, <class 'int'>)
    """
    members = get_args(annotation)
    owner: Any = get_origin(annotation)
    if owner not in (Union, types.UnionType) or types.NoneType not in members:
        return annotation
    return functools.reduce(operator.or_, (member for member in members if member is not types.NoneType))


def list_of(annotation: Annotation) -> Annotation:
    """Return the annotation of a list of such items.

    >>> list_of(int)
    list[int]
    """
    return types.GenericAlias(list, (annotation,))


def named_outputs(annotation: Annotation) -> dict[str, Annotation]:
    """Return name → annotation of the outputs of this type's values.

    They are its fields, properties and annotated attributes; methods and private names are not. What is
    no class (a union, Any) has none.

    >>> from typing import NamedTuple
    >>> class Split(NamedTuple):
    ...     train: list
    ...     test: list
    >>> named_outputs(Split)
    {'train': <class 'list'>, 'test': <class 'list'>}
    """
    owner = get_origin(annotation) or annotation
    if not isinstance(owner, type):
        return {}
    if is_named_tuple(owner):
        hints = _class_types(owner)
        return {name: hints.get(name, Any) for name in owner._fields}
    found = dict(_class_types(owner))
    for name in dir(owner):
        member = inspect.getattr_static(owner, name)
        getter = member.fget if isinstance(member, property) else getattr(member, "func", None)
        if inspect.isfunction(getter):  # a property or a functools.cached_property
            found[name] = parameter_types(getter)["return"]
    return {name: kind for name, kind in found.items() if not name.startswith("_")}


def _class_types(owner: type) -> dict[str, Annotation]:
    found: dict[str, Annotation] = {}
    for each in reversed(owner.__mro__):
        module = inspect.getmodule(each)
        for name, annotation in vars(each).get("__annotations__", {}).items():
            found[name] = _resolved(annotation, vars(module) if module else {})
    return found


def _resolved(annotation: Annotation, names: dict[str, Any], *, with_metadata: bool = False) -> Annotation:
    try:
        it = SimpleNamespace(__annotations__={"it": annotation})
        return get_type_hints(it, names, include_extras=with_metadata)["it"]
    except Exception:  # noqa: BLE001  # evaluating an annotation's text can raise anything; it then says nothing
        return Any
