"""Prints attempts' logs, once or as they grow."""

import codecs
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from podium.cli import output
from podium.execution.items import item_name

_POLL_SECONDS = 0.2
_CHUNK_BYTES = 1 << 16
_CARRIAGE_RETURN = "\r"


@dataclass(frozen=True)
class AttemptLog:
    """One attempt as its log is shown: what it is of, how it ended, and where the log lies."""

    label: str
    number: int
    state: str
    error: str | None
    started_at: datetime
    wall_seconds: float | None
    path: Path

    @property
    def ended(self) -> bool:
        """Whether nothing is written to it any more."""
        return self.state != "running"

    @property
    def told(self) -> str:
        """How it ended, and why if badly."""
        state = self.state.replace("_", " ")
        return f"{state}: {self.error}" if self.error else state


Look = Callable[[], tuple[Sequence[AttemptLog], bool]]
"""Returns the logs of a run, and whether it has ended."""


def attempt_logs(rows: Iterable[sa.Row[Any]], folder: Path, step: str | None) -> list[AttemptLog]:
    """Return the logs of the rows of `queries.attempt_rows`, those of one step or one item (`fit[2]`) if asked."""
    logs = []
    for row in rows:
        label = item_name(row.step, row.map_index)
        if step in (None, row.step, label):
            path = folder / row.log
            found = AttemptLog(label, row.number, row.state, row.error, row.started_at, row.wall_seconds, path)
            logs.append(found)
    return logs


def print_logs(logs: Iterable[AttemptLog]) -> None:
    """Print logs one after the other, each under a heading."""
    for log in logs:
        output.print_lines([f"── {log.label} attempt {log.number} ({log.told})"])
        try:
            with log.path.open("rb") as file:
                decoder = codecs.getincrementaldecoder("utf-8")("replace")
                while data := file.read(_CHUNK_BYTES):
                    output.write(decoder.decode(data))
        except FileNotFoundError:
            if log.ended:
                output.print_lines([_gone(log)])


def follow_logs(look: Look, *, together: bool) -> None:
    """Print logs as they grow, until the run that `look` sees has ended.

    Several logs `together` are told apart: each line is printed when it is whole, behind the attempt it is from.
    """
    tails: dict[Path, _Tail] = {}
    while True:
        logs, ended = look()
        for log in sorted(logs, key=lambda log: log.started_at):
            tail = tails.get(log.path)
            if tail is None:
                tail = tails[log.path] = _Tail()
                if not together:
                    output.print_lines([f"── {log.label} attempt {log.number}"])
            if not tail.told:
                _go_on(log, tail, _width(logs) if together else None)
        if ended:
            return
        time.sleep(_POLL_SECONDS)


@dataclass
class _Tail:
    """How far a log is printed: up to byte `offset`, but for the beginning of a line that is not whole yet."""

    offset: int = 0
    left: str = ""
    told: bool = False
    decoder: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))

    def read(self, path: Path) -> str:
        """Return what was written since."""
        with path.open("rb") as file:
            file.seek(self.offset)
            data = file.read()
            self.offset = file.tell()
        return self.decoder.decode(data)


def _go_on(log: AttemptLog, tail: _Tail, width: int | None) -> None:
    """Print what is new in a log, and how the attempt ended if it did; with `width`, each line behind its name."""
    try:
        new = tail.read(log.path)
    except FileNotFoundError:
        new = f"{_gone(log)}\n" if log.ended else ""
    if width is None:
        output.write(new)
        tail.left = (tail.left + new).rpartition("\n")[2]
        if log.ended:
            output.write(("\n" if tail.left else "") + f"── {_end(log)}\n")
    else:
        *lines, tail.left = (tail.left + new).split("\n")
        if log.ended and tail.left:
            lines, tail.left = [*lines, tail.left], ""
        name = f"{log.label} {log.number}".ljust(width)
        # A progress bar writes over itself: what it shows last is told.
        output.write("".join(f"{name} │ {line.rstrip().rpartition(_CARRIAGE_RETURN)[2]}\n" for line in lines))
        if log.ended:
            output.write(f"{name} ── {_end(log)}\n")
    tail.told = log.ended


def _end(log: AttemptLog) -> str:
    took = "" if log.wall_seconds is None else f" after {output.seconds(log.wall_seconds)}"
    return f"{log.state.replace('_', ' ')}{took}" + (f": {log.error}" if log.error else "")


def _gone(log: AttemptLog) -> str:
    return f"(The log {log.path} is not there: it was removed, or lies on the host of the worker that wrote it.)"


def _width(logs: Sequence[AttemptLog]) -> int:
    return max(len(f"{log.label} {log.number}") for log in logs)
