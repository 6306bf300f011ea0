"""What steps hand on, what conditions decide, and how a run goes on after a failure."""

from pathlib import Path

import pytest

from podium.errors import Refused
from podium.wiring.runs import foreground
from tests.execution_world import (
    ONE_STEP,
    FlowProject,
    only,
    states,
)


@pytest.fixture
def flow(tmp_path: Path) -> FlowProject:
    return FlowProject(tmp_path / "flows")


class TestValues:
    def test_values_flow_from_step_to_step(self, flow: FlowProject) -> None:
        document = flow.run(
            """
class Parts(NamedTuple):
    small: int
    large: list[int]

@step
def make(day: Interval, size: int, label: str) -> Parts:
    assert (day.name, label) == ("2026-11-02", "x")
    return Parts(small=size, large=list(range(size)))

@step
def it(small: int, large: list[int]) -> dict[str, int]:
    return {"small": small, "sum": sum(large)}
---
def flow(day: Interval, size: int = 10, label: str = "x") -> None:
    parts = make(day, size, label)
    it(parts.small, parts.large)
""",
            size="2000",
        )
        assert (document["state"], document["outcome"]) == ("succeeded", "none")
        assert flow.value(document, "it") == {"small": 2000, "sum": 1999000}
        assert document["parameters"] == {"size": 2000, "label": "x"}

    def test_steps_run_in_the_project_s_folder_wherever_the_worker_was_started(
        self, flow: FlowProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        document = flow.run("""
@step
def first() -> str:
    found = os.getcwd()
    os.chdir("/")
    return found

@step
def it(first: str) -> list[str]:
    return [first, os.getcwd()]
---
def flow(day: Interval) -> None:
    it(first())
""")
        assert flow.value(document, "it") == [str(flow.root)] * 2

    def test_the_slots_of_a_plain_pipeline_import_nothing_heavy(self, flow: FlowProject) -> None:
        document = flow.run(
            """
@step
def it() -> list[str]:
    heavy = ("numpy", "pandas", "pyarrow", "scipy", "sklearn", "mlflow", "sqlalchemy", "pydantic")
    return [name for name in heavy if name in sys.modules]
"""
            + ONE_STEP
        )
        assert flow.value(document, "it") == []

    def test_thirty_steps_on_two_slots_run_two_at_once(self, flow: FlowProject) -> None:
        # Each pair meets at a pipe, where one alone would wait for ever: opening either end waits for the other.
        document = flow.run("""
@step(timeout="20s")
def it(number: int) -> int:
    pipe = Path(f"pipe-{number // 2}")
    try:
        os.mkfifo(pipe)
    except FileExistsError:
        pass
    with pipe.open("r" if number % 2 else "w"):
        return os.getpid()
---
def flow(day: Interval) -> None:
    for number in range(30):
        it.named(f"it_{number}")(number)
""")
        assert document["state"] == "succeeded"
        assert len({flow.value(document, f"it_{number}") for number in range(30)}) == 2


class TestResults:
    @pytest.mark.parametrize(
        ("returned", "said"),
        [
            ("threading.Lock()", "has no JSON"),
            ("(1, 2)", "The step it returned a tuple, which has no 'small'"),
        ],
    )
    def test_a_result_that_cannot_be_stored_is_not_tried_again(
        self, flow: FlowProject, returned: str, said: str
    ) -> None:
        document = flow.run(
            f"""
class Parts(NamedTuple):
    small: object
    large: object

@step(retries=3)
def it() -> Parts:
    return {returned if returned.startswith("(") else f"Parts(1, {returned})"}
"""
            + ONE_STEP
        )
        assert document["state"] == "failed"
        assert said in only(document)["error"]

    @pytest.mark.parametrize(
        ("returned", "said"),
        [
            ("float('nan')", "NaN, which is neither true nor false"),
            ("[1]", "is a list; return a bool"),
            ("'x' * 5000", "a text of 5,000 > 500 characters"),
            ("Color.RED", "is a Color; return a bool"),
        ],
    )
    def test_a_condition_that_cannot_be_decided_on_fails_its_step(
        self, flow: FlowProject, returned: str, said: str
    ) -> None:
        document = flow.run(f"""
import enum
from typing import Any

class Color(enum.IntEnum):
    RED = 1

@step(retries=3)
def it() -> Any:
    return {returned}

@step
def behind() -> None: ...
---
def flow(day: Interval) -> None:
    with when(it()):
        behind()
""")
        assert states(document) == {"it": "failed", "behind": "skipped"}
        assert said in only(document)["error"]

    def test_a_false_condition_skips_with_the_reason_and_the_run_succeeds(self, flow: FlowProject) -> None:
        document = flow.run("""
class Verdict(NamedTuple):
    passed: bool

@step
def judge() -> Verdict:
    return Verdict(passed=False)

@step
def it() -> None: ...
---
def flow(day: Interval) -> None:
    with when(judge().passed):
        it()
""")
        assert document["state"] == "succeeded"
        assert [each["reason"] for each in document["steps"]] == [None, "judge.passed is False"]

    def test_what_failed_runs_again_after_the_file_is_repaired_and_nothing_else(self, flow: FlowProject) -> None:
        source = """
@step
def good() -> int:
    return 1

@step
def it(good: int) -> int:
    return good // 0

@step
def beside() -> int:
    return 5

@step
def behind(it: int) -> int:
    return it + 1
---
def flow(day: Interval) -> None:
    behind(it(good()))
    beside()
"""
        failed = flow.run(source)
        assert states(failed) == {"good": "succeeded", "it": "failed", "beside": "succeeded", "behind": "skipped"}
        assert "ZeroDivisionError" in failed["reason"]
        assert [each["reason"] for each in failed["steps"] if each["name"] == "behind"] == ["it failed"]
        flow.write(source.replace("good // 0", "good + 9"))
        resumed = flow.resume(failed["run_id"])
        assert resumed["state"] == "succeeded"
        assert flow.value(resumed, "behind") == 11
        counted = {each["name"]: len(each["attempts"]) for each in resumed["steps"]}
        assert counted == {"good": 1, "beside": 1, "it": 2, "behind": 1}

    def test_another_graph_does_not_go_on_with_an_old_run(self, flow: FlowProject) -> None:
        failed = flow.run("@step\ndef it() -> int:\n    return 1 // 0\n" + ONE_STEP)
        flow.write("@step\ndef other() -> None: ...\n" + ONE_STEP.replace("it()", "other()"))
        with pytest.raises(Refused, match="The graph of flow changed"):
            flow.resume(failed["run_id"])

    def test_code_that_changed_under_a_worker_is_not_run_as_if_it_had_not(self, flow: FlowProject) -> None:
        flow.write("@step\ndef it() -> int:\n    return 1\n" + ONE_STEP)
        run = flow.start()
        with foreground(flow.project, flow.plan(), lambda _: None) as worker:
            flow.write("@step\ndef it() -> int:\n    return 2\n" + ONE_STEP)
            worker.execute(run.run_id)
        document = flow.document(run)
        assert document["state"] == "failed"
        assert "flow.py" in only(document)["error"]
