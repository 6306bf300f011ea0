"""Where the bytes of artifacts lie: files under the SHA-256 of what is in them, in a folder or at any URL of fsspec."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Blob:
    """A stored file; `stored_at` is when its bytes were last put."""

    digest: str
    size_bytes: int
    stored_at: datetime


class Cleared(NamedTuple):
    """How many files were removed that nobody goes on with, and their size."""

    files: int
    size_bytes: int


class Blobs(Protocol):
    """Files by digest. What cannot be reached raises ArtifactError, a full disk StorageFull."""

    @property
    def shown(self) -> str:
        """Where they lie, for people: without a password."""

    @property
    def incoming(self) -> Path:
        """The local folder in which a file is written that is to be `put`."""

    def put(self, file: Path, digest: str) -> None:
        """Keep a flushed file of `incoming`, which moves, under its digest; what was there under it is replaced."""

    def get(self, digest: str) -> Path:
        """Return a local file with these bytes, their digest checked; ArtifactError if they are gone or changed."""

    def size(self, digest: str) -> int | None:
        """Return how many bytes are stored under a digest, None without a file; nothing is read."""

    def delete(self, digest: str, *, before: datetime) -> bool:
        """Remove a file unless it was put at `before` or later, or again meanwhile; False if it stays or is not there.

        A put that this races with is not lost: either its file stays, or it comes after the removal.
        """

    def stored(self) -> Iterator[Blob]:
        """Yield what is stored, in the order of digests."""

    def clear(self, before: datetime, *, dry_run: bool) -> Cleared:
        """Remove what was left behind and last changed before `before`; in a dry run, only say what.

        That is what a process was writing when it was killed, and local copies of what is stored elsewhere.
        """


def is_remote(location: str) -> bool:
    """Tell whether a place of artifacts is a URL, rather than a folder."""
    return "://" in location


def shown(location: str) -> str:
    """Return a place of artifacts without user, password and query.

    >>> shown("sftp://ada:secret@host:22/podium?token=1")
    'sftp://host:22/podium'
    """
    if not is_remote(location):
        return location
    parts = urlsplit(location)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
