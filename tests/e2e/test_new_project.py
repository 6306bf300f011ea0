"""A new user's first minutes: `podium init`, a run at a terminal, an interrupt, a pipe that somebody closes."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from podium.testing import FakeRegistry, run_pipeline
from tests.e2e.command import EXECUTABLE, Podium
from tests.execution_world import loaded, states

# The second step waits at the pipe `held` for as long as the file `hold` is there.
WAITING = """
import signal
from pathlib import Path

from podium import Interval, pipeline, step

ROOT = Path(__file__).parent.parent

@step
def first(month: Interval) -> int:
    return 1

@step
def second(number: int) -> int:
    if (ROOT / "hold").exists():
        (ROOT / "held").write_text("x")
        signal.pause()
    return number + 1

@pipeline(model="waiting", team="research", environment="dev", grain="month")
def waiting(month: Interval) -> None:
    second(first(month))
"""


@pytest.fixture(scope="module")
def podium(tmp_path_factory: pytest.TempPathFactory) -> Podium:
    """The command in a project that `podium init` made, with a second pipeline beside the first."""
    outside = Podium(tmp_path_factory.mktemp("new"))
    made = outside("init", "my-project")
    assert made.code == 0
    assert made.out.splitlines()[-1] == "  cd my-project && podium run digits --for 2026-10"
    project = outside.project / "my-project"
    assert sorted(path.relative_to(project).as_posix() for path in project.rglob("*.*")) == [
        "pipelines/digits.py", "podium.toml", "prices.yaml", "tests/test_digits.py",
    ]  # fmt: skip
    (project / "pipelines" / "waiting.py").write_text(WAITING)
    return Podium(project)


def _at_a_terminal(podium: Podium, *arguments: str, columns: int, **environment: str) -> str:
    """Run a command at a terminal of that width and return everything that was written to it."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    variables = {**podium.variables(**environment), "TERM": "xterm-256color"}
    variables.pop("COLUMNS", None)
    with subprocess.Popen(
        [EXECUTABLE, *arguments], cwd=podium.project, env=variables, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                data = os.read(ours, 1 << 16)
            except OSError:  # Linux says so when the last writer has closed the terminal
                break
            if not data:
                break
            written += data
    os.close(ours)
    assert process.returncode == 0, written.decode()
    return written.decode()


def test_the_first_run_shows_its_steps_live_and_ends_with_table_and_hints(podium: Podium) -> None:
    written = _at_a_terminal(podium, "run", "digits", "--for", "2026-03", columns=100, NO_COLOR="1")
    assert "…  train" in written or "✓  train" in written  # the live view
    shown = written.rpartition("\x1b[2K")[2]  # what is left when the live view is gone
    lines = re.sub(r"\x1b\[[?0-9]*[a-zA-Z]", "", shown).splitlines()
    row = next(line for line in lines if line.startswith("2026-03")).split()
    assert row[2:-1] == ["passed", "promoted", "none", "→", "1"]
    assert row[-1].startswith("$0.00")
    assert any("First model" in line for line in lines)
    hints = lines[lines.index("Worth trying next:") + 1 :]
    assert [line.split("#")[0].split()[:3] for line in hints if line] == [
        ["podium", "models", "history"],
        ["podium", "runs", "show"],
        ["podium", "costs", "report"],
    ]
    assert max(map(len, lines)) <= 100
    assert "warn" not in written.lower()


def test_the_tests_of_a_new_project_pass(podium: Podium) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    tested = subprocess.run(command, cwd=podium.project, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout
    assert "4 passed" in tested.stdout


def test_a_run_in_process_comes_to_what_the_real_one_comes_to(podium: Podium) -> None:
    real = podium("run", "digits", "--for", "2026-03", "--json").document
    registry = FakeRegistry()
    with loaded(podium.project / "pipelines" / "digits.py") as module:
        result = run_pipeline(module.digits, "2026-03", registry=registry)
        evidence = result.value("evaluate_candidate").model_dump(mode="json")
    assert (result.state, result.outcome, result.reason) == (real["state"], real["outcome"], real["reason"])
    assert result.states == states(real)
    verdict = real["verdict"]
    for ours, theirs in (("verdict", "result"), ("reasons", "reasons"), ("rows", "rows"), ("holdout_uses",) * 2):
        assert evidence[ours] == verdict[theirs]
    measured = [{name: each[name] for name in verdict["metrics"][0]} for each in evidence["measurements"]]
    assert measured == verdict["metrics"]
    assert registry.champion("digits") == real["model"]["champion_after"] == "1"


def test_colour_is_for_terminals_that_want_it(podium: Podium) -> None:
    assert "\x1b[1m" in _at_a_terminal(podium, "pipelines", "list", columns=80)
    assert "\x1b[3" not in _at_a_terminal(podium, "pipelines", "list", columns=80, NO_COLOR="1")
    assert "\x1b" not in podium("pipelines", "list").out


@pytest.mark.parametrize(
    "stop",
    [
        pytest.param(lambda pid: os.killpg(pid, signal.SIGINT), id="Ctrl-C, which every process of the terminal gets"),
        pytest.param(lambda pid: os.kill(pid, signal.SIGTERM), id="SIGTERM"),
    ],
)
def test_an_interrupted_run_exits_130_and_the_same_command_goes_on(podium: Podium, stop: Callable[[int], None]) -> None:
    hold, held = podium.project / "hold", podium.project / "held"
    hold.touch()
    os.mkfifo(held)
    command = ("run", "waiting", "--for", "2026-10", "--again")
    try:
        process = podium.start(*command)
        assert held.read_text() == "x"  # the second step is in its middle
        stop(process.pid)
        out, err = process.communicate(timeout=30)
    finally:
        hold.unlink()
        held.unlink()
    assert process.returncode == 130, err
    assert out == ""
    assert err.splitlines()[-1] == "Interrupted. What was finished is kept; the same command goes on from there."
    assert "Traceback" not in err

    answer = podium("run", "waiting", "--for", "2026-10", "--json")
    assert answer.code == 0, answer.err
    first, second = answer.document["steps"]
    assert [attempt["state"] for attempt in first["attempts"]] == ["succeeded"]
    assert [attempt["state"] for attempt in second["attempts"]] == ["cancelled", "succeeded"]
    assert podium("costs", "reconcile").code == 0


def test_a_reader_who_leaves_is_no_error(podium: Podium) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{EXECUTABLE} runs list --json | head -1; echo ${{PIPESTATUS[0]}}"],
        cwd=podium.project,
        env=podium.variables(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout in ("[\n0\n", "[]\n0\n")


def test_a_run_goes_on_when_nobody_watches_it_any_more(podium: Podium) -> None:
    process = podium.start("run", "waiting", "--for", "2026-11", "--json")
    assert process.stderr is not None
    assert process.stdout is not None
    process.stderr.close()
    out = process.stdout.read()
    assert process.wait(timeout=60) == 0
    process.stdout.close()
    assert json.loads(out)["state"] == "succeeded"


def test_a_project_works_from_a_folder_inside_it(podium: Podium) -> None:
    inside = Podium(Path(podium.project, "pipelines"))
    assert {plan["pipeline"] for plan in inside("pipelines", "list", "--json").document} == {"digits", "waiting"}
    assert not (inside.project / ".podium").exists()
