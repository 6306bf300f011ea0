"""Which large files were found to be what their digest says, so that a host reads them for that once and not per slot.

A note holds for the file as it was: same inode, size, and times of its last change, which the kernel keeps and no
program sets back. It ends with the boot, and after an hour: what a disk spoils later is found by the next check.
"""

import time
from contextlib import suppress
from functools import cache
from pathlib import Path

LARGE_BYTES = 8 << 20
"""Smaller files are hashed each time: that takes less than 5 ms."""
_GOOD_FOR_SECONDS = 3600.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Verified:
    """Notes in a folder of this host, beside which nothing is lost: a missing one costs a check."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def holds(self, path: Path, digest: str) -> bool:
        """Tell whether this host found the bytes of the file, as it is now, to have this digest, not long ago."""
        try:
            noted, _, at = (self._folder / digest).read_text().rpartition(" ")
            return noted == _identity(path) and 0 <= _now() - float(at) < _GOOD_FOR_SECONDS
        except (OSError, ValueError):
            return False

    def note(self, path: Path, digest: str) -> None:
        """Note that the file's bytes have this digest; small files are not worth it."""
        with suppress(OSError):
            if path.stat().st_size >= LARGE_BYTES:
                self._folder.mkdir(parents=True, exist_ok=True)
                (self._folder / digest).write_text(f"{_identity(path)} {_now()}")

    def forget(self, digest: str) -> None:
        """Drop a note."""
        with suppress(OSError):
            (self._folder / digest).unlink(missing_ok=True)


def _identity(path: Path) -> str:
    found = path.stat()
    return f"{_boot()} {found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)  # nobody sets it


@cache
def _boot() -> str:
    return _BOOT_ID.read_text().strip()
