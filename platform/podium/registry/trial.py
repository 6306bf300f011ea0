"""Candidate and champion on the same rows: their answers, the metrics' values, and the paired tests."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from podium.errors import EvaluationError
from podium.registry.answers import Answers, ask
from podium.registry.evidence import Discordant, Measurement
from podium.registry.holdout import Array, Holdout, kind_of, shown
from podium.registry.metrics import Kind, Metric, metrics_of
from podium.stats.bootstrap import compare_means
from podium.stats.delong import auc, compare_auc
from podium.stats.mcnemar import compare_accuracy
from podium.stats.paired import Mask, PairedTest

Positions = npt.NDArray[np.intp]

_EXAMPLES = 5  # positions of discordant rows kept for a person to look at


@dataclass(frozen=True, eq=False)
class Trial:
    """What both models answered (no champion: a first model), and the truth."""

    kind: Kind
    labels: Array
    positive: Mask | None  # the rows of the second class, for two classes
    candidate: Answers
    champion: Answers | None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What can be measured of every model here, the usual primary metric first."""
        models = [self.candidate] if self.champion is None else [self.candidate, self.champion]
        return metrics_of(self.kind, probabilities=all(model.has_probabilities for model in models))

    def rarer_class_rows(self, rows: Positions | None = None) -> int | None:
        """Return how many of `rows` (None: all) the rarer of two classes has; None unless there are two."""
        if self.positive is None:
            return None
        positive = self.positive if rows is None else self.positive[rows]
        return min(int(positive.sum()), int((~positive).sum()))

    def measure(self, metric: Metric) -> Measurement:
        """Return the metric of both models and of the best constant answer; AUC of a single class is None."""
        if metric is Metric.AUC and not self.rarer_class_rows():
            return Measurement(metric=metric, candidate=None)
        return Measurement(
            metric=metric,
            candidate=self._value(metric, self.candidate),
            champion=None if self.champion is None else self._value(metric, self.champion),
            baseline=_baseline(metric, self.labels),
        )

    def compare(
        self, metric: Metric, generator: np.random.Generator, rows: Positions | None = None
    ) -> PairedTest | None:
        """Return the paired test of the gain in `metric` on `rows` (None: all).

        None where there is no champion, or AUC has fewer than 2 rows of a class. `generator` draws the
        bootstrap of the metrics that need one.
        """
        if self.champion is None:
            return None
        candidate, champion = self.candidate.contributions(metric), self.champion.contributions(metric)
        if rows is not None:
            candidate, champion = candidate[rows], champion[rows]
        if metric is Metric.AUC and self.positive is not None:
            positive = self.positive if rows is None else self.positive[rows]
            enough = (self.rarer_class_rows(rows) or 0) >= 2
            return compare_auc(positive, candidate, champion) if enough else None
        if metric is Metric.ACCURACY:
            return compare_accuracy(candidate, champion)
        if metric is Metric.ERROR_RATE:
            return compare_accuracy(1 - candidate, 1 - champion)
        return compare_means(champion - candidate, generator)

    def discordant(self) -> Discordant | None:
        """Return on which rows exactly one model named the class; None for numbers and for a first model."""
        if self.champion is None or self.candidate.right is None or self.champion.right is None:
            return None
        only_candidate = np.flatnonzero(self.candidate.right & ~self.champion.right)
        only_champion = np.flatnonzero(self.champion.right & ~self.candidate.right)
        return Discordant(
            only_candidate=only_candidate.size,
            only_champion=only_champion.size,
            only_candidate_rows=tuple(only_candidate[:_EXAMPLES].tolist()),
            only_champion_rows=tuple(only_champion[:_EXAMPLES].tolist()),
        )

    def _value(self, metric: Metric, answers: Answers) -> float:
        contributions = answers.contributions(metric)
        if metric is Metric.AUC and self.positive is not None:
            return auc(self.positive, contributions)
        return float(contributions.mean())


def hold_trial(candidate: Any, champion: Any | None, holdout: Holdout, *, minimum_rows: int, block_rows: int) -> Trial:
    """Return the trial of two fitted estimators on `holdout`; `champion` is None for a first model.

    Raises EvaluationError for models that cannot be asked, that answer different questions, and, on at least
    `minimum_rows` rows, for a label or a candidate that is the same everywhere.
    """
    kind = kind_of(candidate, "candidate", holdout)
    champion_kind = kind if champion is None else kind_of(champion, "champion", holdout)
    if champion_kind is not kind:
        raise EvaluationError(
            f"The candidate is made for {kind} and the champion for {champion_kind}, which no metric "
            "compares; register the candidate under a model name of its own."
        )
    answers = ask(candidate, "candidate", kind, holdout, block_rows)
    if len(holdout) >= minimum_rows:
        _check_variety(answers, holdout)
    return Trial(
        kind=kind,
        labels=holdout.labels,
        positive=answers.positive if kind is Kind.BINARY else None,
        candidate=answers,
        champion=None if champion is None else ask(champion, "champion", kind, holdout, block_rows),
    )


def _check_variety(candidate: Answers, holdout: Holdout) -> None:
    if bool((holdout.labels == holdout.labels[0]).all()):
        raise EvaluationError(
            f"The label {holdout.label!r} has the single value {shown(holdout.labels[0])} in all "
            f"{len(holdout):,} rows of the holdout, 1 < 2 required to judge on; check how the holdout was "
            "selected."
        )
    if candidate.constant:
        raise EvaluationError(
            f"The candidate gives the same answer to all {len(holdout):,} rows of the holdout: it learned "
            "nothing from the features; check what it was trained on."
        )


def _baseline(metric: Metric, labels: Array) -> float:
    """Return the metric of the best constant answer: majority class, share of each class, median or mean."""
    if metric is Metric.AUC:
        return 0.5
    if metric is Metric.MEAN_ABSOLUTE_ERROR:
        return float(np.abs(labels - np.median(labels)).mean())
    if metric is Metric.MEAN_SQUARED_ERROR:
        return float(labels.astype(np.float64).var())
    shares = pd.Series(labels).value_counts(normalize=True).to_numpy()
    if metric is Metric.LOG_LOSS:
        return float(-(shares * np.log(shares)).sum())
    return float(shares.max() if metric is Metric.ACCURACY else 1 - shares.max())
