"""The options of `@step` and `@pipeline`: what may be said, in which units, and what is refused."""

import difflib
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from podium.dag.interval import GRAINS, Grain, time_zone
from podium.errors import DefinitionError, InvalidInterval

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_BYTES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


@dataclass(frozen=True)
class Resources:
    """What one attempt reserves: `cpu` in cores, memory in bytes, whole GPUs."""

    cpu: float
    memory_bytes: int
    gpu: int


@dataclass(frozen=True)
class StepOptions:
    """How a step is attempted."""

    resources: Resources
    retries: int
    timeout_seconds: float | None
    cache: bool
    tags: tuple[str, ...]


@dataclass(frozen=True)
class PipelineOptions:
    """Who owns a pipeline's model, and which intervals it retrains for."""

    model: str
    team: str
    environment: str
    grain: Grain
    schedule: str | None
    timezone: str


class OptionError(ValueError):
    """An option is wrong: states fact and remedy; the caller adds whose it is."""


def step_options(given: Mapping[str, Any]) -> StepOptions:
    """Return the options of one step, defaults filled in; OptionError on an unknown or unusable one."""
    defaults: dict[str, Any] = {
        "retries": 0,
        "timeout": None,
        "cpu": 1,
        "memory": "1GiB",
        "gpu": 0,
        "cache": False,
        "tags": (),
    }
    _check_known(given, defaults)
    option = {**defaults, **given}
    timeout = option["timeout"]
    if not isinstance(option["cache"], bool):
        raise OptionError(f"cache={option['cache']!r} is neither True nor False.")
    tags = option["tags"]
    if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) and tag for tag in tags):
        raise OptionError(f"tags={tags!r} is no list of texts; write tags=('nightly',).")
    return StepOptions(
        resources=Resources(
            cpu=_cores(option["cpu"]),
            memory_bytes=_memory_bytes(option["memory"]),
            gpu=_count("gpu", option["gpu"]),
        ),
        retries=_count("retries", option["retries"]),
        timeout_seconds=None if timeout is None else _seconds(timeout),
        cache=option["cache"],
        tags=tuple(tags),
    )


def pipeline_options(given: Mapping[str, Any]) -> PipelineOptions:
    """Return the options of one pipeline, defaults filled in; OptionError on an unknown or unusable one."""
    owners = ("model", "team", "environment")
    defaults: dict[str, Any] = {"grain": "day", "schedule": None, "timezone": "UTC"}
    _check_known(given, (*owners, *defaults))
    missing = [owner for owner in owners if not given.get(owner)]
    if missing:
        raise OptionError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not given, so its cost would "
            f"have no owner; write @pipeline({', '.join(f'{owner}=…' for owner in owners)})."
        )
    for owner in owners:
        if not isinstance(given[owner], str) or not _OWNER.fullmatch(given[owner]):
            raise OptionError(f"{owner}={given[owner]!r} is no name; use at most 64 letters, digits, '_', '-' and '.'.")
    option = {**defaults, **given}
    if option["grain"] not in GRAINS:
        raise OptionError(f"grain={option['grain']!r} is not one of {', '.join(GRAINS)}.")
    if option["schedule"] is not None and len(str(option["schedule"]).split()) != 5:
        raise OptionError(f"schedule={option['schedule']!r} has not the five fields of cron, as '0 6 1 * *'.")
    try:
        time_zone(option["timezone"])
    except (InvalidInterval, TypeError):
        raise OptionError(
            f"timezone={option['timezone']!r} is no time zone; use an IANA name, as America/New_York or UTC."
        ) from None
    return PipelineOptions(**option)


def check_name(kind: str, name: str, location: str) -> None:
    """Raise DefinitionError unless `name` can name a step or pipeline."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DefinitionError(
            f"{location}: {name!r} cannot name a {kind}; use a letter first, then at most 63 letters, digits and '_'."
        )


def _check_known(given: Mapping[str, Any], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise OptionError(f"{name!r} is no option; {hint}The options are {', '.join(known)}.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _cores(value: Any) -> float:
    if not _is_number(value) or value <= 0:
        raise OptionError(f"cpu={value!r} is no number of cores; give a positive one, as cpu=2 or cpu=0.5.")
    return float(value)


def _count(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise OptionError(f"{name}={value!r} is no count; give a whole number from 0 on.")
    return value


def _seconds(value: Any) -> float:
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    seconds = float(match[1]) * _SECONDS[match[2]] if match else value
    if not _is_number(seconds) or seconds <= 0:
        raise OptionError(f"timeout={value!r} is no duration; give seconds, or text as '90s', '10m' or '2h'.")
    return float(seconds)


def _memory_bytes(value: Any) -> int:
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    size = float(match[1]) * _BYTES[match[2]] if match else value
    if not _is_number(size) or size < 1:
        raise OptionError(f"memory={value!r} is no size; give bytes, or text as '512MiB' or '2GiB'.")
    return int(size)
