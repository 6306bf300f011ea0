"""Prints attempts' logs, once or as they grow."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from podium.cli import output
from podium.execution.items import item_name

_POLL_SECONDS = 0.2
_CHUNK_BYTES = 1 << 16


def print_logs(folder: Path, document: dict[str, Any], step: str | None) -> None:
    """Print every attempt's log of a run, each under a heading."""
    for heading, path in _logs(folder, document, step):
        output.print_lines([heading])
        _copy(path, 0)


def follow_logs(folder: Path, look: Callable[[], dict[str, Any]], step: str | None) -> None:
    """Print logs as they grow, until the run that `look` sees has ended."""
    printed: dict[Path, int] = {}
    while True:
        document = look()
        for heading, path in _logs(folder, document, step):
            if path not in printed:
                output.print_lines([heading])
                printed[path] = 0
            printed[path] = _copy(path, printed[path])
        if document["state"] not in ("queued", "running"):
            return
        time.sleep(_POLL_SECONDS)


def name_of(step: dict[str, Any]) -> str:
    """Return the name that an entry of a run's steps is called by: `fit[2]` for an item of a mapped step."""
    return step["name"] if step["map_index"] is None else item_name(step["name"], step["map_index"])


def _logs(folder: Path, document: dict[str, Any], step: str | None) -> Iterator[tuple[str, Path]]:
    for each in document["steps"]:
        label = name_of(each)
        if step in (None, each["name"], label):
            for attempt in each["attempts"]:
                yield (
                    f"── {label} attempt {attempt['number']} ({attempt['state']})",
                    folder / attempt["log"],
                )


def _copy(path: Path, start: int) -> int:
    """Copy a log from byte `start` on to stdout; return where it ended."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            while data := file.read(_CHUNK_BYTES):
                sys.stdout.write(data.decode(errors="replace"))
            sys.stdout.flush()
            return file.tell()
    except FileNotFoundError:
        return start
