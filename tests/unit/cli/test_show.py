"""`podium runs show`: the first lines answer why a run failed and what it waits for."""

from typing import Any

import pytest

from podium.wiring.failures import failure_of
from tests.unit.cli.conftest import InProcess

FAILING = """
from podium import Interval, pipeline, step

@step
def numbers(month: Interval) -> list[int]:
    raise ValueError("no [rows]")

@step
def total(numbers: list[int]) -> int:
    return sum(numbers)

@pipeline(model="counting", team="research", environment="dev", grain="month")
def counting(month: Interval) -> None:
    total(numbers(month))
"""


def test_why_a_run_failed_stands_first_with_the_place_and_the_next_commands(podium: InProcess) -> None:
    podium.pipeline(FAILING)
    run_id = podium("run", "counting", "--for", "2026-03", "--json").document["run_id"]
    lines = [line.split(maxsplit=1) for line in podium("runs", "show", run_id).out.splitlines()[1:6]]
    assert lines == [
        ["result", "failed"],
        ["failed", "numbers, attempt 1 failed: ValueError: no [rows]"],
        ["where", "pipelines/counting.py:6"],
        ["read", f"more  podium runs logs {run_id} --step numbers"],
        ["go", f"on      podium runs resume {run_id}"],
    ]
    document = podium("runs", "show", run_id, "--json").document
    assert document["waiting"] == []
    failure = document["failure"]
    assert (failure["step"], failure["attempt"], failure["where"]) == ("numbers", 1, "pipelines/counting.py:6")
    assert failure["others"] == 0


def test_what_a_run_waits_for_is_told_for_every_step_that_has_not_ended(podium: InProcess) -> None:
    run_id = podium("run", "counting", "--for", "2026-03", "--detach").out.strip()
    shown = " ".join(podium("runs", "show", run_id).out.split())
    assert " numbers ready no worker is running; `podium worker` starts one " in shown
    assert " total waiting waits for numbers (ready) " in shown
    first, second = podium("runs", "show", run_id, "--json").document["waiting"]
    assert first.keys() == {"step", "map_index", "state", "reason", "until", "since"}
    assert (first["step"], first["state"], second["step"], second["since"]) == ("numbers", "ready", "total", None)


@pytest.mark.parametrize("state", ["succeeded", "skipped", "cancelled"])
def test_a_run_without_a_failed_step_has_no_failure(state: str) -> None:
    assert failure_of([{"name": "a", "map_index": None, "state": state, "attempts": []}]) is None


def test_a_failure_is_that_of_the_item_not_of_the_step_that_failed_with_it() -> None:
    attempt = {"number": 3, "state": "lost", "error": "its worker died", "log": "x.log"}
    steps: list[dict[str, Any]] = [
        {"name": "fit", "map_index": None, "state": "failed", "attempts": []},
        {"name": "fit", "map_index": 4, "state": "failed", "attempts": [attempt]},
        {"name": "fit", "map_index": 7, "state": "failed", "attempts": [attempt]},
    ]
    found = failure_of(steps)
    assert found is not None
    assert (found["step"], found["map_index"], found["state"], found["where"]) == ("fit", 4, "lost", None)
    assert found["others"] == 1
