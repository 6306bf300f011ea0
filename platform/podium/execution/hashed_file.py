"""A file whose digest is known when it has been written: nobody reads it again to learn it."""

import hashlib
import os
import queue
import threading
from pathlib import Path
from types import TracebackType

_LARGE_BYTES = 1 << 20
"""From this size on a second thread hashes: less is hashed before a thread has started."""

_COPIES_AHEAD = 4
"""How many large `bytes` may wait to be hashed: unlike a view of a frame's memory, they were made for this alone."""


class HashedFile:
    """Bytes on their way into a new file, hashed as they come; the first few stay in memory, and no file is made.

    What is written must not change until `finish`: a second thread hashes it while this one writes on.
    """

    def __init__(self, path: Path, *, held_bytes: int = 0) -> None:
        self.size_bytes = 0
        self._path = path
        self._held_bytes = held_bytes
        self._held: list[bytes] = []
        self._descriptor: int | None = None
        self._digest = hashlib.sha256()
        self._ahead: queue.Queue[memoryview | None] = queue.Queue()
        self._hasher: threading.Thread | None = None

    def __enter__(self) -> "HashedFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._join()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def closed(self) -> bool:
        """Whether nothing more may be written; writers of Arrow ask."""
        return False

    @property
    def held(self) -> bytes | None:
        """All that was written, as long as that is little; None once there is a file."""
        return b"".join(self._held) if self._descriptor is None else None

    def write(self, data: bytes | memoryview) -> int:
        """Append bytes; return how many."""
        view = memoryview(data).cast("B")
        self.size_bytes += len(view)
        if self._descriptor is None and self.size_bytes <= self._held_bytes:
            self._held.append(bytes(view))
        else:
            self._spill()
            self._append(view)
        return len(view)

    def finish(self) -> str:
        """Flush everything to the disk, and return its SHA-256."""
        descriptor = self._spill()
        os.fsync(descriptor)  # while what is left is hashed
        self._join()
        return self._digest.hexdigest()

    def _spill(self) -> int:
        if self._descriptor is None:
            self._descriptor = _create(self._path)
            for each in self._held:
                self._append(memoryview(each))
            self._held.clear()
        return self._descriptor

    def _append(self, view: memoryview) -> None:
        if self._hasher is None and self.size_bytes >= _LARGE_BYTES:
            self._hasher = threading.Thread(target=self._hash, name="digest", daemon=True)
            self._hasher.start()
        if self._hasher is None:
            self._digest.update(view)
        else:
            if isinstance(view.obj, bytes) and len(view) >= _LARGE_BYTES and self._ahead.qsize() > _COPIES_AHEAD:
                self._ahead.join()
            self._ahead.put(view)
        left = view
        while left:
            left = left[os.write(self._descriptor, left) :]  # type: ignore[arg-type]

    def _hash(self) -> None:
        while (view := self._ahead.get()) is not None:
            self._digest.update(view)
            self._ahead.task_done()

    def _join(self) -> None:
        if self._hasher is not None:
            self._ahead.put(None)
            self._hasher.join()
            self._hasher = None


def _create(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o666)
