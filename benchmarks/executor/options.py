"""How much the benchmark measures, and where."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.executor.databases import NewDatabase


@dataclass(frozen=True)
class Options:
    """What the command line asks for; `folder` is empty, and goes when the part ends."""

    folder: Path
    rounds: int
    full: bool
    with_peers: bool
    new_database: NewDatabase
