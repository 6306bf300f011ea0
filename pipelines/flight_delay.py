"""Will a flight from New York arrive more than 15 minutes late? Retrained every month on the three before.

The question is asked at the scheduled departure; `_flights.py` says which data answer it and what is known by then.
"""

from datetime import datetime
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline

from pipelines._flights import (
    ARRIVAL_DELAY,
    CATEGORIES,
    TIME_ZONE,
    WEATHER,
    DataProblem,
    arrived,
    columns_for_trees,
    months_before,
    read_examples,
    refuse_the_future,
)
from podium import Interval, pipeline, step, when
from podium.canary.plan import CanaryPlan, Phase
from podium.checks import CategoryDrift, NullRate, Volume, check_data
from podium.registry.policy import GatePolicy
from podium.stages import evaluate_candidate, register_version, run_canary

HISTORY_MONTHS = 3
LATE_MINUTES = 15
LABEL = "late"

# Half a month is about 14,000 flights. With one wrong answer in five they can show that a challenger is not worse by
# 2.5 percentage points, which takes 11,400; a replay harms nobody, so half of them go to it almost at once.
CANARY = CanaryPlan(
    phases=(Phase(weight_percent=10, requests=1_000), Phase(weight_percent=50, requests=14_000)),
    margin=0.025,
    look_every=250,
)


class Months(NamedTuple):
    """Rows of features and `late`, each part in the order of scheduled departures."""

    history: pd.DataFrame  # the three months before: trains
    holdout: pd.DataFrame  # first half of the month: judges candidate and champion, which never saw it
    replay: pd.DataFrame  # second half of the month: kept as the canary's traffic


def split(rows: pd.DataFrame, month: Interval) -> Months:
    """Return what of the examples `rows` trains, judges and replays for `month`.

    Raises DataProblem for a part without a known arrival, or whose flights were all late or all in time.
    """
    start, middle, end = month.start, month.start + (month.end - month.start) / 2, month.end
    return Months(
        history=labelled(rows, "history", months_before(start, HISTORY_MONTHS), start),
        holdout=labelled(rows, "holdout", start, middle),
        replay=labelled(rows, "replay", middle, end),
    )


def labelled(rows: pd.DataFrame, part: str, start: datetime, end: datetime) -> pd.DataFrame:
    """Return the features and `late` (1 or 0) of the flights in [`start`, `end`) that arrived."""
    name = f"{part} of flight_delay"
    known = arrived(rows, name, start, end).reset_index(drop=True)
    late = (known.pop(ARRIVAL_DELAY) > LATE_MINUTES).astype(np.int64)
    if late.nunique() == 1:
        raise DataProblem(
            f"The {name}, {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}, has {len(late):,} flights, all with "
            f"late = {late.iloc[0]}; one class neither trains nor judges. Check arr_delay of that time."
        )
    return known.assign(**{LABEL: late})


@step(retries=2, timeout="10m")
def validate(month: Interval) -> Months:
    """Read and check the data, and return what trains, judges and replays for `month`."""
    parts = split(read_examples(), month)
    check_parts(parts)
    return parts


def check_parts(parts: Months) -> None:
    """Print what the data checks say of `parts`; raise DataCheckFailed where rows, categories or weather are missing.

    A month has some 27,000 flights, and in 2013 no history lacks the weather before more than 0.4 % of its flights.
    """
    check_data(
        parts.history,
        [Volume(at_least=10_000), NullRate(CATEGORIES, at_most=0), NullRate(WEATHER, at_most=0.05)],
        called="history of flight_delay",
    )
    # In 2013 no holdout's carriers are further than 0.025 from the history's. More is worth a look, and a reason to
    # retrain rather than one not to.
    check_data(
        parts.holdout,
        [CategoryDrift("carrier", reference=parts.history["carrier"], at_most=0.05, severity="warn")],
        called="holdout of flight_delay",
    )


@step(cpu=2, memory="2GiB")
def train(history: pd.DataFrame) -> Pipeline:
    """Return a fitted classifier that takes a frame of features and gives the probability of `late`."""
    features = history.drop(columns=LABEL)
    refuse_the_future(features, "flight_delay")
    trees = HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=16, min_samples_leaf=200, early_stopping=False, random_state=0
    )
    return Pipeline([("columns", columns_for_trees()), ("trees", trees)]).fit(features, history[LABEL])


@pipeline(
    model="flight_delay",
    team="network-ops",
    environment="prod",
    grain="month",
    schedule="0 6 1 * *",
    timezone=TIME_ZONE,
)
def flight_delay(month: Interval) -> None:
    """Train on the three months before `month`; its first half judges the candidate, its second half tries it."""
    data = validate(month)
    candidate = train(data.history)
    policy = GatePolicy(primary="auc", floors={"auc": 0.58})
    evidence = evaluate_candidate(candidate, data.holdout, label=LABEL, policy=policy)
    with when(evidence.passed):
        version = register_version(candidate, evidence)
        run_canary(version, replay=data.replay, plan=CANARY)
