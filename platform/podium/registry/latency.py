"""How long a model takes for a single row: candidate and champion asked in turns, so that noise meets both.

A worker's machine is busy with other things, and that is no fault of the model's. So each row is asked five times and
the least counts; and a model has one thread, for threads that wait for each other on a busy machine can take a hundred
times as long as the row does.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from podium.errors import EvaluationError

Timer = Callable[[], float]

SAMPLE_ROWS = 100
ROUNDS = 5
LONGEST_SECONDS = 30.0
_WARM_UP_CALLS = 5


@dataclass(frozen=True)
class Latencies:
    """The 95th percentile over `rows` single rows of each row's least time, in milliseconds."""

    rows: int
    candidate: float
    champion: float | None


def time_single_rows(
    candidate: tuple[Any, pd.DataFrame],
    champion: tuple[Any, pd.DataFrame] | None,
    generator: np.random.Generator,
    *,
    timer: Timer = time.perf_counter,
) -> Latencies:
    """Return how long `predict` takes for a single row of a random sample, at most 100 rows.

    Each model comes with the frame that it is shown. Both are called a few times first, then row by row in turns, who
    is first changing every time, in five rounds, of which a row's least time counts. It ends after 30 s, with the rows
    answered by then. Raises EvaluationError for a model that fails on a single row.
    """
    models = [("candidate", *candidate)] + ([("champion", *champion)] if champion else [])
    length = len(candidate[1])
    positions = np.sort(generator.choice(length, size=min(length, SAMPLE_ROWS), replace=False)).tolist()
    times: dict[str, list[list[float]]] = {who: [[] for _ in positions] for who, *_ in models}
    started = timer()
    with threadpool_limits(1):
        for position in positions[:_WARM_UP_CALLS]:
            for who, estimator, features in models:
                _seconds(who, estimator, features.iloc[[position]], timer)
        for turn in range(ROUNDS * len(positions)):
            round_, index = divmod(turn, len(positions))
            for who, estimator, features in models if (round_ + index) % 2 == 0 else reversed(models):
                times[who][index].append(_seconds(who, estimator, features.iloc[[positions[index]]], timer))
            if timer() - started > LONGEST_SECONDS:
                break
    return Latencies(
        rows=sum(map(bool, times["candidate"])),
        candidate=_p95(times["candidate"]),
        champion=_p95(times["champion"]) if champion else None,
    )


def _seconds(who: str, estimator: Any, row: pd.DataFrame, timer: Timer) -> float:
    started = timer()
    try:
        estimator.predict(row)
    except Exception as error:  # a model is its owner's code and may raise anything
        raise EvaluationError(
            f"The {who} failed on a single row of the holdout with {type(error).__name__}: "
            f"{' '.join(str(error).split())}. Make it predict one row at a time, as callers ask it."
        ) from error
    return timer() - started


def _p95(times: list[list[float]]) -> float:
    least = [min(seconds) for seconds in times if seconds]
    return 1000 * float(np.percentile(least, 95, method="inverted_cdf"))
