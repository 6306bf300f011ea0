"""What became of loading a model once, the limits it was held to, and the memory of it."""

import json
import os
import platform
import secrets
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from podium.ids import digest_json
from podium.registry.trust import Trust

_GIB = 1024**3


@dataclass(frozen=True)
class Limits:
    """What loading a model to check it may use: its process's memory, and seconds of the clock and of the processor."""

    memory_bytes: int = 4 * _GIB
    seconds: float = 60.0


@dataclass(frozen=True)
class LoadReport:
    """A model that loaded: the columns it takes, its classes, how many stored rows it predicted, and what that used.

    `classes` is None for a model without any; the peak is None where the process had other work too. `remembered` says
    that these bytes loaded before, in an environment equal to this one, and were not loaded again.
    """

    columns: tuple[str, ...]
    classes: tuple[str | int | float | bool, ...] | None
    rows_predicted: int
    seconds: float
    peak_memory_bytes: int | None
    remembered: bool = False

    def to_document(self) -> dict[str, Any]:
        """Return it in the interface's JSON."""
        classes = None if self.classes is None else list(self.classes)
        return {**asdict(self), "columns": list(self.columns), "classes": classes}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "LoadReport":
        """Return what `to_document` was made of; raises KeyError, TypeError or ValueError for anything else."""
        classes, peak = document["classes"], document["peak_memory_bytes"]
        return cls(
            columns=tuple(str(name) for name in document["columns"]),
            classes=None if classes is None else tuple(classes),
            rows_predicted=int(document["rows_predicted"]),
            seconds=float(document["seconds"]),
            peak_memory_bytes=None if peak is None else int(peak),
            remembered=bool(document["remembered"]),
        )


class LoadMemory:
    """Remembers which digests loaded in which environment: in this process and, given a folder, on disk.

    Every file of the folder may be deleted at any time: what is not remembered is loaded again.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[tuple[str, str], LoadReport] = {}

    def find(self, digest: str, environment: str) -> LoadReport | None:
        """Return what became of these bytes in this environment; None where they were not loaded yet."""
        known = self._known.get((digest, environment))
        if known is None and self._folder is not None:
            with suppress(OSError, ValueError, KeyError, TypeError):
                known = LoadReport.from_document(json.loads(self._file(self._folder, digest, environment).read_text()))
        if known is None:
            return None
        self._known[digest, environment] = known
        return replace(known, remembered=True)

    def keep(self, digest: str, environment: str, report: LoadReport) -> None:
        """Remember a load; a folder that cannot be written is no reason to fail."""
        self._known[digest, environment] = report
        if self._folder is None:
            return
        file = self._file(self._folder, digest, environment)
        scratch = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_text(json.dumps(report.to_document()), encoding="utf-8")
            scratch.replace(file)

    @staticmethod
    def _file(folder: Path, digest: str, environment: str) -> Path:
        return folder / f"{digest}.{environment[:16]}.json"


def environment_digest(trust: Trust, limits: Limits, *, own_code: bool) -> str:
    """Return the digest of what a load depends on beside the model's bytes: Python, installed packages, settings."""
    return digest_json(
        {
            "python": [sys.version, sys.executable, platform.machine()],
            "packages": _installed(),
            "trust": [sorted(trust.types), trust.pickle, sorted(trust.packages), own_code],
            "limits": [limits.memory_bytes, limits.seconds],
        }
    )


def _installed() -> list[str]:
    """Name the installed distributions with their versions, as the names of their folders do."""
    found: set[str] = set()
    for place in sys.path:
        with suppress(OSError):
            found.update(_installed_in(place or ".", Path(place).stat().st_mtime_ns))
    return sorted(found)


@lru_cache(maxsize=64)
def _installed_in(place: str, _: int) -> frozenset[str]:
    """Name what is installed in a folder that was changed at that time: installing anything changes it again."""
    return frozenset(each.name for each in os.scandir(place) if each.name.endswith((".dist-info", ".egg-info")))
