"""Logs of attempts, printed at once or as they grow."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from podium.cli.log_reader import AttemptLog, follow_logs, print_logs

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
Seen = tuple[list[AttemptLog], bool]


def log(folder: Path, label: str, state: str = "running", error: str | None = None, number: int = 1) -> AttemptLog:
    ended = None if state == "running" else 1.5
    return AttemptLog(label, number, state, error, NOON, ended, folder / f"{label}-{number}.log")


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Follow what an iterator yields, look by look, to its end; return what was printed."""

    def follow(looks: Iterator[Seen], *, together: bool = True) -> str:
        monkeypatch.setattr(time, "sleep", lambda _: None)
        follow_logs(lambda: next(looks), together=together)
        assert next(looks, None) is None
        return capsys.readouterr().out

    return follow


def test_lines_of_two_logs_that_grow_at_once_are_whole_and_told_apart(
    tmp_path: Path, followed: Callable[..., str]
) -> None:
    a, b = log(tmp_path, "fit[0]"), log(tmp_path, "total")

    failed = replace(a, state="failed", error="no rows", wall_seconds=1.5)

    def looks() -> Iterator[Seen]:
        a.path.write_text("epoch 0\nepo")
        yield [a], False
        a.path.write_text("epoch 0\nepoch 1\n")
        b.path.write_text("adding\n")
        yield [a, b], False
        yield [failed, b], False
        yield [failed, replace(b, state="succeeded")], True

    assert followed(looks()).splitlines() == [
        "fit[0] 1 │ epoch 0",
        "fit[0] 1 │ epoch 1",
        "total 1  │ adding",
        "fit[0] 1 ── failed after 1.50 s: no rows",
        "total 1  ── succeeded",
    ]


def test_one_log_alone_is_printed_as_it_is(tmp_path: Path, followed: Callable[..., str]) -> None:
    first, second = log(tmp_path, "train", "failed", "no rows"), log(tmp_path, "train", "succeeded", number=2)
    first.path.write_text("50 %\r100 %")
    second.path.write_text("done\n")
    assert followed(iter([([first, second], True)]), together=False) == (
        "── train attempt 1\n50 %\r100 %\n── failed after 1.50 s: no rows\n"
        "── train attempt 2\ndone\n── succeeded after 1.50 s\n"
    )


def test_what_stands_last_without_a_line_end_is_told_when_the_attempt_has_ended(
    tmp_path: Path, followed: Callable[..., str]
) -> None:
    ended = log(tmp_path, "train", "succeeded")
    ended.path.write_text("10 %\r100 %\ndone")
    assert followed(iter([([ended], True)])).splitlines() == [
        "train 1 │ 100 %",
        "train 1 │ done",
        "train 1 ── succeeded after 1.50 s",
    ]


def test_an_attempt_that_began_first_is_printed_first(tmp_path: Path, followed: Callable[..., str]) -> None:
    late, early = log(tmp_path, "fit[0]", "succeeded", number=2), log(tmp_path, "fit[1]", "succeeded")
    for each in (late, early):
        each.path.write_text("it\n")
    printed = followed(iter([([replace(late, started_at=NOON + timedelta(seconds=9)), early], True)]))
    assert [line.split()[0] for line in printed.splitlines()] == ["fit[1]", "fit[1]", "fit[0]", "fit[0]"]


def test_a_character_that_is_written_in_two_pieces_is_printed_in_one(
    tmp_path: Path, followed: Callable[..., str]
) -> None:
    running = log(tmp_path, "train")
    umlaut = "ä\n".encode()

    def looks() -> Iterator[Seen]:
        running.path.write_bytes(umlaut[:1])
        yield [running], False
        running.path.write_bytes(umlaut)
        yield [running], True

    assert followed(looks()) == "train 1 │ ä\n"


def test_a_log_that_was_removed_is_said_to_be_gone_and_the_others_are_printed(
    tmp_path: Path, followed: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    gone, there = log(tmp_path, "train", "succeeded"), log(tmp_path, "judge", "succeeded")
    there.path.write_text("judged\n")
    for printed in (followed(iter([([gone, there], True)])), printed_once([gone, there], capsys)):
        assert f"(The log {gone.path} is not there: it was removed, or lies on the host" in printed
        assert "judged" in printed


def test_a_heading_says_why_an_attempt_ended_badly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = log(tmp_path, "train", "lost", "its worker died")
    lost.path.write_text("epoch 0\n")
    assert printed_once([lost], capsys) == "── train attempt 1 (lost: its worker died)\nepoch 0\n"
    assert printed_once([log(tmp_path, "judge")], capsys) == "── judge attempt 1 (running)\n"


def printed_once(logs: list[AttemptLog], capsys: pytest.CaptureFixture[str]) -> str:
    print_logs(logs)
    return capsys.readouterr().out
