"""One model's answers to every row of a holdout, and what each row contributes to a metric.

Contributions are a row's share in the metric: their mean is its value. For AUC they are the scores to rank.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from podium.errors import EvaluationError
from podium.registry.holdout import Array, Holdout, codes_of, read_only, shown
from podium.registry.metrics import Kind, Metric
from podium.registry.rules import ModelAnswers
from podium.stats.paired import Mask, Vector

Codes = npt.NDArray[np.intp]

_LEAST_PROBABILITY = float(np.finfo(np.float64).eps)  # keeps the log loss of a confident error finite
_SUM_TOLERANCE = 1e-3  # probabilities in single precision, over many classes


class Answers(Protocol):
    """What one model said about every row."""

    @property
    def constant(self) -> bool:
        """Whether it said the same about every row."""

    @property
    def has_probabilities(self) -> bool:
        """Whether metrics of probabilities can be measured."""

    @property
    def right(self) -> Mask | None:
        """Which rows it answered exactly; None for numbers, which are more or less right."""

    @property
    def positive(self) -> Mask | None:
        """Which rows are truly of the second class; None for numbers."""

    def contributions(self, metric: Metric) -> Vector:
        """Return what each row contributes to `metric`."""

    def told(self) -> ModelAnswers:
        """Return it as a rule of the project is shown it, to be read only."""


@dataclass(frozen=True, eq=False)
class NumberAnswers:
    """Predicted numbers beside the true ones."""

    values: Vector
    labels: Vector
    has_probabilities: ClassVar[bool] = False
    right: ClassVar[None] = None
    positive: ClassVar[None] = None

    @property
    def constant(self) -> bool:
        """Whether one number was predicted for every row."""
        return bool((self.values == self.values[0]).all())

    def contributions(self, metric: Metric) -> Vector:
        """Return the absolute or squared errors."""
        errors = np.abs(self.values - self.labels)
        return errors if metric is Metric.MEAN_ABSOLUTE_ERROR else errors**2

    def told(self) -> ModelAnswers:
        """Return the numbers."""
        return ModelAnswers(read_only(self.values))


@dataclass(frozen=True, eq=False)
class ClassAnswers:
    """Predicted and true classes as positions in the model's classes; -1 is a class it has never seen."""

    codes: Codes
    labels: Codes
    probabilities: Vector | None  # a row per row, a column per class
    classes: Array

    @property
    def has_probabilities(self) -> bool:
        """Whether the model has a `predict_proba`."""
        return self.probabilities is not None

    @property
    def right(self) -> Mask:
        """Which rows were given their true class."""
        return np.equal(self.codes, self.labels)

    @property
    def positive(self) -> Mask:
        """Which rows are truly of the second class."""
        return np.equal(self.labels, 1)

    @property
    def constant(self) -> bool:
        """Whether every row was given the same probabilities or, without those, the same class."""
        said = self.codes if self.probabilities is None else self.probabilities
        return bool((said == said[0]).all())

    def contributions(self, metric: Metric) -> Vector:
        """Return scores of the second class, losses, or marks of 0 and 1."""
        if metric is Metric.ACCURACY:
            return self.right.astype(np.float64)
        if metric is Metric.ERROR_RATE:
            return (~self.right).astype(np.float64)
        if self.probabilities is None:
            raise EvaluationError(f"{metric} needs a model that gives probabilities; choose another metric.")
        if metric is Metric.AUC:
            return self.probabilities[:, 1]
        of_truth = self.probabilities[np.arange(self.labels.size), self.labels]
        known = np.where(self.labels < 0, 0.0, of_truth)
        losses: Vector = -np.log(np.clip(known, _LEAST_PROBABILITY, 1.0))
        return losses

    def told(self) -> ModelAnswers:
        """Return the classes by their names, and the probabilities."""
        probabilities = None if self.probabilities is None else read_only(self.probabilities)
        return ModelAnswers(read_only(self.classes[self.codes]), probabilities, read_only(self.classes))


def ask(estimator: Any, who: str, kind: Kind, holdout: Holdout, block_rows: int) -> Answers:
    """Return the answers of `estimator` to every row, asked in blocks of `block_rows` rows.

    It is shown the columns it was trained on. Raises EvaluationError where one is missing, where the
    estimator fails, or where it does not give one finite number, or one of its classes, to each row.
    """
    features = features_of(estimator, who, holdout)
    predicted = _one_per_row(_in_blocks(estimator.predict, who, holdout.called, features, block_rows), who)
    if kind is Kind.REGRESSION:
        return NumberAnswers(_finite(predicted, who), holdout.labels.astype(np.float64))
    classes = estimator.classes_
    codes = codes_of(predicted, classes)
    if (codes < 0).any():
        raise EvaluationError(
            f"The {who} predicts {shown(predicted[codes < 0][0])}, which is none of its classes "
            f"{classes.tolist()}; repair its predict."
        )
    probabilities = None
    if hasattr(estimator, "predict_proba"):
        answered = _in_blocks(estimator.predict_proba, who, holdout.called, features, block_rows)
        probabilities = _probabilities(_finite(answered, who), who, len(classes))
    return ClassAnswers(codes, codes_of(holdout.labels, classes), probabilities, classes)


def features_of(estimator: Any, who: str, holdout: Holdout) -> pd.DataFrame:
    """Return the columns that a model was trained on, all of them where it does not say; EvaluationError without."""
    features, names = holdout.features, getattr(estimator, "feature_names_in_", None)
    if names is None:
        return features
    missing = [str(name) for name in names if name not in features.columns]
    if missing:
        raise EvaluationError(
            f"The {holdout.called} lacks {len(missing)} of the {len(names)} feature columns that the {who} was "
            f"trained on: {', '.join(missing)} (the label {holdout.label!r} is no feature). Keep them in the "
            f"{holdout.called}: both models must answer the same rows."
        )
    return features if list(names) == list(features.columns) else features[list(names)]


def _in_blocks(
    method: Callable[[pd.DataFrame], Any], who: str, called: str, features: pd.DataFrame, rows: int
) -> Array:
    blocks = []
    for start in range(0, len(features), rows):
        block = features.iloc[start : start + rows]
        try:
            answers = np.asarray(method(block))
        except Exception as error:  # a model is its owner's code and may raise anything
            raise EvaluationError(
                f"The {who} failed on rows {start:,} to {start + len(block) - 1:,} of the {called} with "
                f"{type(error).__name__}: {' '.join(str(error).split())}. Make it predict rows like these, "
                f"or keep them out of the {called}."
            ) from error
        if answers.ndim == 0 or len(answers) != len(block):
            raise EvaluationError(
                f"The {who} answers {len(block):,} rows with an array of shape {answers.shape}; it must give "
                "one answer per row."
            )
        blocks.append(answers)
    return np.concatenate(blocks)


def _one_per_row(answers: Array, who: str) -> Array:
    if answers.ndim == 2 and answers.shape[1] == 1:
        return answers[:, 0]
    if answers.ndim != 1:
        raise EvaluationError(
            f"The {who} predicts in the shape {answers.shape}; judge a model that gives one answer per row."
        )
    return answers


def _finite(answers: Array, who: str) -> Vector:
    try:
        numbers: Vector = answers.astype(np.float64)
    except (TypeError, ValueError):
        raise EvaluationError(
            f"The {who} predicts {shown(answers.flat[0])} where a number is needed; repair its predict or "
            "predict_proba."
        ) from None
    unknown = int((~np.isfinite(numbers.reshape(len(numbers), -1))).any(axis=1).sum())
    if unknown:
        raise EvaluationError(
            f"The {who} predicts NaN or infinity for {unknown:,} of {len(numbers):,} rows; such a model "
            "cannot be judged, find the inputs that it cannot handle."
        )
    return numbers


def _probabilities(answers: Vector, who: str, classes: int) -> Vector:
    if answers.shape != (len(answers), classes):
        raise EvaluationError(
            f"The {who} gives probabilities in the shape {answers.shape}; a column for each of its {classes} "
            "classes is needed."
        )
    off = float(np.abs(answers.sum(axis=1) - 1).max())
    if answers.min() < 0 or off > _SUM_TOLERANCE:
        raise EvaluationError(
            f"The {who} gives probabilities that are negative (least {answers.min():.3g} < 0) or do not add "
            f"to 1 (off by {off:.3g} > {_SUM_TOLERANCE} allowed); repair its predict_proba."
        )
    return answers
