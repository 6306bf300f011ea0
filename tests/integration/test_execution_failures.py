"""Steps that raise, die, hang or grow: the attempt ends in words, with nothing left of it."""

from pathlib import Path

import pytest

from podium.execution.entities import Happening
from tests.execution_world import (
    ONE_STEP,
    FlowProject,
    attempts,
    is_gone,
    only,
)


@pytest.fixture
def flow(tmp_path: Path) -> FlowProject:
    return FlowProject(tmp_path / "flows")


class TestFailures:
    def test_a_step_that_raises_says_what_and_where_and_its_log_has_the_traceback(self, flow: FlowProject) -> None:
        document = flow.run(
            """
import json

@step
def it() -> None:
    json.loads("{no json")
"""
            + ONE_STEP
        )
        line = 1 + (flow.root / "pipelines" / "flow.py").read_text().splitlines().index('    json.loads("{no json")')
        error = only(document)["error"]
        assert error.startswith("JSONDecodeError: Expecting property name")
        assert error.endswith(f"(pipelines/flow.py:{line})")
        assert (document["state"], document["reason"]) == ("failed", f"it: {error}")
        assert "Traceback (most recent call last)" in flow.log(document, "it")
        assert "slot.py" not in flow.log(document, "it")  # Podium's own frames are in every traceback

    def test_a_project_in_a_folder_called_podium_gets_its_line_too(self, tmp_path: Path) -> None:
        flow = FlowProject(tmp_path / "podium" / "flows")
        document = flow.run("@step\ndef it() -> None:\n    raise ValueError('no')\n" + ONE_STEP)
        assert "(pipelines/flow.py:" in only(document)["error"]

    @pytest.mark.parametrize(
        ("raised", "said"),
        [
            ("ValueError('half \\udc80 and NUL \\0')", r"ValueError: half \udc80 and NUL \x00"),
            ("ValueError('x' * 10_000_000)", "(10,000,012 characters; the log has all)"),
            ("Broken()", "Broken: its text cannot be shown"),
            ("SystemExit(3)", "SystemExit: 3"),
            ("KeyboardInterrupt", "KeyboardInterrupt"),
        ],
    )
    def test_whatever_a_step_raises_ends_its_attempt_in_words(self, flow: FlowProject, raised: str, said: str) -> None:
        document = flow.run(
            f"""
class Broken(Exception):
    def __str__(self) -> str:
        raise LookupError

@step
def it() -> None:
    raise {raised}
"""
            + ONE_STEP
        )
        assert document["state"] == "failed"
        assert said in only(document)["error"]

    def test_a_model_given_wrongly_in_a_step_is_told_in_one_line(self, flow: FlowProject) -> None:
        document = flow.run(
            """
from podium.canary.plan import CanaryPlan

@step
def it() -> None:
    CanaryPlan(margni=0.02)
"""
            + ONE_STEP
        )
        error = only(document)["error"]
        assert error.startswith(
            "CanaryPlan has no field 'margni'; did you mean margin? Its fields are phases, margin, "
        )
        assert "(pipelines/flow.py:" in error
        assert "\n" not in error

    def test_retries_back_off_and_succeed(self, flow: FlowProject) -> None:
        told: list[Happening] = []
        document = flow.run(
            """
@step(retries=2)
def it() -> int:
    with open("tries", "a") as file:
        file.write("x")
    if Path("tries").stat().st_size < 2:
        raise OSError("not yet")
    return 7
"""
            + ONE_STEP,
            told.append,
        )
        assert [each["state"] for each in attempts(document, "it")] == ["failed", "succeeded"]
        assert flow.value(document, "it") == 7
        first, second = (each.at for each in told if each.kind == "attempt.started")
        assert (second - first).total_seconds() >= 1.0
        kinds = [each.kind for each in told if each.step == "it"]
        assert kinds == ["step.ready", "attempt.started", "attempt.failed", "step.waiting", "attempt.started",
                         "attempt.succeeded", "step.succeeded"]  # fmt: skip

    @pytest.mark.parametrize(
        ("act", "said"),
        [
            ("os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9 (the kernel does that when memory runs out)"),
            ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by signal 11"),
            ("os._exit(3)", "ended with exit status 3"),
            ("os._exit(0)", "ended with exit status 0"),
        ],
    )
    def test_a_step_whose_process_dies_fails_with_how_and_keeps_what_it_printed(
        self, flow: FlowProject, monkeypatch: pytest.MonkeyPatch, act: str, said: str
    ) -> None:
        monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
        document = flow.run(
            f"""
@step
def it() -> None:
    print("last words")
    {act}
"""
            + ONE_STEP
        )
        assert said in only(document)["error"]
        assert only(document)["meter_quality"] in ("estimated", "missing")
        assert "last words" in flow.log(document, "it")

    def test_what_a_dead_step_had_started_is_ended_before_it_is_tried_again(self, flow: FlowProject) -> None:
        document = flow.run(
            """
@step(retries=1)
def it() -> bool:
    if not Path("child").exists():
        Path("child").write_text(str(subprocess.Popen(["sleep", "600"], start_new_session=True).pid))
        os.kill(os.getpid(), signal.SIGKILL)
    return Path("/proc", Path("child").read_text()).exists()
"""
            + ONE_STEP
        )
        assert flow.value(document, "it") is False

    def test_a_step_past_its_timeout_is_ended_with_its_whole_tree(self, flow: FlowProject) -> None:
        document = flow.run(
            """
@step(timeout="0.3s")
def it() -> None:
    ready, told = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            Path("grandchild").write_text(str(os.getpid()))
            os.write(told, b"x")
            while True:
                signal.pause()
        os._exit(0)
    os.read(ready, 1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()
"""
            + ONE_STEP
        )
        attempt = only(document)
        assert attempt["state"] == "timed_out"
        assert "s > 0.3 s allowed" in attempt["error"]
        assert 0.3 < attempt["wall_seconds"] < 3.0
        assert attempt["meter_quality"] == "estimated"
        assert attempt["cpu_seconds"] is not None
        assert is_gone(int((flow.root / "grandchild").read_text()))

    def test_a_step_beyond_its_memory_is_ended_and_told_both_figures(self, flow: FlowProject) -> None:
        document = flow.run(
            """
@step(memory="200MiB")
def it() -> None:
    block = bytearray(os.urandom(2**20) * 250)
    signal.pause()
"""
            + ONE_STEP
        )
        attempt = only(document)
        assert attempt["state"] == "failed"
        assert "MiB > 200 MiB reserved; reserve more with @step(memory=…)" in attempt["error"]
        assert attempt["peak_memory_bytes"] > 200 * 2**20

    def test_children_that_share_their_parent_s_memory_do_not_add_up_beyond_the_limit(self, flow: FlowProject) -> None:
        document = flow.run(
            """
@step(memory="300MiB")
def it() -> None:
    block = os.urandom(100 * 2**20)
    for _ in range(5):
        if os.fork() == 0:
            signal.pause()
    signal.alarm(1)
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.pause()
"""
            + ONE_STEP
        )
        assert document["state"] == "succeeded"
