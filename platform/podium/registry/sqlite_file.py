"""A new SQLite file that is there complete or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# SQLite plays back what it finds under these names, also when it belonged to an earlier file of the same name.
_SIDE_FILES = ("-journal", "-wal", "-shm")


@contextmanager
def appearing_complete(file: Path) -> Iterator[Path]:
    """Yield a free path next to `file`; what was built there becomes `file` at the end, in one step.

    For a `file` that does not exist, by one process at a time. Nothing may hold the built file open at the end.
    A build that is cut off leaves its remains beside `file`, where the next one removes them.
    """
    scratch = file.with_name(f"{file.name}.new")
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch.unlink(missing_ok=True)
    for stale in (f"{path}{side}" for path in (scratch, file) for side in _SIDE_FILES):
        Path(stale).unlink(missing_ok=True)
    yield scratch
    _sync(scratch)
    scratch.replace(file)
    _sync(file.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
