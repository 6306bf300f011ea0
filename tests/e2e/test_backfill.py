"""`podium backfill` and `podium backfills` as commands: looked at, executed, killed, interrupted, left to a worker."""

import os
import signal
from pathlib import Path

import pytest

from tests.crash import kills
from tests.e2e.command import Podium

# `second` says at the pipe `held`, in its middle, that it is there, for as long as there is the file `hold`.
SOURCE = """
import signal
from pathlib import Path

from podium import Interval, pipeline, step

ROOT = Path(__file__).parent.parent

@step
def first(day: Interval) -> str:
    if (ROOT / "broken").exists() and day.start.day == 2:
        raise ValueError("the second is broken")
    return day.name

@step
def second(name: str, factor: int) -> str:
    if (ROOT / "hold").exists():
        (ROOT / "held").write_text(name)
        signal.pause()
    return name * factor

@step(backfill=False)
def deploy(name: str) -> None:
    raise AssertionError(f"{name} is deployed")

@pipeline(model="flow", team="research", environment="dev", timezone="America/New_York")
def flow(day: Interval, factor: int = 1) -> None:
    deploy(second(first(day), factor))
"""
RANGE = ("--from", "2026-03-01", "--to", "2026-03-05")


@pytest.fixture
def podium(tmp_path: Path) -> Podium:
    """The command in a project with one pipeline."""
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "podium.toml").write_text('project = "backfills"\nslots = 2\n')
    (tmp_path / "pipelines" / "flow.py").write_text(SOURCE)
    return Podium(tmp_path)


def test_it_says_what_it_would_do_does_it_and_takes_up_what_failed(podium: Podium) -> None:
    dry = podium("backfill", "flow", *RANGE, "--dry-run", "--json")
    assert dry.code == 0, dry.err
    assert [(each["start"], each["action"], each["run_id"]) for each in dry.document["intervals"]] == [
        (f"2026-03-0{day}T05:00:00Z", "run", None) for day in range(1, 5)
    ]
    assert dry.document["estimate"]["cost_usd"] is None

    (podium.project / "broken").touch()
    done = podium("backfill", "flow", *RANGE, "--param", "factor=2", "--reason", "because", "--json")
    assert done.code == 1, done.err
    document = done.document
    assert document["state"] == "failed"
    assert [each["state"] for each in document["intervals"]] == ["succeeded", "failed", "succeeded", "succeeded"]
    assert "first: ValueError: the second is broken" in done.err
    assert "4 of 4 done, 1 failed" in done.err
    backfill_id = document["backfill_id"]
    assert f"`podium backfills resume {backfill_id}`" in done.err

    (podium.project / "broken").unlink()
    again = podium("backfill", "flow", *RANGE, "--param", "factor=2", "--failed-only", "--dry-run")
    assert "would     1 run" in again.out
    assert "rests on  first: 3 runs" in again.out
    resumed = podium("backfills", "resume", backfill_id)
    assert resumed.code == 0, resumed.err
    assert "succeeded: 4 succeeded" in resumed.out
    shown = podium("backfills", "show", backfill_id, "--json").document
    runs = podium("runs", "list", "--json").document
    assert sum(float(each["cost_usd"]) for each in runs) == pytest.approx(float(shown["cost_usd"]))
    assert {each["backfill_id"] for each in runs} == {backfill_id}
    (listed,) = podium("backfills", "list", "--json").document
    assert (listed["state"], listed["counts"]["succeeded"], listed["reason"]) == ("succeeded", 4, "because")


def test_killed_before_it_is_admitted_nothing_of_it_is_on_record(podium: Podium) -> None:
    killed = podium("backfill", "flow", *RANGE, "--detach", PODIUM_FAULTS="backfill.before_admit:kill")
    assert killed.code == -signal.SIGKILL
    assert podium("runs", "list", "--json").document == []


def test_a_worker_executes_it_and_what_is_cancelled_amid_it_is_free_again(podium: Podium) -> None:
    os.mkfifo(podium.project / "held")
    (podium.project / "hold").touch()
    worker = podium.start("worker")
    try:
        left = podium("backfill", "flow", *RANGE, "--max-parallel", "1", "--order", "newest", "--detach")
        assert left.code == 0, left.err
        backfill_id = left.out.strip()
        assert "`podium worker` executes it" in left.err
        with (podium.project / "held").open() as pipe:
            assert pipe.read() == "2026-03-04"
        states = [each["state"] for each in podium("backfills", "show", backfill_id, "--json").document["intervals"]]
        assert states == ["running", "queued", "queued", "queued"]
        cancelled = podium("backfills", "cancel", backfill_id, "--reason", "wrong", "--json")
        assert cancelled.code == 0, cancelled.err
        assert [each["state"] for each in cancelled.document["intervals"]] == ["cancelled"] * 4
        (podium.project / "hold").unlink()
        freed = podium("backfill", "flow", *RANGE, "--detach")
        followed = podium("backfills", "show", freed.out.strip(), "--follow", "--json")
        assert followed.document["state"] == "succeeded"
        assert "of 4 done" in followed.err
    finally:
        kills.kill(worker.pid, "tree")
        worker.communicate()


def test_interrupted_it_says_what_goes_on_and_that_does(podium: Podium) -> None:
    os.mkfifo(podium.project / "held")
    (podium.project / "hold").touch()
    running = podium.start("backfill", "flow", *RANGE, "--max-parallel", "1")
    with (podium.project / "held").open() as pipe:
        assert pipe.read() == "2026-03-01"
    (podium.project / "hold").unlink()
    running.send_signal(signal.SIGINT)
    _, told = running.communicate()
    assert running.returncode == 130
    assert "`podium backfills resume` goes on from there, or a `podium worker` does" in told
    (found,) = podium("backfills", "list", "--json").document
    assert found["state"] == "running"
    assert podium("backfills", "resume", found["backfill_id"]).code == 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--from", "2026-03", "--to", "2999"), "not over yet"),
        ((*RANGE, "--failed-only", "--reprocess"), "give one of them"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(podium: Podium, words: tuple[str, ...], complaint: str) -> None:
    refused = podium("backfill", "flow", *words)
    assert refused.code == 2
    assert complaint in refused.complaint
