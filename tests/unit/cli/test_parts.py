"""Commands that are kept running, with small ones that stand in for Podium's own; and what tells a process to end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from podium.cli import parts as module
from podium.cli.parts import Parts
from podium.cli.signals import stoppable
from podium.clock import FakeClock

PYTHON = (sys.executable, "-c")
SLEEPS = "import time; print('ready', flush=True); time.sleep(600)"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def said() -> list[str]:
    return []


def until(told: Callable[[], bool], parts: Parts) -> None:
    """Let the parts go on, at a time that stands still, until something is so."""
    deadline = time.monotonic() + 60
    while not told():
        assert time.monotonic() < deadline
        parts.advance()
        time.sleep(0.01)


def test_a_part_that_its_configuration_keeps_from_starting_ends_all(clock: FakeClock, said: list[str]) -> None:
    with Parts({"bad": ["raise SystemExit(2)"], "good": [SLEEPS]}, said.append, clock, program=PYTHON) as parts:
        until(lambda: parts.exit_code is not None, parts)
        assert parts.exit_code == 2
    assert not [line for line in said if "started again" in line]


@pytest.mark.parametrize(
    ("command", "ending"),
    [
        ("raise SystemExit(1)", "exit code 1"),
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    ],
)
def test_a_part_that_ends_by_itself_is_started_again_after_pauses_that_double(
    clock: FakeClock, said: list[str], command: str, ending: str
) -> None:
    with Parts({"part": [f"print('hello', flush=True); {command}"]}, said.append, clock, program=PYTHON) as parts:
        for number, pause in enumerate((1, 2, 4, 8), start=1):
            until(lambda number=number: len(ends(said)) == number, parts)  # type: ignore[misc]
            assert ends(said)[-1] == f"part  ended with {ending}; is started again in {pause} s"
            clock.advance(pause - 0.1)
            parts.advance()
            assert not is_running(parts)
            clock.advance(0.1)
            parts.advance()
            assert is_running(parts)
        until(lambda: said.count("part  hello") == 5, parts)
        assert parts.exit_code is None


def test_a_part_that_went_well_for_a_minute_is_started_again_after_a_second(clock: FakeClock, said: list[str]) -> None:
    with Parts({"part": ["raise SystemExit(1)"]}, said.append, clock, program=PYTHON) as parts:
        for number in (1, 2):
            until(lambda number=number: len(ends(said)) == number, parts)  # type: ignore[misc]
            clock.advance(2)
        parts.advance()
        clock.advance(60)
        until(lambda: len(ends(said)) == 3, parts)
    assert [line.rpartition(" in ")[2] for line in ends(said)] == ["1 s", "2 s", "1 s"]


def test_every_line_is_shown_behind_the_name_of_its_part(clock: FakeClock, said: list[str]) -> None:
    commands = {
        "one": ["import sys, time; print('out', flush=True); print('err', file=sys.stderr); time.sleep(600)"],
        "longer": [SLEEPS],
    }
    with Parts(commands, said.append, clock, program=PYTHON) as parts:
        until(lambda: len(said) == 3, parts)
    assert sorted(said) == ["longer  ready", "one     err", "one     out"]


def test_no_part_outlives_the_block(clock: FakeClock, said: list[str]) -> None:
    with Parts({"one": [SLEEPS], "two": [SLEEPS]}, said.append, clock, program=PYTHON) as parts:
        until(lambda: len(said) == 2, parts)
        processes = [part.process for part in parts._parts]
    assert [process and process.returncode for process in processes] == [-signal.SIGTERM, -signal.SIGTERM]


def test_the_end_does_not_wait_for_what_a_part_left_behind(
    clock: FakeClock, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LAST_LINES_SECONDS", 0.1)
    leaves = (
        "import subprocess, sys, time\n"
        "left = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(left.pid, flush=True)\n"
        "time.sleep(600)"
    )
    with Parts({"part": [leaves]}, said.append, clock, program=PYTHON) as parts:
        until(lambda: bool(said), parts)
        began = time.monotonic()
    took = time.monotonic() - began
    os.kill(int(said[0].split()[1]), signal.SIGKILL)
    assert took < 30


def test_a_part_whose_starter_is_gone_already_does_not_begin() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "podium.cli.parts", "0", "--version"], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, b"")


def is_running(parts: Parts) -> bool:
    return parts._parts[0].process is not None


def ends(said: list[str]) -> list[str]:
    return [line for line in said if "ended with" in line]


@pytest.fixture
def at_hang_up() -> Iterator[Callable[[signal.Handlers], object]]:
    before = signal.getsignal(signal.SIGHUP)
    yield lambda handler: signal.signal(signal.SIGHUP, handler)
    signal.signal(signal.SIGHUP, before)


def test_a_closed_terminal_tells_a_process_to_end(at_hang_up: Callable[[signal.Handlers], object]) -> None:
    at_hang_up(signal.SIG_DFL)
    with stoppable() as told:
        os.kill(os.getpid(), signal.SIGHUP)
        assert told.wait(10)
        assert told.signal_name == "SIGHUP"
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_below_nohup_a_closed_terminal_tells_nothing(at_hang_up: Callable[[signal.Handlers], object]) -> None:
    at_hang_up(signal.SIG_IGN)
    with stoppable() as told:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not told.wait(0.1)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
