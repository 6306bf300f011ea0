"""`podium scheduler`, `up`, `schedule` and `triggers` as processes: told, killed, edited, asked."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.crash import kills
from tests.e2e.command import EXECUTABLE, Podium

SOURCE = """
from podium import Interval, NewFiles, Schedule, Trigger, pipeline, step

@step
def nothing(hour: Interval) -> None: ...

@pipeline(
    model="often", team="research", environment="dev", grain="hour", schedule=Schedule(every="1s"),
    triggers=[Trigger("arrived", any_of=[NewFiles("data/*.csv", every="1s")])],
)
def often(hour: Interval) -> None:
    nothing(hour)

@pipeline(
    model="nightly", team="research", environment="dev", grain="day", timezone="America/New_York",
    schedule=Schedule("30 2 * * *", exclude=("sun",), missed="skip"),
)
def nightly(day: Interval) -> None:
    nothing(day)
"""


@pytest.fixture
def podium(tmp_path: Path, database_url: str) -> Podium:
    """The command in a project with two scheduled pipelines, on either database."""
    return made(tmp_path, database_url)


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Podium:
    """The command in that project, with nothing but a folder."""
    return made(tmp_path, "")


def made(folder: Path, url: str) -> Podium:
    (folder / "pipelines").mkdir()
    (folder / "data").mkdir()
    (folder / "podium.toml").write_text('project = "schedules"\nslots = 1\n')
    (folder / "pipelines" / "flow.py").write_text(SOURCE)
    return Podium(folder, {"PODIUM_DATABASE_URL": url, "PODIUM_USER": "ada"})


@contextmanager
def running(podium: Podium, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A process in the background; whatever of it a test leaves behind is killed."""
    process = podium.start(*command)
    try:
        yield process
    finally:
        if process.poll() is None:
            kills.kill(process.pid, "tree")
        process.communicate()


def heard(process: subprocess.Popen[str], *texts: str) -> list[str]:
    """Read what a process says until it has said each of these texts."""
    assert process.stderr is not None
    lines: list[str] = []
    left = set(texts)
    for line in process.stderr:
        lines.append(line.rstrip())
        left = {text for text in left if text not in line}
        if not left:
            return lines
    raise AssertionError(f"never said {left}:\n" + "\n".join(lines))


def test_a_scheduler_fires_and_what_it_did_is_shown(podium: Podium) -> None:
    with running(podium, "scheduler") as process:
        heard(process, "nightly added: schedule 30 2 * * * taken up; next at", "often run: tick of")
        listed = {each["pipeline"]: each for each in podium("schedule", "list", "--json").document}
        process.send_signal(signal.SIGTERM)
        heard(process, "SIGTERM: scheduler stopped")
        assert process.wait(60) == 0
    assert listed["often"]["schedule"] == "every 1s"
    assert listed["often"]["last"]["fate"] in ("run", "joined")
    assert listed["nightly"] == {
        **listed["nightly"],
        "schedule": "30 2 * * *",
        "timezone": "America/New_York",
        "missed": "skip",
        "state": "active",
        "paused": None,
        "problem": None,
        "last": None,
    }
    (run,) = podium("runs", "list", "--json").document
    assert (run["trigger"], run["state"], run["pipeline"]) == ("schedule", "queued", "often")
    ticks = podium("schedule", "show", "often", "--json").document
    assert {each["run_id"] for each in ticks} == {run["run_id"]}
    assert ticks[-1]["fate"] == "run"
    shown = podium("schedule", "list")
    assert "often" in shown.out
    assert "No scheduler is running, so nothing fires; `podium scheduler` starts one." in shown.err


def test_a_file_that_breaks_is_told_its_schedule_goes_on_and_an_edit_is_taken_up(on_sqlite: Podium) -> None:
    file = on_sqlite.project / "pipelines" / "flow.py"
    with running(on_sqlite, "scheduler") as process:
        heard(process, "often added", "nightly added")
        file.write_text(SOURCE + "\nraise RuntimeError('half written')\n")
        heard(process, "half written")
        assert len(on_sqlite("schedule", "list", "--json").document) == 2
        file.write_text(SOURCE.replace("30 2 * * *", "45 3 * * *").replace('"sun"', '"sat"'))
        heard(process, "nightly changed: schedule is 45 3 * * * now; next at")


def test_a_file_that_arrives_makes_a_run_and_a_person_may_fire_a_trigger(on_sqlite: Podium) -> None:
    source = SOURCE.replace('schedule=Schedule(every="1s"),', "")
    (on_sqlite.project / "pipelines" / "flow.py").write_text(source)
    with running(on_sqlite, "scheduler") as process:
        heard(process, "often.arrived added: looks at files data/*.csv")
        (on_sqlite.project / "data" / "a.csv").write_text("1")
        while not (shown := on_sqlite("triggers", "show", "often.arrived", "--json").document)["sources"][0][
            "looked_at"
        ]:
            pass
        (on_sqlite.project / "data" / "b.csv").write_text("1")
        lines = heard(process, "often.arrived run: run")
    assert "b.csv" in lines[-1]
    assert shown["needs"] == "any"
    (run,) = on_sqlite("runs", "list", "--json").document
    assert run["trigger"] == "data"
    refused = on_sqlite("triggers", "fire", "often.arrived", "--reason", "at once")
    assert (refused.code, f"run {run['run_id']} of the same interval is open" in refused.complaint) == (1, True)
    assert on_sqlite("runs", "cancel", run["run_id"], "--reason", "test").code == 0
    fired = on_sqlite("triggers", "fire", "often.arrived", "--reason", "at once")
    assert fired.code == 0, fired.err
    assert on_sqlite("runs", "show", fired.out.strip(), "--json").document["actor"] == "ada"
    (listed,) = on_sqlite("triggers", "list", "--json").document
    assert listed["firings"] == 2
    assert "often.arrived" in on_sqlite("triggers", "list").out
    assert "waits for files data/*.csv" in on_sqlite("triggers", "show", "often.arrived").out


def test_a_preview_needs_no_scheduler_and_notes_what_clocks_do(on_sqlite: Podium) -> None:
    asked = ("schedule", "preview", "nightly", "--from", "2027-03-13", "--count", "3")
    found: list[dict[str, Any]] = on_sqlite(*asked, "--json").document
    assert [(each["fires_at"], each["fires_at_local"]) for each in found] == [
        ("2027-03-13T07:30:00Z", "2027-03-13T02:30:00-05:00"),
        ("2027-03-15T06:30:00Z", "2027-03-15T02:30:00-04:00"),  # the 14th, when clocks change, is a Sunday
        ("2027-03-16T06:30:00Z", "2027-03-16T02:30:00-04:00"),
    ]
    assert found[0]["interval"] == {"start": "2027-03-12T05:00:00Z", "end": "2027-03-13T05:00:00Z"}
    assert found[1]["note"] == "the clocks were changed: UTC-0500 before, UTC-0400 now"
    shown = on_sqlite(*asked)
    assert "2027-03-15 02:30-04:00" in shown.out
    assert "fires (America/New_York)" in shown.out
    wrong = on_sqlite("schedule", "preview", "nightly", "--from", "soon")
    assert wrong.code == 2
    assert "--from 'soon' is no time in America/New_York" in wrong.complaint
    unknown = on_sqlite("schedule", "preview", "nightli")
    assert (unknown.code, "did you mean nightly?" in unknown.complaint) == (2, True)


def test_a_schedule_is_paused_and_resumed_by_whom_and_why(on_sqlite: Podium) -> None:
    unknown = on_sqlite("schedule", "pause", "nightly", "--reason", "none yet")
    assert (unknown.code, "No schedule of 'nightly' is known here" in unknown.complaint) == (2, True)
    with running(on_sqlite, "scheduler") as process:
        heard(process, "nightly added")
    assert on_sqlite("schedule", "pause", "nightly").code == 2
    assert on_sqlite("schedule", "pause", "nightly", "--reason", "the source moves").code == 0
    again = on_sqlite("schedule", "pause", "nightly", "--reason", "again")
    assert (again.code, "paused already" in again.complaint) == (1, True)
    listed = {each["pipeline"]: each for each in on_sqlite("schedule", "list", "--json").document}
    assert (listed["nightly"]["paused"]["by"], listed["nightly"]["paused"]["reason"]) == ("ada", "the source moves")
    assert listed["nightly"]["next_fires_at"] is None
    assert "paused by ada: the source moves" in " ".join(on_sqlite("schedule", "list").out.split())
    resumed = on_sqlite("schedule", "resume", "nightly", "--reason", "it is there")
    assert "The schedule of nightly goes on; it fires next at" in resumed.out


def test_up_runs_everything_starts_again_what_dies_and_leaves_nothing_behind(podium: Podium) -> None:
    with running(podium, "up", "--port", "0") as process:
        heard(process, "server     Serving on", "worker     ", "scheduler  ", "nothing attempt 1 succeeded")
        children = {part: child_of(process.pid, part) for part in ("scheduler", "worker", "server")}
        children["scheduler"].kill()
        heard(process, "scheduler  ended with SIGKILL; is started again in 1 s", "scheduler started on")
        everything = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        heard(process, "scheduler stopped", "worker stopped")
        assert process.wait(60) == 0
    assert left_of(everything) == []


def test_up_leaves_nothing_behind_when_it_is_killed(on_sqlite: Podium) -> None:
    with running(on_sqlite, "up", "--port", "0") as process:
        heard(process, "server     Serving on", "worker started", "scheduler started", "nothing attempt 1 succeeded")
        everything = psutil.Process(process.pid).children(recursive=True)
        assert len(everything) > 3
        process.kill()
    assert left_of(everything) == []


def test_up_ends_all_parts_in_order_when_its_terminal_is_closed(on_sqlite: Podium) -> None:
    ours, its = os.openpty()
    process = subprocess.Popen(
        # Of a session of its own the terminal that it opens first becomes the one whose end it is told of.
        ["sh", "-c", f'exec "{EXECUTABLE}" up --port 0 < {os.ttyname(its)} > {os.ttyname(its)} 2>&1'],
        cwd=on_sqlite.project,
        env=on_sqlite.variables(),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        said = b""
        while not all(text in said for text in (b"Serving on", b"worker started", b"scheduler started")):
            said += os.read(ours, 10_000)
        everything = psutil.Process(process.pid).children(recursive=True)
        os.close(its)
        os.close(ours)
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            kills.kill(process.pid, "tree")
            process.wait()
    assert left_of(everything) == []


def test_a_file_of_the_project_hides_no_module_of_python_from_up(on_sqlite: Podium) -> None:
    (on_sqlite.project / "queue.py").write_text("raise RuntimeError('not the queue of Python')\n")
    with running(on_sqlite, "up", "--port", "0") as process:
        lines = heard(process, "server     Serving on", "worker started", "scheduler started")
    assert not [line for line in lines if "not the queue of Python" in line]


def left_of(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that are there half a minute later, and are then killed."""
    _, alive = psutil.wait_procs(processes, timeout=30)
    for each in alive:
        each.kill()
    return alive


def child_of(pid: int, part: str) -> psutil.Process:
    found = [each for each in psutil.Process(pid).children() if part in each.cmdline()]
    assert len(found) == 1
    return found[0]


def test_up_goes_on_where_the_port_is_taken_and_does_not_start_where_the_settings_are_wrong(on_sqlite: Podium) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running(on_sqlite, "up", "--port", str(port)) as process:
            heard(process, "server     ended with exit code 1; is started again in 1 s", "cannot listen on 127.0.0.1")
    (on_sqlite.project / "podium.toml").write_text("slots = 'many'\n")
    answer = on_sqlite("up")
    assert answer.code == 2
    assert "slots" in answer.complaint
