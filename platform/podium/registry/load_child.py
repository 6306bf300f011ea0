"""The process that loads a model to check it: `python -m podium.registry.load_child ANSWER`, the request on stdin.

It limits itself before it reads the model, and writes one JSON document to ANSWER: a load's report or an error.
"""

import json
import math
import os
import resource
import signal
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podium.errors import PodiumError, Refused
from podium.registry.load_once import load_once
from podium.registry.trust import Trust

_OPEN_FILES = 256
_FILE_BYTES = 64 * 1024 * 1024
_MORE_PROCESSES = 500
_SECONDS_MORE = 5
"""After which the process ends by itself, if nobody is there any more to end it."""


def main(answer: Path) -> None:
    """Do what stdin asks for and write what became of it."""
    request = json.load(sys.stdin)
    limit(request["limits"])
    try:
        document = load(request)
    except MemoryError:
        document = {"error": "memory"}
    except Refused as error:
        document = {"error": "refused", "message": str(error)}
    except PodiumError as error:
        document = {"error": "artifact", "message": str(error)}
    scratch = answer.with_suffix(".new")
    scratch.write_text(json.dumps(document), encoding="utf-8")
    scratch.replace(answer)


def load(request: Mapping[str, Any]) -> dict[str, Any]:
    """Load the model and return the report of it."""
    warnings.simplefilter("ignore")  # the last line of output is to say what failed
    trust = request["trust"]
    report = load_once(
        Path(request["folder"]),
        digest=request["digest"],
        source=request["source"],
        trust=Trust(tuple(trust["types"]), trust["pickle"], tuple(trust["packages"])),
        own_code=request["own_code"],
    )
    return {**report.to_document(), "peak_memory_bytes": _peak_memory_bytes()}


def limit(limits: Mapping[str, Any]) -> None:
    """Hold this process, and each that it starts, to the limits."""
    seconds = math.ceil(limits["seconds"])
    _lower(resource.RLIMIT_AS, int(limits["memory_bytes"]))
    _lower(resource.RLIMIT_CPU, seconds, more=1)  # at the first of the two with a signal of its own
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _lower(resource.RLIMIT_FSIZE, _FILE_BYTES)
    _lower(resource.RLIMIT_NPROC, _own_threads() + _MORE_PROCESSES)
    signal.alarm(seconds + _SECONDS_MORE)


def _lower(kind: int, value: int, *, more: int = 0) -> None:
    _, hard = resource.getrlimit(kind)
    soft, allowed = (each if hard == resource.RLIM_INFINITY else min(each, hard) for each in (value, value + more))
    resource.setrlimit(kind, (soft, allowed))


def _own_threads() -> int:
    """Count the threads of this user, which is what the system counts against its limit of processes."""
    count = 0
    for entry in os.scandir("/proc"):
        try:
            if entry.name.isdecimal() and entry.stat().st_uid == os.getuid():
                count += sum(1 for _ in os.scandir(f"/proc/{entry.name}/task"))
        except OSError:  # it ended meanwhile
            continue
    return count


def _peak_memory_bytes() -> int:
    """Return this process's own peak: getrusage would count the parent's, of which it was forked."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]))
