"""Load a model in a process of its own, once, to see that it does: with limits, without secrets, and ended whole.

The process protects the one that asks from a model that takes all memory, never ends or crashes. It is no sandbox: code
of the model runs as the same user, with that user's files and network.
"""

import json
import os
import secrets
import signal
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.errors import ArtifactError, Refused
from podium.registry import model_files, packaging
from podium.registry.load_once import describe
from podium.registry.load_report import Limits, LoadMemory, LoadReport, environment_digest
from podium.registry.trust import Trust

if TYPE_CHECKING:  # heavy, and not needed to import this module
    import pandas as pd

_KEPT = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
"""All of the environment that the process is given: no variable that may hold a secret."""
_MARK = "PODIUM_LOAD"
_SHOWN_CHARACTERS = 300


class CheckedLoads:
    """Checks that stored models load, each once in an environment; threads may share it."""

    def __init__(self, trust: Trust, limits: Limits | None = None, folder: Path | None = None) -> None:
        self._trust = trust
        self._limits = limits or Limits()
        self._memory = LoadMemory(folder)

    def check(self, folder: Path, *, digest: str, source: str, own_code: bool) -> LoadReport:
        """Return what became of loading the model in `folder`, or of an earlier load of the same bytes.

        The digest of the files is checked every time. Raises ArtifactError for files that are not those of `digest`, do
        not load, do not predict the rows stored with them or pass a limit; and Refused for what may not be loaded.
        """
        model_files.check_folder(folder, digest=digest, source=source)
        environment = environment_digest(self._trust, self._limits, own_code=own_code)
        known = self._memory.find(digest, environment)
        if known is not None:
            return known
        report = load_in_child(
            folder, digest=digest, source=source, trust=self._trust, limits=self._limits, own_code=own_code
        )
        self._memory.keep(digest, environment, report)
        return report

    def complete(self, folder: Path, estimator: Any, sample: "pd.DataFrame", serialization: str) -> str:
        """Complete the files that MLflow wrote of an estimator and return their digest.

        A model of reviewed types is loaded from them here, and it is remembered that it loads: it does so elsewhere as
        well. Another one may need what this process has imported, so it is not known yet whether it loads.
        """
        if serialization != packaging.SKOPS:
            model_files.complete_folder(folder, estimator, sample)
            return packaging.digest_of_folder(folder)
        started = time.perf_counter()
        sheet = model_files.read_sheet(folder, str(folder))
        data = (folder / sheet.payload).read_bytes()
        loaded = model_files.load_bytes(data, serialization, source=str(folder), trust=self._trust, own_code=False)
        rows = model_files.complete_folder(folder, loaded, sample)
        report = describe(loaded, rows, columns=sheet.columns, started=started)
        digest = packaging.digest_of_folder(folder)
        for own_code in (False, True):  # who may load it with code of its own may load it without
            self._memory.keep(digest, environment_digest(self._trust, self._limits, own_code=own_code), report)
        return digest


def load_in_child(
    folder: Path, *, digest: str, source: str, trust: Trust, limits: Limits, own_code: bool
) -> LoadReport:
    """Load the model in a fresh process that checks digest and trust by itself; see `CheckedLoads.check`."""
    request = {
        "folder": str(folder.absolute()),
        "digest": digest,
        "source": source,
        "trust": asdict(trust),
        "limits": asdict(limits),
        "own_code": own_code,
    }
    with tempfile.TemporaryDirectory(prefix="podium-load-", ignore_cleanup_errors=True) as scratch:
        answer, output, work = (Path(scratch) / name for name in ("answer.json", "output", "work"))
        work.mkdir()
        code = _run(json.dumps(request).encode(), answer, output, work, limits)
        said = _last_line(output)
        document = _read(answer)
    if code is not None and document is not None:
        if "error" in document:
            raise _error(document, source, limits)
        with suppress(KeyError, TypeError, ValueError):
            return LoadReport.from_document(document)
    raise ArtifactError(
        f"The model at {source} does not load: {_how_it_ended(code, limits)}{f' Its last line: {said}' if said else ''}"
    )


def _run(request: bytes, answer: Path, output: Path, work: Path, limits: Limits) -> int | None:
    """Run the process and end all that it started; return its exit code, None where its time was up."""
    mark = secrets.token_hex(16)
    command = [sys.executable, "-P", "-m", "podium.registry.load_child", str(answer)]
    with output.open("wb") as written:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=written,
            stderr=subprocess.STDOUT,
            cwd=work,
            env=_environment(work, mark),
            start_new_session=True,
        )
        try:
            assert process.stdin is not None  # noqa: S101 - for mypy: it was asked for
            with suppress(BrokenPipeError), process.stdin as pipe:
                pipe.write(request)
            return process.wait(limits.seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end_all(process, mark)


def _environment(work: Path, mark: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    if "PYTHONPATH" in kept:  # a relative part means the folder that this process is in
        kept["PYTHONPATH"] = os.pathsep.join(
            str(Path(part).absolute()) for part in kept["PYTHONPATH"].split(os.pathsep)
        )
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    home = {"HOME": str(work), "TMPDIR": str(work), "PYTHONUSERBASE": site.getuserbase()}
    return {**kept, **threads, **home, _MARK: mark}


def _end_all(process: "subprocess.Popen[bytes]", mark: str) -> None:
    """Kill the process, its group, and what left the group: that still has the mark in its environment."""
    import psutil

    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(10):  # one that forks while it is looked for is found the next time
        left = 0
        for each in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if each.environ().get(_MARK) == mark and each.status() != psutil.STATUS_ZOMBIE:
                    each.kill()
                    left += 1
        if not left:
            return


def _read(answer: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(answer.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _error(document: Mapping[str, Any], source: str, limits: Limits) -> ArtifactError | Refused:
    if document["error"] == "memory":
        return ArtifactError(
            f"The model at {source} does not load: it needs more than {limits.memory_bytes / 1024**3:g} GiB of memory "
            "(load_memory_gib in [models])."
        )
    return (Refused if document["error"] == "refused" else ArtifactError)(str(document.get("message", "")))


def _how_it_ended(code: int | None, limits: Limits) -> str:
    if code is None:
        return f"its process was ended after {limits.seconds:g} s (load_seconds in [models])."
    if code == -signal.SIGXCPU:
        return f"its process used more than {limits.seconds:g} s of the processor (load_seconds in [models])."
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}."
    return f"its process ended with exit code {code} and without an answer."


def _last_line(output: Path) -> str:
    with output.open("rb") as file:
        file.seek(max(0, output.stat().st_size - 4096))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:_SHOWN_CHARACTERS] if lines else ""
