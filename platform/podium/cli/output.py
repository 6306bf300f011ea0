"""Where the command writes: facts on stdout, everything else on stderr."""

import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:  # rich costs more than `--help` may
    from rich.console import Console

_COLUMNS = 100  # where nobody can say how wide the reader's screen is
_STYLES = {
    "succeeded": "green",
    "promoted": "bold green",
    "passed": "green",
    "champion": "bold green",
    "applied": "green",
    "adopted": "green",
    "restored": "green",
    "noticed": "yellow",
    "failed": "red",
    "rejected": "yellow",
    "refused": "yellow",
    "void": "yellow",
    "inconclusive": "yellow",
    "insufficient": "yellow",
    "blocked": "red",
    "lost": "magenta",
    "timed_out": "red",
    "running": "cyan",
    "skipped": "dim",
    "waiting": "dim",
}


def write(text: str) -> None:
    """Write to stdout at once; a reader who left, as `| head` does, is no error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)


def silence(stream: IO[str]) -> None:
    """Send what is still written to a stream nowhere: nobody reads it any more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


@cache
def console() -> "Console":
    """Return the console of facts."""
    return _console(stderr=False)


@cache
def progress_console() -> "Console":
    """Return the console of progress and hints."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    class PipedConsole(Console):
        def on_broken_pipe(self) -> None:
            silence(self.file)  # a run goes on, whoever stops watching

    stream = sys.stderr if stderr else sys.stdout
    guess = not stream.isatty() and "COLUMNS" not in os.environ
    return PipedConsole(stderr=stderr, highlight=False, width=_COLUMNS if guess else None)


def print_json(document: Any) -> None:
    """Print one JSON document."""
    write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def print_lines(lines: Sequence[str]) -> None:
    """Print plain lines on stdout, wrapped at words where it is a terminal."""
    for line in lines:
        console().print(line, markup=False, soft_wrap=not console().is_terminal)


def note(text: str) -> None:
    """Say something on stderr that is no fact of the answer."""
    progress_console().print(text, markup=False, soft_wrap=not progress_console().is_terminal)


def state(word: str | None) -> str:
    """Return a state in its colour."""
    if word is None:
        return "–"
    style = _STYLES.get(word)
    return f"[{style}]{word}[/]" if style else word


def safe(text: object) -> str:
    """Return text that a table shows as it is, brackets included; – for nothing."""
    from rich.markup import escape

    return "–" if text is None else escape(str(text))


def when(text: str | None) -> str:
    """Return an instant of a document for people, to the minute.

    >>> when("2013-03-01T06:00:41.5Z"), when(None)
    ('2013-03-01 06:00Z', '–')
    """
    return "–" if text is None else f"{datetime.fromisoformat(text):%Y-%m-%d %H:%MZ}"


def seconds(value: float | None) -> str:
    """Return a duration for people.

    >>> seconds(0.5), seconds(95), seconds(300), seconds(None)
    ('0.50 s', '1 min 35 s', '5 min', '–')
    """
    if value is None:
        return "–"
    if value < 60:
        return f"{value:.2f} s"
    minutes, left = divmod(round(value), 60)
    return f"{minutes} min {left} s" if left else f"{minutes} min"


def memory(value: int | None) -> str:
    """Return bytes for people.

    >>> memory(3 * 2**20), memory(2 * 2**30), memory(None)
    ('3 MiB', '2 GiB', '–')
    """
    if value is None:
        return "–"
    whole, part = divmod(value, 2**30)
    return f"{whole:,} GiB" if whole and not part else f"{value / 2**20:,.0f} MiB"


def measured(value: float | None) -> str:
    """Return a metric's value for people, to four digits.

    >>> measured(0.7734354), measured(0.5), measured(152.3071), measured(None)
    ('0.7734', '0.5', '152.3', '–')
    """
    return "–" if value is None else f"{value:.4g}"


def share(value: float | None) -> str:
    """Return a part of what was reserved for people.

    >>> share(0.5), share(1.25), share(None)
    ('50 %', '125 %', '–')
    """
    return "–" if value is None else f"{100 * value:.0f} %"


def money(text: str | None, currency: str = "USD") -> str:
    """Return a decimal text of a document as money for people."""
    from decimal import Decimal

    from podium.finops.money import format_money

    return format_money(None if text is None else Decimal(text), currency)
