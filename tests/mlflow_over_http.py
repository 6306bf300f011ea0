"""MLflow's own server as a process: what a team's registry is, with its files behind it."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.postgresql_on_tcp import free_port

_STARTS_WITHIN_SECONDS = 90.0


@contextmanager
def mlflow_server(folder: Path, tables: str | None = None) -> Iterator[str]:
    """Run a server until the block ends; yield its URI.

    It keeps its files in `folder`, and its tables in the database with the URL `tables`, or in `folder` as well.
    """
    port = free_port()
    command = [
        str(Path(sys.executable).with_name("mlflow")),
        "server",
        f"--backend-store-uri={tables or 'sqlite:///' + str(folder / 'mlflow.db')}",
        f"--artifacts-destination={folder / 'artifacts'}",
        f"--port={port}",
        "--workers=1",
    ]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + _STARTS_WITHIN_SECONDS
        while not _answers(port):
            assert process.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < deadline, "MLflow's server does not answer"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
