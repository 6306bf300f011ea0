"""Real runs: steps that are asked to end, sensors, retries by their own rules, approvals, deadlines, parameters."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from podium.errors import UsageError
from podium.execution.entities import Actor, Happening, Run
from tests.execution_world import ONE_STEP, FlowProject, attempts, is_gone, only, states

Observer = Callable[[Happening], None]


@pytest.fixture
def flow(tmp_path: Path) -> FlowProject:
    return FlowProject(tmp_path / "flows")


def cancel_once_it_is_busy(flow: FlowProject, run: Run, file: str) -> Observer:
    """Cancel a run as soon as its step has written a file."""

    def observe(happening: Happening) -> None:
        if happening.kind == "attempt.started" and happening.step == "it":
            wait_for(flow.root / file)
            flow.project.execution.cancel(run.run_id, reason="enough")

    return observe


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} was never written"
        time.sleep(0.01)


TIDYING = """
from podium import Cancelled

@step
def it() -> int:
    try:
        Path("busy").write_text(str(os.getpid()))
        {busy}
    except Cancelled:
        Path("tidied").touch()
        raise
    return 1

@step(run_if="always")
def clean_up(number: int | None) -> None:
    Path("cleaned").write_text(repr(number))
---
def flow(day: Interval) -> None:
    clean_up(it())
"""


class TestBeingStopped:
    @pytest.mark.parametrize("busy", ["signal.pause()", "time.sleep(600)", "subprocess.run(['sleep', '600'])"])
    def test_a_step_whose_run_is_cancelled_tidies_up_and_so_does_the_run(self, flow: FlowProject, busy: str) -> None:
        flow.write(TIDYING.format(busy=busy))
        run = flow.start()
        document = flow.execute(run, cancel_once_it_is_busy(flow, run, "busy"))
        assert (document["state"], document["reason"]) == ("cancelled", "enough")
        assert states(document) == {"it": "cancelled", "clean_up": "succeeded"}
        (ended,) = attempts(document, "it")
        assert (ended["state"], ended["error"]) == ("cancelled", "run cancelled: enough")
        assert ended["meter_quality"] == "measured"
        assert (flow.root / "tidied").exists()
        assert (flow.root / "cleaned").read_text() == "None"

    def test_a_step_that_does_not_end_is_killed_after_its_grace(self, flow: FlowProject) -> None:
        (flow.root / "podium.toml").write_text('project = "flows"\nslots = 2\ncancel_grace_seconds = 0.3\n')
        flow.project = flow.another()
        flow.write("""
@step
def it() -> int:
    child = subprocess.Popen(["sleep", "600"])
    Path("busy").write_text(f"{os.getpid()} {child.pid}")
    while True:
        try:
            time.sleep(600)
        except BaseException:
            pass
---
def flow(day: Interval) -> None:
    it()
""")
        run = flow.start()
        document = flow.execute(run, cancel_once_it_is_busy(flow, run, "busy"))
        assert document["state"] == "cancelled"
        assert only(document)["meter_quality"] == "estimated"
        assert all(is_gone(int(process)) for process in (flow.root / "busy").read_text().split())

    def test_a_step_that_returns_after_all_has_succeeded(self, flow: FlowProject) -> None:
        flow.write(TIDYING.format(busy="signal.pause()").replace("        raise\n", "        return 2\n"))
        run = flow.start()
        document = flow.execute(run, cancel_once_it_is_busy(flow, run, "busy"))
        assert (document["state"], document["outcome"]) == ("succeeded", "none")
        assert flow.value(document, "it") == 2
        assert (flow.root / "cleaned").read_text() == "2"

    def test_a_run_past_its_deadline_is_stopped_and_has_failed(self, flow: FlowProject) -> None:
        flow.write(TIDYING.format(busy="signal.pause()"))
        path = flow.root / "pipelines" / "flow.py"
        path.write_text(path.read_text().replace('environment="dev"', 'environment="dev", deadline="0.5s"'))
        document = flow.execute(flow.start())
        assert document["state"] == "failed"
        assert document["reason"].startswith("it did not end within 0.5s (deadline 20")
        assert states(document) == {"it": "cancelled", "clean_up": "succeeded"}
        assert attempts(document, "it")[0]["error"] == document["reason"]


RETRYING = """
from podium import Retry

class Throttled(Exception):
    pass

{extra}

@step(retries={retries})
def it() -> int:
    with open("tries", "a") as file:
        file.write("x")
    raise {error}
"""


class TestRetries:
    def tries(self, flow: FlowProject, retries: str, error: str, extra: str = "") -> int:
        document = flow.run(RETRYING.format(retries=retries, error=error, extra=extra) + ONE_STEP)
        assert document["state"] == "failed"
        self.log = flow.log(document, "it")
        return len((flow.root / "tries").read_text())

    def test_an_error_of_a_named_type_is_tried_again(self, flow: FlowProject) -> None:
        assert self.tries(flow, "Retry(2, delay=0.01, on=Throttled)", "Throttled('429')") == 3

    def test_an_error_of_another_type_is_final(self, flow: FlowProject) -> None:
        assert self.tries(flow, "Retry(2, delay=0.01, on=Throttled)", "ValueError('no')") == 1

    def test_an_error_to_give_up_on_is_final(self, flow: FlowProject) -> None:
        assert self.tries(flow, "Retry(2, delay=0.01, give_up_on=KeyError)", "KeyError('no')") == 1

    def test_a_predicate_is_handed_the_error(self, flow: FlowProject) -> None:
        retries = "Retry(2, delay=0.01, on=lambda error: '429' in str(error))"
        assert self.tries(flow, retries, "Throttled('500')") == 1

    def test_a_predicate_that_raises_has_not_said_no_and_the_log_says_so(self, flow: FlowProject) -> None:
        extra = "def broken(error):\n    return error.status == 429\n"
        assert self.tries(flow, "Retry(1, delay=0.01, on=broken)", "Throttled('429')", extra) == 2
        assert "podium: `on` of the step's Retry raised AttributeError" in self.log


SENSING = """
from podium import sensor

@sensor(every=0.05, timeout={timeout!r})
def it() -> int | None:
    with open("looks", "a") as file:
        file.write("x")
    return 7 if len(Path("looks").read_text()) >= 3 else None

@step
def use(number: int) -> int:
    return 2 * number
---
def flow(day: Interval) -> None:
    use(it())
"""


class TestSensors:
    def test_it_looks_until_something_has_come_and_hands_that_on(self, flow: FlowProject) -> None:
        document = flow.run(SENSING.format(timeout="1h"))
        assert document["state"] == "succeeded"
        assert flow.value(document, "use") == 14
        assert [each["state"] for each in attempts(document, "it")] == ["snoozed", "snoozed", "succeeded"]
        assert "nothing has come yet" in flow.log(document, "it")

    def test_where_nothing_comes_in_time_it_has_failed(self, flow: FlowProject) -> None:
        document = flow.run(SENSING.format(timeout=0.01))
        assert (document["state"], document["reason"]) == (
            "failed",
            "it: nothing came within 0.01s, looked for every 0.05s",
        )
        assert states(document) == {"it": "failed", "use": "skipped"}


APPROVING = """
from podium import wait_for_approval

@step
def it() -> int:
    return 1

@step
def go_on(why: str) -> str:
    return why
---
def flow(day: Interval) -> None:
    asked = wait_for_approval(it(), message="Is it good?", within="3d")
    with when(asked.approved):
        go_on(asked.reason)
"""


def test_a_run_in_the_foreground_leaves_a_held_step_to_a_person_and_goes_on_once_it_is_decided(
    flow: FlowProject,
) -> None:
    document = flow.run(APPROVING)
    assert (document["state"], document["held"]) == ("running", ["approval"])
    assert states(document) == {"it": "succeeded", "approval": "held", "go_on": "waiting"}
    run_id = document["run_id"]
    flow.project.execution.decide(run_id, "approval", approved=True, reason="looks good", actor=Actor("ann"))
    document = flow.execute(flow.start())
    assert document["state"] == "succeeded"
    assert flow.value(document, "go_on") == "looks good"
    (decided,) = [step for step in document["steps"] if step["name"] == "approval"]
    assert (decided["decided_by"], decided["reason"], decided["attempts"]) == ("ann", "looks good", [])


PARAMETERS = """
from datetime import date
from enum import Enum
from typing import Annotated, Literal

from pydantic import BaseModel, Field

class Metric(Enum):
    AUC = "auc"
    ERROR = "error"

class Search(BaseModel):
    depth: Annotated[int, Field(ge=1)]
    rates: list[float] = [0.1]

@step
def it(search: Search, metric: Metric, since: date, sizes: list[int], depth: int, kind: str) -> str:
    assert isinstance(search, Search) and isinstance(metric, Metric)
    return f"{search.depth} {search.rates} {metric.name} {since:%Y} {sizes} {depth} {kind}"
---
def flow(
    day: Interval,
    search: Search = Search(depth=2),
    metric: Metric = Metric.AUC,
    since: date = date(2013, 1, 1),
    sizes: list[int] = [1],
    depth: Annotated[int, Field(ge=1)] = 3,
    kind: Literal["fast", "slow"] = "fast",
) -> None:
    it(search, metric, since, sizes, depth, kind)
"""


class TestParameters:
    def test_pydantic_reads_what_is_more_than_a_plain_type(self, flow: FlowProject) -> None:
        document = flow.run(PARAMETERS)
        assert flow.value(document, "it") == "2 [0.1] AUC 2013 [1] 3 fast"
        given = {
            "search": '{"depth": 5, "rates": [0.5, 1]}',
            "metric": "error",
            "since": "2014-02-03",
            "sizes": "[4, 5]",
            "depth": "7",
            "kind": "slow",
        }
        document = flow.execute(flow.start(given))
        assert flow.value(document, "it") == "5 [0.5, 1.0] ERROR 2014 [4, 5] 7 slow"

    @pytest.mark.parametrize(
        ("name", "text", "complaint"),
        [
            (
                "depth",
                "0",
                r"depth of pipeline flow is int with Ge\(ge=1\), and '0' is none: Input should be greater",
            ),
            ("search", '{"depth": 0}', "and .* is none: depth: Input should be greater than or equal to 1"),
            (
                "sizes",
                '["x"]',
                r"sizes of pipeline flow is list\[int\], .*0: Input should be a valid integer",
            ),
            ("kind", "slower", "Input should be 'fast' or 'slow'"),
            ("metric", "AUC", "Input should be 'auc' or 'error'"),
            ("since", "yesterday", "Input should be a valid date"),
        ],
    )
    def test_a_text_that_is_none_is_told_with_the_constraint(
        self, flow: FlowProject, name: str, text: str, complaint: str
    ) -> None:
        flow.write(PARAMETERS)
        with pytest.raises(UsageError, match=complaint):
            flow.start({name: text})
