"""JSON for small values, so that what is decoded equals what was encoded and has its type.

None, bool, int, float, str and lists stand for themselves, and so does a dict whose keys are texts.
Everything else is an object with a `$` that says what it is::

    {"$": "float", "value": "nan"}                                   also inf, -inf
    {"$": "decimal", "value": "12.50"}
    {"$": "tuple", "items": […]}       {"$": "dict", "items": [[key, value], …]}
    {"$": "date", "value": "2013-03-05"}
    {"$": "datetime", "value": "2013-03-05T06:00:00", "zone": "America/New_York", "fold": 0}
    {"$": "interval", "start": {…}, "end": {…}}
    {"$": "enum", "type": "module:Class", "name": "MEMBER"}
    {"$": "dataclass" | "namedtuple" | "model", "type": "module:Class", "fields": {…}}
"""

import dataclasses
import importlib
import math
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any
from zoneinfo import ZoneInfo

from podium.dag.interval import Interval, time_zone
from podium.errors import ArtifactError, InvalidInterval, NoCodec

_TAG = "$"


def encode(value: Any) -> Any:
    """Return `value` as a JSON document; NoCodec names the type that has none.

    Types are taken exactly: a subclass of a built-in type (numpy's float64, pandas' Timestamp) has no JSON,
    since it would come back as something else.

    >>> encode((1, float("inf")))
    {'$': 'tuple', 'items': [1, {'$': 'float', 'value': 'inf'}]}
    """
    try:
        return _encode(value)
    except RecursionError:
        raise NoCodec(
            f"A {type(value).__name__} holds itself, or nests too deep for JSON; pass a flat value."
        ) from None


def decode(document: Any) -> Any:
    """Return the value that `encode` made `document` from; ArtifactError if it is damaged."""
    if isinstance(document, list):
        return [decode(item) for item in document]
    if not isinstance(document, dict):
        return document
    if _TAG not in document:
        return {key: decode(item) for key, item in document.items()}
    decoder = _DECODERS.get(document[_TAG])
    if decoder is None:
        raise ArtifactError(f"A stored value is tagged {document[_TAG]!r}, which this version of Podium does not know.")
    try:
        return decoder(document)
    except (KeyError, TypeError, ValueError, ArithmeticError, InvalidInterval) as error:
        raise ArtifactError(
            f"A stored {document[_TAG]} {document.get('type', '')} cannot be read back: {error}. Its class "
            "may have changed since; run the step that made it again."
        ) from error


def named_types(document: Any) -> set[str]:
    """Return the types, as `module:Class`, that decoding `document` would import.

    >>> named_types([1, {"$": "enum", "type": "colours:Colour", "name": "RED"}])
    {'colours:Colour'}
    """
    if isinstance(document, list):
        return set().union(*map(named_types, document))
    if not isinstance(document, dict):
        return set()
    own = {document["type"]} if _TAG in document and isinstance(document.get("type"), str) else set()
    return own.union(*map(named_types, document.values()))


def _encode(value: Any) -> Any:
    exact = _ENCODERS.get(type(value))
    if exact is not None:
        return exact(value)
    if isinstance(value, Enum) and value.name in type(value).__members__:
        return {_TAG: "enum", "type": _type_name(type(value)), "name": value.name}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return _record("namedtuple", value, value._fields)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _record("dataclass", value, [field.name for field in dataclasses.fields(value)])
    if _is_pydantic_model(value):
        return _record("model", value, [*type(value).model_fields, *(value.model_extra or ())])
    raise NoCodec(
        f"A {type(value).__module__}.{type(value).__qualname__} has no JSON; use None, bool, int, float, "
        "str, Decimal, list, tuple, dict, date, datetime, Interval, Enum, a dataclass, a NamedTuple or a pydantic "
        "model."
    )


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NoCodec(f"The text {value[:40]!r} has half a surrogate pair, which JSON cannot hold.") from None
    return value


def _float(value: float) -> Any:
    return value if math.isfinite(value) else {_TAG: "float", "value": repr(value)}


def _dict(value: dict[Any, Any]) -> Any:
    if _TAG not in value and all(type(key) is str for key in value):
        return {_text(key): _encode(item) for key, item in value.items()}
    return {_TAG: "dict", "items": [[_encode(key), _encode(item)] for key, item in value.items()]}


def _datetime(value: datetime) -> Any:
    wall = value.replace(tzinfo=None, fold=0).isoformat()
    return {_TAG: "datetime", "value": wall, "zone": _zone(value.tzinfo), "fold": value.fold}


def _zone(zone: tzinfo | None) -> str | float | None:
    if zone is None:
        return None
    if isinstance(zone, ZoneInfo) and zone.key:
        return zone.key
    if type(zone) is timezone:
        return zone.utcoffset(None).total_seconds()
    raise NoCodec(f"The time zone {zone!r} has no JSON; use zoneinfo.ZoneInfo or datetime.timezone.")


def _record(tag: str, value: Any, names: Any) -> Any:
    fields = {name: _encode(getattr(value, name)) for name in names}
    return {_TAG: tag, "type": _type_name(type(value)), "fields": fields}


def _type_name(owner: type) -> str:
    name = f"{owner.__module__}:{owner.__qualname__}"
    try:
        found = _resolve(name)
    except (ImportError, AttributeError):
        found = None
    if found is not owner:
        raise NoCodec(
            f"The class {owner.__qualname__} cannot be found again as {name}; define it at the top level of a module."
        )
    return name


def _resolve(name: str) -> Any:
    module, _, qualified_name = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in qualified_name.split("."):
        found = getattr(found, part)
    return found


def _is_pydantic_model(value: Any) -> bool:
    pydantic = sys.modules.get("pydantic")  # whoever holds a model has imported it
    return pydantic is not None and isinstance(value, pydantic.BaseModel)


def _decode_datetime(document: dict[str, Any]) -> datetime:
    zone = document["zone"]
    if isinstance(zone, str):
        known: tzinfo | None = time_zone(zone)
    elif zone is not None:
        known = timezone(timedelta(seconds=zone)) if zone else UTC
    else:
        known = None
    return datetime.fromisoformat(document["value"]).replace(tzinfo=known, fold=document["fold"])


def _decode_class(document: dict[str, Any]) -> Any:
    try:
        return _resolve(document["type"])
    except (ImportError, AttributeError):
        raise ArtifactError(
            f"A stored value is a {document['type']}, which cannot be imported any more; put the class back, "
            "or run the step that made it again."
        ) from None


def _decode_enum(document: dict[str, Any]) -> Any:
    owner = _decode_class(document)
    if not (isinstance(owner, type) and issubclass(owner, Enum)):
        raise TypeError(f"{document['type']} is no Enum")
    return owner[document["name"]]


def _decode_record(document: dict[str, Any]) -> Any:
    owner = _decode_class(document)
    fields = {name: decode(item) for name, item in document["fields"].items()}
    if document[_TAG] == "model":
        return _decode_model(owner, fields)
    if document[_TAG] == "namedtuple" and hasattr(owner, "_fields"):
        return owner(**fields)
    if not dataclasses.is_dataclass(owner) or not isinstance(owner, type):
        raise TypeError(f"{document['type']} is no {document[_TAG]}")
    later = {field.name for field in dataclasses.fields(owner) if not field.init}
    value = owner(**{name: item for name, item in fields.items() if name not in later})
    for name in later & fields.keys():
        object.__setattr__(value, name, fields[name])
    return value


def _decode_model(owner: Any, fields: dict[str, Any]) -> Any:
    from pydantic import BaseModel, RootModel

    if not issubclass(owner, BaseModel):
        raise TypeError(f"{owner.__qualname__} is no pydantic model")
    if issubclass(owner, RootModel):
        return owner.model_validate(fields["root"])
    return owner.model_validate(fields, by_name=True, by_alias=False)


_ENCODERS: dict[type, Callable[[Any], Any]] = {
    **dict.fromkeys((type(None), bool, int), lambda value: value),
    float: _float,
    Decimal: lambda value: {_TAG: "decimal", "value": str(value)},
    str: _text,
    list: lambda value: [_encode(item) for item in value],
    tuple: lambda value: {_TAG: "tuple", "items": [_encode(item) for item in value]},
    dict: _dict,
    date: lambda value: {_TAG: "date", "value": value.isoformat()},
    datetime: _datetime,
    Interval: lambda value: {_TAG: "interval", "start": _encode(value.start), "end": _encode(value.end)},
}
_DECODERS: dict[Any, Callable[[dict[str, Any]], Any]] = {
    "float": lambda document: float(document["value"]),
    "decimal": lambda document: Decimal(document["value"]),
    "tuple": lambda document: tuple(decode(item) for item in document["items"]),
    "dict": lambda document: {decode(key): decode(item) for key, item in document["items"]},
    "date": lambda document: date.fromisoformat(document["value"]),
    "datetime": _decode_datetime,
    "interval": lambda document: Interval(decode(document["start"]), decode(document["end"])),
    "enum": _decode_enum,
    **dict.fromkeys(("dataclass", "namedtuple", "model"), _decode_record),
}
