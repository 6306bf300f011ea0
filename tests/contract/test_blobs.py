"""Files by digest: the same from a folder and from a URL, which are whole, checked, replaced and removed alike."""

import hashlib
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest

from podium.errors import ArtifactError, ConfigurationError
from podium.execution.artifacts import open_blobs
from podium.execution.blob_folder import FolderBlobs
from podium.execution.blob_url import COPY_KEPT, UrlBlobs, open_url
from podium.execution.blobs import Blobs
from podium.execution.verified import Verified

FIRST, SECOND = b"first" * 1000, b"second" * 1000
AGO = timedelta(days=2)


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(blobs: Blobs, data: bytes, name: str = "scratch") -> str:
    blobs.incoming.mkdir(parents=True, exist_ok=True)
    file = blobs.incoming / name
    file.write_bytes(data)
    blobs.put(file, digest_of(data))
    assert not file.exists()
    return digest_of(data)


class Stored:
    """Blobs, and what lies behind them."""

    def __init__(self, blobs: Blobs, folder: Path, copies: Path | None = None) -> None:
        self.blobs = blobs
        self.folder = folder
        self.copies = copies

    def place(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest

    def age(self, path: Path) -> None:
        """Make a file two days old."""
        at = path.stat().st_mtime - AGO.total_seconds()
        os.utime(path, (at, at))

    def forget_copies(self) -> None:
        """Let the next read come from where the files are stored."""
        for path in self.copies.rglob("*") if self.copies else ():
            if path.is_file():
                path.unlink()


@pytest.fixture(params=["folder", "url"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Stored:
    folder = tmp_path / "files"
    if request.param == "folder":
        return Stored(open_blobs(str(folder), tmp_path / "home"), folder)
    return Stored(open_blobs(f"local://{folder}", tmp_path / "home"), folder, tmp_path / "home" / "artifact-cache")


def yesterday() -> datetime:
    return datetime.now(UTC) - timedelta(days=1)


def test_what_was_put_comes_back_and_is_listed(stored: Stored) -> None:
    first, second = put(stored.blobs, FIRST), put(stored.blobs, SECOND)
    stored.forget_copies()
    assert stored.blobs.get(first).read_bytes() == FIRST
    assert (stored.blobs.size(first), stored.blobs.size("0" * 64)) == (len(FIRST), None)
    listed = {blob.digest: blob.size_bytes for blob in stored.blobs.stored()}
    assert listed == {first: len(FIRST), second: len(SECOND)}


def test_what_another_process_put_is_found(stored: Stored, tmp_path: Path) -> None:
    location = str(stored.folder) if stored.copies is None else f"local://{stored.folder}"
    code = (
        "import sys; from pathlib import Path; from podium.execution.artifacts import open_blobs\n"
        "blobs = open_blobs(sys.argv[1], Path(sys.argv[2])); blobs.incoming.mkdir(parents=True)\n"
        "file = blobs.incoming / 'x'; file.write_bytes(b'first' * 1000); blobs.put(file, sys.argv[3])\n"
    )
    arguments = [location, str(tmp_path / "another host"), digest_of(FIRST)]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    assert stored.blobs.get(digest_of(FIRST)).read_bytes() == FIRST


def test_nothing_is_stored_yet(stored: Stored) -> None:
    assert list(stored.blobs.stored()) == []
    assert tuple(stored.blobs.clear(yesterday(), dry_run=False)) == (0, 0)
    assert not stored.blobs.delete("0" * 64, before=yesterday())
    with pytest.raises(ArtifactError, match=f"{'0' * 64} is gone from .*files; run the step that made it again"):
        stored.blobs.get("0" * 64)


def test_changed_bytes_are_caught_and_a_put_makes_them_good(stored: Stored) -> None:
    digest = put(stored.blobs, FIRST)
    stored.place(digest).write_bytes(SECOND)
    stored.forget_copies()
    with pytest.raises(ArtifactError, match="was changed: its digest is"):
        stored.blobs.get(digest)
    put(stored.blobs, FIRST)
    stored.forget_copies()
    assert stored.blobs.get(digest).read_bytes() == FIRST


def test_only_what_is_old_is_deleted_and_a_put_makes_it_young(stored: Stored) -> None:
    digest = put(stored.blobs, FIRST)
    assert not stored.blobs.delete(digest, before=yesterday())
    stored.age(stored.place(digest))
    put(stored.blobs, FIRST)
    assert not stored.blobs.delete(digest, before=yesterday())
    assert stored.blobs.get(digest).read_bytes() == FIRST
    stored.age(stored.place(digest))
    assert stored.blobs.delete(digest, before=yesterday())
    stored.forget_copies()
    assert stored.blobs.size(digest) is None


def test_what_crashes_leave_is_cleared_when_it_is_old(stored: Stored) -> None:
    digest = put(stored.blobs, FIRST)
    stored.blobs.incoming.mkdir(parents=True, exist_ok=True)
    young, old = stored.blobs.incoming / "young", stored.blobs.incoming / "old"
    for each in (young, old):
        each.write_bytes(b"half")
    stored.age(old)
    assert tuple(stored.blobs.clear(yesterday(), dry_run=True)) == (1, 4)
    assert old.exists()
    assert tuple(stored.blobs.clear(yesterday(), dry_run=False)) == (1, 4)
    assert (young.exists(), old.exists()) == (True, False)
    assert stored.blobs.get(digest).read_bytes() == FIRST


def test_a_removal_that_was_killed_is_finished_and_never_takes_what_was_put_since(tmp_path: Path) -> None:
    stored = Stored(open_blobs(str(tmp_path / "files"), tmp_path), tmp_path / "files")
    digest, again = put(stored.blobs, FIRST), put(stored.blobs, SECOND)
    for each in (digest, again):
        stored.place(each).rename(stored.blobs.incoming / f"removing-{each}")
    stored.age(stored.blobs.incoming / f"removing-{digest}")
    stored.blobs.clear(yesterday(), dry_run=False)
    assert [blob.digest for blob in stored.blobs.stored()] == [again]
    assert list(stored.blobs.incoming.iterdir()) == []


class TestUrl:
    """What only files elsewhere have: copies on this host, and drivers that fail."""

    @pytest.fixture
    def there(self, tmp_path: Path) -> tuple[UrlBlobs, Any]:
        files = fsspec.filesystem("memory", skip_instance_cache=True)
        files.store, files.pseudo_dirs = {}, [""]  # an instance's own, not the class's
        copies = FolderBlobs(tmp_path / "copies", Verified(tmp_path / "verified"))
        return UrlBlobs(files, "/bucket", shown="memory://bucket", copies=copies, makes_folders=False), files

    def test_what_this_host_wrote_or_read_is_not_fetched_again(self, there: tuple[UrlBlobs, Any]) -> None:
        blobs, files = there
        digest = put(blobs, FIRST)
        files.rm_file(f"/bucket/{digest[:2]}/{digest}")
        assert blobs.get(digest).read_bytes() == FIRST

    def test_a_copy_that_was_changed_is_fetched_again(self, there: tuple[UrlBlobs, Any]) -> None:
        blobs, _ = there
        digest = put(blobs, FIRST)
        blobs.get(digest).write_bytes(SECOND)
        assert blobs.get(digest).read_bytes() == FIRST

    def test_old_copies_are_cleared(self, there: tuple[UrlBlobs, Any]) -> None:
        blobs, _ = there
        digest = put(blobs, FIRST)
        later = datetime.now(UTC) + COPY_KEPT + timedelta(hours=1)
        assert tuple(blobs.clear(later, dry_run=False)) == (1, len(FIRST))
        assert not (blobs.incoming.parent / digest[:2] / digest).exists()
        assert blobs.get(digest).read_bytes() == FIRST

    @pytest.mark.parametrize("error", [PermissionError("403 Forbidden"), FileNotFoundError("403 Forbidden")], ids=repr)
    def test_an_upload_that_fails_leaves_nothing_and_names_the_setting(
        self, there: tuple[UrlBlobs, Any], monkeypatch: pytest.MonkeyPatch, error: OSError
    ) -> None:
        blobs, files = there

        def refuse(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(files, "mv", refuse)
        with pytest.raises(ArtifactError, match=r"cannot be written to memory://bucket: 403 Forbidden.*artifact_url"):
            put(blobs, FIRST)
        assert files.find("/bucket") == []

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("s3://bucket/podium", "a package is missing: Install s3fs"),
            ("nowhere://bucket", "Protocol not known: nowhere"),
            ("memory://bucket", "the memory of one process"),
        ],
    )
    def test_a_url_without_a_driver_says_what_to_do(
        self, url: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "s3fs", None)
        with pytest.raises(ConfigurationError, match=said) as refusal:
            open_blobs(url, tmp_path)
        assert "PODIUM_ARTIFACT_URL" in str(refusal.value)

    def test_nothing_secret_is_in_an_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(url: str) -> None:
            raise OSError(f"cannot connect to {url}")

        monkeypatch.setattr("fsspec.core.url_to_fs", refuse)
        copies = FolderBlobs(tmp_path, Verified(tmp_path))
        with pytest.raises(ArtifactError) as refusal:
            open_url("sftp://ada:s3cret@host/podium?token=t0ken", copies)
        assert "s3cret" not in str(refusal.value)
        assert "t0ken" not in str(refusal.value)


class TestVerified:
    """A large file is read once for its digest, as long as nothing about it changes."""

    @pytest.fixture
    def blobs(self, tmp_path: Path) -> FolderBlobs:
        return FolderBlobs(tmp_path / "files", Verified(tmp_path / "verified"))

    @pytest.fixture
    def hashed(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The files that are read for their digest."""
        seen: list[str] = []
        real = hashlib.file_digest

        def noted(file: Any, name: str) -> Any:
            seen.append(file.name)
            return real(file, name)

        monkeypatch.setattr(hashlib, "file_digest", noted)
        return seen

    LARGE = bytes(9 << 20)

    def test_who_wrote_it_knows_it(self, blobs: FolderBlobs, hashed: list[str], tmp_path: Path) -> None:
        digest = put(blobs, self.LARGE)
        blobs.get(digest)
        another_process = FolderBlobs(tmp_path / "files", Verified(tmp_path / "verified"))
        another_process.get(digest)
        assert hashed == []

    def test_another_host_reads_it_once(self, blobs: FolderBlobs, hashed: list[str], tmp_path: Path) -> None:
        digest = put(blobs, self.LARGE)
        another_host = FolderBlobs(tmp_path / "files", Verified(tmp_path / "verified there"))
        another_host.get(digest)
        another_host.get(digest)
        assert len(hashed) == 1

    @pytest.mark.parametrize("keeps_its_time", [False, True])
    def test_a_changed_file_is_read_again(self, blobs: FolderBlobs, keeps_its_time: bool) -> None:
        digest = put(blobs, self.LARGE)
        path = blobs.get(digest)
        before = path.stat()
        while path.stat().st_ctime_ns == before.st_ctime_ns:  # the kernel's clock moves every few milliseconds
            with path.open("r+b") as file:
                file.write(b"x")
            if keeps_its_time:
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(ArtifactError, match="was changed"):
            blobs.get(digest)

    def test_a_small_file_is_read_each_time(self, blobs: FolderBlobs, hashed: list[str]) -> None:
        digest = put(blobs, FIRST)
        blobs.get(digest)
        blobs.get(digest)
        assert len(hashed) == 2
