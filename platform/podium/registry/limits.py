"""What a candidate needs of what the policy limits: time for a row, bytes, money."""

import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np

from podium.registry.answers import features_of
from podium.registry.evidence import LimitCheck
from podium.registry.holdout import Holdout
from podium.registry.latency import Latencies, Timer, time_single_rows
from podium.registry.policy import Limits

_SIGNIFICANT_DIGITS = 6


def check_limits(
    limits: Limits,
    candidate: Any,
    champion: Any | None,
    holdout: Holdout,
    *,
    cost_usd: Decimal | None,
    generator: np.random.Generator,
    timer: Timer = time.perf_counter,
) -> tuple[LimitCheck, ...]:
    """Return what is known of each limit that is set; nothing is measured that has none.

    `cost_usd` is what the run has cost so far, None where a part of it has no price. A ratio of latencies is left out
    for a first model.
    """
    return (
        *_latencies(limits, candidate, champion, holdout, generator, timer),
        *_size(limits, candidate),
        *_cost(limits, cost_usd),
    )


def _latencies(
    limits: Limits, candidate: Any, champion: Any | None, holdout: Holdout, generator: np.random.Generator, timer: Timer
) -> Iterator[LimitCheck]:
    milliseconds, ratio = limits.latency_milliseconds, limits.latency_ratio
    compares = champion is not None and ratio is not None
    if milliseconds is None and not compares:
        return
    measured = time_single_rows(
        (candidate, features_of(candidate, "candidate", holdout)),
        (champion, features_of(champion, "champion", holdout)) if compares else None,
        generator,
        timer=timer,
    )
    if milliseconds is not None:
        value = _decimal(measured.candidate)
        yield LimitCheck(limit="latency_milliseconds", allowed=_decimal(milliseconds), value=value, rows=measured.rows)
    if ratio is not None and measured.champion is not None:
        yield _ratio(ratio, measured, measured.champion)


def _ratio(allowed: float, measured: Latencies, champion: float) -> LimitCheck:
    known = champion > 0
    return LimitCheck(
        limit="latency_ratio",
        allowed=_decimal(allowed),
        value=_decimal(measured.candidate / champion) if known else None,
        candidate=_decimal(measured.candidate),
        champion=_decimal(champion),
        rows=measured.rows,
        unknown=None if known else "the champion answers a row faster than the clock can tell",
    )


def _size(limits: Limits, candidate: Any) -> Iterator[LimitCheck]:
    if limits.size_bytes is None:
        return
    allowed = Decimal(limits.size_bytes)
    try:
        yield LimitCheck(limit="size_bytes", allowed=allowed, value=Decimal(serialized_bytes(candidate)))
    except Exception as error:  # noqa: BLE001 - a model's own __reduce__ may raise anything
        why = f"cloudpickle cannot write the candidate ({type(error).__name__}: {' '.join(str(error).split())})"
        yield LimitCheck(limit="size_bytes", allowed=allowed, value=None, unknown=why)


def _cost(limits: Limits, cost_usd: Decimal | None) -> Iterator[LimitCheck]:
    if limits.cost_usd is None:
        return
    why = "a part of what the run used has no price yet, or nobody keeps its books" if cost_usd is None else None
    yield LimitCheck(limit="cost_usd", allowed=limits.cost_usd, value=cost_usd, unknown=why)


def serialized_bytes(estimator: Any) -> int:
    """Return how many bytes cloudpickle writes for an estimator; they are counted, and kept nowhere."""
    import cloudpickle

    counter = _Counter()
    cloudpickle.Pickler(counter).dump(estimator)
    return counter.size


class _Counter:
    """A file that only knows how much was written to it."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: Any) -> int:
        """Count the bytes."""
        count = memoryview(data).nbytes
        self.size += count
        return count


def _decimal(value: float) -> Decimal:
    """Return a measured number with six digits that mean something."""
    return Decimal(f"{value:.{_SIGNIFICANT_DIGITS}g}")
