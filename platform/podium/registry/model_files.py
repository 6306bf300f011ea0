"""A model's stored files: which is the model, are they those on record, and how it is loaded from them.

MLflow's own loader takes from the model's files which types skops may rebuild and which folders of code to import, so
whoever writes the files decides. Here the project decides, and the bytes that are loaded are those that were checked.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from podium.errors import ArtifactError
from podium.ids import digest_bytes
from podium.registry import packaging
from podium.registry.file_sums import SUMS, sums_of, what_changed
from podium.registry.model_scan import ModelScan, scan_model
from podium.registry.packaging import CLOUDPICKLE, SKOPS
from podium.registry.trust import Trust

if TYPE_CHECKING:  # heavy, and not needed to import this module
    import pandas as pd

EXAMPLE = "podium_example.json"
"""A few rows of the features with their types, which MLflow's own example does not keep."""
_EXAMPLE_ROWS = 3
_SCANNED_BESIDE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Sheet:
    """What MLflow's file MLmodel says: the file of the model, how it is written, and the columns it takes."""

    payload: str
    serialization: str
    columns: tuple[str, ...]
    example: str | None


def complete_folder(folder: Path, estimator: Any, sample: "pd.DataFrame") -> int:
    """Add to what MLflow wrote: rows to try the model on, and the list of the files' digests; return how many rows."""
    text = example_text(sample, estimator)
    if text is not None:
        (folder / EXAMPLE).write_text(text, encoding="utf-8")
    (folder / SUMS).write_bytes(sums_of(packaging.digests_of_folder(folder)))
    return 0 if text is None else min(len(sample), _EXAMPLE_ROWS)


def check_folder(folder: Path, *, digest: str, source: str) -> dict[str, str]:
    """Return `{relative path: SHA-256}`; raises ArtifactError, with the files' names, unless they have `digest`."""
    found = packaging.digests_of_folder(folder)
    if packaging.digest_of_files(found, source) == digest:
        return found
    sums = folder / SUMS
    changed = what_changed(found, sums.read_bytes() if sums.is_file() else None, digest)
    packaging.check_digest(packaging.digest_of_files(found, source), digest, source, changed=changed)
    return found


def read_sheet(folder: Path, source: str) -> Sheet:
    """Read MLmodel; raises ArtifactError for what is no scikit-learn model, or brings folders of code."""
    import yaml

    try:
        document = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
        flavor = document["flavors"]["sklearn"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"The model at {source} has no flavor sklearn in its file MLmodel, and Podium loads scikit-learn's "
            "estimators only; log it with mlflow.sklearn.log_model."
        ) from error
    if flavor.get("code"):
        raise ArtifactError(
            f"The model at {source} brings a folder of code (code_paths), which Podium does not import; log it "
            "without, and install its package here."
        )
    payload = str(flavor.get("pickled_model", "model.pkl"))
    place = PurePosixPath(payload)
    if place.is_absolute() or ".." in place.parts or not (folder / payload).is_file():
        raise ArtifactError(f"The model at {source} names {payload!r} as its file, which is none of its files.")
    example = (document.get("saved_input_example_info") or {}).get("artifact_path")
    return Sheet(
        payload,
        SKOPS if flavor.get("serialization_format") == SKOPS else CLOUDPICKLE,
        _columns(document),
        str(example) if example else None,
    )


def scan_folder(folder: Path, source: str, trust: Trust) -> ModelScan:
    """Say what loading the model would import, and what lies beside it; nothing is loaded."""
    sheet = read_sheet(folder, source)
    data = (folder / sheet.payload).read_bytes()
    beside = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / sheet.payload and path.stat().st_size <= _SCANNED_BESIDE_BYTES
    }
    return scan_model(data, sheet.serialization, types=trust.types, packages=trust.packages, beside=beside)


def load_folder(folder: Path, *, digest: str, source: str, trust: Trust, own_code: bool) -> tuple[Any, Sheet]:
    """Return the estimator and what MLmodel says of it.

    The digest is checked first, then what it is made of, and only those bytes are loaded. Raises ArtifactError for
    files that are not those of `digest` or do not load, and Refused for what `trust` does not let through.
    """
    digests = check_folder(folder, digest=digest, source=source)
    sheet = read_sheet(folder, source)
    data = (folder / sheet.payload).read_bytes()
    if digest_bytes(data) != digests[PurePosixPath(sheet.payload).as_posix()]:
        raise ArtifactError(f"The file {sheet.payload} at {source} was changed while it was read; nothing is loaded.")
    return load_bytes(data, sheet.serialization, source=source, trust=trust, own_code=own_code), sheet


def load_bytes(data: bytes, serialization: str, *, source: str, trust: Trust, own_code: bool) -> Any:
    """Return the estimator in `data`, if it may be loaded and does."""
    if serialization == SKOPS or trust.pickle != "allow":
        scan = scan_model(data, serialization, types=trust.types, packages=trust.packages)
        if serialization == SKOPS and scan.problems:
            raise ArtifactError(f"The model at {source} does not load: {'; '.join(scan.problems)}. Register it again.")
        trust.require(scan, source, own_code=own_code)
    try:
        if serialization == SKOPS:
            import skops.io

            return skops.io.loads(data, trusted=list(trust.types))
        import cloudpickle

        return cloudpickle.loads(data)
    except MemoryError:
        raise
    except Exception as error:  # whatever the model's own code raises
        raise ArtifactError(
            f"The model at {source} does not load: {error}. Install what its requirements.txt names."
        ) from error


def example_text(sample: "pd.DataFrame", estimator: Any) -> str | None:
    """Return rows of `sample` as JSON that keeps their types; None where they do not come back the same."""
    rows = sample.head(_EXAMPLE_ROWS).reset_index(drop=True)
    try:
        kinds = {name: str(kind) for name, kind in rows.dtypes.items() if str(kind) != "category"}
        table = json.loads(rows.to_json(orient="table", index=False, double_precision=15))
        text = json.dumps({"dtypes": kinds, "table": table})
        back = read_example(text)
        if list(back.dtypes) != list(rows.dtypes) or list(back.columns) != list(rows.columns):
            return None
        estimator.predict(back)
    except Exception:  # noqa: BLE001 - types that this form does not know; the model is none the worse for it
        return None
    return text


def read_example(text: str) -> "pd.DataFrame":
    """Return the rows of `example_text`."""
    import io

    import pandas as pd

    document = json.loads(text)
    rows = pd.read_json(io.StringIO(json.dumps(document["table"])), orient="table")
    return rows.astype(document["dtypes"])


def stored_example(folder: Path, sheet: Sheet) -> tuple["pd.DataFrame | None", bool]:
    """Return the rows stored with a model, and whether their types are certain; None where there are none."""
    import pandas as pd

    if (folder / EXAMPLE).is_file():
        return read_example((folder / EXAMPLE).read_text(encoding="utf-8")), True
    if sheet.example is None or ".." in PurePosixPath(sheet.example).parts:
        return None, False
    try:
        document = json.loads((folder / sheet.example).read_text(encoding="utf-8"))
        return pd.DataFrame(document["data"], columns=document["columns"]), False
    except (OSError, ValueError, KeyError, TypeError):
        return None, False


def _columns(document: Mapping[str, Any]) -> tuple[str, ...]:
    signature = document.get("signature") or {}
    try:
        inputs = json.loads(signature.get("inputs") or "[]")
        return tuple(str(column["name"]) for column in inputs if "name" in column)
    except (ValueError, TypeError, AttributeError):
        return ()
