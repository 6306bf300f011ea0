"""`podium` on a machine that is not as it should be: another host's name, a clock that jumps, files that cannot grow.

`python -m tests.crash.altered '{"host": "elsewhere"}' worker` is `podium worker` on a host of that name. `clock` names
a file with the seconds by which the time of day is off, read anew each time; `file_bytes` is what a file may grow to.
"""

import json
import os
import resource
import socket
import sys
from datetime import datetime, timedelta
from pathlib import Path

from podium.cli.main import main
from podium.clock import SystemClock


def alter(machine: dict[str, str | int]) -> None:
    """Make this process believe what it is told of its machine."""
    if "host" in machine:
        socket.gethostname = lambda: str(machine["host"])
    if "file_bytes" in machine:  # inherited by the slots; the kernel then answers EFBIG, as a full disk does ENOSPC
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(machine["file_bytes"]),) * 2)
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # of Podium itself: an installation has compiled it before
        sys.dont_write_bytecode = True
    if "clock" in machine:
        right, off = SystemClock.now, Path(str(machine["clock"]))

        def now(self: SystemClock) -> datetime:
            return right(self) + timedelta(seconds=float(off.read_text()))

        setattr(SystemClock, "now", now)  # noqa: B010 - mypy takes no method to be assigned to


if __name__ == "__main__":
    alter(json.loads(sys.argv[1]))
    del sys.argv[1]
    sys.exit(main())
