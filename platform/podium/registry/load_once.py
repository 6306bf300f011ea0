"""Load a stored model in this process, let it predict the rows stored with it, and say what was seen."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.errors import ArtifactError
from podium.registry import model_files
from podium.registry.load_report import LoadReport
from podium.registry.trust import Trust

if TYPE_CHECKING:  # heavy, and not needed to import this module
    import pandas as pd


def load_once(folder: Path, *, digest: str, source: str, trust: Trust, own_code: bool) -> LoadReport:
    """Return the report of a model that loads and predicts; raises ArtifactError or Refused for any other."""
    started = time.perf_counter()
    estimator, sheet = model_files.load_folder(folder, digest=digest, source=source, trust=trust, own_code=own_code)
    rows, certain = model_files.stored_example(folder, sheet)
    return tried(estimator, rows, source, columns=sheet.columns, certain=certain, started=started)


def tried(
    estimator: Any,
    rows: "pd.DataFrame | None",
    source: str,
    *,
    columns: tuple[str, ...],
    certain: bool,
    started: float,
) -> LoadReport:
    """Let a loaded model predict `rows`; that it does not proves nothing where their types are not `certain`."""
    return describe(estimator, _predict(estimator, rows, source, certain=certain), columns=columns, started=started)


def describe(estimator: Any, predicted: int, *, columns: tuple[str, ...], started: float) -> LoadReport:
    """Return the report of a model that was loaded since `started` and predicted so many rows."""
    return LoadReport(
        columns=columns or tuple(str(name) for name in getattr(estimator, "feature_names_in_", ())),
        classes=_classes_of(estimator),
        rows_predicted=predicted,
        seconds=round(time.perf_counter() - started, 3),
        peak_memory_bytes=None,
    )


def _predict(estimator: Any, rows: "pd.DataFrame | None", source: str, *, certain: bool) -> int:
    if not hasattr(estimator, "predict"):
        raise ArtifactError(f"The model at {source} loads, but as a {type(estimator).__name__}: it has no predict().")
    if rows is None:
        return 0
    try:
        answers = len(estimator.predict(rows))
    except MemoryError:
        raise
    except Exception as error:  # whatever the model's own code raises
        if not certain:
            return 0
        raise ArtifactError(
            f"The model at {source} loads, but does not predict the rows stored with it ({type(error).__name__}: "
            f"{error}). Install what its requirements.txt names."
        ) from error
    if answers != len(rows):
        raise ArtifactError(f"The model at {source} gives {answers} answers to the {len(rows)} rows stored with it.")
    return answers


def _classes_of(estimator: Any) -> tuple[Any, ...] | None:
    """Return the classes that a model tells apart, as JSON knows them; None without any."""
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return None
    values = [value.item() if hasattr(value, "item") else value for value in classes]
    return tuple(value if isinstance(value, str | int | float | bool) else str(value) for value in values)
