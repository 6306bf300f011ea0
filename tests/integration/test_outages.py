"""A worker whose database does not answer for a while: commits that it does not hear of, and when it gives up."""

import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import sqlalchemy as sa

from podium import faults
from podium.clock import FakeClock
from podium.db.engine import Database, Session
from podium.errors import ServiceUnavailable
from podium.execution.entities import Happening
from podium.execution.outage import Outage
from podium.wiring.runs import foreground
from tests.execution_world import ONE_STEP, FlowProject, attempts

IT = "@step\ndef it() -> int:\n    return 1\n" + ONE_STEP


@pytest.fixture
def flow(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> FlowProject:
    monkeypatch.setenv("PODIUM_DATABASE_URL", database.url)
    flow = FlowProject(tmp_path / "flows")
    flow.write(IT)
    return flow


@pytest.mark.parametrize(
    ("point", "ends"),
    [
        ("attempt.before_start", ["succeeded"]),
        ("attempt.after_start", ["cancelled", "succeeded"]),  # begun by nobody: given back, and no retry is spent
        ("heartbeat.before_commit", ["succeeded"]),
        ("heartbeat.after_commit", ["succeeded"]),
        ("attempt.before_end", ["succeeded"]),
        ("attempt.after_end", ["succeeded"]),
    ],
)
def test_a_commit_whose_answer_is_cut_off_is_made_up_for(
    flow: FlowProject, monkeypatch: pytest.MonkeyPatch, point: str, ends: list[str]
) -> None:
    reached: list[str] = []

    def cut_off(here: str) -> None:
        reached.append(here)
        if here == point and reached.count(point) == 1:
            raise ServiceUnavailable("the connection was lost")

    run = flow.start()
    monkeypatch.setattr(faults, "reach", cut_off)
    told: list[Happening] = []
    document = flow.execute(run, told.append)
    assert document["state"] == "succeeded"
    assert [each["state"] for each in attempts(document, "it")] == ends
    assert [each.kind for each in told if each.kind.startswith("database.")] == ["database.away", "database.back"]


def test_a_worker_gives_up_a_database_that_is_away_for_longer_than_a_lease(
    flow: FlowProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = flow.start()
    monkeypatch.setenv("PODIUM_LEASE_SECONDS", "0.5")
    flow.project = flow.another()

    def away(_: Session) -> AbstractContextManager[sa.Connection]:
        raise ServiceUnavailable("the database does not answer")

    def cut_off(point: str) -> None:
        if point == "attempt.before_start":
            monkeypatch.setattr(Session, "read", away)
            monkeypatch.setattr(Session, "write", away)
            raise ServiceUnavailable("the connection was lost")

    monkeypatch.setattr(faults, "reach", cut_off)
    began = time.monotonic()
    with (
        pytest.raises(ServiceUnavailable, match="does not answer"),
        foreground(flow.project, flow.plan(), lambda _: None) as worker,
    ):
        worker.execute(run.run_id)
    assert 0.5 < time.monotonic() - began < 20


def test_the_pauses_between_tries_grow_to_two_seconds_and_begin_anew_with_the_next_outage(clock: FakeClock) -> None:
    told: list[Happening] = []
    outage, error = Outage(clock, 30.0, told.append), ServiceUnavailable("it does not answer")
    assert [outage.sit_out(error) for _ in range(7)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    outage.is_over()
    assert outage.sit_out(error) == 0.1
    assert [each.kind for each in told] == ["database.away", "database.back", "database.away"]
    clock.advance(31)
    with pytest.raises(ServiceUnavailable, match="it does not answer"):
        outage.sit_out(error)
