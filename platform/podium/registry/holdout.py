"""The rows that judge, checked once; and what a model predicts, checked against their label.

Rows of another use, as those a canary replays, are checked alike; `called` is their name in messages.
"""

import difflib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from podium.errors import EvaluationError
from podium.registry.metrics import Kind

Array = npt.NDArray[Any]

_COLUMNS_NAMED = 10  # in an error; the rest is counted


@dataclass(frozen=True, eq=False)
class Holdout:
    """Rows with known labels: `features` is every column but the label."""

    features: pd.DataFrame
    labels: Array
    label: str
    called: str = "holdout"

    def __len__(self) -> int:
        return len(self.labels)


def read_holdout(frame: object, label: str, *, called: str = "holdout") -> Holdout:
    """Return the rows to judge on, or raise EvaluationError saying what is wrong with them."""
    if not isinstance(frame, pd.DataFrame):
        raise EvaluationError(f"The {called} is a {type(frame).__name__}; a pandas DataFrame is needed.")
    twice = sorted({str(name) for name in frame.columns[frame.columns.duplicated()]})
    if twice:
        raise EvaluationError(f"The {called} has more than one column {', '.join(twice)}; rename or drop all but one.")
    if label not in frame.columns:
        columns = [str(name) for name in frame.columns]
        close = difflib.get_close_matches(label, columns, n=1)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        more = f" and {len(columns) - _COLUMNS_NAMED} more" if len(columns) > _COLUMNS_NAMED else ""
        raise EvaluationError(
            f"The {called} has no label column {label!r}.{meant} Its columns are "
            f"{', '.join(columns[:_COLUMNS_NAMED]) or 'none'}{more}; name one of them as the label."
        )
    if len(frame) == 0:
        raise EvaluationError(
            f"The {called} is empty: 0 rows < 1 required; check the interval and the filters before it."
        )
    unknown = int(frame[label].isna().sum())
    if unknown:
        raise EvaluationError(
            f"The label {label!r} is missing in {unknown:,} of {len(frame):,} rows of the {called}; drop "
            "those rows, an unknown truth judges nothing."
        )
    return Holdout(frame.drop(columns=label), frame[label].to_numpy(), label, called)


def count_duplicates(frame: pd.DataFrame) -> int | None:
    """Return how many rows repeat an earlier one exactly, in every column; None where rows cannot be compared.

    Rows are compared by a hash of 64 bits: of a million, two that differ are taken for equal once in 30 million frames.
    """
    try:
        hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    except (TypeError, ValueError, NotImplementedError):  # a column of lists or other objects without a hash
        return None
    return len(hashes) - len(pd.unique(hashes))


def read_only(values: Array) -> Array:
    """Return a view that nobody can write through."""
    view = values.view()
    view.flags.writeable = False
    return view


def kind_of(estimator: Any, who: str, holdout: Holdout) -> Kind:
    """Return what a fitted `estimator` predicts; `who` it is stands in the messages.

    Raises EvaluationError where the estimator is neither classifier nor regressor, or the label is of
    another sort than its predictions.
    """
    from sklearn.base import is_classifier, is_regressor

    named = f"The {who} ({type(estimator).__name__})"
    try:
        classifies, regresses = is_classifier(estimator), is_regressor(estimator)
    except AttributeError:  # scikit-learn asks for tags that only its own base classes have
        classifies = regresses = False
    if regresses:
        _check_numeric(holdout, named)
        return Kind.REGRESSION
    if not classifies:
        raise EvaluationError(
            f"{named} is neither a scikit-learn classifier nor a regressor; derive it from ClassifierMixin "
            "or RegressorMixin, and BaseEstimator."
        )
    classes = getattr(estimator, "classes_", None)
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:
        raise EvaluationError(f"{named} has no flat list `classes_`; hand over one that is fitted, on one label.")
    if len(classes) < 2:
        raise EvaluationError(
            f"{named} was trained on the single class {classes.tolist()}; train on rows of 2 classes at least."
        )
    kind = Kind.BINARY if len(classes) == 2 else Kind.MULTICLASS
    _check_classes(holdout, classes, kind, named)
    return kind


def shown(value: object) -> str:
    """Return a value as a person would write it: numpy's scalars without their type.

    >>> shown(np.float64(1.5)), shown("on time")
    ('1.5', "'on time'")
    """
    return repr(value.item() if isinstance(value, np.generic) else value)


def codes_of(values: Array, classes: Array) -> npt.NDArray[np.intp]:
    """Return each value's position in `classes`, -1 where it is none of them; True and 1 are one class."""
    if (values.dtype == np.bool_) != (classes.dtype == np.bool_):
        values, classes = (one.astype(np.int64) if one.dtype == np.bool_ else one for one in (values, classes))
    return np.asarray(pd.Index(classes).get_indexer(pd.Index(values)), dtype=np.intp)


def _check_numeric(holdout: Holdout, named: str) -> None:
    labels = holdout.labels
    if labels.dtype.kind not in "iuf":
        example = labels[0]
        raise EvaluationError(
            f"{named} predicts numbers, but the label {holdout.label!r} holds {shown(example)} "
            f"({type(example).__name__}); give it a numeric label, or train a classifier."
        )
    infinite = int(np.isinf(labels).sum())
    if infinite:
        raise EvaluationError(
            f"The label {holdout.label!r} is infinite in {infinite:,} of {len(holdout):,} rows; drop those rows."
        )


def _check_classes(holdout: Holdout, classes: Array, kind: Kind, named: str) -> None:
    """Raise unless the label is about the model's classes.

    A class that is new among three or more is merely a wrong answer on its rows.
    """
    never_seen = np.flatnonzero(codes_of(holdout.labels, classes) < 0)
    if len(never_seen) == len(holdout) or (kind is Kind.BINARY and len(never_seen)):
        example = holdout.labels[never_seen[0]]
        raise EvaluationError(
            f"{named} knows the classes {classes.tolist()}, but the label {holdout.label!r} holds "
            f"{shown(example)} or another value in {len(never_seen):,} of {len(holdout):,} rows; give it the "
            "label it was trained on."
        )
