"""A file is on disk with its digest known when it is finished; little stays in memory."""

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from podium.execution.hashed_file import _COPIES_AHEAD, HashedFile

PATIENCE_SECONDS = 60.0
LARGE = os.urandom(1 << 20)


@pytest.mark.parametrize(
    "parts",
    [[], [b""], [b"abc"], [b"abc", b"", b"def"], [LARGE] * 3, [b"a", LARGE, b"b"], [LARGE] * (3 * _COPIES_AHEAD)],
    ids=["nothing", "empty", "little", "parts", "much", "mixed", "more than may wait"],
)
def test_the_digest_is_that_of_the_file(tmp_path: Path, parts: list[bytes]) -> None:
    threads = threading.active_count()
    with HashedFile(tmp_path / "new" / "file", held_bytes=4) as file:
        assert [file.write(part) for part in parts] == [len(part) for part in parts]
        digest = file.finish()
    assert (tmp_path / "new" / "file").read_bytes() == b"".join(parts)
    assert digest == hashlib.sha256(b"".join(parts)).hexdigest()
    assert file.size_bytes == sum(map(len, parts))
    assert threading.active_count() == threads


def test_the_first_few_bytes_make_no_file(tmp_path: Path) -> None:
    with HashedFile(tmp_path / "file", held_bytes=4) as file:
        file.write(b"ab")
        file.write(b"cd")
        assert file.held == b"abcd"
        assert not (tmp_path / "file").exists()
        file.write(b"e")
        assert file.held is None
    assert (tmp_path / "file").read_bytes() == b"abcde"


def test_any_memory_is_written_as_its_bytes(tmp_path: Path) -> None:
    import numpy as np

    numbers: Any = np.arange(300_000)
    with HashedFile(tmp_path / "file") as file:
        file.write(memoryview(numbers))
        assert file.finish() == hashlib.sha256(numbers.tobytes()).hexdigest()
    assert (tmp_path / "file").read_bytes() == numbers.tobytes()


def test_writing_waits_for_the_digest_of_large_copies_alone(tmp_path: Path) -> None:
    """A frame's columns are views; what Arrow writes between and behind them is a few bytes."""
    hashing, column = HeldUp(), memoryview(bytearray(LARGE))
    parts: list[bytes | memoryview] = [*[column] * (2 * _COPIES_AHEAD), b"padding", *[column] * 2, b"footer"]
    with HashedFile(tmp_path / "file") as file:
        file._digest = hashing  # type: ignore[assignment]
        for part in parts:
            file.write(part)
        assert not hashing.may_go_on.is_set()
        hashing.may_go_on.set()
        digest = file.finish()
    assert digest == hashlib.sha256(b"".join(parts)).hexdigest()


class HeldUp:
    """A digest that takes nothing in before it may."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self._digest = hashlib.sha256()

    def update(self, data: memoryview) -> None:
        assert self.may_go_on.wait(PATIENCE_SECONDS)
        self._digest.update(data)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def test_what_fails_leaves_no_thread_and_no_open_file(tmp_path: Path) -> None:
    def fail() -> None:
        with HashedFile(tmp_path / "file") as file:
            file.write(LARGE * 2)
            raise LookupError

    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    threads, descriptors = threading.active_count(), open_files()
    with pytest.raises(LookupError):
        fail()
    assert (threading.active_count(), open_files()) == (threads, descriptors)
