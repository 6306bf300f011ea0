"""What a cached step may depend on beside code and inputs: installed packages and environment variables.

It is named in `Cache(environment=("scikit-learn", "$REGION"))`.
"""

import functools
import importlib.metadata
import os
from collections.abc import Iterable

from podium.ids import digest_bytes

_VARIABLE = "$"


def missing_packages(names: Iterable[str]) -> list[str]:
    """Return which of the declared packages are not installed here."""
    return [name for name in names if not name.startswith(_VARIABLE) and _version(name) is None]


def identity(names: Iterable[str]) -> dict[str, str | None]:
    """Return what tells the declared `names` of two processes apart; None for one that is not there.

    A package is its version; a variable is the SHA-256 of its value, which may be a secret.
    """
    return {name: _value(name[1:]) if name.startswith(_VARIABLE) else _version(name) for name in names}


def _value(variable: str) -> str | None:
    value = os.environ.get(variable)
    return None if value is None else digest_bytes(os.fsencode(value))


# Once for each process: what was imported stays as it was when somebody upgrades the package.
@functools.cache
def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
