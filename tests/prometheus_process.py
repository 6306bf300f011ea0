"""A real Prometheus on a history that was written beforehand."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.scraped_platform import SCRAPE_INTERVAL

_DEADLINE_SECONDS = 30.0


@contextmanager
def prometheus_on(openmetrics: Path, folder: Path) -> Iterator[str]:
    """The URL of a Prometheus that holds the samples of a file and scrapes nothing."""
    blocks = folder / "blocks"
    # One block: each more would have the file read once more.
    importing = ["promtool", "tsdb", "create-blocks-from", "--max-block-duration=162h", "openmetrics"]
    subprocess.run([*importing, openmetrics, blocks], check=True, capture_output=True)
    configuration = folder / "prometheus.yml"
    configuration.write_text("scrape_configs: []\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        str(shutil.which("prometheus")),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={blocks}",
        "--storage.tsdb.retention.time=100y",
        # A sample is good for 5 minutes where Prometheus scrapes every 15 seconds; here it scrapes less often.
        f"--query.lookback-delta={SCRAPE_INTERVAL.total_seconds() * 4 / 3:.0f}s",
        f"--web.listen-address={address}",
        "--log.level=error",
    ]
    log = folder / "prometheus.log"
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as process:
        try:
            _wait_until_ready(f"http://{address}", process, log)
            yield f"http://{address}"
        finally:
            process.terminate()


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urlopen(f"{url}/-/ready", timeout=1) as answer:  # noqa: S310 - our own process
                if answer.status == 200:
                    return
        except (URLError, ConnectionError):
            pass  # it does not listen yet, or says 503 while it reads its blocks
        time.sleep(0.05)
    raise AssertionError(f"Prometheus was not ready within {_DEADLINE_SECONDS:g} s: {log.read_text()}")
