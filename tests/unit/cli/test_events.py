"""`podium runs events`: what happened in a run, in order, at once or as it comes."""

import json
import time

import pytest

from podium.cli.event_reader import Event, print_events
from tests.unit.cli.conftest import InProcess


def test_events_are_told_in_order_with_what_they_are_about(podium: InProcess) -> None:
    run_id = podium("run", "counting", "--for", "2026-03", "--json").document["run_id"]
    found = podium("runs", "events", run_id, "--json").document
    assert [each["event_id"] for each in found] == sorted(each["event_id"] for each in found)
    assert found[0].keys() == {"event_id", "at", "kind", "step", "attempt", "reason"}
    kinds = [each["kind"] for each in found if each["step"] is None]
    assert kinds == ["run.created", "run.started", "run.succeeded"]
    lines = podium("runs", "events", run_id).out.splitlines()
    assert len(lines) == len(found)
    assert lines[0].endswith("Z  run.created")
    assert any(line.endswith("attempt.succeeded   total 1") for line in lines)


def test_following_a_run_that_ended_ends_with_its_last_event_and_json_is_one_event_a_line(podium: InProcess) -> None:
    run_id = podium("run", "counting", "--for", "2026-03", "--json").document["run_id"]
    lines = podium("runs", "events", run_id, "--follow", "--json").out.splitlines()
    assert [json.loads(line) for line in lines] == podium("runs", "events", run_id, "--json").document


def test_following_tells_each_event_once_until_the_run_has_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def event(number: int) -> Event:
        at = "2026-11-21T12:00:00Z"
        return {"event_id": number, "at": at, "kind": f"e{number}", "step": None, "attempt": None, "reason": None}

    behind: list[int] = []

    def look(after: int) -> tuple[list[Event], bool]:
        behind.append(after)
        return {0: [event(3), event(5)], 5: []}[after] if len(behind) < 3 else [event(9)], len(behind) == 3

    monkeypatch.setattr(time, "sleep", lambda _: None)
    print_events(look, follow=True, as_json=False)
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["e3", "e5", "e9"]
    assert behind == [0, 5, 5]


def test_a_run_that_there_is_not_has_no_events(podium: InProcess) -> None:
    answer = podium("runs", "events", "0j9x3k")
    assert (answer.code, answer.out) == (2, "")
    assert "There is no run '0j9x3k'" in answer.complaint
