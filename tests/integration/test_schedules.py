"""Schedules on a database: each tick one run, whatever is edited, paused, missed, killed, or done at the same time."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from podium.cli.schedules import _moment
from podium.dag.interval import Interval
from podium.dag.schedule import Missed, Ticks, Timing
from podium.db.engine import Database
from podium.db.schema import run, schedule_tick, scheduler
from podium.errors import Conflict, NotFound, UsageError
from podium.execution.entities import Actor
from podium.scheduling import documents, inspection, presence, store
from podium.scheduling.missed import LATE, decide
from podium.scheduling.presence import Presence
from podium.scheduling.scheduler import CAUGHT_UP_PER_MINUTE
from tests import ticks_at_scale
from tests.execution_world import check_books
from tests.scheduling_world import START, SchedulingWorld, scheduled


@pytest.fixture
def world(database: Database, tmp_path: Path) -> SchedulingWorld:
    return SchedulingWorld(database, tmp_path)


# --- ticks ------------------------------------------------------------------------------------------------------------


def test_each_tick_becomes_one_run_of_the_interval_it_is_about(world: SchedulingWorld) -> None:
    assert world.take_up(scheduled()) == ["flow added"]
    for _ in range(3):
        world.advance(hours=1)
        world.end_runs()
    assert world.runs() == ["11-21T00", "11-21T01", "11-21T02"]
    assert world.ticks() == [("21T01:00", "run", None), ("21T02:00", "run", None), ("21T03:00", "run", None)]
    with world.database.read() as connection:
        rows = connection.execute(sa.select(run)).all()
    assert {(row.trigger, row.actor, row.state) for row in rows} == {("schedule", "schedule", "succeeded")}
    assert "tick of 2026-11-21T01:00:00+00:00" in {row.cause for row in rows}
    check_books(world.database)


def test_a_new_schedule_never_fires_for_the_past_and_the_loop_sleeps_until_the_next_tick(
    world: SchedulingWorld,
) -> None:
    world.clock.advance(59 * 60 + 59.5)
    world.take_up(scheduled())
    assert world.scheduler.advance() == pytest.approx(0.5)
    assert world.runs() == []
    assert world.advance(seconds=0.5) == 1.0
    assert world.runs() == ["11-21T00"]
    assert world.scheduler.advance() == 1.0
    assert len(world.runs()) == 1


def test_a_delay_holds_a_tick_back_and_not_what_it_is_about(world: SchedulingWorld) -> None:
    world.clock.advance(3600)
    world.take_up(scheduled(schedule="0 0 * * *", grain="day", timing={"delay_seconds": 7200.0}))
    world.advance(minutes=59)
    assert world.runs() == []
    world.advance(minutes=1)
    assert world.runs() == ["11-20T00"]


def test_an_open_run_of_the_interval_stands_for_the_tick(world: SchedulingWorld) -> None:
    plan = scheduled(schedule="0 * * * *", grain="day")
    world.take_up(plan)
    world.advance(hours=1)
    world.advance(hours=1)
    assert world.runs() == ["11-20T00"]
    assert [fate for _, fate, _ in world.ticks()] == ["run", "joined"]
    world.end_runs()
    world.advance(hours=1)
    assert world.runs() == ["11-20T00", "11-20T00"]
    assert [each.kind for each in world.fired] == ["run", "joined", "run"]


# --- missed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("missed", "runs"), [("skip", 0), ("last", 1), ("all", 6)])
def test_after_six_hours_without_a_scheduler_as_many_runs_as_the_policy_says(
    world: SchedulingWorld, missed: Missed, runs: int
) -> None:
    world.take_up(scheduled(timing={"missed": missed}))
    world.advance(hours=6, minutes=30)
    assert world.runs() == [f"11-21T{hour:02}" for hour in range(6)][6 - runs :]
    told = [each.text for each in world.fired if each.kind == "missed"]
    if runs < 6:
        span = f"2026-11-21T01:00:00+00:00 to 2026-11-21T{6 - runs:02}:00:00+00:00"
        assert told == [f"{6 - runs} ticks missed, {span}: nobody was there for them (missed='{missed}')"]
        assert world.ticks()[0] == ("21T01:00", "missed", 6 - runs)
    else:
        assert told == []
    world.end_runs()
    world.advance(minutes=30)
    assert world.runs()[-1] == "11-21T06"
    assert len(world.runs()) == runs + 1


def test_of_all_missed_ticks_the_newest_run_up_to_the_limit_in_order(world: SchedulingWorld) -> None:
    world.take_up(scheduled(timing={"missed": "all", "missed_limit": 2}))
    world.advance(hours=6, minutes=30)
    assert world.runs() == ["11-21T04", "11-21T05"]
    assert world.ticks() == [("21T01:00", "missed", 4), ("21T05:00", "run", None), ("21T06:00", "run", None)]


def test_a_tick_that_is_found_within_a_minute_is_not_missed(world: SchedulingWorld) -> None:
    world.take_up(scheduled(timing={"missed": "skip"}))
    world.advance(hours=1, seconds=59)
    assert world.runs() == ["11-21T00"]
    world.advance(hours=1, seconds=1)
    assert world.runs() == ["11-21T00"]


@given(
    text=st.sampled_from(["0 * * * *", "*/7 * * * *", "every 20s", "0 0 * * *"]),
    down_seconds=st.integers(0, 4 * 86400),
    missed=st.sampled_from(["skip", "last", "all"]),
    limit=st.integers(1, 30),
)
def test_every_due_tick_is_either_missed_or_runs_and_what_is_not_late_always_runs(
    text: str, down_seconds: int, missed: Missed, limit: int
) -> None:
    ticks = Ticks.of("p", text, "Europe/Berlin", "day", Timing())
    first = ticks.after(START)
    assert first is not None
    now = first.due_at + timedelta(seconds=down_seconds)
    decision = decide(ticks, first.at, now, missed, limit)
    due = list(ticks.due(START, now))
    run_ticks = list(decision.run)
    late = [tick for tick in run_ticks if tick.due_at <= now - LATE]
    assert run_ticks == due[len(due) - len(run_ticks) :]
    assert [tick for tick in due if tick.due_at > now - LATE] == run_ticks[len(late) :]
    assert len(late) <= {"skip": 0, "last": 1, "all": limit}[missed]
    if decision.missed is None:
        assert run_ticks == due
    else:
        assert decision.missed.first == due[0]
        assert decision.missed.last == due[len(due) - len(run_ticks) - 1]
        assert decision.missed.count in (None, len(due) - len(run_ticks))
        assert (decision.missed.count is None) == (len(due) > 1000)


def test_a_backlog_is_caught_up_with_at_a_limited_rate_and_holds_back_nothing_that_is_not_late(
    world: SchedulingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podium.scheduling.scheduler.CAUGHT_UP_PER_MINUTE", 5)
    behind = [scheduled(f"late{n}", timing={"missed": "all"}) for n in range(4)]
    world.take_up(*behind, scheduled("punctual", "every 61s"))
    world.advance(hours=3, seconds=1)

    def caught_up() -> int:
        counted = sa.select(sa.func.count()).where(schedule_tick.c.late, schedule_tick.c.fate == "run")
        with world.database.read() as connection:
            return connection.scalar(counted) or 0

    assert caught_up() == 5
    assert len(world.runs("punctual")) == 1
    before = len(world.runs("punctual"))
    world.end_runs()
    for minute in range(1, 4):
        world.advance(seconds=61)
        world.end_runs()
        assert caught_up() <= 5 * (minute + 1)
    assert len(world.runs("punctual")) == before + 3
    for number in range(4):
        assert world.runs(f"late{number}") == ["11-21T00", "11-21T01", "11-21T02"]
    assert CAUGHT_UP_PER_MINUTE == 600


# --- edits, pauses, clocks --------------------------------------------------------------------------------------------


def test_a_schedule_that_is_edited_while_due_fires_by_the_rule_before_and_then_by_the_new_one(
    world: SchedulingWorld,
) -> None:
    world.take_up(scheduled())
    world.clock.advance(3600 + 10)  # due, and not acted on
    edited = scheduled(schedule="30 * * * *")
    assert world.take_up(edited) == []
    world.scheduler.advance()
    assert world.runs() == ["11-21T00"]
    assert world.take_up(edited) == ["flow changed"]
    assert world.take_up(edited) == []
    world.end_runs()
    world.advance(minutes=30)
    assert [tick for tick, *_ in world.ticks()] == ["21T01:00", "21T01:30"]


def test_a_longer_delay_does_not_fire_a_tick_again_that_was_decided_about(world: SchedulingWorld) -> None:
    world.take_up(scheduled())
    world.advance(hours=1)
    world.end_runs()
    world.take_up(scheduled(timing={"delay_seconds": 1800.0}))
    world.advance(minutes=30)
    assert [tick for tick, *_ in world.ticks()] == ["21T01:00"]
    world.advance(hours=1)
    assert [tick for tick, *_ in world.ticks()] == ["21T01:00", "21T02:00"]


def test_code_that_changes_and_says_the_same_of_when_runs_with_the_next_tick(world: SchedulingWorld) -> None:
    world.take_up(scheduled())
    changed = scheduled(description="other")
    assert world.take_up(changed) == []
    world.advance(hours=1)
    with world.database.read() as connection:
        assert connection.scalar(sa.select(run.c.plan_digest)) == changed.digest


def test_a_pipeline_that_is_gone_fires_no_more_and_one_whose_file_is_broken_goes_on(world: SchedulingWorld) -> None:
    gone, broken = scheduled("gone"), scheduled("broken", file="pipelines/broken.py")
    world.take_up(gone, broken)
    assert world.take_up(broken=("pipelines/broken.py",)) == ["gone removed"]
    world.advance(hours=1)
    assert (world.runs("gone"), len(world.runs("broken"))) == ([], 1)
    assert world.take_up(gone, broken) == ["gone changed"]
    world.advance(hours=1)
    assert world.runs("gone") == ["11-21T01"]


def test_a_paused_schedule_fires_nothing_and_what_it_did_not_fire_was_not_missed(world: SchedulingWorld) -> None:
    world.take_up(scheduled(timing={"missed": "all"}))
    world.schedules.pause("flow", reason="the source is away", actor="ada")
    with pytest.raises(Conflict, match="paused already, since 2026-11-21 00:00 UTC by ada: the source is away"):
        world.schedules.pause("flow", reason="again", actor="bob")
    world.advance(hours=5)
    assert world.take_up(scheduled(schedule="30 * * * *", timing={"missed": "all"})) == ["flow changed"]
    world.advance(hours=1)
    tick = world.schedules.resume("flow", reason="it is back", actor="bob")
    assert tick is not None
    assert tick.due_at == START + timedelta(hours=6, minutes=30)
    world.advance(minutes=30)
    assert world.runs() == ["11-21T05"]
    assert [fate for _, fate, _ in world.ticks()] == ["run"]
    with world.database.read() as connection:
        (told,) = documents.schedule_documents(connection, world.clock.now())
    assert told["resumed"] == {"at": "2026-11-21T06:00:00Z", "by": "bob", "reason": "it is back"}
    with pytest.raises(Conflict, match="is not paused"):
        world.schedules.resume("flow", reason="again", actor="bob")
    with pytest.raises(NotFound, match="No schedule of 'floe' is known here"):
        world.schedules.pause("floe", reason="typo", actor="ada")


def test_a_clock_that_goes_forth_and_back_never_fires_a_tick_twice(world: SchedulingWorld) -> None:
    world.take_up(scheduled(timing={"missed": "all"}))
    for step in (1.2, -0.7, 0.6, 3.0, -2.9, 1.0, -1.0, 4.0):
        world.clock._now += timedelta(hours=step)
        world.scheduler.advance()
        world.end_runs()
    ticks = [tick for tick, *_ in world.ticks()]
    assert ticks == sorted(set(ticks))
    assert world.runs() == [f"11-21T{hour:02}" for hour in range(len(ticks))]
    assert len(ticks) == int((world.clock.now() - START).total_seconds() // 3600)


def test_a_schedule_that_was_fired_ahead_of_time_is_set_right_by_pause_and_resume(world: SchedulingWorld) -> None:
    world.take_up(scheduled())
    world.clock._now += timedelta(days=300)  # a clock set wrongly: all but the newest tick until then are missed
    world.scheduler.advance()
    world.end_runs()
    world.clock._now -= timedelta(days=300)
    world.advance(hours=2)
    assert len(world.runs()) == 1
    world.schedules.pause("flow", reason="the clock was wrong", actor="ada")
    tick = world.schedules.resume("flow", reason="set right", actor="ada")
    assert tick is not None
    assert tick.due_at == START + timedelta(hours=3)
    world.advance(hours=1)
    world.end_runs()
    assert world.take_up(scheduled(schedule="30 * * * *")) == ["flow changed"], "nor does an edit wait for then"
    world.advance(minutes=30)
    assert world.runs()[:2] == ["11-21T02", "11-21T02"]
    assert world.fired[-1].text.startswith("tick of 2026-11-21T03:30:00+00:00 is run")


def test_a_tick_that_a_clock_that_was_ahead_decided_about_is_not_fired_again_after_a_resume(
    world: SchedulingWorld,
) -> None:
    world.take_up(scheduled(timing={"missed": "all", "missed_limit": 2}))
    world.clock._now += timedelta(hours=6)  # of the ticks until then the last two run, and one says what was missed
    world.scheduler.advance()
    world.end_runs()
    world.clock._now -= timedelta(hours=6)
    world.schedules.pause("flow", reason="the clock was wrong", actor="ada")
    tick = world.schedules.resume("flow", reason="set right", actor="ada")
    assert tick is not None
    assert tick.due_at == START + timedelta(hours=2), "the first one has a fate on record"
    for _ in range(7):
        world.advance(hours=1)
        world.end_runs()
    assert sorted(world.runs()) == [f"11-21T{hour:02}" for hour in range(1, 7)]
    assert [each.kind for each in world.fired if each.kind == "problem"] == []


def test_a_tick_that_a_new_tz_database_moved_fires_at_its_new_time(world: SchedulingWorld) -> None:
    world.take_up(scheduled())
    before = START + timedelta(minutes=40)  # as if the clocks of its zone had stood otherwise when it was taken up
    with world.database.write() as connection:
        store.change(connection, "flow", next_tick_at=before, next_due_at=before)
    world.advance(minutes=45)
    assert world.runs() == []
    world.advance(minutes=15)
    assert world.ticks() == [("21T01:00", "run", None)]


# --- what is in the way -----------------------------------------------------------------------------------------------


def test_a_schedule_that_cannot_fire_is_told_once_and_keeps_none_of_the_others(world: SchedulingWorld) -> None:
    world.take_up(scheduled("a"), scheduled("b"), scheduled("c"))
    with world.database.write() as connection:
        connection.exec_driver_sql("UPDATE plan SET document = '{}' WHERE pipeline = 'b'")
    world.advance(hours=1)
    assert [len(world.runs(name)) for name in "abc"] == [1, 0, 1]
    told = [each for each in world.fired if each.kind == "problem"]
    assert [each.pipeline for each in told] == ["b"]
    assert "is no plan of this version of Podium" in told[0].text
    world.advance(minutes=2)
    assert len([each for each in world.fired if each.kind == "problem"]) == 1
    with world.database.read() as connection:
        assert "is no plan" in store.get(connection, "b").problem


def test_a_schedule_that_cannot_fire_can_be_edited_and_removed_and_the_list_shows_it_beside_the_others(
    world: SchedulingWorld,
) -> None:
    world.take_up(scheduled("a"), scheduled("b"), scheduled("c"))
    with world.database.write() as connection:
        connection.exec_driver_sql("UPDATE plan SET document = '{}' WHERE pipeline <> 'c'")
    world.advance(hours=1)
    with world.database.read() as connection:
        listed = {each["pipeline"]: each for each in documents.schedule_documents(connection, world.clock.now())}
    assert "is no plan of this version" in listed["a"]["problem"]
    assert (listed["a"]["schedule"], listed["c"]["schedule"]) == (None, "0 * * * *")
    world.clock.advance(3600)
    assert world.take_up(scheduled("a", "30 * * * *"), scheduled("c")) == ["a changed", "b removed"]
    world.advance(minutes=30)
    assert world.runs("a") == ["11-21T01"]
    with world.database.read() as connection:
        assert store.get(connection, "a").problem is None


def test_a_problem_is_forgotten_with_an_edit_of_a_schedule_that_is_paused(world: SchedulingWorld) -> None:
    world.take_up(scheduled())
    with world.database.write() as connection:
        connection.exec_driver_sql("UPDATE plan SET document = '{}'")
    world.advance(hours=1)
    world.schedules.pause("flow", reason="it cannot fire", actor="ada")
    assert world.take_up(scheduled(schedule="30 * * * *")) == ["flow changed"]
    with world.database.read() as connection:
        assert store.get(connection, "flow").problem is None


def test_a_problem_that_is_remedied_is_forgotten_and_its_tick_is_late(world: SchedulingWorld) -> None:
    plan = scheduled()
    world.take_up(plan)
    with world.database.write() as connection:
        kept = connection.scalar(sa.text("SELECT CAST(document AS TEXT) FROM plan"))
        connection.exec_driver_sql("UPDATE plan SET document = '{}'")
    world.advance(hours=1)
    assert world.runs() == []
    with world.database.write() as connection:
        cast = "CAST(:kept AS JSONB)" if not world.database.is_sqlite else ":kept"
        connection.execute(sa.text(f"UPDATE plan SET document = {cast}"), {"kept": kept})  # noqa: S608
    world.advance(minutes=2)
    assert world.runs() == ["11-21T00"]
    with world.database.read() as connection:
        assert store.get(connection, "flow").problem is None
        assert connection.scalar(sa.select(schedule_tick.c.late)) is True


def test_the_check_of_the_database_finds_ticks_and_backfills_that_somebody_changed(world: SchedulingWorld) -> None:
    world.take_up(scheduled())
    world.advance(hours=1)
    world.end_runs()
    world.advance(hours=1)
    check_books(world.database)

    def found(*changes: str) -> list[str]:
        with world.database.write() as connection:
            for each in changes:
                connection.exec_driver_sql(each)
            return sorted(str(each).partition(".")[0] for each in inspection.violations(connection))

    first, second = sorted(world.fired, key=lambda each: each.text)[0].run_id, world.fired[-1].run_id
    (twice,) = found(f"UPDATE schedule_tick SET run_id = '{first}' WHERE run_id = '{second}'")[:1]  # noqa: S608
    assert twice == f"run {first}: it was made for 2 ticks at once"
    lost = found("DELETE FROM schedule_tick")
    assert f"run {second}: it was made by the schedule of flow, for no tick" in lost
    world.advance(hours=1)
    with world.database.read() as connection:
        tick_at = connection.scalar(sa.select(schedule_tick.c.tick_at))
    with world.database.write() as connection:
        store.change(connection, "flow", next_tick_at=tick_at, next_due_at=tick_at)
    assert found()[-1] == ("the schedule of flow: its next tick, 2026-11-21 03:00:00 UTC, was decided about already")


# --- several at once --------------------------------------------------------------------------------------------------


def test_two_schedulers_make_one_run_of_each_tick(database: Database, tmp_path: Path) -> None:
    assert ticks_at_scale.problems(database, tmp_path, seconds=6, per_second=20) == []


KILLED = """
import sys
from datetime import datetime
from pathlib import Path
from podium.clock import FakeClock
from podium.db.engine import Database
from tests.scheduling_world import SchedulingWorld
url, folder, now = sys.argv[1:]
world = SchedulingWorld(Database(url, Path(folder) / "locks"), Path(folder), FakeClock(datetime.fromisoformat(now)))
world.scheduler.advance()
"""


@pytest.mark.parametrize("point", ["tick.before_commit", "tick.after_commit", "run.after_create"])
def test_a_scheduler_that_is_killed_around_its_commit_leaves_exactly_one_run_of_the_tick(
    world: SchedulingWorld, tmp_path: Path, point: str
) -> None:
    world.take_up(scheduled())
    world.clock.advance(3600)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, world.database.url, tmp_path, world.clock.now().isoformat()],
        env={**os.environ, "PODIUM_FAULTS": f"{point}:kill", "PYTHONPATH": os.getcwd()},  # noqa: PTH109
        check=False,
        capture_output=True,
    )
    reached = point.startswith("tick.")
    assert killed.returncode == (-signal.SIGKILL if reached else 0), killed.stderr
    assert len(world.runs()) == (0 if point == "tick.before_commit" else 1)
    world.scheduler.advance()
    world.new_scheduler().advance()
    assert world.runs() == ["11-21T00"]
    assert world.ticks() == [("21T01:00", "run", None)]


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_a_preview_shows_fires_in_local_and_utc_time_with_notes_where_clocks_change() -> None:
    plan = scheduled(schedule="30 2 * * *", grain="day", timezone="America/New_York")
    found = documents.preview(plan, datetime(2026, 3, 7, tzinfo=UTC), 3)
    assert [each["fires_at"] for each in found] == [
        "2026-03-07T07:30:00Z",
        "2026-03-08T07:00:00Z",
        "2026-03-09T06:30:00Z",
    ]
    assert [each["fires_at_local"] for each in found] == [
        "2026-03-07T02:30:00-05:00",
        "2026-03-08T03:00:00-04:00",
        "2026-03-09T02:30:00-04:00",
    ]
    assert found[0]["interval"] == {"start": "2026-03-06T05:00:00Z", "end": "2026-03-07T05:00:00Z"}
    assert found[0]["note"] is None
    assert "its time is skipped on this day" in found[1]["note"]
    with pytest.raises(UsageError, match="has no schedule; give it one"):
        documents.preview(scheduled(schedule=None), START, 3)


def test_a_preview_begins_with_what_is_due_at_its_very_moment() -> None:
    plan = scheduled(timing={"delay_seconds": 600.0})
    found = documents.preview(plan, datetime(2026, 3, 7, 6, 10, tzinfo=UTC), 2)
    assert [each["fires_at"] for each in found] == ["2026-03-07T06:10:00Z", "2026-03-07T07:10:00Z"]


def test_a_preview_ends_with_the_calendar_and_refuses_to_begin_at_its_ends() -> None:
    for zone in ("UTC", "America/New_York", "Asia/Tokyo"):
        plan = scheduled("nightly", "0 2 * * *", grain="day", timezone=zone, timing={"delay_seconds": 366 * 86_400.0})
        assert len(documents.preview(plan, datetime(1900, 1, 2, tzinfo=UTC), 1000)) == 1000
        last = documents.preview(plan, datetime(9998, 1, 1, tzinfo=UTC), 1000)
        assert len(last) < 1000
        assert last[-1]["fires_at"].startswith("9999-12-")
        rare = scheduled("rare", "0 0 29 2 *", grain="day", timezone=zone)
        assert documents.preview(rare, datetime(9998, 1, 1, tzinfo=UTC), 3) == []
        for year in (1, 1899, 9999):
            with pytest.raises(UsageError, match="from a time of the years 1900 to 9998 on, not from"):
                documents.preview(plan, datetime(year, 6, 1, tzinfo=UTC), 3)


@pytest.mark.parametrize("text", ["9999-12-31", "9999-12-31T23:59+14:00", "0001-01-01"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_a_time_at_an_end_of_the_calendar_is_told_to_be_too_far_away(text: str, zone: str) -> None:
    with pytest.raises(UsageError, match=r"too far away; give a time|from a time of the years 1900 to 9998"):
        documents.preview(scheduled(timezone=zone), _moment(text, zone), 3)


def test_a_schedule_that_nobody_acts_on_is_overdue(world: SchedulingWorld) -> None:
    world.take_up(scheduled())
    world.clock.advance(2 * 3600)
    with world.database.read() as connection:
        (found,) = documents.schedule_documents(connection, world.clock.now())
        assert not documents.is_any_scheduler_alive(connection, world.clock.now())
    assert found["overdue_seconds"] == 3600
    assert found["next_fires_at"] == "2026-11-21T01:00:00Z"


def test_a_person_who_runs_the_interval_first_and_a_tick_do_not_get_in_each_others_way(world: SchedulingWorld) -> None:
    plan = scheduled()
    world.take_up(plan)
    interval = Interval.parse("2026-11-21T00")
    mine = world.execution.start(plan, interval, parameters={}, actor=Actor("ada"))
    world.advance(hours=1)
    assert world.runs() == ["11-21T00"]
    with world.database.read() as connection:
        assert connection.scalar(sa.select(schedule_tick.c.run_id)) == mine.run_id


def test_a_scheduler_is_alive_by_its_signs_and_forgotten_after_a_week(world: SchedulingWorld) -> None:
    def alive() -> bool:
        with world.database.read() as connection:
            return documents.is_any_scheduler_alive(connection, world.clock.now())

    def rows() -> int:
        with world.database.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(scheduler)) or 0

    killed = Presence(world.database, world.clock, "host", 1)
    assert not alive()
    pause = killed.advance()
    world.clock.advance(pause)
    killed.advance()
    world.clock.advance(presence.SILENT.total_seconds() - 1)
    assert alive()
    world.clock.advance(2)
    assert not alive()
    other = Presence(world.database, world.clock, "host", 2)
    other.advance()
    assert alive()
    other.end()
    assert not alive()
    assert rows() == 2
    world.clock.advance(8 * 86_400)
    Presence(world.database, world.clock, "host", 3).advance()
    assert rows() == 1
