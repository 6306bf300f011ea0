"""Backfills on both databases: admitted whole, within their limit, in their order, given up and taken up again."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from podium import faults
from podium.dag.interval import Interval
from podium.dag.plan import Plan, Reference
from podium.db import migrate
from podium.db.engine import Database, Session
from podium.db.schema import backfill, ledger_entry, run
from podium.errors import Conflict, NotFound, Refused, UsageError
from podium.execution import claims, queries, run_limits, store
from podium.execution.bookkeeping import Bookkeeper
from podium.execution.claiming import Claimer
from podium.execution.claims import Limits
from podium.execution.entities import AttemptEnd, Run
from podium.execution.news import News
from podium.execution.setbacks import Setbacks
from podium.execution.situations import waits_of_run
from podium.faults import FaultRaised
from podium.finops.reports import report
from podium.scheduling.backfill_entities import Backfill, BackfillRequest
from podium.scheduling.backfill_plan import intervals_of
from podium.scheduling.backfills import Backfills
from podium.wiring.backfills import ExecutorRuns, LedgerCosts, backfill_document, preview_document, stands_still
from tests.execution_world import ACTOR, CHAIN, USED, HandWorker, check_books, everything, node, plan_of
from tests.integration.test_claims import WIDE, OneClaimer

ONE = plan_of(node("a"))
START = datetime.fromisoformat("2026-11-02T00:00:00+00:00")


@dataclass
class World:
    """A hand worker with backfills of its own project."""

    hand: HandWorker

    def __post_init__(self) -> None:
        self.hand.worker("w")
        self.backfills = Backfills(
            self.hand.database,
            self.hand.clock,
            ExecutorRuns(self.hand.service, self.hand.clock.now),
            LedgerCosts(),
        )

    def asked(self, plan: Plan = ONE, days: int = 4, first: int = 0, **options: Any) -> BackfillRequest:
        """What asks for so many days from the `first` on."""
        start, end = (f"{START + timedelta(days=day):%Y-%m-%d}" for day in (first, first + days))
        intervals = tuple(intervals_of(start, end, plan, self.hand.clock.now()))
        return BackfillRequest(plan, intervals, **{"parameters": {}, "actor": "tester", **options})

    def start(self, plan: Plan = ONE, days: int = 4, **options: Any) -> Backfill:
        """Start a backfill of so many days."""
        self.hand.clock.advance(1)
        return self.backfills.start(self.asked(plan, days, **options))

    def document(self, found: Backfill) -> dict[str, Any]:
        """A backfill's document."""
        with self.hand.database.read() as connection:
            return backfill_document(connection, self.backfills, self.backfills.find(found.backfill_id))

    def told(self, found: Backfill) -> list[str]:
        """`day action state` of each interval, in the order of their turns."""
        return [
            f"{datetime.fromisoformat(each['start']).day} {each['action']} {each['state']}"
            for each in self.document(found)["intervals"]
        ]

    def run_of(self, found: Backfill, day: int) -> Run:
        """The run of the day of November."""
        (run_id,) = [
            each["run_id"]
            for each in self.document(found)["intervals"]
            if datetime.fromisoformat(each["start"]).day == day
        ]
        with self.hand.database.read() as connection:
            return queries.get_run(connection, run_id)

    def person(self, plan: Plan, day: int, **options: Any) -> Run:
        """A run that a person asks for."""
        at = datetime(2026, 11, day, tzinfo=START.tzinfo)
        self.hand.clock.advance(1)
        return self.hand.start(plan, Interval(at, at + timedelta(days=1)), **options)

    def do(self, of: Run, *states: str) -> None:
        """End a run's steps one after the other, in these states; the last is that of all that are left."""
        given = list(states or ("succeeded",))
        while claimed := self.hand.claim(of, limit=1):
            state: Any = given.pop(0) if len(given) > 1 else given[0]
            self.hand.end(claimed[0], state)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(HandWorker(database, tmp_path))


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[World]:
    """A world on SQLite, for what is decided in Python."""
    database = Database(f"sqlite:///{tmp_path / 'plain.db'}", tmp_path / "locks")
    migrate.ensure(database)
    yield World(HandWorker(database, tmp_path))
    database.close()


@pytest.fixture
def armed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Arms a point with `raise`; an empty one arms none."""
    return lambda point: monkeypatch.setattr(faults, "_armed", {point: "raise"} if point else {})


def one_open_run_per_interval(database: Database) -> int:
    """How many runs are open, of which no two are for one interval."""
    with database.read() as connection:
        starts = connection.scalars(sa.select(run.c.interval_start).where(run.c.state.in_(("queued", "running")))).all()
    assert len(set(starts)) == len(starts)
    return len(starts)


class TestAdmission:
    def test_what_is_there_is_kept_or_joined_and_the_rest_is_made(self, world: World) -> None:
        world.do(world.person(ONE, 2))
        world.do(world.person(ONE, 3), "failed")
        joined = world.person(ONE, 4)
        found = world.start(reason="the source was repaired")
        assert world.told(found) == ["2 keep succeeded", "3 run queued", "4 join queued", "5 run queued"]
        assert world.run_of(found, 4).run_id == joined.run_id
        made = world.run_of(found, 5)
        with world.hand.database.read() as connection:
            (row,) = queries.run_rows(connection, [made.run_id]).values()
        assert (row.trigger, row.backfill_id, row.deadline_at) == ("backfill", found.backfill_id, None)
        assert row.cause == f"backfill {found.backfill_id} of 2026-11-02..2026-11-06: the source was repaired"
        assert row.idempotency_key == f"backfill:{found.backfill_id}:2026-11-05T00:00:00Z"
        check_books(world.hand.database)

    def test_a_dry_run_says_the_same_and_writes_nothing(self, plain: World) -> None:
        plain.do(plain.person(ONE, 2))
        plain.person(ONE, 4)
        before = everything(plain.hand.database)
        asked = plain.asked()
        document = preview_document(asked, plain.backfills.preview(asked))
        assert everything(plain.hand.database) == before
        assert [each["action"] for each in document["intervals"]] == ["keep", "run", "join", "run"]
        assert [each["run_id"] is None for each in document["intervals"]] == [False, True, False, True]
        assert document["estimate"]["runs"] == 2
        assert document["estimate"]["seconds"] == 1.5  # one round of what the kept run took
        with plain.hand.database.read() as connection:
            paid = sum(connection.scalars(sa.select(ledger_entry.c.amount)), Decimal(0))
        assert Decimal(document["estimate"]["cost_usd"]) == round(2 * paid, 12)
        assert [each["action"] for each in plain.document(plain.backfills.start(asked))["intervals"]] == [
            each["action"] for each in document["intervals"]
        ]

    def test_without_history_time_and_cost_are_unknown(self, plain: World) -> None:
        asked = plain.asked(CHAIN)
        estimate = preview_document(asked, plain.backfills.preview(asked))["estimate"]
        assert (estimate["seconds"], estimate["cost_usd"]) == (None, None)
        assert estimate["unknown_steps"] == ["a", "b", "c"]

    def test_it_is_on_record_whole_or_not_at_all(self, world: World, armed: Callable[[str], None]) -> None:
        before = everything(world.hand.database)
        armed("backfill.before_admit")
        with pytest.raises(FaultRaised):
            world.start()
        assert everything(world.hand.database) == before
        armed("backfill.after_admit")
        with pytest.raises(FaultRaised):
            world.start()
        armed("")
        assert one_open_run_per_interval(world.hand.database) == 4
        assert [action.split()[1] for action in world.told(world.start())] == ["join"] * 4

    def test_failed_only_takes_what_failed_or_was_cancelled_and_leaves_out_the_rest(self, plain: World) -> None:
        plain.do(plain.person(ONE, 2))
        plain.do(plain.person(ONE, 3), "failed")
        plain.hand.service.cancel(plain.person(ONE, 4).run_id, reason="enough")
        assert plain.told(plain.start(failed_only=True)) == ["3 run queued", "4 run queued"]
        nothing = plain.start(first=9, days=2, failed_only=True)
        assert (plain.told(nothing), plain.document(nothing)["state"]) == ([], "succeeded")

    def test_reprocess_makes_what_succeeded_again_under_today_s_plan(self, plain: World) -> None:
        plain.do(plain.person(ONE, 2))
        today = plan_of(node("a"), code="c1")
        found = plain.start(today, days=2, reprocess=True)
        assert plain.told(found) == ["2 rerun queued", "3 run queued"]
        assert plain.run_of(found, 2).plan_digest == today.digest

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"max_parallel": 0}, "--max-parallel 0 lets nothing begin"),
            ({"failed_only": True, "reprocess": True}, "give one of them"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, plain: World, options: dict[str, Any], words: str) -> None:
        with pytest.raises(UsageError, match=words):
            plain.start(**options)
        with pytest.raises(UsageError, match=words):
            plain.backfills.preview(plain.asked(**options))

    def test_two_at_once_over_the_same_days_make_one_run_of_each(self, world: World) -> None:
        asked = [
            world.asked(first=first, days=8, order=order)
            for first, order in ((0, "oldest"), (3, "newest"), (5, "oldest"))
        ]
        made: list[Backfill] = []
        threads = [
            threading.Thread(target=lambda each=each: made.append(world.backfills.start(each))) for each in asked
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made) == 3
        assert one_open_run_per_interval(world.hand.database) == 13
        with world.hand.database.read() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(run)) == 13

    def test_a_run_that_was_not_committed_when_it_looked_is_joined(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = world.person(ONE, 3)
        looked: list[int] = []
        look = store.open_run

        def blind_at_first(*arguments: Any) -> str | None:
            looked.append(1)
            return None if len(looked) == 1 else look(*arguments)

        monkeypatch.setattr(store, "open_run", blind_at_first)
        day = Interval(START + timedelta(days=1), START + timedelta(days=2))
        with world.hand.database.write() as connection:
            answer = world.hand.service.admit(
                connection, ONE, day, parameters={}, trigger="backfill", idempotency_key="k", actor=ACTOR, cause="c"
            )
        assert answer == (other.run_id, False)

    def test_more_intervals_than_a_worker_looks_at_are_admitted_and_cancelled(self, plain: World) -> None:
        hours = replace(ONE, grain="hour")
        intervals = tuple(intervals_of("2026-10-01", "2026-11-01", hours, plain.hand.clock.now()))
        found = plain.backfills.start(BackfillRequest(hours, intervals, {}, "tester"))
        assert plain.document(found)["counts"]["queued"] == 744
        assert len(OneClaimer(plain.hand, name="many").claim()) == 4
        assert len(OneClaimer(plain.hand, name="more").claim()) == 0
        plain.backfills.cancel(found.backfill_id, by="me", reason="enough")
        assert plain.document(found)["counts"]["cancelled"] == 744 - 4


class TestTurns:
    def test_so_many_go_on_at_once_over_two_workers_and_the_next_begins_when_one_has_ended(self, world: World) -> None:
        found = world.start(CHAIN, days=6, max_parallel=2)
        one, other = OneClaimer(world.hand, name="one"), OneClaimer(world.hand, name="other")
        assert one.claim() == ["2 a", "3 a"]
        assert other.claim() == []
        one.end("2 a")
        assert other.claim() == ["2 b"]
        other.end("2 b")
        assert one.claim() == ["2 c"]
        one.end("2 c")
        assert (other.claim(), one.claim()) == (["4 a"], [])
        assert [state.split()[2] for state in world.told(found)] == ["succeeded", "running", "running"] + ["queued"] * 3

    def test_a_worker_begins_the_next_in_the_transaction_that_ends_one(self, world: World) -> None:
        world.start(plan_of(node("a", outputs=())), days=3, max_parallel=1)
        hand = world.hand
        claimer = Claimer(
            hand.worker("one"),
            30.0,
            Limits(),
            frozenset(),
            lambda: replace(WIDE, slots=2),
            hand.progress.settle_claimable,
            hand.clock,
            Setbacks(hand.clock, hand.told.append),
            {},
        )
        session = Session(hand.database)
        books = Bookkeeper("one", session, hand.progress, claimer, News(hand.told.append), hand.clock)
        assert books.look(every_seconds=600.0)
        days = []
        claimed, _ = books.write([], [])
        while claimed:
            days += [each.run.interval.start.day for each in claimed]
            claimed, _ = books.write([(each, AttemptEnd("succeeded", USED)) for each in claimed], [])
        session.close()
        assert days == [2, 3, 4]

    @pytest.mark.parametrize(("order", "days"), [("oldest", [2, 3, 4]), ("newest", [4, 3, 2])])
    def test_they_have_their_turn_in_the_order_asked_for(self, plain: World, order: Any, days: list[int]) -> None:
        plain.start(days=3, max_parallel=1, order=order)
        claimer, claimed = OneClaimer(plain.hand, name="one"), list[str]()
        for day in days:
            claimed += claimer.claim()
            claimer.end(f"{day} a")
        assert claimed == [f"{day} a" for day in days]

    def test_whoever_asks_later_goes_first_and_a_backfill_does_not_gain_by_waiting(self, plain: World) -> None:
        urgent = replace(ONE, pipeline="urgent", priority=3)
        plain.start(urgent, days=2, max_parallel=9)
        plain.start(days=9, max_parallel=9)
        plain.hand.clock.advance(86_400)
        plain.person(ONE, 20)
        assert OneClaimer(plain.hand, name="one").claim()[:4] == [
            "2 a",
            "3 a",
            "20 a",
            "2 a",
        ]  # by priority, then whose it is

    def test_however_many_are_queued_what_others_ask_for_is_found(self, plain: World) -> None:
        plain.start(replace(ONE, grain="hour"), days=12, max_parallel=300)  # more than a worker looks at
        plain.person(replace(ONE, pipeline="another"), 20)
        assert "20 a" in OneClaimer(plain.hand, name="one").claim()[:1]

    def test_behind_one_that_is_full_another_has_its_turn(self, plain: World) -> None:
        plain.start(replace(ONE, grain="hour"), days=12, max_parallel=1)
        plain.start(replace(ONE, pipeline="another"), days=3, max_parallel=2)
        claimer = OneClaimer(plain.hand, name="one")
        assert claimer.claim() == ["2 a"]
        with plain.hand.database.read() as connection:
            found = claims.open_runs(connection, plain.hand.clock.now(), 256)
            rooms = run_limits.rooms(connection, found)
        assert [each.pipeline for each in found] == ["another"] * 3
        assert [each.run_id for each in run_limits.within(found, rooms)] == [each.run_id for each in found[:2]]
        assert claimer.claim() == ["2 a", "3 a"]

    def test_one_that_waits_for_its_place_says_so(self, plain: World) -> None:
        found = plain.start(days=2, max_parallel=1)
        OneClaimer(plain.hand, name="one").claim()
        first, second = plain.run_of(found, 2), plain.run_of(found, 3)
        with plain.hand.database.read() as connection:
            (wait,) = waits_of_run(connection, second.run_id, plain.hand.clock.now())
        behind = f"its run is queued behind run {first.run_id} (limit 1 of backfill {found.backfill_id})"
        assert wait.reason == behind

    def test_it_stands_still_where_all_that_goes_on_waits_for_a_person_and_where_nothing_is_left(
        self, plain: World
    ) -> None:
        found = plain.start(days=2, max_parallel=1)

        def still() -> bool:
            with plain.hand.database.read() as connection:
                return stands_still(connection, found)

        assert not still()
        plain.do(plain.run_of(found, 2))
        assert not still()
        plain.do(plain.run_of(found, 3))
        assert still()


class TestStepsThatAreNotForIt:
    PLAN = plan_of(
        node("train"),
        replace(node("deploy", "train"), backfill=False),
        node("tell", "deploy"),
        replace(node("tidy", "deploy"), run_if="always"),
    )

    def test_they_are_skipped_and_what_comes_after_follows_the_rules(self, plain: World) -> None:
        found = plain.start(self.PLAN, days=1)
        made = plain.run_of(found, 2)
        plain.do(made)
        assert plain.hand.states(made) == {
            "train": "succeeded",
            "deploy": "skipped",
            "tell": "skipped",
            "tidy": "succeeded",
        }
        assert (
            plain.hand.reasons(made)["deploy"]
            == f"it is not for backfilled runs, and this one is of {found.backfill_id}"
        )
        assert (plain.hand.run(made).state, plain.hand.run(made).outcome) == ("succeeded", "none")
        check_books(plain.hand.database)

    def test_a_mapped_one_and_one_that_waits_for_nothing_as_well(self, plain: World) -> None:
        mapped = plan_of(
            replace(node("first"), backfill=False),
            node("list"),
            replace(node("each", over=Reference("list")), backfill=False),
        )
        made = plain.run_of(plain.start(mapped, days=1), 2)
        (claim,) = plain.hand.claim(made)
        plain.hand.end(claim, result="[1, 2]")
        assert plain.hand.states(made) == {"first": "skipped", "list": "succeeded", "each": "skipped"}

    def test_a_retry_skips_them_again_and_a_person_s_run_does_not(self, plain: World) -> None:
        made = plain.run_of(plain.start(self.PLAN, days=1), 2)
        plain.do(made)
        plain.hand.service.retry(made.run_id, self.PLAN, from_step="deploy", reason="try")
        plain.do(made)
        assert plain.hand.states(made)["deploy"] == "skipped"
        again = plain.hand.service.rerun(made.run_id, self.PLAN, parameters={}, reason="for real", actor=ACTOR)
        assert again.backfill_id is None
        plain.do(again)
        assert plain.hand.states(again)["deploy"] == "succeeded"


class TestCancel:
    def test_it_ends_what_has_not_begun_asks_what_runs_and_frees_the_days(self, world: World) -> None:
        joined = world.person(ONE, 5)
        found = world.start(CHAIN, days=4, max_parallel=1)
        (begun,) = world.hand.claim(world.run_of(found, 2))
        cancelled = world.backfills.cancel(found.backfill_id, by="me", reason="wrong data")
        assert (cancelled.cancelled_by, cancelled.cancelled_reason) == ("me", "wrong data")
        assert world.told(found) == ["2 run running", "3 run cancelled", "4 run cancelled", "5 join queued"]
        assert world.document(found)["state"] == "cancelled"
        made = world.run_of(found, 3)
        assert world.hand.run(made).reason == f"backfill {found.backfill_id} is cancelled: wrong data"
        assert set(world.hand.states(made).values()) == {"cancelled"}
        assert world.hand.events(made)[-2:] == ["run.cancel_requested", "run.cancelled"]
        world.hand.end(begun, "cancelled")
        assert world.told(found)[0] == "2 run cancelled"
        assert world.hand.run(joined).state == "queued"
        check_books(world.hand.database)
        world.do(world.person(CHAIN, 3, again=True))
        assert world.told(world.start(CHAIN, days=3)) == ["2 run queued", "3 keep succeeded", "4 run queued"]

    def test_it_dies_before_the_commit_or_behind_it_and_goes_on_when_asked_again(
        self, world: World, armed: Callable[[str], None]
    ) -> None:
        found = world.start(CHAIN, days=4, max_parallel=2)
        begun = [world.hand.claim(world.run_of(found, day))[0] for day in (2, 3)]
        before = everything(world.hand.database)

        def cancel(reason: str = "first") -> None:
            world.backfills.cancel(found.backfill_id, by="me", reason=reason)

        armed("backfill.before_cancel")
        with pytest.raises(FaultRaised):
            cancel()
        assert everything(world.hand.database) == before
        for point in ("backfill.after_cancel", "backfill.after_cancel_run"):
            armed(point)
            with pytest.raises(FaultRaised):
                cancel()
            assert world.told(found)[2:] == ["4 run cancelled", "5 run cancelled"]
        armed("")
        cancel("second")
        for each in begun:
            world.hand.end(each, "cancelled")
        assert [each.split()[2] for each in world.told(found)] == ["cancelled"] * 4
        assert world.backfills.find(found.backfill_id).cancelled_reason == "first"
        check_books(world.hand.database)

    def test_a_run_that_ends_by_itself_meanwhile_does_not_keep_the_others_open(
        self, plain: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = plain.start(days=3, max_parallel=3)
        begun = {day: plain.hand.claim(plain.run_of(found, day))[0] for day in (2, 3, 4)}
        cancel = ExecutorRuns.cancel

        def late(runs: ExecutorRuns, run_id: str, reason: str) -> None:
            plain.hand.end(begun[2])  # None after the first time
            plain.hand.end(begun[3], "failed")
            cancel(runs, run_id, reason)

        monkeypatch.setattr(ExecutorRuns, "cancel", late)
        plain.backfills.cancel(found.backfill_id, by="me", reason="enough")
        plain.hand.end(begun[4], "cancelled")
        assert plain.told(found) == ["2 run succeeded", "3 run failed", "4 run cancelled"]
        check_books(plain.hand.database)

    def test_one_that_has_ended_has_nothing_to_cancel(self, plain: World) -> None:
        found = plain.start(days=1)
        plain.do(plain.run_of(found, 2))
        with pytest.raises(UsageError, match="has no run that is open; there is nothing to cancel"):
            plain.backfills.cancel(found.backfill_id, by="me", reason="late")
        with pytest.raises(NotFound, match="There is no backfill 'nobody'"):
            plain.backfills.cancel("nobody", by="me", reason="late")

    def test_what_had_mapped_steps_before_is_cancelled_too(self, plain: World) -> None:
        mapped = plan_of(node("list"), node("each", over=Reference("list")))
        found = plain.start(mapped, days=2, max_parallel=1)
        made = plain.run_of(found, 2)
        (claim,) = plain.hand.claim(made)
        plain.hand.end(claim, result="[1, 2]")
        one, other = plain.hand.claim(made)
        plain.hand.end(one)
        plain.hand.end(other, "failed")
        plain.backfills.resume(found.backfill_id, mapped, reason="again")
        assert plain.hand.run(made).state == "queued"
        plain.backfills.cancel(found.backfill_id, by="me", reason="enough")
        assert [each.split()[2] for each in plain.told(found)] == ["cancelled", "cancelled"]
        check_books(plain.hand.database)
        plain.backfills.resume(found.backfill_id, mapped, reason="after all")
        plain.do(made)
        assert plain.hand.run(made).state == "succeeded"
        check_books(plain.hand.database)


class TestStateOfOneThatWasCancelled:
    def test_it_has_succeeded_once_all_its_runs_have(self, plain: World) -> None:
        found = plain.start(days=2, max_parallel=2)
        begun = [plain.hand.claim(plain.run_of(found, day))[0] for day in (2, 3)]
        plain.backfills.cancel(found.backfill_id, by="me", reason="enough")
        assert plain.document(found)["state"] == "cancelled"  # it is being ended
        for each in begun:
            plain.hand.end(each)  # it was done before its worker noticed
        assert plain.told(found) == ["2 run succeeded", "3 run succeeded"]
        assert plain.document(found)["state"] == "succeeded"

    def test_it_runs_while_a_run_of_its_own_is_taken_up_again_and_not_for_what_it_joined(self, plain: World) -> None:
        plain.person(ONE, 4)
        found = plain.start(days=3)
        plain.backfills.cancel(found.backfill_id, by="me", reason="enough")
        assert plain.told(found) == ["2 run cancelled", "3 run cancelled", "4 join queued"]
        assert plain.document(found)["state"] == "cancelled"
        made = plain.run_of(found, 2)
        plain.hand.service.resume(made.run_id, ONE, reason="this one after all")
        assert plain.document(found)["state"] == "running"
        plain.do(made)
        assert plain.document(found)["state"] == "cancelled"
        plain.hand.service.resume(plain.run_of(found, 3).run_id, ONE, reason="and this one")
        plain.do(plain.run_of(found, 3))
        plain.do(plain.run_of(found, 4))
        assert plain.document(found)["state"] == "succeeded"

    def test_it_runs_where_the_cancel_died_before_it_asked_what_runs(
        self, plain: World, armed: Callable[[str], None]
    ) -> None:
        found = plain.start(CHAIN, days=2, max_parallel=1)
        plain.hand.claim(plain.run_of(found, 2))
        armed("backfill.after_cancel")
        with pytest.raises(FaultRaised):
            plain.backfills.cancel(found.backfill_id, by="me", reason="enough")
        armed("")
        assert plain.document(found)["state"] == "running"
        plain.backfills.cancel(found.backfill_id, by="me", reason="enough")
        assert plain.document(found)["state"] == "cancelled"


class TestResume:
    def test_it_takes_up_what_failed_and_what_was_cancelled_within_the_limit_and_keeps_what_is_done(
        self, world: World
    ) -> None:
        found = world.start(CHAIN, days=4, max_parallel=1)
        world.do(world.run_of(found, 2), "succeeded", "failed")
        world.do(world.run_of(found, 3))
        world.backfills.cancel(found.backfill_id, by="me", reason="later")
        resumed = world.backfills.resume(found.backfill_id, CHAIN, reason="now")
        assert len(resumed.run_ids) == 3
        assert world.told(found) == ["2 run queued", "3 run succeeded", "4 run queued", "5 run queued"]
        assert world.document(found)["state"] == "running"
        claimer = OneClaimer(world.hand, name="one")
        assert claimer.claim() == ["2 b"]  # a had succeeded
        claimer.end("2 b")
        assert claimer.claim() == ["2 c"]
        claimer.end("2 c")
        assert claimer.claim() == ["4 a"]
        first = world.run_of(found, 2)
        assert "run.resumed" in world.hand.events(first)
        assert "run.queued" in world.hand.events(first)
        check_books(world.hand.database)

    def test_asked_again_it_does_nothing_more(self, plain: World) -> None:
        found = plain.start(days=2)
        plain.do(plain.run_of(found, 2), "failed")
        assert len(plain.backfills.resume(found.backfill_id, ONE, reason="now").run_ids) == 1
        before = everything(plain.hand.database)
        assert plain.backfills.resume(found.backfill_id, ONE, reason="now").run_ids == ()
        assert everything(plain.hand.database) == before

    def test_what_others_have_filled_in_since_is_left_to_them(self, world: World) -> None:
        found = world.start(days=3)
        world.backfills.cancel(found.backfill_id, by="me", reason="later")
        world.do(world.person(ONE, 2, again=True))
        world.person(ONE, 3, again=True)
        resumed = world.backfills.resume(found.backfill_id, ONE, reason="now")
        assert (len(resumed.run_ids), resumed.taken_over) == (1, 2)
        assert world.told(found) == ["2 keep succeeded", "3 join queued", "4 run queued"]
        world.do(world.run_of(found, 3))
        world.do(world.run_of(found, 4))
        assert world.document(found)["state"] == "succeeded"
        assert world.backfills.resume(found.backfill_id, ONE, reason="again").taken_over == 0

    def test_what_an_older_run_of_somebody_else_has_filled_in_since_is_left_to_it(self, plain: World) -> None:
        theirs = {day: plain.person(ONE, day) for day in (2, 3, 4)}
        for each in theirs.values():
            plain.do(each, "failed")
        found = plain.start(days=3)
        for day in (2, 3, 4):
            plain.do(plain.run_of(found, day), "failed")
        plain.hand.clock.advance(1)
        for day in (2, 3):
            plain.hand.service.resume(theirs[day].run_id, ONE, reason="by hand")
        plain.do(theirs[2])
        resumed = plain.backfills.resume(found.backfill_id, ONE, reason="now")
        assert (len(resumed.run_ids), resumed.taken_over) == (1, 2)
        assert plain.told(found) == ["2 keep succeeded", "3 join running", "4 run queued"]
        assert plain.run_of(found, 2).run_id == theirs[2].run_id

    def test_what_succeeded_before_its_own_run_failed_does_not_stand_for_it(self, plain: World) -> None:
        plain.do(plain.person(ONE, 2))
        found = plain.start(days=1, reprocess=True)
        plain.hand.clock.advance(1)
        plain.do(plain.run_of(found, 2), "failed")
        assert len(plain.backfills.resume(found.backfill_id, ONE, reason="now").run_ids) == 1
        assert plain.told(found) == ["2 rerun queued"]

    def test_where_a_joined_run_did_not_succeed_it_makes_one_of_its_own(self, plain: World) -> None:
        theirs = {day: plain.person(ONE, day) for day in (2, 3, 4)}
        found = plain.start(days=3, max_parallel=1, reason="the source was repaired")
        assert plain.told(found) == ["2 join queued", "3 join queued", "4 join queued"]
        for each in theirs.values():
            plain.do(each, "failed")
        assert plain.document(found)["state"] == "failed"
        plain.do(plain.person(ONE, 4, again=True))
        resumed = plain.backfills.resume(found.backfill_id, ONE, reason="now")
        assert (len(resumed.run_ids), resumed.taken_over) == (2, 1)
        assert plain.told(found) == ["2 run queued", "3 run queued", "4 keep succeeded"]
        made = plain.run_of(found, 2)
        with plain.hand.database.read() as connection:
            (row,) = queries.run_rows(connection, [made.run_id]).values()
        assert (row.trigger, row.backfill_id, row.actor) == ("backfill", found.backfill_id, "tester")
        assert row.cause == f"backfill {found.backfill_id} of 2026-11-02..2026-11-05: the source was repaired"
        assert plain.backfills.resume(found.backfill_id, ONE, reason="again").run_ids == ()
        assert OneClaimer(plain.hand, name="one").claim() == ["2 a"]  # within the limit, in their order
        check_books(plain.hand.database)

    def test_it_makes_another_where_it_had_made_one_before_it_left_the_interval_to_somebody(self, plain: World) -> None:
        found = plain.start(days=1)
        first = plain.run_of(found, 2)
        plain.do(first, "failed")
        theirs = plain.person(ONE, 2, again=True)
        assert plain.backfills.resume(found.backfill_id, ONE, reason="now").taken_over == 1
        plain.hand.service.cancel(theirs.run_id, reason="enough")
        (made,) = plain.backfills.resume(found.backfill_id, ONE, reason="now").run_ids
        assert made != first.run_id
        assert plain.told(found) == ["2 run queued"]
        with plain.hand.database.read() as connection:
            (row,) = queries.run_rows(connection, [made]).values()
        assert row.idempotency_key == f"backfill:{found.backfill_id}:2026-11-02T00:00:00Z:1"

    def test_a_run_that_cannot_go_on_does_not_keep_the_others_from_it(self, plain: World) -> None:
        found = plain.start(CHAIN, days=2)
        plain.do(plain.run_of(found, 2), "succeeded", "failed")
        plain.do(plain.run_of(found, 3), "failed")
        refuse = replace(CHAIN, code_digest="another")
        gone = plain.run_of(found, 2)
        with plain.hand.database.write() as connection:
            connection.execute(sa.text("UPDATE artifact SET removed_at = stored_at, inline = NULL"))
        resumed = plain.backfills.resume(found.backfill_id, refuse, reason="now")
        assert resumed.run_ids == (plain.run_of(found, 3).run_id,)
        assert list(resumed.not_resumed) == [gone.run_id]
        with pytest.raises(Conflict, match="removed what its steps made"):
            plain.backfills.resume(found.backfill_id, CHAIN, reason="now")

    def test_nor_does_one_that_cannot_be_made_as_the_pipeline_has_other_parameters_today(self, plain: World) -> None:
        joined = plain.person(ONE, 2)
        found = plain.start(days=2, parameters={"depth": 3})
        plain.do(joined, "failed")
        plain.do(plain.run_of(found, 3), "failed")
        resumed = plain.backfills.resume(found.backfill_id, ONE, reason="now")
        assert resumed.run_ids == (plain.run_of(found, 3).run_id,)
        assert "has no parameter 'depth'" in resumed.not_resumed[joined.run_id]
        assert plain.told(found) == ["2 join failed", "3 run queued"]

    def test_nor_does_one_that_has_succeeded_since_somebody_looked(
        self, plain: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = plain.start(days=2)
        first = plain.run_of(found, 2)
        for day in (2, 3):
            plain.do(plain.run_of(found, day), "failed")
        resume = ExecutorRuns.resume

        def late(runs: ExecutorRuns, run_id: str, plan: Plan, reason: str) -> None:
            if run_id == first.run_id:
                plain.hand.service.resume(run_id, plan, reason="by hand")
                plain.do(first)
            resume(runs, run_id, plan, reason)

        monkeypatch.setattr(ExecutorRuns, "resume", late)
        resumed = plain.backfills.resume(found.backfill_id, ONE, reason="now")
        assert resumed.run_ids == (plain.run_of(found, 3).run_id,)
        assert plain.told(found) == ["2 run succeeded", "3 run queued"]

    def test_where_none_can_go_on_it_says_why_and_stays_as_it_was(self, plain: World) -> None:
        found = plain.start(CHAIN, days=2)
        plain.backfills.cancel(found.backfill_id, by="me", reason="later")
        with pytest.raises(Refused, match="The graph of flow changed"):
            plain.backfills.resume(found.backfill_id, ONE, reason="now")
        assert plain.document(found)["state"] == "cancelled"

    def test_one_of_its_runs_resumed_alone_waits_for_its_place(self, plain: World) -> None:
        found = plain.start(days=2, max_parallel=1)
        first = plain.run_of(found, 2)
        plain.do(first, "failed")
        assert plain.document(found)["state"] == "running"
        OneClaimer(plain.hand, name="one").claim()
        plain.hand.service.resume(first.run_id, ONE, reason="again")
        assert plain.hand.claim(first) == []
        plain.do(plain.run_of(found, 3))


class TestWhatItCost:
    def test_it_is_the_sum_of_the_entries_of_the_runs_that_it_made(self, plain: World) -> None:
        plain.do(plain.person(ONE, 2))
        joined = plain.person(ONE, 3)
        found = plain.start(days=4)
        for day in (4, 5):
            plain.do(plain.run_of(found, day), "failed" if day == 4 else "succeeded")
        plain.do(joined)
        own = [plain.run_of(found, day).run_id for day in (4, 5)]
        with plain.hand.database.read() as connection:
            amounts = connection.scalars(sa.select(ledger_entry.c.amount).where(ledger_entry.c.run_id.in_(own))).all()
        document = plain.document(found)
        assert len(amounts) == 4
        assert Decimal(document["cost_usd"]) == sum(amounts, Decimal(0))
        assert (document["state"], document["counts"]["failed"], document["estimate"]) == ("failed", 1, None)
        with plain.hand.database.read() as connection:
            rows = report(connection, ("backfill",)).document()["rows"]
        assert {each["backfill"]: each["amount"] for each in rows} == {
            found.backfill_id: document["cost_usd"],
            "none": document["cost_usd"],  # of two runs as well
        }

    def test_what_has_no_price_makes_it_unknown(self, plain: World) -> None:
        found = plain.start(days=1)
        with plain.hand.database.write() as connection:
            connection.execute(sa.text("DELETE FROM price"))
        plain.do(plain.run_of(found, 2))
        document = plain.document(found)
        assert (document["cost_usd"], document["unpriced_entries"]) == (None, 2)


def test_they_are_found_by_a_part_of_their_id(plain: World) -> None:
    found = plain.start(days=1)
    assert plain.backfills.find(found.backfill_id[-6:]).backfill_id == found.backfill_id
    with plain.hand.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(backfill)) == 1
