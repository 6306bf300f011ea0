"""`podium server` as a process: what it says, what it answers over HTTP, and how it ends."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.command import Podium

DEADLINE_SECONDS = 30.0


@pytest.fixture
def podium(tmp_path: Path) -> Podium:
    (tmp_path / "podium.toml").write_text('project = "served"\n')
    return Podium(tmp_path)


@contextmanager
def serving(podium: Podium) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server on a free port, and its URL; killed at the end if it is still there."""
    process = podium.start("server", "--port", "0")
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert first.startswith("Serving on http://127.0.0.1:"), first + process.stderr.read()
        yield process, first.removeprefix("Serving on ").strip()
    finally:
        process.kill()
        process.wait(DEADLINE_SECONDS)


def fetch(url: str) -> tuple[int, str]:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=DEADLINE_SECONDS)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_a_server_answers_and_ends_cleanly_when_it_is_told_to(podium: Podium) -> None:
    with serving(podium) as (process, url):
        assert json.loads(fetch(f"{url}/healthz")[1])["ok"] is True
        assert "podium_ledger_unpriced_entries 0.0" in fetch(f"{url}/metrics")[1]
        assert fetch(f"{url}/nothing")[0] == 404
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=DEADLINE_SECONDS)
        assert (process.returncode, out, err) == (0, "", "")


def test_an_interrupt_ends_a_server_as_an_interrupt_does(podium: Podium) -> None:
    with serving(podium) as (process, url):
        assert fetch(f"{url}/")[0] == 200
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE_SECONDS)
        assert process.returncode == 130
        assert "Traceback" not in err


def test_a_port_that_is_taken_is_told_with_what_to_do(podium: Podium) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = podium("server", "--port", str(port))
    assert result.code == 1
    assert f"127.0.0.1 port {port}" in result.complaint
    assert "--port" in result.complaint


def test_a_host_that_is_not_this_machines_is_told_too(podium: Podium) -> None:
    result = podium("server", "--host", "203.0.113.1", "--port", "0")
    assert result.code == 1
    assert "203.0.113.1" in result.complaint


def test_the_server_imports_no_mlflow_and_no_science(podium: Podium) -> None:
    code = (
        "import sys; from podium.api.app import create_app; from podium.wiring.project import open_project; "
        "import podium.api.serving, podium.cli.server; app = create_app(open_project()); "
        "print(*sorted({'mlflow', 'pandas', 'sklearn', 'scipy', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=podium.project,
        env=podium.variables(),
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_SECONDS,
    )
    assert done.stdout.split() == []
