"""The peers, each installed from PyPI in a virtual environment of its own and measured by its script in `peers/`."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

PEERS = {"dbos": "3.4.0", "luigi": "3.8.1", "dagster": "1.13.29", "prefect": "3.9.1"}
"""Name on PyPI, and the version that is measured."""

VENVS_VARIABLE = "PODIUM_BENCH_VENVS"
_BENCHMARK = Path(__file__).resolve().parent
_VENVS = _BENCHMARK.parent.parent / ".cache" / "peers"
_FOREIGN = ("PYTHON", "DBOS_", "LUIGI_", "DAGSTER_", "PREFECT_")
"""Variables that begin so are not passed on: nobody's own server is measured."""
_PATIENCE_SECONDS = 600.0


class PeerFailed(Exception):
    """A peer could not be installed or measured; its text says why."""


def milliseconds_per_step(peer: str) -> dict[str, float]:
    """Return the milliseconds a peer needs for one step of the chain, by shape; PeerFailed says why it does not."""
    python = _installed(peer)
    script = _BENCHMARK / "peers" / f"run_{peer}.py"
    printed = _run([str(python), str(script)], f"{script.name} failed")
    try:
        milliseconds: dict[str, float] = dict(json.loads(printed.splitlines()[-1])["milliseconds_per_step"])
    except (IndexError, KeyError, TypeError, ValueError):
        raise PeerFailed(f"{script.name} printed no measurement, but {printed[-200:]!r}") from None
    return milliseconds


def _installed(peer: str) -> Path:
    """Return the Python of the peer's environment, made now if it is not there or holds another version."""
    folder = Path(os.environ.get(VENVS_VARIABLE) or _VENVS) / peer
    python, holds = folder / "bin" / "python", folder / "holds.txt"
    requirement = f"{peer}=={PEERS[peer]}"
    if not (python.exists() and holds.exists() and holds.read_text() == requirement):
        print(f"installing {requirement} in {folder}", file=sys.stderr)
        _run([sys.executable, "-m", "venv", "--clear", str(folder)], "its environment could not be made")
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement]
        _run(pip, f"{requirement} could not be installed")
        holds.write_text(requirement)
    return python


def _run(command: list[str], failure: str) -> str:
    """Return what a command prints; what it started ends with it, and it after `_PATIENCE_SECONDS`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            printed, said = process.communicate(timeout=_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise PeerFailed(f"{failure}: it took more than {_PATIENCE_SECONDS:g} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        lines = said.strip().splitlines() or ["it said nothing"]
        raise PeerFailed(f"{failure} (exit code {process.returncode}): {lines[-1][:300]}")
    return printed
