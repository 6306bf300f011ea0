"""Triggers: what is new makes one run, what cannot be looked at is unknown, and nothing that came is lost."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from podium.dag.interval import Interval
from podium.dag.options import OptionError
from podium.dag.plan import Plan
from podium.dag.triggers import (
    FilesSource,
    NewFiles,
    NewRows,
    PlannedTrigger,
    Promoted,
    RowsSource,
    RunEnded,
    Source,
    Trigger,
    read_triggers,
)
from podium.db.engine import Database
from podium.db.schema import event, promotion_history, run, trigger_source
from podium.errors import Conflict, NotFound
from podium.execution.entities import Actor
from podium.scheduling.looks import Found, SourceUnknown, look_at_files, look_at_rows
from podium.scheduling.trigger_documents import trigger_document, trigger_documents
from podium.scheduling.trigger_rules import SourceState, standing
from podium.scheduling.trigger_watch import LOOK_SECONDS, TriggerWatch
from podium.scheduling.triggers import Triggers
from podium.wiring.admission import ExecutorAdmission
from tests.scheduling_world import START, SchedulingWorld, scheduled

ROWS = "SELECT max(n) FROM numbers"


def triggered(*sources: Source, needs: str = "any", pipeline: str = "flow", debounce: str | None = None) -> Plan:
    """A pipeline with one trigger, called `new`."""
    made = Trigger("new", **{f"{needs}_of": sources}, debounce=debounce)
    return scheduled(pipeline, schedule=None, triggers=read_triggers([made], pipeline=pipeline))


def at_once(look: Callable[[], Found]) -> "Future[Found]":
    """Look here and now."""
    future: Future[Found] = Future()
    try:
        future.set_result(look())
    except SourceUnknown as error:
        future.set_exception(error)
    return future


@dataclass
class TriggerWorld(SchedulingWorld):
    """Triggers over one database, in a folder with files."""

    looks: list["Future[Found]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        admission = ExecutorAdmission(self.execution)
        self.triggers = Triggers(self.database, admission, self.clock, self.fired.append)
        self.watch = self.new_watch()
        (self.folder / "data").mkdir(exist_ok=True)

    def new_watch(self) -> TriggerWatch:
        """Another scheduler's."""
        return TriggerWatch(self.triggers, self.folder, start=at_once)

    def take_up(self, *found: Plan, broken: tuple[str, ...] = ()) -> list[str]:
        super().take_up(*found, broken=broken)
        return [f"{each.pipeline} {each.kind}" for each in self.triggers.take_up(found, broken)]

    def look(self, **passed: float) -> float:
        """Let time pass, and then let the triggers be looked after."""
        self.clock.advance(timedelta(**passed).total_seconds())
        return self.watch.advance()

    def file(self, name: str, text: str = "x") -> None:
        """Write a file."""
        (self.folder / "data" / name).write_text(text)

    def told(self, trigger: str = "flow.new") -> dict[str, Any]:
        """A trigger as it is shown."""
        with self.database.read() as connection:
            return trigger_document(connection, trigger)

    def causes(self, pipeline: str = "flow") -> list[str | None]:
        """What caused a pipeline's runs, in their order."""
        query = sa.select(run.c.cause).where(run.c.pipeline == pipeline).order_by(run.c.created_at, run.c.run_id)
        with self.database.read() as connection:
            return list(connection.scalars(query))


@pytest.fixture
def world(database: Database, tmp_path: Path) -> TriggerWorld:
    return TriggerWorld(database, tmp_path)


FILES = NewFiles("data/*.csv", every="5m")


# --- files ------------------------------------------------------------------------------------------------------------


def test_files_that_come_after_the_first_look_make_one_run_and_those_before_none(world: TriggerWorld) -> None:
    world.file("a.csv")
    assert world.take_up(triggered(FILES)) == ["flow.new added"]
    world.look()
    assert world.told()["sources"][0]["detail"] == "1 file; what comes from now on is new"
    world.file("b.csv")
    world.file("c.csv")
    world.look(minutes=4)
    assert world.causes() == []
    world.look(minutes=1)
    assert world.causes() == ["trigger new: files data/*.csv: 2 new of 3 files: b.csv, c.csv"]
    world.end_runs()
    world.look(minutes=5)
    assert len(world.causes()) == 1
    told = world.told()
    assert told["firings"] == 1
    assert told["run_state"] == "succeeded"
    assert told["state"] == "waits"
    assert told["sources"][0]["result"] == "nothing"
    assert told["sources"][0]["looked_at"] == "2026-11-21T00:10:00Z"
    assert told["sources"][0]["next_look_at"] == "2026-11-21T00:15:00Z"


def test_a_file_that_is_changed_or_comes_again_is_new_and_one_that_is_removed_is_not(world: TriggerWorld) -> None:
    world.file("a.csv")
    world.take_up(triggered(FILES))
    world.look()
    world.file("a.csv", "longer")
    world.look(minutes=5)
    assert len(world.causes()) == 1
    world.end_runs()
    (world.folder / "data" / "a.csv").unlink()
    world.look(minutes=5)
    assert len(world.causes()) == 1
    world.file("a.csv", "longer")
    world.look(minutes=5)
    assert len(world.causes()) == 2


def test_news_that_come_while_a_run_of_the_interval_is_open_make_a_run_when_it_has_ended(world: TriggerWorld) -> None:
    world.take_up(triggered(FILES))
    world.look()
    world.file("a.csv")
    world.look(minutes=5)
    world.file("b.csv")
    world.look(minutes=5)
    assert len(world.causes()) == 1
    told = world.told()
    assert told["state"] == "blocked"
    assert told["problem"] == f"waits for run {told['run_id']} of the same interval, which is open"
    world.end_runs()
    world.look(seconds=5)
    assert world.causes()[1] == "trigger new: files data/*.csv: 1 new of 2 files: b.csv"
    assert world.told()["problem"] is None


def test_debounce_waits_until_nothing_new_has_come_for_so_long(world: TriggerWorld) -> None:
    world.take_up(triggered(NewFiles("data/*.csv", every="1m"), debounce="10m"))
    world.look()
    for minute in range(1, 4):
        world.file(f"{minute}.csv")
        world.look(minutes=1)
    assert world.told()["fires_at"] == "2026-11-21T00:13:00Z"
    assert world.told()["news_since"] == "2026-11-21T00:03:00Z"
    assert 0 < world.look(minutes=9, seconds=59.5) <= 0.5
    assert world.causes() == []
    world.look(seconds=0.5)
    assert world.causes() == ["trigger new: files data/*.csv: 3 new of 3 files: 1.csv, 2.csv, 3.csv"]


def test_all_of_fires_when_each_source_has_news_and_any_of_at_the_first(world: TriggerWorld) -> None:
    for needs in ("any", "all"):
        pipeline = f"of_{needs}"
        sources = NewFiles("data/*.csv", every="1m"), NewFiles("data/*.json", every="1m")
        world.take_up(triggered(*sources, needs=needs, pipeline=pipeline))
        world.look()
        world.file(f"{needs}.csv")
        world.look(minutes=1)
        assert len(world.causes(pipeline)) == (1 if needs == "any" else 0)
        world.end_runs()
        world.file(f"{needs}.json")
        world.look(minutes=1)
        world.end_runs()
        assert len(world.causes(pipeline)) == (2 if needs == "any" else 1)
    assert world.causes("of_all")[0] == (
        "trigger new: files data/*.csv: 1 new of 2 files: all.csv; files data/*.json: 1 new of 2 files: all.json"
    )


@given(
    needs=st.sampled_from(["any", "all"]),
    changes=st.lists(st.none() | st.integers(0, 100), min_size=1, max_size=4),
    debounce=st.integers(0, 50),
)
def test_when_a_trigger_fires_follows_from_the_last_news_of_what_it_needs(
    needs: Any, changes: list[int | None], debounce: int
) -> None:
    sources = [
        SourceState(n, "s", [], [], None if at is None else START + timedelta(seconds=at), START, "news", "", 0, START)
        for n, at in enumerate(changes)
    ]
    trigger = PlannedTrigger("new", needs, tuple(FilesSource("x", 1.0) for _ in changes), float(debounce))
    stands = standing(trigger, sources)
    came = [at for at in changes if at is not None]
    if len(came) < (len(changes) if needs == "all" else 1):
        assert stands.fires_at is stands.news_since is None
    else:
        assert stands.fires_at == START + timedelta(seconds=max(came) + debounce)
        assert stands.news_since is not None
        assert stands.news_since <= stands.fires_at


def test_files_are_looked_for_at_any_url_of_fsspec_and_what_cannot_be_listed_is_unknown(tmp_path: Path) -> None:
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe("/podium-triggers/a.csv", b"1")
    source = FilesSource("memory://podium-triggers/*.csv", 60.0)
    first = look_at_files(source, tmp_path, None)
    files.pipe("/podium-triggers/b.csv", b"1")
    found = look_at_files(source, tmp_path, first.seen)
    assert (found.is_news, found.detail) == (True, "1 new of 2 files: b.csv")
    for pattern in ("nonsense://bucket/*.csv", "s3://podium-no-such-bucket-0/*.csv"):
        with pytest.raises(SourceUnknown, match="cannot be listed"):
            look_at_files(FilesSource(pattern, 60.0), tmp_path, None)


def test_more_files_than_can_be_kept_in_mind_are_unknown_and_not_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podium.scheduling.looks.FILE_LIMIT", 2)
    for name in "abc":
        (tmp_path / f"{name}.csv").write_text("")
    with pytest.raises(SourceUnknown, match="matches 3 files, more than 2: narrow it"):
        look_at_files(FilesSource("*.csv", 60.0), tmp_path, None)


# --- rows -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def numbers(tmp_path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(tmp_path / "numbers.db", isolation_level=None)
    connection.execute("CREATE TABLE numbers (n)")
    connection.execute("INSERT INTO numbers VALUES (1)")
    return connection


def test_a_watermark_that_moves_makes_a_run_and_its_url_may_be_a_variable(
    world: TriggerWorld, numbers: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.take_up(triggered(NewRows(ROWS, url="$NUMBERS_URL", every="1m")))
    world.look()
    assert world.told()["sources"][0]["detail"] == (
        "the environment variable NUMBERS_URL of the scheduler is not set; it must hold the URL"
    )
    monkeypatch.setenv("NUMBERS_URL", f"sqlite:///{world.folder}/numbers.db")
    world.look(minutes=2)
    assert world.told()["sources"][0]["detail"] == "is 1; what it is from now on is new"
    numbers.execute("INSERT INTO numbers VALUES (7)")
    world.look(minutes=1)
    assert world.causes() == [f"trigger new: watermark {ROWS}: 1 → 7"]
    world.end_runs()
    world.look(minutes=1)
    assert len(world.causes()) == 1
    numbers.execute("DELETE FROM numbers")
    world.look(minutes=1)
    assert world.told()["sources"][0]["detail"] == "is empty"
    assert len(world.causes()) == 1


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT n FROM numbers WHERE n > 1", "answers with nothing; it must be one value"),
        ("SELECT 1 UNION SELECT 2", "answers with rows; it must be one value"),
        ("SELECT 1, 2", "answers with rows; it must be one value"),
        ("SELECT x FROM numbers", "no such column: x"),
        ("SELECT x'00'", "is no time, number or text"),
        ("SELECT 'a' || char(0)", "is no time, number or text"),
        ("SELECT 9e999", "is no time, number or text"),
    ],
)
@pytest.mark.usefixtures("numbers")
def test_a_query_without_one_value_is_unknown(tmp_path: Path, query: str, told: str) -> None:
    with pytest.raises(SourceUnknown) as raised:
        look_at_rows(RowsSource(query, f"sqlite:///{tmp_path}/numbers.db", 60.0), tmp_path, None)
    assert told in str(raised.value).replace("which ", "").replace(", is no", " is no").replace("inf, is", "is")


def test_a_look_at_rows_changes_nothing(tmp_path: Path, numbers: sqlite3.Connection) -> None:
    source = RowsSource("DELETE FROM numbers RETURNING n", f"sqlite:///{tmp_path}/numbers.db", 60.0)
    look_at_rows(source, tmp_path, None)
    assert numbers.execute("SELECT count(*) FROM numbers").fetchone() == (1,)


# --- what is unknown --------------------------------------------------------------------------------------------------


def test_a_source_that_cannot_be_reached_is_unknown_asked_less_and_less_and_loses_no_news(world: TriggerWorld) -> None:
    gone = world.folder / "away.db"
    gone.mkdir()  # no database can be opened there
    world.take_up(triggered(NewRows(ROWS, url=f"sqlite:///{gone}", every="1m"), FILES, needs="all"))
    world.look()
    told = world.told()
    assert told["state"] == "unknown"
    assert [each["result"] for each in told["sources"]] == ["unknown", "nothing"]
    assert "unable to open database file" in told["sources"][0]["detail"]
    waits = []
    for _ in range(6):
        before = world.clock.now()
        with world.database.read() as connection:
            next_look_at = connection.scalar(
                sa.select(trigger_source.c.next_look_at).where(trigger_source.c.position == 0)
            )
        assert next_look_at is not None
        waits.append(round((next_look_at - before).total_seconds()))
        world.look(seconds=waits[-1])
    assert waits == [60, 120, 240, 480, 900, 900]
    assert [each.kind for each in world.fired].count("unknown") == 1
    world.file("a.csv")
    world.look(minutes=5)
    assert world.causes() == []
    gone.rmdir()
    numbers = sqlite3.connect(gone, isolation_level=None)
    numbers.execute("CREATE TABLE numbers (n)")
    numbers.execute("INSERT INTO numbers VALUES (1)")
    world.look(minutes=15)
    assert world.told()["sources"][0]["failures"] == 0
    numbers.execute("INSERT INTO numbers VALUES (2)")
    world.look(minutes=1)
    assert world.causes() == [f"trigger new: watermark {ROWS}: 1 → 2; files data/*.csv: 1 new of 1 file: a.csv"]


def test_a_look_that_hangs_is_unknown_after_a_minute_and_holds_up_nothing_else(world: TriggerWorld) -> None:
    hanging: list[Future[Found]] = []

    def start(look: Callable[[], Found]) -> "Future[Found]":
        if not hanging:
            hanging.append(Future())
            return hanging[0]
        return at_once(look)

    world.watch.start = start
    world.take_up(triggered(FILES, pipeline="a"), triggered(FILES, pipeline="b"))
    world.look()
    world.file("a.csv")
    world.look(minutes=5)
    assert len(world.causes("b")) == 1
    told = world.told("a.new")["sources"][0]
    assert (told["result"], told["detail"]) == ("unknown", f"there was no answer within {LOOK_SECONDS:g} s")
    world.look(minutes=30)
    hanging[0].set_result(Found([], is_news=False, detail="too late"))
    world.look()
    assert world.told("a.new")["sources"][0]["detail"] == "1 file; what comes from now on is new"


def test_a_plan_of_another_version_is_told_and_the_other_triggers_go_on(world: TriggerWorld) -> None:
    world.take_up(triggered(FILES, pipeline="a"), triggered(FILES, pipeline="b"))
    with world.database.write() as connection:
        connection.exec_driver_sql("UPDATE plan SET document = '{}' WHERE pipeline = 'a'")
    world.look()
    world.file("a.csv")
    world.look(minutes=5)
    world.look(minutes=5)
    assert len(world.causes("b")) == 1
    assert [each.pipeline for each in world.fired if each.kind == "problem"] == ["a.new"]


def test_a_folder_that_is_away_is_unknown_and_its_return_is_no_news(world: TriggerWorld) -> None:
    world.file("a.csv")
    world.take_up(triggered(FILES))
    world.look()
    (world.folder / "data").rename(world.folder / "away")
    world.look(minutes=5)
    told = world.told()["sources"][0]
    assert told["result"] == "unknown"
    assert "cannot be listed: FileNotFoundError" in told["detail"]
    (world.folder / "away").rename(world.folder / "data")
    world.look(minutes=5)
    assert world.told()["sources"][0]["result"] == "nothing"
    assert world.causes() == []


def test_a_folder_without_a_matching_file_has_none(tmp_path: Path) -> None:
    assert look_at_files(FilesSource("*.csv", 60.0), tmp_path, []).is_news is False
    assert look_at_files(FilesSource("none.csv", 60.0), tmp_path, []).is_news is False


def test_a_file_whose_name_is_no_text_is_news_like_any_other(world: TriggerWorld) -> None:
    world.take_up(triggered(FILES))
    world.look()
    os.close(os.open(os.fsencode(world.folder / "data") + b"/\xff.csv", os.O_CREAT))
    world.look(minutes=5)
    assert world.causes() == ["trigger new: files data/*.csv: 1 new of 1 file: \\udcff.csv"]


def test_looks_that_hang_keep_no_others_from_theirs_and_the_loop_from_no_rest(world: TriggerWorld) -> None:
    hanging: list[Future[Found]] = []

    def start(look: Callable[[], Found]) -> "Future[Found]":
        if len(hanging) < 16:
            hanging.append(Future())
            return hanging[-1]
        return at_once(look)

    world.watch.start = start
    world.take_up(*(triggered(FILES, pipeline=f"p{number:02}") for number in range(17)))
    assert world.look() == 0.05
    assert world.told("p16.new")["sources"][0]["result"] is None
    world.look(seconds=LOOK_SECONDS + 1)
    assert world.watch.advance() == 1.0
    assert world.told("p16.new")["sources"][0]["result"] == "nothing"
    assert world.told("p00.new")["sources"][0]["result"] == "unknown"
    world.take_up(*(triggered(NewFiles("data/*.json"), pipeline=f"p{number:02}") for number in range(17)))
    world.look()
    assert world.told("p00.new")["sources"][0]["result"] == "nothing"


def test_what_is_wrong_with_one_trigger_is_told_and_the_others_go_on(world: TriggerWorld) -> None:
    world.take_up(triggered(RunEnded("ingest"), pipeline="a"), triggered(RunEnded("ingest"), pipeline="b"))
    world.look()
    with world.database.write() as connection:
        connection.execute(
            trigger_source.update().where(trigger_source.c.trigger_id == "a.new").values(used=[], seen=[])
        )
    ended(world, 2)
    for _ in range(30):
        world.look(seconds=1)
    assert len(world.runs("b")) == 1
    problems = [each for each in world.fired if each.kind == "problem"]
    assert [each.pipeline for each in problems] == ["a.new"]
    assert "TypeError" in (world.told("a.new")["problem"] or "")


# --- what Podium has on record ----------------------------------------------------------------------------------------


def ended(world: TriggerWorld, hour: int, pipeline: str = "ingest") -> str:
    """Let a run of an upstream pipeline succeed."""
    plan = scheduled(pipeline, schedule=None)
    interval = Interval.parse(f"2026-11-20T{hour:02}")
    made = world.execution.start(plan, interval, parameters={}, actor=Actor("ada"), again=True)
    world.end_runs()
    return made.run_id


def test_each_run_of_another_pipeline_that_succeeds_makes_one_of_its_interval(world: TriggerWorld) -> None:
    ended(world, 1)
    world.take_up(triggered(RunEnded("ingest")))
    world.look()
    assert world.causes() == []
    first, second = ended(world, 2), ended(world, 3)
    ended(world, 3, "other")
    for _ in range(4):
        world.look(seconds=1)
        world.end_runs()
    assert world.runs() == ["11-20T02", "11-20T03"]
    assert world.causes() == [
        f"trigger new: runs of ingest that succeeded: run {each} of ingest succeeded" for each in (first, second)
    ]
    world.look(hours=1)
    assert len(world.runs()) == 2
    assert world.fired[-1].run_id is not None


def test_with_debounce_the_runs_that_ended_meanwhile_make_one(world: TriggerWorld) -> None:
    world.take_up(triggered(RunEnded("ingest"), debounce="5m"))
    world.look()
    ended(world, 2)
    world.look(minutes=1)
    last = ended(world, 3)
    world.look(minutes=1)
    world.look(minutes=5)
    assert world.runs() == ["11-20T03"]
    assert world.causes() == [
        f"trigger new: runs of ingest that succeeded: 2 runs, the last {last}, of ingest succeeded"
    ]


def test_a_run_whose_event_appears_after_later_ones_is_not_overlooked(world: TriggerWorld) -> None:
    """On PostgreSQL a transaction may commit after one that began, and took a higher number, later."""
    world.take_up(triggered(RunEnded("ingest")))
    world.look()
    early, late = ended(world, 2), ended(world, 3)
    with world.database.write() as connection:
        (row,) = connection.execute(
            sa.select(event).where(event.c.run_id == early, event.c.kind == "run.succeeded")
        ).all()
        connection.execute(event.delete().where(event.c.event_id == row.event_id))
    world.look(seconds=1)
    world.end_runs()
    with world.database.write() as connection:
        connection.execute(event.insert().values(**row._asdict()))
    for _ in range(3):
        world.look(seconds=1)
        world.end_runs()
    assert [cause and cause.split()[-4] for cause in world.causes()] == [late, early]
    world.look(minutes=20)
    world.look(minutes=20)
    assert len(world.causes()) == 2


def test_the_outcome_of_a_run_may_be_asked_for_and_failures_as_well(world: TriggerWorld) -> None:
    world.take_up(
        triggered(RunEnded("ingest", outcome="promoted"), pipeline="on_promoted"),
        triggered(RunEnded("ingest", state="cancelled"), pipeline="on_cancelled"),
    )
    world.look()
    ended(world, 2)
    plan = scheduled("ingest", schedule=None)
    other = world.execution.start(plan, Interval.parse("2026-11-20T03"), parameters={}, actor=Actor("ada"))
    world.execution.cancel(other.run_id, reason="not needed")
    world.look(seconds=1)
    assert (world.runs("on_promoted"), world.runs("on_cancelled")) == ([], ["11-20T03"])


def test_runs_of_a_backfill_make_no_others(world: TriggerWorld) -> None:
    world.take_up(triggered(RunEnded("ingest")))
    world.look()
    ended_id = ended(world, 2)
    with world.database.write() as connection:
        digest = connection.scalar(sa.select(run.c.plan_digest).where(run.c.run_id == ended_id))
        connection.execute(
            sa.text(
                "INSERT INTO backfill (backfill_id, pipeline, plan_digest, interval_start, interval_end, parameters, "
                "first, max_parallel, failed_only, reprocess, uses_cache, actor, actor_verified, created_at) VALUES "
                "('b', 'ingest', :digest, :start, :end, '{}', 'oldest', 1, false, false, true, 'ada', false, :start)"
            ),
            {"digest": digest, "start": "2026-11-01T00:00:00.000000Z", "end": "2026-11-02T00:00:00.000000Z"},
        )
        connection.execute(run.update().where(run.c.run_id == ended_id).values(backfill_id="b"))
    world.look(seconds=1)
    assert world.causes() == []


def test_a_promotion_makes_a_run_and_a_rollback_none(world: TriggerWorld) -> None:
    world.take_up(triggered(Promoted("demand")))

    def moved(number: int, action: str, version: str, state: str = "applied") -> None:
        row = {"model": "demand", "id": number, "at": world.clock.now(), "action": action, "state": state}
        row |= {"to_version": version, "actor": "ada", "actor_verified": False, "approvers": [], "reason": "better"}
        with world.database.write() as connection:
            connection.execute(promotion_history.insert().values(**row, previous_hash="0", hash=str(number)))

    moved(1, "promote", "1")
    world.look()
    moved(2, "promote", "2", state="refused")
    moved(3, "rollback", "1")
    world.look(seconds=1)
    assert world.causes() == []
    moved(4, "promote", "2")
    world.look(seconds=1)
    assert world.causes() == ["trigger new: promotions of demand: version 2 of demand was promoted"]
    assert world.runs() == ["11-20T23"]


def test_of_all_what_ended_before_the_others_had_news_is_no_news_of_the_next_time(world: TriggerWorld) -> None:
    world.take_up(triggered(RunEnded("ingest"), FILES, needs="all"))
    world.look()
    for hour in (1, 2, 3):
        ended(world, hour)
        world.look(seconds=1)
    world.file("a.csv")
    world.look(minutes=5)
    assert world.runs() == ["11-20T03"]
    world.end_runs()
    world.look(seconds=1)
    assert [each["has_news"] for each in world.told()["sources"]] == [False, False]


def test_news_that_wait_are_written_down_once(world: TriggerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.take_up(triggered(RunEnded("ingest"), FILES, needs="all"))
    world.look()
    ended(world, 1)
    world.look(seconds=1)
    recorded: list[str] = []
    monkeypatch.setattr(Triggers, "_record", lambda *given: recorded.append(given[1].trigger_id))
    for _ in range(20):
        world.look(seconds=1)
    assert recorded == []


# --- edits, hands, crashes --------------------------------------------------------------------------------------------


def test_a_trigger_that_looks_at_something_else_begins_anew_and_a_longer_debounce_does_not(world: TriggerWorld) -> None:
    world.take_up(triggered(FILES))
    world.look()
    world.file("a.csv")
    assert world.take_up(triggered(FILES, debounce="1m")) == ["flow.new changed"]
    world.look(minutes=5)
    world.look(minutes=1)
    assert len(world.causes()) == 1
    world.end_runs()
    world.file("b.json")
    assert world.take_up(triggered(NewFiles("data/*.json"))) == ["flow.new changed"]
    world.look()
    world.look(minutes=5)
    assert len(world.causes()) == 1
    assert world.take_up(triggered(NewFiles("data/*.json")), broken=()) == []
    assert world.take_up(broken=("pipelines/flow.py",)) == []
    assert world.take_up() == ["flow.new removed"]
    with world.database.read() as connection:
        assert trigger_documents(connection) == []
    with pytest.raises(NotFound, match=r"There is no trigger 'flow\.new'"):
        world.told()


def test_news_of_a_source_that_stays_survive_another_pace_and_another_source(world: TriggerWorld) -> None:
    world.take_up(triggered(FILES))
    world.look()
    world.file("a.csv")
    world.take_up(triggered(NewFiles("data/*.csv", every="1m"), NewFiles("data/*.json", every="1m")))
    world.look()
    assert world.causes() == ["trigger new: files data/*.csv: 1 new of 1 file: a.csv"]


def test_code_that_is_edited_during_a_look_does_not_drop_it(world: TriggerWorld) -> None:
    waiting: list[tuple[Callable[[], Found], Future[Found]]] = []

    def start(look: Callable[[], Found]) -> "Future[Found]":
        waiting.append((look, Future()))
        return waiting[-1][1]

    world.take_up(triggered(FILES))
    world.look()
    world.file("a.csv")
    world.watch.start = start
    world.look(minutes=5)
    world.take_up(replace(triggered(FILES), description="another text"))
    look, future = waiting[0]
    future.set_result(look())
    world.look(seconds=1)
    assert len(world.causes()) == 1


@pytest.mark.parametrize(
    "source",
    [
        NewRows(ROWS, url="postgresql://ada:hidden@host/db"),
        NewRows(ROWS, url="postgresql://host/db?password=hidden"),
        NewFiles("ftp://ada:hidden@host/*.csv"),
        NewRows(ROWS, url="hidden"),
    ],
)
def test_a_password_is_refused_where_it_would_be_kept_and_not_repeated(source: Source) -> None:
    with pytest.raises(OptionError) as raised:
        triggered(source)
    assert "hidden" not in str(raised.value)


def test_a_person_may_fire_a_trigger_and_what_it_had_seen_is_used_up(world: TriggerWorld) -> None:
    world.take_up(triggered(FILES, debounce="1h"))
    world.look()
    world.file("a.csv")
    world.look(minutes=5)
    run_id = world.triggers.fire_by_hand("flow.new", reason="it cannot wait", actor="ada")
    assert world.causes() == ["trigger new, fired by ada: it cannot wait"]
    with pytest.raises(Conflict, match=f"run {run_id} of the same interval is open"):
        world.triggers.fire_by_hand("flow.new", reason="again", actor="ada")
    world.end_runs()
    world.look(hours=2)
    assert len(world.causes()) == 1
    with pytest.raises(NotFound, match=r"There is no trigger 'flow\.old'"):
        world.triggers.fire_by_hand("flow.old", reason="typo", actor="ada")


def test_two_schedulers_look_once_and_fire_once(world: TriggerWorld) -> None:
    other = world.new_watch()
    world.take_up(triggered(FILES))
    world.look()
    world.file("a.csv")
    world.clock.advance(300)
    begun: list[Callable[[], Found]] = []
    waiting: Future[Found] = Future()

    def start(look: Callable[[], Found]) -> "Future[Found]":
        begun.append(look)
        return waiting

    world.watch.start = start
    world.watch.advance()
    other.advance()
    assert len(begun) == 1
    assert world.causes() == []
    waiting.set_result(begun[0]())
    world.watch.advance()
    other.advance()
    assert len(world.causes()) == 1


KILLED = """
import sys
from datetime import datetime
from pathlib import Path
from podium.clock import FakeClock
from podium.db.engine import Database
from tests.integration.test_triggers import TriggerWorld
url, folder, now = sys.argv[1:]
world = TriggerWorld(Database(url, Path(folder) / "locks"), Path(folder), FakeClock(datetime.fromisoformat(now)))
world.watch.advance()
"""


@pytest.mark.parametrize("point", ["trigger.before_commit", "trigger.after_commit"])
def test_a_scheduler_that_is_killed_around_its_commit_leaves_one_run_and_loses_no_news(
    world: TriggerWorld, tmp_path: Path, point: str
) -> None:
    world.take_up(triggered(FILES))
    world.look()
    world.file("a.csv")
    world.clock.advance(300)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, world.database.url, tmp_path, world.clock.now().isoformat()],
        env={**os.environ, "PODIUM_FAULTS": f"{point}:kill", "PYTHONPATH": os.getcwd()},  # noqa: PTH109
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(world.causes()) == (0 if point == "trigger.before_commit" else 1)
    world.look()
    world.look(seconds=2 * LOOK_SECONDS)
    assert len(world.causes()) == 1
