"""Whether a candidate can serve whoever calls the champion: the columns it needs, what they hold, its classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from podium.registry.evidence import ChangedFeature, Feature, SignatureCheck
from podium.registry.holdout import Holdout, shown

_LOOKED_AT = 1_000
"""How many rows of a column of Python objects are looked at."""

_UNKNOWN = "unknown"
_OF_OBJECTS = {
    **dict.fromkeys(("string", "character"), "text"),
    **dict.fromkeys(("integer", "floating", "mixed-integer-float", "decimal"), "number"),
    "boolean": "boolean",
    **dict.fromkeys(("datetime", "datetime64", "date", "period"), "time"),
    **dict.fromkeys(("timedelta", "timedelta64"), "duration"),
    "empty": _UNKNOWN,
}


def check_signature(
    candidate: Any, champion: Any | None, holdout: Holdout, champion_features: Sequence[Feature] | None = None
) -> SignatureCheck:
    """Return what a fitted candidate needs and answers, compared with the champion's; None for a first model.

    Columns are those that a model says it was trained on (`feature_names_in_`); what they hold is read from the
    holdout. `champion_features` are those of the champion's own evidence: without them only names are compared, since
    on the same rows both find the same.
    """
    features = _features(candidate, holdout)
    classes = _classes(candidate)
    if champion is None:
        return SignatureCheck(features=features, classes=classes)
    champion_classes = _classes(champion)
    differing = champion_classes if champion_classes != classes else None
    before = _names(champion)
    if features is None or before is None:
        who = "candidate" if features is None else "champion"
        return SignatureCheck(
            features=features,
            classes=classes,
            champion_classes=differing,
            unknown=f"the {who} does not say which columns it was trained on (no feature_names_in_)",
        )
    now = [feature.name for feature in features]
    kinds = {feature.name: feature.kind for feature in champion_features or ()}
    return SignatureCheck(
        features=features,
        classes=classes,
        champion_classes=differing,
        new=tuple(name for name in now if name not in set(before)),
        dropped=tuple(name for name in before if name not in set(now)),
        changed=tuple(
            ChangedFeature(name=feature.name, champion=kinds[feature.name], candidate=feature.kind)
            for feature in features
            if feature.name in kinds and _UNKNOWN not in (feature.kind, kinds[feature.name])
            if feature.kind != kinds[feature.name]
        ),
    )


def _names(estimator: Any) -> list[str] | None:
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def _features(estimator: Any, holdout: Holdout) -> tuple[Feature, ...] | None:
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        return None
    return tuple(Feature(name=str(name), kind=kind_of_column(holdout.features[name])) for name in names)


def _classes(estimator: Any) -> tuple[str, ...] | None:
    classes = getattr(estimator, "classes_", None)
    return None if not isinstance(classes, np.ndarray) else tuple(shown(each) for each in classes)


def kind_of_column(column: "pd.Series[Any]") -> str:
    """Return what a column holds: number, boolean, text, time, duration, other, or unknown where all is missing.

    Whole numbers and others are one kind, for a missing value makes floats of them. Of a column of Python objects the
    first 1,000 rows tell that hold something.

    >>> kind_of_column(pd.Series([1, 2])), kind_of_column(pd.Series(["a"], dtype="category"))
    ('number', 'text')
    """
    dtype: Any = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return kind_of_column(pd.Series(dtype.categories))
    types = pd.api.types
    if types.is_bool_dtype(dtype):
        return "boolean"
    if types.is_datetime64_any_dtype(dtype):
        return "time"
    if types.is_timedelta64_dtype(dtype):
        return "duration"
    told = column.iloc[:_LOOKED_AT].dropna()
    if told.empty:
        told = column.dropna().iloc[:_LOOKED_AT]
    if told.empty:
        return _UNKNOWN
    if types.is_numeric_dtype(dtype):
        return "other" if types.is_complex_dtype(dtype) else "number"
    return _OF_OBJECTS.get(types.infer_dtype(told, skipna=True), "other")
