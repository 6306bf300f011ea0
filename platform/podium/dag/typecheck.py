"""Whether what a step produces may feed what another step's parameter is annotated with."""

import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from podium.dag.annotations import Annotation

_WIDER_NUMBERS = {int: (float, complex), float: (complex,)}  # PEP 484's numeric tower


def accepts(consumer: Annotation, producer: Annotation) -> bool:
    """Tell whether a value of type `producer` may be passed where `consumer` is annotated; unknown types may.

    >>> accepts(float, int), accepts(str, str | None), accepts(list[int], list[str]), accepts(Any, str)
    (True, False, False, True)
    """
    consumer, producer = _plain(consumer), _plain(producer)
    if _says_nothing(consumer) or _says_nothing(producer):
        return True
    if _is_union(producer):
        return all(accepts(consumer, member) for member in get_args(producer))
    if _is_union(consumer):
        return any(accepts(member, producer) for member in get_args(consumer))
    if _origin(producer) is Literal:
        return all(accepts_value(consumer, value) for value in get_args(producer))
    if _origin(consumer) is Literal:
        return any(accepts(type(value), producer) for value in get_args(consumer))
    return _accepts_class(consumer, producer)


def accepts_value(annotation: Annotation, value: object) -> bool:
    """Tell whether the constant `value` may be passed where `annotation` stands.

    >>> accepts_value(Literal["auc", "error"], "recall"), accepts_value(list[float] | None, [1.0])
    (False, True)
    """
    annotation = _plain(annotation)
    if _is_union(annotation):
        return any(accepts_value(member, value) for member in get_args(annotation))
    if _origin(annotation) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(annotation))
    return accepts(annotation, type(value))


def describe(annotation: Annotation) -> str:
    """Return `annotation` as a person would write it.

    >>> describe(int), describe(list[int] | None)
    ('int', 'list[int] | None')
    """
    if isinstance(annotation, type) and _origin(annotation) is None:
        return "None" if annotation is types.NoneType else annotation.__qualname__
    if _is_union(annotation):
        return " | ".join(describe(member) for member in get_args(annotation))
    return str(annotation).replace("typing.", "")


def _accepts_class(consumer: Annotation, producer: Annotation) -> bool:
    wanted, given = _origin(consumer) or consumer, _origin(producer) or producer
    if not isinstance(wanted, type) or not isinstance(given, type):
        return True
    if wanted in _WIDER_NUMBERS.get(given, ()):
        return True
    try:
        if not issubclass(given, wanted):
            return False
    except TypeError:  # a Protocol or TypedDict: its members are known when the step runs
        return True
    wanted_arguments, given_arguments = get_args(consumer), get_args(producer)
    if len(wanted_arguments) != len(given_arguments):
        return True
    return all(
        accepts(want, give)
        for want, give in zip(wanted_arguments, given_arguments, strict=True)
        if want is not ... and give is not ... and not isinstance(want, list) and not isinstance(give, list)
    )


def _origin(annotation: Annotation) -> Any:
    return get_origin(annotation)


def _plain(annotation: Annotation) -> Annotation:
    if annotation is None:
        return types.NoneType
    if hasattr(annotation, "__supertype__"):  # a NewType
        return _plain(annotation.__supertype__)
    return annotation


def _says_nothing(annotation: Annotation) -> bool:
    return annotation in (Any, object) or isinstance(annotation, TypeVar | str)


def _is_union(annotation: Annotation) -> bool:
    return _origin(annotation) in (Union, types.UnionType)
