"""Content-addressed artifacts: a value's bytes under the SHA-256 of those bytes.

The bytes lie in files, in a folder or at a URL (`podium.execution.blobs`), and are hashed as they are written and when
they are read. Small JSON travels inline, in the row that names it.
"""

import contextlib
import errno
import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from podium.errors import ArtifactError, StorageFull
from podium.execution.blob_folder import FolderBlobs
from podium.execution.blobs import Blobs, is_remote
from podium.execution.codecs import Codecs, decode_json
from podium.execution.hashed_file import HashedFile
from podium.execution.verified import Verified

INLINE_BYTES = 4096
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Artifact:
    """Stored bytes: their digest, the codec that reads them, and the bytes themselves when they are few.

    With `removed_at` they were stored, and a collection found that nothing needed them any more.
    """

    digest: str
    codec: str
    size_bytes: int
    inline: bytes | None = None
    removed_at: datetime | None = None


def open_blobs(location: str, state_folder: Path) -> Blobs:
    """Open the folder or URL that artifacts lie at; what this host keeps about it lies in its state folder.

    Raises ConfigurationError for a URL that cannot be one.
    """
    verified = Verified(state_folder / "verified")
    if not is_remote(location):
        return FolderBlobs(Path(location), verified)
    from podium.execution.blob_url import open_url

    return open_url(location, FolderBlobs(state_folder / "artifact-cache", verified))


class ArtifactStore:
    """Values as artifacts: `put` one, `get` it back."""

    def __init__(self, blobs: Blobs, codecs: Codecs) -> None:
        self._blobs = blobs
        self._codecs = codecs

    def put(self, value: Any) -> Artifact:
        """Store `value`; equal bytes are stored once.

        Raises NoCodec for a value no codec takes, StorageFull when the disk is full, ArtifactError otherwise.
        """
        with self._scratch() as scratch, HashedFile(scratch, held_bytes=INLINE_BYTES) as file:
            codec = self._codecs.write(value, file)
            if codec == "json" and file.held is not None:
                return Artifact(hashlib.sha256(file.held).hexdigest(), codec, file.size_bytes, file.held)
            digest = file.finish()
            self._blobs.put(scratch, digest)
            return Artifact(digest, codec, file.size_bytes)

    def get(self, artifact: Artifact) -> Any:
        """Read an artifact's value; ArtifactError if its bytes are gone or are not those that were stored.

        The value is the reader's own: it may be changed in place.
        """
        if artifact.inline is not None:
            return decode_json(artifact.inline)
        if artifact.removed_at is not None:
            raise ArtifactError(
                f"The artifact {artifact.digest} was removed by `podium gc` on {artifact.removed_at:%Y-%m-%d %H:%MZ}, "
                "when nothing had needed it for as long as the setting artifact_retention says; make it again with "
                "`podium run … --again`."
            )
        with self._disk():
            path = self._blobs.get(artifact.digest)
        return self._codecs.read(artifact.codec, path)

    def fault(self, artifact: Artifact, *, deep: bool) -> str | None:
        """Return what is wrong with an artifact's bytes, None where nothing is; `deep` reads them all."""
        if artifact.inline is not None:
            size: int | None = len(artifact.inline)
            good = not deep or hashlib.sha256(artifact.inline).hexdigest() == artifact.digest
            return None if size == artifact.size_bytes and good else "its inline bytes were changed"
        try:
            size = self._blobs.size(artifact.digest)
            if size is None:
                return f"its file is gone from {self._blobs.shown}"
            if size != artifact.size_bytes:
                return f"its {artifact.size_bytes:,} bytes were changed: there are {size:,}"
            if deep:
                self._blobs.get(artifact.digest)
        except ArtifactError as error:
            return str(error).rstrip(".")
        return None

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A fresh path where bytes are written before they have a name, removed afterwards."""
        scratch = self._blobs.incoming / secrets.token_hex(8)
        try:
            with self._disk():
                yield scratch
        finally:
            with contextlib.suppress(OSError):
                scratch.unlink(missing_ok=True)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Turn errors of the disk into Podium's."""
        try:
            yield
        except OSError as error:
            folder = self._blobs.incoming.parent
            if error.errno in _FULL:
                raise StorageFull(
                    f"The disk that holds {folder} is full; free some space, then resume the run."
                ) from error
            raise ArtifactError(f"An artifact cannot be written to {folder}: {error}.") from error
