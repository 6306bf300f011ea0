"""Artifacts' bytes at any URL that fsspec reaches, with a copy of what this host wrote or read in a local folder."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from podium import faults
from podium.errors import ArtifactError, ConfigurationError, PodiumError
from podium.execution.blob_folder import FolderBlobs
from podium.execution.blobs import DIGEST, Blob, Cleared, shown
from podium.execution.hashed_file import HashedFile

SETTING = "artifact_url (PODIUM_ARTIFACT_URL)"
COPY_KEPT = timedelta(days=7)
"""A copy is fetched again when it is needed after that: a disk of a host is no archive."""
_CHUNK_BYTES = 8 << 20
_CHANGED_AT = ("LastModified", "last_modified")
"""Under which names S3 and Azure list the time of the last change."""
_WITHOUT_FOLDERS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "tos"})
"""Where a folder is made by what lies in it, and the attempt to make one could make a bucket."""


class UrlBlobs:
    """Files under `root`/ab/abcd… of a file system of fsspec; see Blobs. Open it with `open_url`.

    `copies` is a folder of this host, so that readers may map files. What goes wrong at the other end is an
    ArtifactError with none of the `hidden` texts in it.
    """

    def __init__(
        self, files: Any, root: str, *, shown: str, copies: FolderBlobs, makes_folders: bool, hidden: Sequence[str] = ()
    ) -> None:
        self.shown = shown
        self._files = files
        self._root = root
        self._copies = copies
        self._makes_folders = makes_folders
        self._hidden = hidden

    @property
    def incoming(self) -> Path:
        """A folder of this host."""
        return self._copies.incoming

    def put(self, file: Path, digest: str) -> None:
        """Upload a file under another name and move it to its place; keep it as this host's copy."""
        place, scratch = self._place(digest), f"{self._root}/incoming/{secrets.token_hex(8)}"
        with self._told(f"The artifact {digest} cannot be written to {self.shown}"):
            if self._makes_folders:
                for folder in (scratch, place):
                    self._files.makedirs(folder.rpartition("/")[0], exist_ok=True)
            try:
                self._files.put_file(str(file), scratch)
                faults.reach("artifact.before_rename")
                self._files.mv(scratch, place)
            except BaseException:
                with suppress(Exception):
                    self._files.rm_file(scratch)
                raise
        self._copies.put(file, digest)

    def get(self, digest: str) -> Path:
        """Return this host's copy, fetched first where there is none that is good."""
        if self._copies.size(digest) is not None:
            with suppress(ArtifactError):
                return self._copies.get(digest)
        scratch = self.incoming / secrets.token_hex(8)
        try:
            found = self._fetch(digest, scratch)
            if found != digest:
                raise ArtifactError(
                    f"The artifact {digest} in {self.shown} was changed: its digest is {found}. "
                    "Run the step that made it again."
                )
            self._copies.put(scratch, digest)
        finally:
            scratch.unlink(missing_ok=True)
        return self._copies.get(digest)

    def size(self, digest: str) -> int | None:
        """Return the size of the file at the URL."""
        with self._told(f"The artifact {digest} cannot be looked up in {self.shown}"):
            self._files.invalidate_cache()
            try:
                size: int = self._files.info(self._place(digest))["size"]
            except FileNotFoundError:
                return None
            return size

    def delete(self, digest: str, *, before: datetime) -> bool:
        """Remove a file that is old, and this host's copy of it.

        Where nothing can be moved aside in one go, a put within the round trip between the last look and the removal
        would be lost: it would have to make the same bytes that nothing needed for as long as the retention.
        """
        self._copies.delete(digest, before=before)
        with self._told(f"The artifact {digest} cannot be removed from {self.shown}"):
            self._files.invalidate_cache()
            try:
                if self._changed_at(self._place(digest)) >= before:
                    return False
                self._files.rm_file(self._place(digest))
            except FileNotFoundError:
                return False
        return True

    def stored(self) -> Iterator[Blob]:
        """Yield the files that lie at the place of a digest."""
        for path, info in sorted(self._listed().items()):
            name = path.rpartition("/")[2]
            if DIGEST.fullmatch(name) and path.endswith(f"/{name[:2]}/{name}"):
                with self._told(f"{path} cannot be looked up"), suppress(FileNotFoundError):
                    yield Blob(name, info["size"], self._changed_at(path, info))

    def clear(self, before: datetime, *, dry_run: bool) -> Cleared:
        """Remove old scratch files, here and there, and copies that are older than `COPY_KEPT`."""
        found = [*self._copies.clear(before, dry_run=dry_run)]
        for path, info in self._listed("incoming").items():
            with self._told(f"{path} cannot be removed"), suppress(FileNotFoundError):
                if self._changed_at(path, info) < before:
                    found = [found[0] + 1, found[1] + info["size"]]
                    if not dry_run:
                        self._files.rm_file(path)
        for copy in list(self._copies.stored()):
            if copy.stored_at < before - COPY_KEPT:
                found = [found[0] + 1, found[1] + copy.size_bytes]
                if not dry_run:
                    self._copies.delete(copy.digest, before=before - COPY_KEPT)
        return Cleared(*found)

    def _fetch(self, digest: str, scratch: Path) -> str:
        with HashedFile(scratch) as file:
            for chunk in self._chunks(digest):
                file.write(chunk)
            return file.finish()

    def _chunks(self, digest: str) -> Iterator[bytes]:
        with self._told(f"The artifact {digest} cannot be read from {self.shown}"):
            try:
                with self._files.open(self._place(digest), "rb") as source:
                    while chunk := source.read(_CHUNK_BYTES):
                        yield chunk
            except FileNotFoundError:
                raise ArtifactError(
                    f"The artifact {digest} is gone from {self.shown}; run the step that made it again."
                ) from None

    def _listed(self, folder: str = "") -> dict[str, Any]:
        with self._told(f"{self.shown} cannot be listed"):
            self._files.invalidate_cache()
            try:
                found: dict[str, Any] = self._files.find(f"{self._root}/{folder}".rstrip("/"), detail=True)
            except FileNotFoundError:
                return {}
            return found

    def _changed_at(self, path: str, listed: Mapping[str, Any] | None = None) -> datetime:
        found = next((value for name in _CHANGED_AT if isinstance(value := (listed or {}).get(name), datetime)), None)
        found = found or cast("datetime", self._files.modified(path))  # which may be one more request
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def _place(self, digest: str) -> str:
        return f"{self._root}/{digest[:2]}/{digest}"

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turn what a driver raises into an ArtifactError that says `what`."""
        try:
            yield
        except PodiumError:
            raise
        except Exception as error:  # noqa: BLE001 - each driver has errors of its own
            raise ArtifactError(
                f"{what}: {_clean(error, self._hidden)}. Check {SETTING}, the network and the rights there."
            ) from None


def open_url(url: str, copies: FolderBlobs) -> UrlBlobs:
    """Open the place of artifacts that a URL names; nothing is sent there yet.

    Raises ConfigurationError for a URL that fsspec has no driver for, ArtifactError where the driver cannot start.
    """
    import fsspec.core  # 60 ms, and only who stores elsewhere pays for it

    parts = urlsplit(url)
    hidden = [part for part in (parts.password, parts.query) if part]
    where = f"{SETTING} is {shown(url)}"
    if parts.scheme == "memory":
        raise ConfigurationError(f"{where}, the memory of one process, and steps run in several; name another place.")
    try:
        files, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise ConfigurationError(
            f"{where}, for which a package is missing: {_clean(error, hidden)}. Install it (pip install …) wherever "
            "workers and commands run."
        ) from None
    except ValueError as error:
        raise ConfigurationError(f"{where}: {_clean(error, hidden)}. Correct it.") from None
    except Exception as error:  # noqa: BLE001 - each driver has errors of its own
        raise ArtifactError(f"{where}, which cannot be opened: {_clean(error, hidden)}.") from None
    return UrlBlobs(
        files,
        root.rstrip("/"),
        shown=shown(url),
        copies=copies,
        makes_folders=parts.scheme not in _WITHOUT_FOLDERS,
        hidden=hidden,
    )


def _clean(error: Exception, hidden: Sequence[str]) -> str:
    """Return what a driver says in one line, without what is hidden."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    for each in hidden:
        text = text.replace(each, "…")
    return text
