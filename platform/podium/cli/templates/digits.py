"""Which digit was written? Retrained every month on scikit-learn's 1,797 scanned digits.

A template: put your own data into `validate` and your own estimator into `train`.
"""

from typing import NamedTuple

import pandas as pd
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from podium import Interval, pipeline, step, when
from podium.registry.policy import GatePolicy
from podium.stages import evaluate_candidate, promote_version, register_version


class Rows(NamedTuple):
    """What trains, and what judges: no row is ever in both, whatever the month."""

    history: pd.DataFrame
    holdout: pd.DataFrame


@step(retries=2, timeout="5m")
def validate(month: Interval) -> Rows:
    """Load the rows, check them, and part them: every third judges, and 100 of the others per month train."""
    rows = load_digits(as_frame=True).frame.astype("float64").rename(columns={"target": "digit"})
    if rows.isna().any(axis=None):
        raise ValueError("the digits have missing pixels")
    rows["digit"] = rows["digit"].astype("int64").astype(str)
    judges = rows.index % 3 == 0
    return Rows(history=rows[~judges].head(100 * month.start.month), holdout=rows[judges])


@step(cpu=1, memory="1GiB")
def train(history: pd.DataFrame) -> Pipeline:
    """Fit the model."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    return model.fit(history.drop(columns="digit"), history["digit"])


@pipeline(model="digits", team="research", environment="dev", grain="month", schedule="0 6 1 * *", timezone="UTC")
def digits(month: Interval) -> None:
    """Train, judge on rows that trained nobody, and promote on the evidence."""
    rows = validate(month)
    candidate = train(rows.history)
    evidence = evaluate_candidate(
        candidate,
        rows.holdout,
        label="digit",
        policy=GatePolicy(primary="accuracy", floors={"accuracy": 0.75}),
    )
    with when(evidence.passed):
        version = register_version(candidate, evidence)
        promote_version(version)
