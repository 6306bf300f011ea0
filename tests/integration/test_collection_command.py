"""`podium gc` and `podium artifacts` on a project that ran, and a `podium gc` that is killed."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from podium.db.schema import artifact, run
from tests.crash.scenarios import COLLECTION_POINTS
from tests.execution_world import FlowProject

FLOW = """
@step
def numbers(day: Interval) -> list[int]:
    print("made")
    return list(range(5000))

@step
def doubled(numbers: list[int]) -> list[int]:
    return [2 * each for each in numbers]

@step
def total(numbers: list[int]) -> int:
    return sum(numbers)
---
def flow(day: Interval) -> None:
    total(doubled(numbers(day)))
"""


class Command:
    """`podium` in a project, in a process of its own."""

    def __init__(self, flow: FlowProject, database_url: str) -> None:
        self.flow = flow
        self._environment = {**os.environ, "PODIUM_DATABASE_URL": database_url}

    def run(self, *arguments: str, faults: str = "") -> "subprocess.CompletedProcess[str]":
        code = "from podium.cli.main import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=self.flow.root,
            env={**self._environment, "PODIUM_FAULTS": faults},
            capture_output=True,
            text=True,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        answer = self.run(*arguments, "--json")
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)

    def files(self) -> set[str]:
        """The digests whose bytes are there."""
        return {blob.digest for blob in self.flow.project.blobs.stored()}


@pytest.fixture
def command(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("PODIUM_DATABASE_URL", database_url)
    return Command(FlowProject(tmp_path / "flows"), database_url)


def make_old(flow: FlowProject) -> None:
    """Let all that is there be from 100 days ago."""
    ago = datetime.now(UTC) - timedelta(days=100)
    with flow.project.database.write() as connection:
        connection.execute(artifact.update().values(stored_at=ago))
        connection.execute(run.update().values(created_at=ago, started_at=ago, ended_at=ago))
    for path in flow.project.settings.artifact_folder.rglob("*"):
        if path.is_file():
            os.utime(path, (ago.timestamp(), ago.timestamp()))


def test_a_collection_that_is_killed_is_finished_by_the_next(command: Command) -> None:
    document = command.flow.run(FLOW)
    before = command.files()
    assert len(before) == 2
    (command.flow.project.settings.artifact_folder / "incoming" / "half").write_bytes(b"half")
    (kept,) = command.json("gc")["kept"]
    assert (kept["count"], "resumed" in kept["reason"]) == (2, True)
    make_old(command.flow)
    told = command.run("gc", "--dry-run").stdout
    assert "Would remove 2 artifacts that nothing needs" in told
    assert "Would remove 1 scratch files" in told
    assert command.files() == before

    for point, left_there in zip(COLLECTION_POINTS, (2, 1), strict=True):
        killed = command.run("gc", faults=f"{point}:kill")
        assert (killed.returncode, len(command.files())) == (-signal.SIGKILL, left_there)
    left = command.files()
    found = command.json("gc")
    assert (set(found["removed"]["digests"]), command.files()) == (left, set())
    assert found["logs"]["files"] == 3

    with command.flow.project.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(artifact)) == 3
    listed = command.json("artifacts", "list", document["run_id"])
    assert [each["kept"] for each in listed] == ["removed", "removed", "inline"]
    assert command.flow.value(document, "total") == sum(range(0, 10000, 2))


def test_an_artifact_is_traced_to_who_made_and_who_read_it(command: Command) -> None:
    document = command.flow.run(FLOW)
    numbers, doubled, total = command.json("artifacts", "list", document["run_id"])
    assert [each["step"] for each in (numbers, doubled, total)] == ["numbers", "doubled", "total"]
    shown = command.json("artifacts", "show", numbers["digest"][:12])
    (maker,), (reader,) = shown["made_by"], shown["read_by"]
    assert (maker["step"], maker["run_id"], maker["outputs"]) == ("numbers", document["run_id"], ["result"])
    assert (reader["step"], reader["attempt"], reader["parameters"]) == ("doubled", 1, ["numbers"])
    assert Path(shown["where"]).is_file()
    told = command.run("artifacts", "show", numbers["digest"]).stdout
    assert f"made by attempt 1 of numbers in run {document['run_id']} of flow (succeeded), as result" in told
    assert "read by attempt 1 of doubled" in told
    assert command.json("artifacts", "show", total["digest"])["where"] == "the database"
    unknown = command.run("artifacts", "show", "0" * 12)
    assert (unknown.returncode, "No digest of an artifact begins with" in unknown.stderr) == (2, True)
