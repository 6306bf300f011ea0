"""What a model's stored files say about themselves: flavors, environment, and the columns it is asked with.

Nothing of the model is executed for it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from podium.registry import packaging

ANY_TYPE = "any"
SHEET = "MLmodel"
"""MLflow's file about the model, among its files."""


@dataclass(frozen=True)
class InputColumn:
    """One column of a model's signature; `type` is MLflow's word, `any` where every type is taken."""

    name: str
    type: str
    required: bool = True


@dataclass(frozen=True)
class StoredModel:
    """A model's files by path with their SHA-256, their digest, and what they say; unknown is None, or no flavors."""

    digest: str
    files: Mapping[str, str]
    flavors: tuple[str, ...] = ()
    serialization: str | None = None
    python: str | None = None
    requirements: tuple[str, ...] | None = None
    inputs: tuple[InputColumn, ...] | None = None


def describe_folder(folder: Path, source: str) -> StoredModel:
    """Return what the files in `folder` say; raises ArtifactError where there are none."""
    files = packaging.digests_of_folder(folder)
    return describe(packaging.digest_of_files(files, source), files, _sheet(folder), _requirements(folder))


def describe(
    digest: str, files: Mapping[str, str], sheet: Mapping[str, Any], requirements: tuple[str, ...] | None
) -> StoredModel:
    """Return what an MLflow model's sheet says of the files; an empty one says nothing."""
    flavors = sheet.get("flavors")
    flavors = flavors if isinstance(flavors, Mapping) else {}
    return StoredModel(
        digest=digest,
        files=files,
        flavors=tuple(sorted(name for name in flavors if name != "python_function" or len(flavors) == 1)),
        serialization=_text(flavors.get("sklearn"), "serialization_format"),
        python=_text(flavors.get("python_function"), "python_version"),
        requirements=requirements,
        inputs=_inputs(sheet.get("signature")),
    )


def columns_in(folder: Path) -> tuple[InputColumn, ...] | None:
    """Return the columns that the model in `folder` takes; None where it does not say."""
    return _inputs(_sheet(folder).get("signature"))


def _sheet(folder: Path) -> Mapping[str, Any]:
    try:
        return _parsed((folder / SHEET).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}


@lru_cache(maxsize=16)  # a rollback reads those of two models, and should not wait for it
def _parsed(text: str) -> Mapping[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = yaml.load(text, Loader=loader)  # noqa: S506 - both are safe; the one in C is tens of times faster
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _requirements(folder: Path) -> tuple[str, ...] | None:
    try:
        lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return tuple(sorted(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")))


def _inputs(signature: Any) -> tuple[InputColumn, ...] | None:
    """Return the columns of a signature; None without one, or for tensors, which have no columns."""
    if not isinstance(signature, Mapping) or not isinstance(signature.get("inputs"), str):
        return None
    try:
        found = json.loads(signature["inputs"])
        return tuple(
            InputColumn(str(each["name"]), str(each["type"]), bool(each.get("required", True))) for each in found
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _text(flavor: Any, key: str) -> str | None:
    value = flavor.get(key) if isinstance(flavor, Mapping) else None
    return None if value is None else str(value)
