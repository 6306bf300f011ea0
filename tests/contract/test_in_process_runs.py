"""A run on the real executor and one in the process of a test: the same states, values, attempts and events.

`tests/e2e/test_new_project.py` holds the stages with a registry in memory against those with MLflow.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from podium.dag.authoring import Pipeline
from podium.execution import queries
from podium.testing import run_pipeline
from tests.execution_world import ACTOR, DAY, FlowProject, attempts, loaded, states

# Every shape that a pipeline can have, in one. Where `broken`, the steps that can fail do.
SHAPES = """
from dataclasses import dataclass

from typing import Annotated

from annotated_types import Ge

from podium import Retry, run_after, sensor, wait_for_approval
from podium.errors import EvaluationError
from podium.execution.context import Snooze

class Parts(NamedTuple):
    left: list[int]
    right: dict[str, float]

@dataclass
class Judged:
    passed: bool
    score: float

def tries(folder: str, name: str) -> int:
    path = Path(folder, name)
    path.write_text(path.read_text() + "x" if path.exists() else "x")
    return len(path.read_text())

@step
def part(day: Interval) -> Parts:
    return Parts([1, 2, 3], {"inf": float("inf"), day.name: 0.5})

@step
def join(left: list[int], right: dict[str, float], factor: float, label: str | None) -> tuple[int, str | None, float]:
    return sum(left), label, max(right.values()) * factor

@step
def judge(left: list[int], broken: bool) -> Judged:
    return Judged(len(left) == 3, 0.25)

@step
def doubt(score: float) -> Judged:
    return Judged(score > 0.5, score)

@step
def inside(score: float) -> float:
    return score

@step
def outside(score: float) -> float:
    return score

@step
def behind(score: float) -> float:
    return score

@step
def behind_both(first: float, second: float) -> float:
    return first + second

@step
def add(item: int, more: int = 10) -> Parts:
    return Parts([item + more], {"item": float(item)})

@step
def collect(lefts: list[list[int]], rights: list[dict[str, float]], items: list[int]) -> list[int]:
    assert len(lefts) == len(rights) == len(items)
    return [n for left in lefts for n in left]

@step
def twice(item: int) -> int:
    return 2 * item

@step
def total(items: list[int]) -> int:
    return sum(items)

@step
def none_of(day: Interval) -> list[int]:
    return []

@step(retries=2)
def flaky(folder: str) -> int:
    n = tries(folder, "flaky")
    if n == 1:
        raise ConnectionError("the warehouse is asleep")
    return n

@step
def patient(folder: str) -> int:
    n = tries(folder, "patient")
    if n < 3:
        raise Snooze(0.02, "the feed of the day")
    return n

@step(retries=1)
def hopeless(broken: bool) -> int:
    if broken:
        raise ValueError("never any good")
    return 1

@step(retries=3)
def refused(broken: bool) -> int:
    if broken:
        raise EvaluationError("These rows cannot be judged on.")
    return 1

@step
def unstorable(broken: bool) -> object:
    return {1, 2} if broken else [1, 2]

@step
def not_as_annotated(broken: bool) -> Judged:
    return 7 if broken else Judged(True, 1.0)

@step
def unknown(broken: bool) -> bool:
    return float("nan") if broken else True

@step
def no_list(broken: bool) -> list[int]:
    return (1, 2) if broken else [1, 2]

@step
def leaves(broken: bool) -> int:
    if broken:
        sys.exit(3)
    return 1

@step
def picky(item: int, broken: bool) -> int:
    if broken and item % 2:
        raise ValueError(f"{item} is odd")
    return item

@sensor(every=0.02, timeout=60)
def arrived(folder: str) -> int | None:
    n = tries(folder, "arrived")
    return n if n == 3 else None

@step(retries=Retry(3, delay=0.02, on=ConnectionError))
def choosy(folder: str, broken: bool) -> int:
    n = tries(folder, "choosy")
    if n < 3:
        raise ConnectionError("asleep")
    if broken:
        raise KeyError("n")
    return n

@step(run_if="any_succeeded")
def any_of(first: int | None, second: int | None) -> list[int | None]:
    return [first, second]

@step(run_if="none_failed")
def unless_failed(first: int | None, second: float | None) -> list[float | None]:
    return [first, second]

@step(run_if="always")
def tidy(value: int | None) -> str:
    return f"tidied after {value}"

@step(run_if="always")
def count(values: list[int] | None) -> int | None:
    return None if values is None else len(values)

@step
def later(day: Interval) -> str:
    return day.name
---
def flow(
    day: Interval, folder: str, broken: bool, factor: float = 2, label: str | None = None, numbers: list[int] = [3, 4],
    depth: Annotated[int, Ge(1)] = 1,
) -> None:
    parts = part(day)
    join(parts.left, parts.right, factor, label)
    judged = judge(parts.left, broken)
    doubted = doubt(judged.score)
    with when(judged.passed):
        within = inside(judged.score)
        behind(within)
        with when(doubted.passed):
            nested = outside.named("nested")(doubted.score)
    with when(doubted.passed):
        without = outside(doubted.score)
    behind.named("behind_outside")(without)
    behind_both(within, nested)
    added = add.map(parts.left, more=100)
    collect(added.left, added.right, parts.left)
    total(twice.map(twice.named("once").map(numbers)))
    total.named("total_of_none")(twice.named("of_none").map(none_of(day)))
    total.named("total_of_constants")(twice.named("of_constants").map([5, 6]))
    flaky(folder)
    run_after(later(day), patient(folder), hopeless(broken))
    refused(broken)
    unstorable(broken)
    behind.named("behind_annotated")(not_as_annotated(broken).score)
    with when(unknown(broken)):
        later.named("if_known")(day)
    twice.named("of_list").map(no_list(broken))
    leaves(broken)
    picked = picky.map(numbers, broken=broken)
    total.named("total_of_picky")(picked)
    count(picked)
    twice.named("twice_depth")(depth)
    twice.named("after_arrival")(arrived(folder))
    hopes = twice.named("hopes")(choosy(folder, broken))
    any_of(hopes, twice.named("fine")(depth))
    any_of.named("none_of_them")(hopes, hopes)
    unless_failed(depth, without)
    unless_failed.named("unless_choosy_failed")(hopes, without)
    tidy(hopes)
    approval = wait_for_approval(judged, message="Is it good?")
    with when(approval.approved):
        later.named("approved")(day)
        tidy.named("tidy_if_approved")(hopes)
    later.named("told")(day)
"""

_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")


@dataclass
class Told:
    """A run in what both have: everything but identifiers and times. What is about the whole run is under `run`."""

    run: tuple[Any, ...]
    states: dict[str, str]
    reasons: dict[str, str | None]
    attempts: dict[str, list[tuple[int, str, str | None]]]
    values: dict[str, Any]
    events: dict[str, list[tuple[Any, ...]]]


@dataclass
class Shapes:
    """One pipeline file, run for real and in this process."""

    flow: FlowProject
    pipeline: Pipeline
    folder: Path

    def for_real(self, broken: bool) -> Told:
        run = self.flow.start(self._parameters("real", broken=broken))
        self.flow.execute(run)
        decide = self.flow.project.execution.decide
        decide(run.run_id, "approval", approved=not broken, reason="decided by the test", actor=ACTOR)
        document = self.flow.execute(run)
        found = states(document)
        with self.flow.project.database.read() as connection:
            rows = queries.event_rows(connection, run.run_id)
        return Told(
            (document["state"], document["outcome"], document["reason"]),
            found,
            {label: _reason_of(document, label) for label in found},
            {label: [_attempt(each) for each in attempts(document, label)] for label in found},
            {label: self.flow.value(document, label) for label in _with_result(found)},
            _by_step([(row.step, row.kind, row.attempt, row.reason) for row in rows]),
        )

    def in_process(self, broken: bool) -> Told:
        parameters = self._parameters("process", broken=broken)
        result = run_pipeline(self.pipeline, DAY, parameters=parameters, approvals={"approval": not broken})
        return Told(
            (result.state, result.outcome, result.reason),
            result.states,
            {label: each.reason for label, each in result.steps.items()},
            {
                label: [(one.number, one.state, one.error.message if one.error else None) for one in each.attempts]
                for label, each in result.steps.items()
            },
            {label: result.value(label) for label in _with_result(result.states)},
            _by_step([(each.step, each.kind, each.attempt, each.reason) for each in result.events]),
        )

    def _parameters(self, where: str, *, broken: bool) -> dict[str, str]:
        folder = self.folder / f"{where}-{broken}"
        folder.mkdir()
        return {"folder": str(folder), "broken": str(broken), "numbers": "[1, 2, 3, 4]", "label": "x", "depth": "2"}


def _with_result(found: dict[str, str]) -> list[str]:
    """The steps that succeeded and return one value, no NamedTuple."""
    named = ("part", "add", "approval")
    return [label for label, state in found.items() if state == "succeeded" and label.partition("[")[0] not in named]


def _reason_of(document: dict[str, Any], label: str) -> str | None:
    (reason,) = [
        each["reason"]
        for each in document["steps"]
        if label == each["name"] + ("" if each["map_index"] is None else f"[{each['map_index']}]")
    ]
    return reason if reason is None else str(reason)


def _attempt(document: dict[str, Any]) -> tuple[int, str, str | None]:
    return document["number"], document["state"], document["error"]


def _by_step(events: list[tuple[Any, ...]]) -> dict[str, list[tuple[Any, ...]]]:
    """What happened to each step in order, since several may go on at once for real; times are blanked."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for step, kind, attempt, reason in events:
        found.setdefault(step or "run", []).append((kind, attempt, reason and _TIME.sub("TIME", reason)))
    return found


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shapes]:
    folder = tmp_path_factory.mktemp("shapes")
    flow = FlowProject(folder / "flows")
    flow.write(SHAPES)
    with loaded(folder / "flows" / "pipelines" / "flow.py") as module:
        yield Shapes(flow, module.flow, folder)


@pytest.fixture(scope="module", params=[False, True], ids=["whole", "broken"])
def both(request: pytest.FixtureRequest, shapes: Shapes) -> tuple[Told, Told]:
    return shapes.for_real(request.param), shapes.in_process(request.param)


def test_the_shapes_are_what_they_are_meant_to_be(both: tuple[Told, Told]) -> None:
    _, told = both
    assert {"succeeded", "skipped"} <= set(told.states.values())
    assert {len(each) for each in told.attempts.values()} >= {0, 1, 2, 3}
    if told.run[0] == "failed":
        failed = [name for name, state in told.states.items() if state == "failed"]
        assert failed == [
            "hopeless", "refused", "unstorable", "not_as_annotated", "unknown", "no_list", "leaves", "picky",
            "picky[0]", "picky[2]", "choosy",
        ]  # fmt: skip
    else:
        assert told.run == ("succeeded", "none", None)
        assert told.values["join"] == (6, "x", float("inf"))
        assert told.values["total"] == 40
        assert told.values["collect"] == [101, 102, 103]


@pytest.mark.parametrize("aspect", ["run", "states", "reasons", "attempts", "values", "events"])
def test_a_run_in_process_tells_what_the_real_one_tells(both: tuple[Told, Told], aspect: str) -> None:
    real, in_process = (getattr(each, aspect) for each in both)
    assert in_process == real
