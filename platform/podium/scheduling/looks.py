"""Looks at what lies outside: files by fsspec, a watermark by SQL. Each says what is there now, and whether it is news.

What cannot be looked at raises SourceUnknown: that is not the same as nothing new.
"""

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from podium.dag.triggers import FilesSource, RowsSource

FILE_LIMIT = 10_000

_NAMED = 3
_DIGITS = 16


class SourceUnknown(Exception):
    """A source gave no answer that could be used; the text says why."""


@dataclass(frozen=True)
class Found:
    """What a look found: `seen` to compare the next one with, and in words what is new."""

    seen: Any
    is_news: bool
    detail: str


def look_at_files(source: FilesSource, root: Path, used: Any) -> Found:
    """Return the files that match now; those are news that were not there, or were other ones, when it fired last."""
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem

    pattern = source.pattern if "://" in source.pattern else str(root / source.pattern)
    try:
        files, path = url_to_fs(pattern, use_listings_cache=False)
        listed = files.glob(path, detail=True)
        if not listed and isinstance(files, LocalFileSystem):
            _require_folder(path)  # a disk that is not mounted has no files either
    except Exception as error:  # each store's library has errors of its own
        raise SourceUnknown(f"{source.pattern} cannot be listed: {_told(error)}") from error
    found = {name: _fingerprint(name, told) for name, told in listed.items() if told.get("type") != "directory"}
    if len(found) > FILE_LIMIT:
        raise SourceUnknown(f"{source.pattern} matches {len(found):,} files, more than {FILE_LIMIT:,}: narrow it")
    seen = sorted(found.values())
    if used is None:
        return Found(seen, is_news=False, detail=f"{_files(len(found))}; what comes from now on is new")
    known = set(used)
    new = sorted(name for name, fingerprint in found.items() if fingerprint not in known)
    if not new:
        return Found(seen, is_news=False, detail=f"nothing new among {_files(len(found))}")
    return Found(seen, is_news=True, detail=f"{len(new):,} new of {_files(len(found))}: {_listed(new)}")


def look_at_rows(source: RowsSource, root: Path, used: Any) -> Found:
    """Return the watermark as it is now; it is news if it is not what it was when it fired last."""
    import sqlalchemy as sa

    del root
    url = _url(source.url)
    try:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            rows = connection.execute(sa.text(source.query)).fetchmany(2)
            connection.rollback()  # a look changes nothing
    except Exception as error:  # an absent driver, a wrong URL, a database that is away: each has its own
        raise SourceUnknown(f"{source.described} has no answer: {_told(error)}") from error
    if len(rows) != 1 or len(rows[0]) != 1:
        raise SourceUnknown(f"{source.described} answers with {'rows' if rows else 'nothing'}; it must be one value")
    value = _plain(rows[0][0], source)
    if used is None:
        return Found([value], is_news=False, detail=f"is {value}; what it is from now on is new")
    if value is None or [value] == used:
        return Found(used, is_news=False, detail="is empty" if value is None else f"is {value} still")
    return Found([value], is_news=True, detail=f"{used[0]} → {value}")


def _url(text: str) -> str:
    if not text.startswith("$"):
        return text
    url = os.environ.get(text[1:])
    if not url:
        raise SourceUnknown(f"the environment variable {text[1:]} of the scheduler is not set; it must hold the URL")
    return url


def _plain(value: Any, source: RowsSource) -> str | int | float | None:
    """Return a watermark as JSON has it; SourceUnknown for one that cannot be compared."""
    match value:
        case str() if "\0" in value:
            pass
        case None | str() | bool() | int():
            return value
        case float() if math.isfinite(value):
            return value
        case datetime() | date():
            return value.isoformat()
        case Decimal() if value.is_finite():
            return str(value)
    raise SourceUnknown(f"{source.described} is {value!r}, which is no time, number or text")


def _fingerprint(name: str, told: dict[str, Any]) -> str:
    """Return what changes when a file does: each store tells that under a name of its own."""
    marks = [told.get(mark) for mark in ("size", "mtime", "ETag", "etag", "LastModified", "last_modified", "created")]
    return hashlib.sha256(repr((name, marks)).encode()).hexdigest()[:_DIGITS]


def _require_folder(path: str) -> None:
    """Raise OSError unless the deepest folder that a pattern names can be read."""
    folder = Path(path).parent
    while any(mark in str(folder) for mark in "*?["):
        folder = folder.parent
    with os.scandir(folder):
        pass


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    # A name on disk need not be text.
    shown = ", ".join(_text(name.rpartition("/")[2]) for name in names[:_NAMED])
    return f"{shown} and {more:,} more" if more > 0 else shown


def _text(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
