"""Rows, models and an evaluation of them, for tests of what the gate is told."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.linear_model import LogisticRegression

from podium.registry.evaluation import evaluate
from podium.registry.evidence import Evidence
from podium.registry.policy import GatePolicy

Numbers = npt.NDArray[np.float64]


def frame(rows: int = 3000, seed: int = 0) -> pd.DataFrame:
    """Two informative features, a category, and labels made of them: two classes, three, a number."""
    generator = np.random.default_rng(seed)
    first, second = generator.normal(size=(2, rows))
    signal = first + second + generator.normal(size=rows)
    return pd.DataFrame(
        {
            "first": first,
            "second": second,
            "group": generator.choice(["a", "b", "c"], p=[0.5, 0.45, 0.05], size=rows),
            "late": signal > 0.5,
            "size": np.select([signal < -1, signal < 1], ["small", "medium"], "large"),
            "minutes": 10 * signal,
        }
    )


TRAINING, HOLDOUT = frame(seed=1), frame(seed=2)


def fitted(estimator: Any, *features: str, label: str = "late") -> Any:
    return estimator.fit(TRAINING[list(features)], TRAINING[label])


def good(label: str = "late") -> Any:
    return fitted(LogisticRegression(), "first", "second", label=label)


def weak(label: str = "late") -> Any:
    """A model of the same columns, of which the second taught it nothing."""
    shuffled = TRAINING.assign(second=TRAINING["second"].sample(frac=1, random_state=0).to_numpy())
    return LogisticRegression().fit(shuffled[["first", "second"]], TRAINING[label])


def judged(candidate: Any, champion: Any | None = None, holdout: pd.DataFrame = HOLDOUT, **changes: Any) -> Evidence:
    arguments: dict[str, Any] = {
        "label": "late",
        "model": "flight_delay",
        "policy": GatePolicy(),
        "candidate_digest": "c" * 64,
        "champion_version": None if champion is None else "3",
        "holdout_digest": "h" * 64,
        "holdout_uses": 0,
        "seed": 7,
    }
    return evaluate(candidate, champion, holdout, **(arguments | changes))


class Scripted(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted classifier that answers whatever it is told to, row by row of the column `first`."""

    classes_ = np.array([False, True])

    def __init__(self, probability: Any = None, label: Any = None) -> None:
        self.probability, self.label = probability, label

    def predict(self, features: pd.DataFrame) -> Any:
        return (features["first"] > 0).to_numpy() if self.label is None else self.label(features)

    def predict_proba(self, features: pd.DataFrame) -> Any:
        return self.probability(features)


class ScriptedNumbers(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted regressor that answers whatever it is told to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict(self, features: pd.DataFrame) -> Any:
        return self.answer(features)
