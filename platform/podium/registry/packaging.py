"""What a fitted estimator must bring to be loaded elsewhere: a signature, requirements; and the digest of its files."""

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.errors import ArtifactError, Refused
from podium.ids import digest_json

if TYPE_CHECKING:  # heavy, and not needed to import this module
    import pandas as pd

SKOPS = "skops"
CLOUDPICKLE = "cloudpickle"

# MLflow writes this file into the *stored* folder whenever somebody loads the model by its registered name.
_WRITTEN_BY_READERS = frozenset({"registered_model_meta"})

_ALWAYS_REQUIRED = ("numpy", "pandas", "scikit-learn")
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "numpy": "numpy", "pandas": "pandas", "scipy": "scipy"}


def check_loggable(estimator: Any, sample: "pd.DataFrame", requirements: Sequence[str], *, model: str) -> None:
    """Raise Refused unless the model comes with what a stranger needs to load and call it."""
    if not hasattr(estimator, "predict"):
        raise Refused(
            f"A {type(estimator).__name__} cannot be logged for model {model}: it has no predict(). "
            "Return the fitted estimator."
        )
    if len(getattr(sample, "columns", ())) == 0 or len(sample) == 0:
        raise Refused(
            f"The estimator of model {model} has no signature: the sample holds no rows or no columns. "
            "Hand in a DataFrame with a few rows of the features it was fitted on."
        )
    if not requirements:
        raise Refused(f"The estimator of model {model} has no requirements; name its packages, pinned.")
    loose = [requirement for requirement in requirements if "==" not in requirement]
    if loose:
        raise Refused(f"Model {model} requires {', '.join(loose)} in any version; pin each, e.g. {loose[0]}==1.0.")


def requirements_of(estimator: Any) -> tuple[str, ...]:
    """Return the pinned packages that the estimator's own modules name, sorted; nothing is started for it.

    >>> from sklearn.linear_model import LogisticRegression
    >>> [requirement.partition("==")[0] for requirement in requirements_of(LogisticRegression())]
    ['cloudpickle', 'numpy', 'pandas', 'scikit-learn', 'skops']
    """
    named = {_distribution(module.partition(".")[0]) for module in _modules(estimator)}
    distributions = {name for name in named if name} | {*_ALWAYS_REQUIRED, SKOPS, CLOUDPICKLE}
    return tuple(f"{name}=={metadata.version(name)}" for name in sorted(distributions))


def digest_of_folder(folder: Path) -> str:
    """Return the digest of all files below `folder`: of relative paths and contents, of nothing else."""
    return digest_of_files(digests_of_folder(folder), str(folder))


def digests_of_folder(folder: Path) -> dict[str, str]:
    """Return `{relative path: SHA-256}` of all files below `folder`."""
    return {
        path.relative_to(folder).as_posix(): _digest_of_file(path)
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).as_posix() not in _WRITTEN_BY_READERS
    }


def digest_of_files(digests: Mapping[str, str], source: str) -> str:
    """Return the digest of `{relative path: SHA-256}`; raises ArtifactError for no files."""
    if not digests:
        raise ArtifactError(f"No model files are stored at {source}; somebody removed them. Register the model again.")
    return digest_json(sorted(digests.items()))


def check_digest(found: str, recorded: str, source: str, *, changed: str = "") -> None:
    """Raise ArtifactError unless the digests are equal; `changed` says which files differ, where that is known."""
    if found != recorded:
        raise ArtifactError(
            f"The model files at {source} have digest {found[:12]}…, recorded is {recorded[:12]}…: they were "
            f"changed after they were stored{f' ({changed})' if changed else ''} and are not used. Restore them from "
            "a backup or register again."
        )


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _modules(estimator: Any) -> set[str]:
    """Name the modules of the estimator, of its parameters and of the functions among them."""
    return {str(getattr(part, "__module__", None) or type(part).__module__) for part in _parts(estimator)}


def _parts(estimator: Any) -> Iterator[Any]:
    yield estimator
    if hasattr(estimator, "get_params") and not isinstance(estimator, type):
        yield from estimator.get_params(deep=True).values()


def local_modules(estimator: Any) -> set[str]:
    """Name the modules of the estimator and its parameters that no package holds."""
    return {
        name for name in _modules(estimator) if name in sys.modules and not _distribution(name.partition(".")[0])
    } - {name for name in _modules(estimator) if name.partition(".")[0] in sys.stdlib_module_names}


@cache
def _distribution(package: str) -> str | None:
    """Return the distribution of a top-level package; None for the standard library and local code."""
    if package in sys.stdlib_module_names:
        return None
    if package in _DISTRIBUTIONS:
        return _DISTRIBUTIONS[package]
    try:
        return metadata.distribution(package).name
    except metadata.PackageNotFoundError:
        found = metadata.packages_distributions().get(package)
        return found[0] if found else None
