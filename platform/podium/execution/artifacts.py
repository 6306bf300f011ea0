"""Content-addressed artifacts: a value's bytes under the SHA-256 of those bytes.

Files are written beside their place, flushed to disk and renamed, so a file under its digest is whole. Small
JSON travels inline, in the row that names it.
"""

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium import faults
from podium.errors import ArtifactError, StorageFull
from podium.execution.codecs import Codecs, decode_json

INLINE_BYTES = 4096
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Artifact:
    """Stored bytes: their digest, the codec that reads them, and the bytes themselves when they are few."""

    digest: str
    codec: str
    size_bytes: int
    inline: bytes | None = None


class ArtifactStore:
    """Artifacts in a folder: `put` a value, `get` it back."""

    def __init__(self, folder: Path, codecs: Codecs) -> None:
        self._folder = folder
        self._codecs = codecs

    def put(self, value: Any) -> Artifact:
        """Store `value`; equal bytes are stored once.

        Raises NoCodec for a value no codec takes, StorageFull when the disk is full, ArtifactError otherwise.
        """
        with self._scratch() as scratch:
            codec = self._codecs.write(value, scratch)
            digest, size = _digest(scratch)
            if codec == "json" and size <= INLINE_BYTES:
                return Artifact(digest, codec, size, scratch.read_bytes())
            self._keep(scratch, self._place(digest))
            return Artifact(digest, codec, size)

    def get(self, artifact: Artifact) -> Any:
        """Read an artifact's value; ArtifactError if its bytes are gone or are not those that were stored."""
        if artifact.inline is not None:
            return decode_json(artifact.inline)
        path = self._place(artifact.digest)
        try:
            found, _ = _digest(path)
        except FileNotFoundError:
            raise ArtifactError(
                f"The artifact {artifact.digest} is gone from {self._folder}; run the step that made it again."
            ) from None
        if found != artifact.digest:
            raise ArtifactError(
                f"The artifact {path} was changed: its digest is {found}. Run the step that made it again."
            )
        return self._codecs.read(artifact.codec, path)

    def fault(self, artifact: Artifact, *, deep: bool) -> str | None:
        """Return what is wrong with an artifact's bytes, None where nothing is; `deep` reads them all."""
        if artifact.inline is not None:
            size = len(artifact.inline)
            digest = hashlib.sha256(artifact.inline).hexdigest() if deep else artifact.digest
        else:
            path = self._place(artifact.digest)
            try:
                digest, size = _digest(path) if deep else (artifact.digest, path.stat().st_size)
            except OSError as error:
                return f"its file {path} cannot be read: {error.strerror}"
        if (digest, size) == (artifact.digest, artifact.size_bytes):
            return None
        now = f"there are {size:,}" if size != artifact.size_bytes else f"their digest is {digest}"
        return f"its {artifact.size_bytes:,} bytes were changed: {now}"

    def _place(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest

    def _keep(self, scratch: Path, place: Path) -> None:
        if place.exists() and _digest(place)[0] == place.name:  # else it was damaged: this makes it good again
            return
        if not place.parent.exists():
            place.parent.mkdir(exist_ok=True)
            _sync_folder(self._folder)
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        faults.reach("artifact.before_rename")
        scratch.rename(place)
        _sync_folder(place.parent)
        faults.reach("artifact.after_rename")

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A fresh path in the store's folder, removed afterwards; disk errors become Podium's."""
        scratch = self._folder / "incoming" / secrets.token_hex(8)
        try:
            scratch.parent.mkdir(parents=True, exist_ok=True)
            yield scratch
        except OSError as error:
            if error.errno in _FULL:
                raise StorageFull(
                    f"The disk that holds {self._folder} is full; free some space, then resume the run."
                ) from error
            raise ArtifactError(f"An artifact cannot be written to {self._folder}: {error}.") from error
        finally:
            with contextlib.suppress(OSError):
                scratch.unlink(missing_ok=True)


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, file.tell()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
