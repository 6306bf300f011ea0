"""The command in this process: its exit code, its stdout and its stderr, and no PODIUM_ variable but the test's."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from podium.cli import output
from podium.cli.main import main
from tests.e2e.command import Result

COUNTING = """
from podium import Interval, pipeline, step

@step
def numbers(month: Interval, count: int) -> list[int]:
    return list(range(count))

@step
def total(numbers: list[int]) -> int:
    return sum(numbers)

@pipeline(model="counting", team="research", environment="dev", grain="month")
def counting(month: Interval, count: int = 3, label: str = "x") -> None:
    total(numbers(month, count))
"""


@dataclass(frozen=True)
class InProcess:
    """Runs `podium` in this process, in the folder `project`."""

    project: Path
    monkeypatch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str, **environment: str) -> Result:
        """Run one command to its end."""
        self.capture.readouterr()
        for console in (output.console, output.progress_console):
            console.cache_clear()  # it is as wide as the command before was told
        with self.monkeypatch.context() as patch:
            patch.chdir(self.project)
            patch.setattr(sys, "argv", ["podium", *arguments])
            for name, value in environment.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main()
        written = self.capture.readouterr()
        assert isinstance(ended.value.code, int)
        return Result(ended.value.code, written.out, written.err)

    def pipeline(self, text: str, name: str = "counting") -> None:
        """Write a pipeline file."""
        (self.project / "pipelines" / f"{name}.py").write_text(text)


@pytest.fixture
def podium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> InProcess:
    """The command in a fresh project with the pipeline `counting`."""
    for name in [name for name in os.environ if name.startswith(("PODIUM_", "MLFLOW_")) or name == "COLUMNS"]:
        monkeypatch.delenv(name)
    project = tmp_path / "project"
    (project / "pipelines").mkdir(parents=True)
    (project / "podium.toml").write_text('project = "tests"\nslots = 2\n')
    made = InProcess(project, monkeypatch, capsys)
    made.pipeline(COUNTING)
    return made


@pytest.fixture
def refuses(podium: InProcess) -> Callable[..., str]:
    """Run a command that must exit with `code` having made no run, and return the paragraph it wrote."""

    def check(*arguments: str, code: int = 2, **environment: str) -> str:
        before = podium("runs", "list", "--json")
        answer = podium(*arguments, **environment)
        assert answer.code == code, answer
        assert answer.out == ""
        assert podium("runs", "list", "--json") == before
        return answer.complaint

    return check
