"""Notices, without looking again and again, that somebody touched a file; Linux only (inotify(7))."""

import contextlib
import ctypes
import os
from pathlib import Path

_TOUCHED = 0x4  # IN_ATTRIB
_READ_BYTES = 4096


def touch(path: Path) -> None:
    """Tell those who watch a file, which they have made; nothing happens where that is not possible."""
    with contextlib.suppress(OSError):
        os.utime(path)


class FileWatch:
    """Readable, for `select` and its like, when a file was touched; it is made if need be. Raises OSError."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = _checked(libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), path)
        try:
            _checked(libc.inotify_add_watch(self._descriptor, os.fsencode(path), _TOUCHED), path)
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._descriptor

    def clear(self) -> None:
        """Forget that it was touched."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._descriptor, _READ_BYTES):
                pass

    def close(self) -> None:
        """Watch no longer."""
        os.close(self._descriptor)


def _checked(returned: int, path: Path) -> int:
    if returned < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot watch the file: {os.strerror(number)}", str(path))
    return returned
