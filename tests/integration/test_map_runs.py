"""`step.map` run for real: items in slots of their own, their lists handed on, and what fails alone."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from podium.cli.graph import draw
from podium.cli.log_reader import AttemptLog, attempt_logs, print_logs
from podium.cli.progress import LiveProgress, PlainProgress
from podium.cli.run_report import print_run
from podium.clock import FakeClock
from podium.errors import Refused
from podium.execution import queries
from podium.execution.entities import Happening
from tests.execution_world import DAY, FlowProject, attempts, states


@pytest.fixture
def flow(tmp_path: Path) -> FlowProject:
    return FlowProject(tmp_path / "flows")


def test_a_step_runs_for_each_item_of_a_list_and_the_next_gets_the_list_of_results(flow: FlowProject) -> None:
    document = flow.run(
        """
class Fitted(NamedTuple):
    model: str
    score: float

@step
def depths(day: Interval, count: int) -> list[int]:
    return list(range(1, count + 1))

@step
def fit(depth: int, history: list[int], prefix: str = "m") -> Fitted:
    print(f"depth {depth}")
    return Fitted(f"{prefix}{depth}", depth / len(history))

@step
def history() -> list[int]:
    return [1, 2]

@step
def choose(models: list[str], scores: list[float], depths: list[int]) -> str:
    assert depths == [1, 2, 3]
    return models[scores.index(max(scores))]
---
def flow(day: Interval, count: int = 3) -> None:
    found = depths(day, count)
    fitted = fit.map(found, history=history(), prefix="x")
    choose(fitted.model, fitted.score, found)
"""
    )
    assert document["state"] == "succeeded", document["reason"]
    assert flow.value(document, "choose") == "x3"
    assert [(each["name"], each["map_index"], len(each["attempts"])) for each in document["steps"]] == [
        ("depths", None, 1),
        ("history", None, 1),
        ("fit", None, 0),
        ("fit", 0, 1),
        ("fit", 1, 1),
        ("fit", 2, 1),
        ("choose", None, 1),
    ]
    assert [flow.log(document, f"fit[{n}]") for n in range(3)] == ["depth 1\n", "depth 2\n", "depth 3\n"]
    assert attempts(document, "fit[2]")[0]["log"].endswith("/fit[2]-1.log")


def test_constants_parameters_and_mapped_results_are_mapped_over(flow: FlowProject) -> None:
    document = flow.run(
        """
@step
def double(number: float) -> float:
    return 2 * number

@step
def text(value: float, mark: str) -> str:
    return f"{value:g}{mark}"

@step
def joined(left: list[str], right: list[str], nothing: list[float]) -> str:
    return " ".join(left + right) + str(nothing)
---
def flow(day: Interval, numbers: list = [0.5, 1.5, 4.0]) -> None:
    constants = text.map(double.map([1.0, 2]), mark="!")
    given = text.named("given").map(numbers, mark="?")
    joined(constants, given, double.named("none").map([]))
"""
    )
    assert document["state"] == "succeeded", document["reason"]
    assert flow.value(document, "joined") == "2! 4! 0.5? 1.5? 4?[]"
    assert states(document)["none"] == "succeeded"


def test_frames_are_mapped_over_item_by_item_and_read_whole_by_others(flow: FlowProject) -> None:
    document = flow.run(
        """
import pandas as pd

class Parts(NamedTuple):
    frames: list[pd.DataFrame]
    count: int

@step
def split(day: Interval) -> Parts:
    return Parts([pd.DataFrame({"a": [n, n + 1]}) for n in range(3)], 3)

@step
def total(frame: pd.DataFrame, count: int) -> int:
    return int(frame["a"].sum()) * count

@step
def check(frames: list[pd.DataFrame], totals: list[int]) -> list[int]:
    assert [3 * int(frame["a"].sum()) for frame in frames] == totals
    return totals
---
def flow(day: Interval) -> None:
    parts = split(day)
    check(parts.frames, total.map(parts.frames, count=parts.count))
"""
    )
    assert document["state"] == "succeeded", document["reason"]
    assert flow.value(document, "check") == [3, 9, 15]


SOME_FAIL = """
ROOT = Path(__file__).parent.parent

@step
def numbers(day: Interval) -> list[int]:
    return [0, 1, 2, 3]

@step
def half(number: int) -> float:
    if number % 2 and not (ROOT / "repaired").exists():
        raise ValueError(f"{number} is odd")
    return number / 2

@step
def total(halves: list[float]) -> float:
    return sum(halves)
---
def flow(day: Interval) -> None:
    total(half.map(numbers(day)))
"""


def test_an_item_that_fails_fails_the_step_when_all_have_ended_and_resume_runs_it_alone(flow: FlowProject) -> None:
    document = flow.run(SOME_FAIL)
    assert states(document) == {
        "numbers": "succeeded",
        "half": "failed",
        "half[0]": "succeeded",
        "half[1]": "failed",
        "half[2]": "succeeded",
        "half[3]": "failed",
        "total": "skipped",
    }
    assert document["reason"].startswith("half: 2 of 4 items failed: [1]: ValueError: 1 is odd (pipelines/flow.py:")
    (flow.root / "repaired").touch()
    document = flow.resume(document["run_id"])
    assert document["state"] == "succeeded"
    assert flow.value(document, "total") == 3.0
    assert [len(attempts(document, f"half[{n}]")) for n in range(4)] == [1, 2, 1, 2]


def test_a_run_does_not_go_on_where_a_step_is_mapped_now_that_was_not(flow: FlowProject) -> None:
    document = flow.run(SOME_FAIL)
    flow.write(
        SOME_FAIL.replace("half.map(numbers(day))", "half(numbers(day))")
        .replace("number: int", "number: list[int]")
        .replace("halves: list[float]", "halves: float")
    )
    with pytest.raises(Refused, match="graph of flow changed"):
        flow.resume(document["run_id"])


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("{'a': 1}", "The output it.result, which a later step is mapped over, is a dict; return a list."),
        ("(1, 2)", "The output it.result, which a later step is mapped over, is a tuple; return a list."),
        ("[0] * 10_001", "The output it.result has 10,001 items > 10,000 that a later step may be mapped over"),
        ("[1, object()]", "The output it.result[1] cannot be stored."),
    ],
)
def test_what_is_no_list_fails_the_step_that_returned_it_at_once(flow: FlowProject, returned: str, words: str) -> None:
    document = flow.run(
        f"""
@step(retries=3)
def it(day: Interval):
    return {returned}

@step
def use(item):
    return item
---
def flow(day: Interval) -> None:
    use.map(it(day))
"""
    )
    assert words in document["reason"]
    assert states(document) == {"it": "failed", "use": "skipped"}
    assert len(attempts(document, "it")) == 1


def logs_of(flow: FlowProject, document: dict[str, Any], step: str) -> list[AttemptLog]:
    with flow.project.database.read() as connection:
        return attempt_logs(queries.attempt_rows(connection, document["run_id"]), flow.project.log_folder, step)


class TestShown:
    @pytest.fixture
    def document(self, flow: FlowProject) -> dict[str, Any]:
        return flow.run(SOME_FAIL.replace("    if number", "    print(number)\n    if number"))

    def test_a_run_shows_each_item_and_why_it_failed(
        self, document: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        print_run(document)
        shown = capsys.readouterr().out
        assert "failed half[1], attempt 1 failed: ValueError: 1 is odd; 1 other step run failed too" in " ".join(
            shown.split()
        )
        table = shown.partition("──\n")[2]
        assert [word for word in table.split() if word.startswith("half[")] == [
            *(f"half[{n}]" for n in range(4)),
            "half[1]",
            "half[3]",
        ]
        assert "half (4 items)" in shown
        assert "half[3] attempt 1  ValueError: 3 is odd" in shown

    def test_of_very_many_items_only_those_that_did_not_simply_succeed_are_listed(
        self, document: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        (whole, good, bad) = [each for each in document["steps"] if each["name"] == "half"][:3]
        many = [good | {"map_index": n} for n in range(1000)]
        print_run({**document, "steps": [whole, *many, bad | {"map_index": 1000}]})
        shown = capsys.readouterr().out
        assert "half (1,001 items)" in shown
        assert "half[1000]" in shown
        assert "half[999]" not in shown

    def test_logs_are_of_all_items_or_of_one(
        self, flow: FlowProject, document: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        print_logs(logs_of(flow, document, "half"))
        assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("──")] == [
            "── half[0] attempt 1 (succeeded)",
            "── half[1] attempt 1 (failed: ValueError: 1 is odd (pipelines/flow.py:17))",
            "── half[2] attempt 1 (succeeded)",
            "── half[3] attempt 1 (failed: ValueError: 3 is odd (pipelines/flow.py:17))",
        ]
        print_logs(logs_of(flow, document, "half[2]"))
        assert capsys.readouterr().out == "── half[2] attempt 1 (succeeded)\n2\n"

    def test_a_graph_tells_how_many_items_succeeded(self, flow: FlowProject, document: dict[str, Any]) -> None:
        items = {"half": [each["state"] for each in document["steps"] if each["map_index"] is not None]}
        wholes = {each["name"]: each["state"] for each in document["steps"] if each["map_index"] is None}
        lines = list(draw(flow.plan(), wholes, items))
        assert "over number (2 of 4 items succeeded)" in lines[1]
        assert "items" not in lines[0] + lines[2]

    def test_the_views_of_a_run_that_goes_on_count_its_items(
        self, flow: FlowProject, capsys: pytest.CaptureFixture[str]
    ) -> None:
        happenings: list[Happening] = []
        flow.run(SOME_FAIL, happenings.append)
        plain, live = PlainProgress(flow.plan(), FakeClock(DAY.start)), LiveProgress(flow.plan(), FakeClock())
        live.begin("day", "run")
        for happening in happenings:
            if (happening.step, happening.kind) == ("half", "step.failed"):
                break
            plain.observe(happening)
            live.observe(happening)
        assert "half is mapped over 4 items" in capsys.readouterr().err
        written = io.StringIO()
        Console(width=120, file=written).print(live.render())
        shown = written.getvalue()
        assert "over 4 items: 2 succeeded, 2 failed" in shown
        assert "half[" not in shown
