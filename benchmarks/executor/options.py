"""How much the benchmark measures, and where."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What the command line asks for; `folder` is empty, and goes when the part ends.

    `database_url` makes a database and returns its URL; an empty one is SQLite in the project's folder.
    """

    folder: Path
    rounds: int
    full: bool
    with_peers: bool
    database_url: Callable[[], str]
