"""How much the benchmark measures, and where."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What the command line asks for; `folder` is empty, and goes when the benchmark ends."""

    folder: Path
    rounds: int
    full: bool
    with_peers: bool
    database_url: str = ""
