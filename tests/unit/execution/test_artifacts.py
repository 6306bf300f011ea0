"""Artifacts are whole or absent, and are what was stored or an error."""

import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from podium.errors import ArtifactError, NoCodec, StorageFull
from podium.execution.artifacts import INLINE_BYTES, Artifact, ArtifactStore
from podium.execution.blob_folder import FolderBlobs
from podium.execution.codecs import Codecs
from podium.execution.verified import Verified
from podium.settings import REVIEWED_TYPES

LONG = list(range(2000))


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return store_in(tmp_path)


def store_in(folder: Path) -> ArtifactStore:
    blobs = FolderBlobs(folder, Verified(folder.parent / f"{folder.name}-verified"))
    return ArtifactStore(blobs, Codecs(REVIEWED_TYPES))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_equal_values_are_one_artifact_in_one_file(store: ArtifactStore, tmp_path: Path) -> None:
    first, second = store.put(LONG), store.put(list(LONG))
    assert first == second
    assert [path.name for path in files(tmp_path)] == [first.digest]
    assert store.get(first) == LONG


def test_a_small_value_travels_inline_and_needs_no_file(store: ArtifactStore, tmp_path: Path) -> None:
    artifact = store.put({"auc": 0.61})
    assert files(tmp_path) == []
    assert store.get(artifact) == {"auc": 0.61}


@pytest.mark.parametrize(("length", "inline"), [(INLINE_BYTES - 2, True), (INLINE_BYTES - 1, False)])
def test_inline_ends_where_the_limit_is(store: ArtifactStore, length: int, inline: bool) -> None:
    artifact = store.put("x" * length)  # and two quotation marks
    assert (artifact.inline is not None) == inline
    assert artifact.size_bytes == length + 2
    assert store.get(artifact) == "x" * length


def place(artifact: Artifact, folder: Path) -> Path:
    (found,) = folder.rglob(artifact.digest)
    return found


@pytest.mark.parametrize("value", [LONG, np.arange(9), pd.DataFrame({"a": [1]})], ids=["json", "numpy", "arrow"])
def test_a_flipped_byte_is_caught_and_storing_again_makes_it_good(
    store: ArtifactStore, tmp_path: Path, value: Any
) -> None:
    artifact = store.put(value)
    damaged = place(artifact, tmp_path)
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"was changed.*Run the step that made it again"):
        store.get(artifact)
    assert store.put(value) == artifact
    store.get(artifact)


def test_a_missing_file_is_named(store: ArtifactStore, tmp_path: Path) -> None:
    artifact = store.put(LONG)
    place(artifact, tmp_path).unlink()
    with pytest.raises(ArtifactError, match=f"{artifact.digest} is gone"):
        store.get(artifact)


def test_a_refused_value_leaves_nothing_behind(store: ArtifactStore, tmp_path: Path) -> None:
    for value in (object(), pd.DataFrame({"a": [1, "x"]}), np.array([object()])):
        with pytest.raises(NoCodec):
            store.put(value)
    assert files(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB; for a user who may not mount, one whose files may have no more."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode == 0:
        yield disk
        subprocess.run(["umount", str(disk)], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024, hard))
    yield disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


LARGE = {
    "json": "x" * 1_000_000,
    "numpy": np.zeros(1_000_000),
    "numpy in Fortran's order": np.zeros((1000, 1000), order="F"),
    "arrow": pd.DataFrame({"a": np.arange(1_000_000.0)}),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_full_disk_says_so_and_leaves_nothing_half_written(small_disk: Path, name: str) -> None:
    store = store_in(small_disk)
    with pytest.raises(StorageFull, match=f"{small_disk} is full; free some space") as full:
        store.put(LARGE[name])
    assert full.value.retryable
    assert files(small_disk) == []
    store.get(store.put(LONG))  # what fits still does


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ArtifactError, match=r"cannot be written to .*file"):
        store_in(tmp_path / "file").put(LONG)
