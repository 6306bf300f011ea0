"""Simulated candidates through the production's own gate: how often it decides wrongly, and how often it sees a gain.

`simulate` draws a holdout and what two models answer to it, and has `podium.registry.evaluation.evaluate` judge them,
over and over. Both models are right on 90 % of the rows, and 6 % of the rows tell them apart, unless a scenario says
otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import betaincinv
from sklearn.base import BaseEstimator, ClassifierMixin

from podium.registry.evaluation import evaluate
from podium.registry.evidence import Evidence
from podium.registry.policy import GatePolicy

ACCURACY, DISAGREEMENT, MARGIN = 0.90, 0.06, 0.01
CONFIDENCE = 0.99
"""Of the intervals of shares."""

Evaluate = Callable[..., Evidence]


class Recorded(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A fitted classifier that answers what a column of the rows holds."""

    def __init__(self, column: str) -> None:
        self.column = column
        self.classes_ = np.array([0, 1])
        self.feature_names_in_ = np.array(["candidate", "champion"], dtype=object)  # or their callers would differ

    def predict(self, rows: pd.DataFrame) -> npt.NDArray[Any]:
        """Return the class that each row's number stands for."""
        return (rows[self.column].to_numpy() > 0).astype(np.int64)


class Scored(Recorded):
    """The like of it with probabilities: the column holds their logarithmic odds."""

    def predict_proba(self, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return the probabilities of both classes."""
        late = 1 / (1 + np.exp(-rows[self.column].to_numpy()))
        return np.column_stack([1 - late, late])


def promoted(evidence: Evidence) -> bool:
    """Whether the candidate may become champion."""
    return evidence.verdict == "passed"


def blocked_by_a_slice(evidence: Evidence) -> bool:
    """Whether the candidate is turned down because one slice is worse."""
    return evidence.verdict == "failed" and any(each.p_blocking <= evidence.policy.alpha for each in evidence.slices)


Draw = Callable[[np.random.Generator, "Scenario"], pd.DataFrame]


def right_and_wrong(generator: np.random.Generator, scenario: "Scenario") -> pd.DataFrame:
    """Return rows with both models' classes: which of them are right is drawn row by row."""
    gained, lost = (DISAGREEMENT + scenario.gain) / 2, (DISAGREEMENT - scenario.gain) / 2
    fates = generator.choice(4, p=[ACCURACY - lost, gained, lost, 1 - ACCURACY - gained], size=scenario.rows)
    late = generator.integers(0, 2, size=scenario.rows)
    return _with_slices(
        generator,
        {
            "late": late,
            "candidate": np.where((fates == 0) | (fates == 1), late, 1 - late),
            "champion": np.where((fates == 0) | (fates == 2), late, 1 - late),
        },
    )


def noisy_scores(generator: np.random.Generator, scenario: "Scenario") -> pd.DataFrame:
    """Return rows with both models' scores: one signal, of which each sees its own noise."""
    late = (generator.random(scenario.rows) < 0.3).astype(np.int64)
    signal = generator.normal(size=scenario.rows) + late
    return _with_slices(
        generator,
        {"late": late, **{who: signal + generator.normal(size=scenario.rows) for who in ("candidate", "champion")}},
    )


def _with_slices(generator: np.random.Generator, columns: dict[str, npt.NDArray[Any]]) -> pd.DataFrame:
    rows = len(columns["late"])
    slices = {"carrier": generator.integers(0, 16, size=rows), "weekday": generator.integers(0, 7, size=rows)}
    return pd.DataFrame({**columns, **slices})


@dataclass(frozen=True)
class Scenario:
    """What two models are like, how they are judged, and the share of candidates that something may happen to.

    `gain` is the candidate's true accuracy less the champion's.
    """

    rows: int
    bar: float
    at_least: bool = False
    gain: float = 0.0
    policy: GatePolicy = field(default_factory=lambda: GatePolicy(primary="accuracy"))
    happens: Callable[[Evidence], bool] = promoted
    draw: Draw = right_and_wrong
    model: type[Recorded] = Recorded


_NOT_WORSE = GatePolicy(primary="accuracy", mode="refresh", margin=MARGIN)
_BY_SLICE = GatePolicy(primary="accuracy", mode="refresh", margin=MARGIN, slices=("carrier", "weekday"))

SCENARIOS = {
    **{f"equal, {rows:,} rows": Scenario(rows, 0.06) for rows in (500, 1_000, 2_000, 5_000, 10_000)},
    "equal by AUC, 2,000 rows": Scenario(
        2_000, 0.06, policy=GatePolicy(primary="auc"), draw=noisy_scores, model=Scored
    ),
    "1.5 points better, 2,000 rows": Scenario(2_000, 0.83, at_least=True, gain=0.015),
    **{
        f"a margin worse, {rows:,} rows": Scenario(rows, 0.06, gain=-MARGIN, policy=_NOT_WORSE)
        for rows in (2_000, 10_000)
    },
    "equal in 23 slices, 10,000 rows": Scenario(10_000, 0.05, policy=_BY_SLICE, happens=blocked_by_a_slice),
}


@dataclass(frozen=True)
class Share:
    """How many of so many candidates it happened to."""

    happened: int
    of: int

    @property
    def found(self) -> float:
        """The share itself."""
        return self.happened / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends of its exact interval (Clopper & Pearson, Biometrika 26 (1934) 404-413)."""
        tail, others = (1 - CONFIDENCE) / 2, self.of - self.happened
        low = float(betaincinv(self.happened, others + 1, tail)) if self.happened else 0.0
        high = float(betaincinv(self.happened + 1, others, 1 - tail)) if others else 1.0
        return low, high

    def misses(self, scenario: Scenario) -> str | None:
        """Return what was found where the share found is beyond the scenario's bar, else None."""
        return self._told(scenario) if self._beyond(scenario, self.found, self.found) else None

    def refutes(self, scenario: Scenario) -> str | None:
        """Return what was found where it shows that the true share misses the scenario's bar, else None."""
        return self._told(scenario) if self._beyond(scenario, *self.interval) else None

    @staticmethod
    def _beyond(scenario: Scenario, low: float, high: float) -> bool:
        return high < scenario.bar if scenario.at_least else low > scenario.bar

    def _told(self, scenario: Scenario) -> str:
        low, high = self.interval
        return (
            f"{scenario.happens.__name__} {'≥' if scenario.at_least else '≤'} {scenario.bar:.2f}, but {self.found:.4f} "
            f"of {self.of:,} ({CONFIDENCE:.0%} interval {low:.4f} to {high:.4f})"
        )


def simulate(repetitions: int, seed: int, scenario: Scenario, gate: Evaluate = evaluate) -> Share:
    """Have so many candidates judged."""
    happened = [
        scenario.happens(_judge(np.random.default_rng([seed, number]), scenario, gate)) for number in range(repetitions)
    ]
    return Share(sum(happened), repetitions)


def _judge(generator: np.random.Generator, scenario: Scenario, gate: Evaluate) -> Evidence:
    return gate(
        scenario.model("candidate"),
        scenario.model("champion"),
        scenario.draw(generator, scenario),
        label="late",
        model="simulated",
        policy=scenario.policy,
        candidate_digest="c" * 64,
        champion_version="1",
        holdout_digest="a" * 64,
        holdout_uses=0,
        seed=int(generator.integers(2**31)),
    )
