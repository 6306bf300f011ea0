"""The options of `@step`, and what those of `@pipeline` share with them: what may be said, in which units."""

import difflib
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from podium.errors import DefinitionError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
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


RunIf = Literal["all_succeeded", "any_succeeded", "none_failed", "always"]
"""When a step runs, by how the steps it waits for ended; `always` is for clean-up."""
RUN_IF: tuple[RunIf, ...] = ("all_succeeded", "any_succeeded", "none_failed", "always")


@dataclass(frozen=True)
class RetryPolicy:
    """How long a step run waits after its n-th failure: delay × factor^(n-1), at most `longest_seconds`.

    `jitter` is the share of it by which the wait varies, so that what failed together does not come back together.
    """

    delay_seconds: float = 1.0
    factor: float = 2.0
    longest_seconds: float = 300.0
    jitter: float = 0.0


@dataclass(frozen=True)
class Retry:
    """How a step is tried again: `@step(retries=Retry(3, delay="10s", on=ConnectionError))`.

    At most `limit` times; before the n-th time it waits delay × factor^(n-1), at most `longest`, more or less by the
    share `jitter` (from 0 to 1), so that what failed together does not come back together. `on` names the errors that
    are worth it: exception types, or a predicate that is handed the error. `give_up_on` names those that are not,
    even so.
    """

    limit: int
    delay: str | float = "1s"
    factor: float = 2.0
    longest: str | float = "5m"
    jitter: float = 0.1
    on: type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool] = Exception
    give_up_on: type[BaseException] | tuple[type[BaseException], ...] = ()


@dataclass(frozen=True)
class Cache:
    """What a step's result may be taken over for: `@step(cache=Cache(ttl="7d", environment=("scikit-learn",)))`.

    An equal result that is older than `ttl` is made anew; None is never. `environment` names what it depends on beside
    its code and its inputs: installed packages by their names, environment variables as `$NAME`.
    """

    ttl: str | float | None = None
    environment: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepOptions:
    """How a step is attempted.

    `worth_retrying` tells of an error whether another attempt could end otherwise; None is of every one. A sensor
    looks again `every_seconds`, until it has waited for `timeout_seconds` in all. In a backfilled run a step without
    `backfill` is skipped.
    """

    resources: Resources
    retries: int
    timeout_seconds: float | None
    cache: bool
    tags: tuple[str, ...]
    run_if: RunIf = "all_succeeded"
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    worth_retrying: Callable[[BaseException], bool] | None = None
    cache_ttl_seconds: float | None = None
    cache_environment: tuple[str, ...] = ()
    pool: str | None = None
    labels: tuple[str, ...] = ()
    every_seconds: float | None = None
    backfill: bool = True


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
        "run_if": "all_succeeded",
        "pool": None,
        "labels": (),
        "backfill": True,
    }
    check_known(given, defaults)
    option = {**defaults, **given}
    timeout = option["timeout"]
    if option["run_if"] not in RUN_IF:
        raise OptionError(f"run_if={option['run_if']!r} is not one of {', '.join(RUN_IF)}.")
    if option["pool"] is not None:
        _check_label("pool", option["pool"])
    if not isinstance(option["backfill"], bool):
        raise OptionError(f"backfill={option['backfill']!r} is neither True nor False; False: not in backfilled runs.")
    labels = texts("labels", option["labels"], "large-memory")
    for label in labels:
        _check_label("labels", label)
    limit, policy, worth_retrying = _retry(option["retries"])
    cache, ttl_seconds, environment = _cache(option["cache"])
    return StepOptions(
        resources=Resources(
            cpu=_cores(option["cpu"]),
            memory_bytes=_memory_bytes(option["memory"]),
            gpu=_count("gpu", option["gpu"]),
        ),
        retries=limit,
        timeout_seconds=None if timeout is None else seconds("timeout", timeout),
        cache=cache,
        tags=texts("tags", option["tags"], "nightly"),
        run_if=option["run_if"],
        retry=policy,
        worth_retrying=worth_retrying,
        cache_ttl_seconds=ttl_seconds,
        cache_environment=environment,
        pool=option["pool"],
        labels=labels,
        backfill=option["backfill"],
    )


def sensor_options(given: Mapping[str, Any]) -> StepOptions:
    """Return the options of one sensor: those of a step, and how often it looks; OptionError on an unusable one."""
    every = seconds("every", given["every"])
    if given["timeout"] is None:
        raise OptionError("timeout=None lets it wait for ever; say for how long, as timeout='6h'.")
    options = step_options({name: value for name, value in given.items() if name != "every"})
    return replace(options, every_seconds=every)


def check_name(kind: str, name: str, location: str) -> None:
    """Raise DefinitionError unless `name` can name a step or pipeline."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DefinitionError(
            f"{location}: {name!r} cannot name a {kind}; use a letter first, then at most 63 letters, digits and '_'."
        )


def check_known(given: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise OptionError for an option that there is not, with what it may have been meant to be."""
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


def _retry(value: Any) -> tuple[int, RetryPolicy, Callable[[BaseException], bool] | None]:
    """Return the limit, the waits, and what tells whether an error is worth another attempt (None: every one is)."""
    if not isinstance(value, Retry):
        return _count("retries", value), RetryPolicy(), None
    if not _is_number(value.factor) or value.factor < 1:
        raise OptionError(f"factor={value.factor!r} of Retry is no number from 1 on; 2 doubles each wait, 1 keeps it.")
    if not _is_number(value.jitter) or not 0 <= value.jitter <= 1:
        raise OptionError(f"jitter={value.jitter!r} of Retry is no share from 0 to 1; 0.1 varies a wait by a tenth.")
    policy = RetryPolicy(
        seconds("delay", value.delay), float(value.factor), seconds("longest", value.longest), float(value.jitter)
    )
    never = _error_types("give_up_on", value.give_up_on)
    if isinstance(value.on, type | tuple):
        on = _error_types("on", value.on)
        return (
            _count("limit", value.limit),
            policy,
            lambda error: isinstance(error, on) and not isinstance(error, never),
        )
    if not callable(value.on):
        raise OptionError(
            f"on={value.on!r} of Retry is neither exception types nor a function; write on=ConnectionError."
        )
    predicate = value.on
    return _count("limit", value.limit), policy, lambda error: not isinstance(error, never) and bool(predicate(error))


def _error_types(name: str, value: Any) -> tuple[type[BaseException], ...]:
    types = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(each, type) and issubclass(each, BaseException) for each in types):
        raise OptionError(
            f"{name}={value!r} of Retry holds what is no exception type; write {name}=(OSError, KeyError)."
        )
    return types


def _cache(value: Any) -> tuple[bool, float | None, tuple[str, ...]]:
    if isinstance(value, bool):
        return value, None, ()
    if not isinstance(value, Cache):
        raise OptionError(f"cache={value!r} is neither True nor False nor a Cache(ttl=…, environment=…).")
    ttl_seconds = None if value.ttl is None else seconds("ttl", value.ttl)
    return True, ttl_seconds, texts("environment", value.environment, "scikit-learn")


def texts(name: str, value: Any, example: str) -> tuple[str, ...]:
    """Return the texts of an option that takes several; OptionError names the option and gives the example."""
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) and text for text in value):
        raise OptionError(f"{name}={value!r} is no list of texts; write {name}=('{example}',).")
    return tuple(value)


def _check_label(name: str, value: Any) -> None:
    if not isinstance(value, str) or not OWNER.fullmatch(value):
        raise OptionError(f"{name}={value!r} is no name; use at most 64 letters, digits, '_', '-' and '.'.")


def seconds(name: str, value: Any) -> float:
    """Return the seconds of a duration option, given as a number or as text; OptionError names the option."""
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    given = float(match[1]) * _SECONDS[match[2]] if match else value
    if not _is_number(given) or given <= 0:
        raise OptionError(f"{name}={value!r} is no duration; give seconds, or text as '90s', '10m' or '2h'.")
    return float(given)


def duration(seconds: float) -> str:
    """Return seconds as a person would give them for an option.

    >>> duration(7200), duration(90), duration(0.5)
    ('2h', '90s', '0.5s')
    """
    for unit in ("d", "h", "m"):
        if seconds >= _SECONDS[unit] and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:g}{unit}"
    return f"{seconds:g}s"


def _memory_bytes(value: Any) -> int:
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    size = float(match[1]) * _BYTES[match[2]] if match else value
    if not _is_number(size) or size < 1:
        raise OptionError(f"memory={value!r} is no size; give bytes, or text as '512MiB' or '2GiB'.")
    return int(size)
