"""An act on a run, or what a deadline sets in motion, dies before or after its commit: nothing is done, or all of it.

Whoever comes next finds one of the two, and the run ends as it would have.
"""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from podium.db.engine import Database
from podium.execution.entities import Run
from tests.execution_world import HandWorker, check_books, everything
from tests.integration.test_flow_progress import ASKED, TIDIED, end_all, held

ACTS = {
    "decide": "service.decide(run_id, 'asked', approved=True, reason='yes', actor=ACTOR)",
    "cancel": "service.cancel(run_id, reason='enough')",
}
"""What is done to a run that is held."""

SCRIPT = """
import sys
from datetime import datetime
from pathlib import Path
from podium.clock import FakeClock
from podium.db.engine import Database
from tests.execution_world import ACTOR, HandWorker

url, folder, run_id, now = sys.argv[1:]
hand = HandWorker(Database(url, Path(folder) / "locks"), Path(folder), FakeClock(datetime.fromisoformat(now)))
service = hand.service
{act}
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture
def hand(database: Database, tmp_path: Path) -> HandWorker:
    worker = HandWorker(database, tmp_path)
    worker.worker("w")
    return worker


def die_at(point: str, act: str, hand: HandWorker, run: Run) -> None:
    """Do something in another process, which dies at a point."""
    paths = os.pathsep.join((str(ROOT), str(ROOT / "platform")))
    dead = subprocess.run(
        [
            sys.executable,
            "-c",
            SCRIPT.format(act=act),
            hand.database.url,
            str(hand.folder),
            run.run_id,
            hand.clock.now().isoformat(),
        ],
        env={**os.environ, "PYTHONPATH": paths, "PODIUM_FAULTS": f"{point}:kill"},
        check=False,
    )
    assert dead.returncode == -signal.SIGKILL


@pytest.mark.parametrize("act", ACTS)
def test_an_act_that_dies_is_done_wholly_or_not_at_all(hand: HandWorker, act: str) -> None:
    started = held(hand, ASKED)
    before = everything(hand.database)
    die_at("act.before_commit", ACTS[act], hand, started)
    assert everything(hand.database) == before
    die_at("act.after_commit", ACTS[act], hand, started)
    assert hand.states(started)["asked"] != "held"
    end_all(hand, started)
    assert hand.run(started).state == ("cancelled" if act == "cancel" else "succeeded")
    check_books(hand.database)


def test_what_a_deadline_sets_in_motion_is_taken_up_by_whoever_looks_next(hand: HandWorker) -> None:
    started = held(hand, ASKED)
    hand.clock.advance(timedelta(days=3).total_seconds())
    before = everything(hand.database)
    act = "hand.enforce()"
    die_at("deadline.before_commit", act, hand, started)
    assert everything(hand.database) == before
    die_at("deadline.after_commit", act, hand, started)
    decided = everything(hand.database)
    hand.enforce()
    assert everything(hand.database) == decided
    end_all(hand, started)
    assert hand.run(started).state == "succeeded"


def test_a_run_is_taken_up_again_once_whoever_died_of_it(hand: HandWorker) -> None:
    started = hand.start(TIDIED)
    end_all(hand, started, b="failed")
    again = "from tests.integration.test_flow_progress import TIDIED\nservice.{}(run_id, TIDIED, reason='again'{})"
    before = everything(hand.database)
    die_at("act.before_commit", again.format("resume", ""), hand, started)
    assert everything(hand.database) == before
    die_at("act.after_commit", again.format("resume", ""), hand, started)
    assert hand.states(started)["b"] == "ready"
    end_all(hand, started)
    die_at("act.after_commit", again.format("retry", ", from_step='c'"), hand, started)
    end_all(hand, started)
    assert hand.run(started).state == "succeeded"
    check_books(hand.database)
