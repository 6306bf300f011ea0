"""The `podium` command as users and scripts run it: a process, its exit code, its stdout and its stderr."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXECUTABLE = Path(sys.executable).with_name("podium")
ROOT = Path(__file__).parents[2]
_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True)
class Result:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line `Error: …` that a command which could not be done writes; nothing but progress is before it."""
        lines = [line for line in self.err.splitlines() if line.startswith("Error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0].removeprefix("Error: ")


@dataclass(frozen=True)
class Podium:
    """Runs commands in a project; `environment` is added to this process', without its own PODIUM_ variables."""

    project: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, **environment: str) -> Result:
        """Run one command to its end."""
        done = subprocess.run(
            [EXECUTABLE, *arguments],
            cwd=self.project,
            env=self.variables(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start one command, in a process group of its own."""
        return subprocess.Popen(
            [EXECUTABLE, *arguments],
            cwd=self.project,
            env=self.variables(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def variables(self, **environment: str) -> dict[str, str]:
        """The command's whole environment."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PODIUM_", "MLFLOW_"))}
        return {**own, **self.environment, **environment}
