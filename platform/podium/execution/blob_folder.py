"""Artifacts' bytes in a folder: written beside their place, flushed to disk and renamed, so that a file is whole."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from podium import faults
from podium.errors import ArtifactError
from podium.execution.blobs import DIGEST, Blob, Cleared
from podium.execution.verified import Verified

_REMOVING = "removing-"


class FolderBlobs:
    """Files under `folder`/ab/abcd…; see Blobs. `verified` must lie on this host."""

    def __init__(self, folder: Path, verified: Verified) -> None:
        self._folder = folder
        self._verified = verified

    @property
    def shown(self) -> str:
        """The folder."""
        return str(self._folder)

    @property
    def incoming(self) -> Path:
        """A folder beside the places of files, on their file system."""
        return self._folder / "incoming"

    def put(self, file: Path, digest: str) -> None:
        """Give a flushed file its name."""
        place = self._place(digest)
        if not place.parent.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            _sync_folder(self._folder)
        faults.reach("artifact.before_rename")
        # Also where a file is: this one is good, whatever became of that, and young, so that none takes it for waste.
        file.rename(place)
        _sync_folder(place.parent)
        self._verified.note(place, digest)
        faults.reach("artifact.after_rename")

    def get(self, digest: str) -> Path:
        """Return the file after its bytes were hashed, or found to be those that this host hashed before."""
        place = self._place(digest)
        try:
            if self._verified.holds(place, digest):
                return place
            with place.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            raise ArtifactError(
                f"The artifact {digest} is gone from {self._folder}; run the step that made it again."
            ) from None
        except OSError as error:
            raise ArtifactError(f"The artifact {place} cannot be read: {error.strerror}.") from error
        if found != digest:
            raise ArtifactError(
                f"The artifact {place} was changed: its digest is {found}. Run the step that made it again."
            )
        self._verified.note(place, digest)
        return place

    def size(self, digest: str) -> int | None:
        """Return the size of the file."""
        try:
            return self._place(digest).stat().st_size
        except FileNotFoundError:
            return None

    def delete(self, digest: str, *, before: datetime) -> bool:
        """Remove a file that is old, taken aside first: no put comes between the last look at it and its end."""
        place, aside = self._place(digest), self.incoming / f"{_REMOVING}{digest}"
        try:
            if not _is_older(place, before):
                return False
            self.incoming.mkdir(exist_ok=True)
            place.rename(aside)
        except FileNotFoundError:
            return False
        return self._remove(aside, digest, before)

    def stored(self) -> Iterator[Blob]:
        """Yield the files that lie at the place of a digest."""
        for folder in sorted(self._folder.glob("[0-9a-f][0-9a-f]")):
            for path in sorted(folder.iterdir()):
                if DIGEST.fullmatch(path.name):
                    with suppress(FileNotFoundError):
                        found = path.stat()
                        yield Blob(path.name, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def clear(self, before: datetime, *, dry_run: bool) -> Cleared:
        """Remove old files of `incoming`; finish removals that were killed."""
        sizes = []
        for path in sorted(self.incoming.glob("*")):
            with suppress(FileNotFoundError):
                size, old = path.stat().st_size, _is_older(path, before)
                if path.name.startswith(_REMOVING) and not dry_run:
                    self._remove(path, path.name.removeprefix(_REMOVING), before)
                elif old and not dry_run:
                    path.unlink()
                if old:
                    sizes.append(size)
        return Cleared(len(sizes), sum(sizes))

    def _remove(self, aside: Path, digest: str, before: datetime) -> bool:
        if _is_older(aside, before):
            aside.unlink()
            self._verified.forget(digest)
            return True
        with suppress(FileExistsError):  # put again since
            os.link(aside, self._place(digest))
        aside.unlink()
        return False

    def _place(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest


def _is_older(path: Path, before: datetime) -> bool:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC) < before


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
