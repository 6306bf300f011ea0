"""Slots: logs, standard input, processes that steps start, meters."""

from pathlib import Path

import pytest

from podium.execution import attempt_store
from tests.execution_world import (
    ONE_STEP,
    FlowProject,
    is_gone,
    only,
)


@pytest.fixture
def flow(tmp_path: Path) -> FlowProject:
    return FlowProject(tmp_path / "flows")


class TestSlots:
    def test_each_attempt_s_log_holds_what_it_and_its_children_print(self, flow: FlowProject) -> None:
        document = flow.run(
            """
@step(retries=1)
def it() -> None:
    print("from Python, naïve ∑")
    sys.stderr.write("from stderr\\n")
    os.write(1, b"from native code\\n")
    subprocess.run(["echo", "from a program"], check=True)
    if not Path("again").exists():
        Path("again").touch()
        raise RuntimeError("once")
"""
            + ONE_STEP
        )
        first, second = flow.log(document, "it", 1), flow.log(document, "it", 2)
        words = ["from Python, naïve ∑", "from stderr", "from native code", "from a program"]
        assert second.splitlines() == words
        assert first.splitlines()[:4] == words
        assert "RuntimeError: once" in first
        assert all("from" not in line for line in (flow.project.log_folder / "slot-host.log").read_text().splitlines())

    def test_standard_input_is_empty(self, flow: FlowProject) -> None:
        document = flow.run("@step\ndef it() -> str:\n    return sys.stdin.read() + '.'\n" + ONE_STEP)
        assert flow.value(document, "it") == "."

    def test_a_process_left_behind_is_ended_its_slot_replaced_and_the_next_attempt_fine(
        self, flow: FlowProject
    ) -> None:
        document = flow.run("""
@step
def first() -> list[int]:
    left = subprocess.Popen(["sleep", "600"], start_new_session=True)
    return [os.getpid(), left.pid]

@step
def it(first: list[int]) -> list[int]:
    return [*first, os.getpid()]
---
def flow(day: Interval) -> None:
    it(first())
""")
        slot, left, next_slot = flow.value(document, "it")
        assert is_gone(left)
        assert slot != next_slot
        assert "1 processes were left when the step ended" in flow.log(document, "first")

    def test_a_pool_that_replaces_its_dead_workers_neither_hangs_the_slot_nor_survives(self, flow: FlowProject) -> None:
        document = flow.run("""
import multiprocessing

@step(timeout="20s")
def first() -> list[int]:
    global pool
    pool = multiprocessing.Pool(2)
    return pool.map(abs, [-1, -2])

@step
def it(first: list[int]) -> list[int]:
    return first
---
def flow(day: Interval) -> None:
    it(first())
""")
        assert document["state"] == "succeeded"
        assert flow.value(document, "it") == [1, 2]

    @pytest.mark.parametrize(
        "work",
        [
            "with multiprocessing.Pool(2) as pool:\n        return pool.map(abs, [-1, -2])",
            "with multiprocessing.get_context('spawn').Pool(2) as pool:\n        return pool.map(abs, [-1, -2])",
            "with ProcessPoolExecutor(2) as pool:\n        return list(pool.map(abs, [-1, -2]))",
            "import joblib\n    return joblib.Parallel(2)(joblib.delayed(abs)(n) for n in (-1, -2))",
        ],
        ids=["fork", "spawn", "executor", "joblib"],
    )
    def test_steps_may_start_processes_also_twice_in_a_row(self, flow: FlowProject, work: str) -> None:
        document = flow.run(f"""
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

@step
def first() -> list[int]:
    {work}

@step
def it(first: list[int]) -> list[int]:
    {work}
---
def flow(day: Interval) -> None:
    it(first())
""")
        assert document["state"] == "succeeded", document["reason"]
        assert flow.value(document, "it") == [1, 2]

    def test_a_forked_child_that_returns_is_not_taken_for_the_step_s_end(self, flow: FlowProject) -> None:
        document = flow.run(
            """
@step
def it() -> str:
    if (child := os.fork()) == 0:
        return "child"
    os.waitpid(child, 0)
    return "parent"
"""
            + ONE_STEP
        )
        assert flow.value(document, "it") == "parent"

    def test_an_attempt_s_cpu_and_memory_are_its_own_in_a_slot_that_did_more_before(self, flow: FlowProject) -> None:
        document = flow.run("""
def burn(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass

@step
def first() -> None:
    block = bytearray(os.urandom(2**20) * 150)
    burn(0.3)

@step
def it(first: None) -> None:
    if (child := os.fork()) == 0:
        burn(0.2)
        os._exit(0)
    os.waitpid(child, 0)
---
def flow(day: Interval) -> None:
    it(first())
""")
        first, second = only(document, "first"), only(document, "it")
        assert first["peak_memory_bytes"] > 150 * 2**20 > second["peak_memory_bytes"] > 0
        assert first["cpu_seconds"] >= 0.3
        assert 0.2 <= second["cpu_seconds"] < first["cpu_seconds"] + 0.1
        assert {first["meter_quality"], second["meter_quality"]} == {"measured"}


def test_a_log_has_the_name_that_the_attempt_records(flow: FlowProject) -> None:
    document = flow.run("@step\ndef it() -> None: ...\n" + ONE_STEP)
    assert only(document)["log"] == attempt_store.log_name(document["run_id"], "it", 1)
    assert (flow.project.log_folder / only(document)["log"]).exists()
