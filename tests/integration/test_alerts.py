"""Alerts from what runs and champions do to what a channel is sent, on both databases."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from podium import faults
from podium.db.engine import Database
from podium.db.schema import alert, alert_cursor, alert_delivery, event, plan, run, schedule, schedule_tick
from podium.errors import ServiceUnavailable
from podium.execution import store
from podium.execution.entities import Actor
from podium.faults import FaultRaised
from podium.notify import collection, happenings, not_run, outbox, texts
from podium.notify.loop import Notifier
from podium.notify.rules import Rule, Rules
from podium.registry.adoption import AdoptionService, Choice
from podium.registry.approval import ApprovalRule
from podium.registry.entities import CHAMPION
from podium.registry.guard import Guard
from podium.registry.memory_registry import MemoryRegistry
from podium.registry.trust import Trust
from tests.alerting_world import (
    ASKED,
    ON_EVERYTHING,
    ONE_STEP,
    AlertingWorld,
    Recorder,
    fresh_sqlite,
    limited,
    named_plan,
)
from tests.execution_world import days, node, plan_of
from tests.promotion_world import World

ROOT = Path(__file__).parents[2]
HOUR = 3600.0
MINUTE = 60.0


@pytest.fixture
def world(database: Database, tmp_path: Path) -> AlertingWorld:
    return AlertingWorld(database, tmp_path)


def on_sqlite(folder: Path) -> Iterator[Database]:
    """A fresh SQLite database."""
    made = fresh_sqlite(folder)
    yield made
    made.close()


class TestWhatIsTold:
    def test_a_run_that_failed_with_its_step_and_why(self, world: AlertingWorld) -> None:
        failed = world.fails()
        assert world.notifier.advance() > 0
        ((title, body),) = world.channel.taken
        assert title == "run_failed: flow 2026-11-02"
        assert body.splitlines() == [
            "The run of flow 2026-11-02 failed at 2026-11-21 00:00 UTC.",
            "Step: a",
            "Why: a went wrong",
            f"Run: {failed.run_id}",
            f"More: podium runs show {failed.run_id}",
            f"Go on: podium runs resume {failed.run_id} --reason …",
        ]
        (told,) = world.alerts()
        assert (told["event"], told["pipeline"], told["run_id"]) == ("run_failed", "flow", failed.run_id)
        assert told["facts"]["step"] == "a"
        assert [notice.kind for notice in world.notices] == ["alert.sent"]

    def test_it_is_told_once_however_often_somebody_looks(self, world: AlertingWorld) -> None:
        world.fails()
        for _ in range(3):
            world.notifier.advance()
            world.another().advance()
            world.clock.advance(6 * MINUTE)
        assert world.channel.titles == ["run_failed: flow 2026-11-02"]

    def test_what_is_asked_and_until_when(self, world: AlertingWorld) -> None:
        started = world.hand.start(ASKED)
        world.hand.end(world.hand.claim(started)[0])
        world.notifier.advance()
        ((title, body),) = world.channel.taken
        assert title == "held: flow 2026-11-02 waits for approval of asked"
        assert "Asked: Is it good? (about a.result " in body
        assert "Until 2026-11-24 00:00 UTC; then it is rejected." in body
        assert f"podium runs approve {started.run_id} --step asked --reason …" in body
        assert f"podium runs reject {started.run_id} --step asked --reason …" in body

    def test_what_was_decided_before_it_could_be_told(self, world: AlertingWorld) -> None:
        started = world.hand.start(ASKED)
        world.hand.end(world.hand.claim(started)[0])
        world.hand.service.decide(started.run_id, "asked", approved=True, reason="good", actor=Actor("ann"))
        world.notifier.advance()
        assert "It was decided meanwhile." in world.channel.taken[0][1]

    def test_a_missed_deadline_and_not_that_the_run_failed_by_it(self, world: AlertingWorld) -> None:
        world.hand.start(replace(ONE_STEP, deadline_seconds=HOUR))
        world.clock.advance(HOUR)
        world.hand.enforce()
        world.notifier.advance()
        ((title, body),) = world.channel.taken
        assert title == "deadline_missed: flow 2026-11-02"
        assert "Why: it did not end within 1h" in body

    def test_who_hears_nothing_of_deadlines_hears_that_the_run_failed(self, database: Database, tmp_path: Path) -> None:
        world = AlertingWorld(database, tmp_path, Rules((Rule(("run_failed",), ("oncall",)),)))
        world.hand.start(replace(ONE_STEP, deadline_seconds=HOUR))
        world.clock.advance(HOUR)
        world.hand.enforce()
        world.notifier.advance()
        assert world.channel.titles == ["run_failed: flow 2026-11-02"]
        assert "Why: it did not end within 1h" in world.channel.taken[0][1]

    def test_who_moved_a_champion_where_and_why(self, world: AlertingWorld) -> None:
        models = World(world.database, MemoryRegistry(), world.clock)
        first, second = models.champions(2)
        models.rollback()
        assert not models.promote(models.candidate(champion=first), expect=second).applied  # and that is no news
        world.notifier.advance()
        told = dict(world.channel.taken)
        assert set(told) == {
            f"promotion: flight_delay version {first}",
            f"promotion: flight_delay version {first} → {second}",
            f"rollback: flight_delay version {second} → {first}",
        }
        body = told[f"rollback: flight_delay version {second} → {first}"]
        assert f"grace moved the champion of flight_delay from version {second} to version {first}, at " in body
        assert "Why: complaints from the desk" in body
        world.notifier.advance()
        assert len(world.channel.taken) == 3

    def test_who_moved_a_champion_outside_podium_and_what_became_of_that(self, world: AlertingWorld) -> None:
        models = World(world.database, MemoryRegistry(), world.clock)
        first, second = models.champions(2)
        world.notifier.advance()
        looking: dict[str, Any] = {"reconcile": models.service.reconcile, "trust": Trust()}
        guard = Guard(world.database, models.registry, world.clock, "restore", **looking)
        models.registry.set_alias(models.model, CHAMPION, first)
        guard.look()
        world.notifier.advance()
        told = dict(world.channel.taken[2:])
        moved = f"champion_moved: flight_delay version {second} → version {first}, outside Podium"
        assert set(told) == {moved, f"champion_moved: flight_delay is back at version {second}"}
        assert "What to do: podium models doctor flight_delay" in told[moved]
        models.registry.delete_alias(models.model, CHAMPION)
        Guard(world.database, models.registry, world.clock, "alert", **looking).look()
        world.notifier.advance()
        assert world.channel.titles[-1] == f"champion_moved: flight_delay version {second} → no version, outside Podium"

    def test_who_accepted_a_champion_that_somebody_moved_outside_podium(self, world: AlertingWorld) -> None:
        models = World(world.database, MemoryRegistry(), world.clock)
        first, _ = models.champions(2)
        models.registry.set_alias(models.model, CHAMPION, first)
        service = AdoptionService(world.database, models.registry, world.clock, models.service, trust=Trust())
        service.adopt(models.model, Choice(), actor="grace", actor_verified=False, reason="the feed is back")
        world.notifier.advance()
        body = dict(world.channel.taken)[f"champion_moved: flight_delay at version {first} was adopted"]
        assert body.startswith(f"grace accepted version {first} as champion of flight_delay, as it is in the registry,")
        assert "Why: the feed is back\nMore: podium models history flight_delay" in body

    def test_what_people_have_to_approve_by_when_and_how(self, world: AlertingWorld) -> None:
        models = World(world.database, MemoryRegistry(), world.clock)
        (first,) = models.champions(1)
        models.approval_rule = lambda _: ApprovalRule(2, (), timedelta(days=7))
        asked = models.promote(models.candidate(champion=first))
        world.notifier.advance()
        told = dict(world.channel.taken)
        assert set(told) == {f"promotion: flight_delay version {first}", "held: flight_delay version 2 awaits approval"}
        body = told["held: flight_delay version 2 awaits approval"]
        assert f"that version 2 of flight_delay become champion (version {first} serves). " in body
        assert "2 people other than ada must approve it.\nWhy: monthly retraining\n" in body
        assert "Until 2026-11-28 00:00 UTC; then it is void.\n" in body
        assert f"podium approve {asked.promotion_id} --reason …\npodium reject {asked.promotion_id} --reason …" in body
        models.approved_by(asked.promotion_id, "bo")
        models.approved_by(asked.promotion_id, "cy")
        world.notifier.advance()
        assert world.channel.titles[2:] == [f"promotion: flight_delay version {first} → 2"]
        (document,) = [each for each in world.alerts() if each["event"] == "held"]
        assert document["facts"]["promotion_id"] == asked.promotion_id

    def test_that_a_promotion_was_decided_before_anybody_was_told(self, world: AlertingWorld) -> None:
        models = World(world.database, MemoryRegistry(), world.clock)
        models.approval_rule = lambda _: ApprovalRule(1, ("bo",))
        models.rejected_by(models.promote(models.candidate()).promotion_id, "bo")
        world.notifier.advance()
        ((title, body),) = world.channel.taken
        assert title == "held: flight_delay version 1 awaits approval"
        assert "(no version serves yet). 1 person other than ada must approve it." in body
        assert "It was decided meanwhile." in body

    def test_nothing_of_what_was_before_the_first_look(self, database: Database, tmp_path: Path) -> None:
        before = AlertingWorld(database, tmp_path)
        with database.write() as connection:
            connection.execute(sa.delete(alert_cursor))
        before.fails()
        models = World(database, MemoryRegistry(), before.clock)
        models.champions(2)
        for _ in range(3):
            before.notifier.advance()
            before.clock.advance(HOUR)
        assert before.channel.taken == []
        before.fails(interval=days(2)[1])
        models.rollback()
        before.notifier.advance()
        assert len(before.channel.taken) == 2

    def test_only_to_whom_a_rule_says(self, database: Database, tmp_path: Path) -> None:
        rules = Rules(
            (
                Rule(("run_failed",), ("oncall",), pipelines=("flow*",)),
                Rule(("run_failed",), ("research",), teams=("research",), environments=("dev",)),
                Rule(("run_failed",), ("nobody",), models=("other",)),
                Rule(("held",), ("nobody",)),
            )
        )
        world = AlertingWorld(database, tmp_path, rules)
        research, nobody = Recorder(), Recorder()
        notifier = world.another(research=research, nobody=nobody)
        world.fails()
        world.fails(named_plan("other"))
        notifier.advance()
        assert world.channel.titles == ["run_failed: flow 2026-11-02"]
        assert research.titles == ["run_failed: flow 2026-11-02", "run_failed: other 2026-11-02"]
        assert nobody.asked == 0

    def test_how_late_it_is(self, world: AlertingWorld) -> None:
        world.fails()
        world.clock.advance(26 * HOUR)
        world.notifier.advance()
        ((_, body),) = world.channel.taken
        assert "failed at 2026-11-21 00:00 UTC." in body
        assert body.endswith("This is told 1 d 2 h after it happened.")


class TestRepetitions:
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[Database]:
        """SQLite alone: what it takes of the database is tried on both in test_alert_deliveries."""
        yield from on_sqlite(tmp_path)

    def test_a_failure_that_repeats_is_told_at_once_and_then_counted(self, world: AlertingWorld) -> None:
        for number, interval in enumerate(days(9)):
            world.fails(interval=interval)
            world.notifier.advance()
            world.clock.advance(5 * MINUTE)
            assert len(world.channel.taken) == 1, number
        world.clock.advance(15 * MINUTE)
        world.notifier.advance()
        title, body = world.channel.taken[1]
        assert title == "run_failed: flow 2026-11-03 (and 7 more since 00:10 UTC)"
        assert "And 7 more since 00:10 UTC:\n- run_failed: flow 2026-11-04 (2026-11-21 00:10 UTC)\n" in body
        assert world.states() == {"sent": 2, "withheld": 7}
        (sent,) = [each for each in world.alerts("sent") if "2026-11-03" in each["title"]]
        told_with = {delivery["error"] for each in world.alerts("withheld") for delivery in each["deliveries"]}
        assert told_with == {f"told with {sent['alert_id']}"}
        world.clock.advance(2 * HOUR)
        world.notifier.advance()
        assert len(world.channel.taken) == 2

    def test_other_pipelines_and_other_steps_are_not_repetitions(self, world: AlertingWorld) -> None:
        world.fails()
        world.fails(named_plan("other"))
        world.fails(plan_of(node("b")), days(2)[1])
        world.notifier.advance()
        assert len(world.channel.taken) == 3

    def test_what_needs_an_answer_is_told_each_time(self, world: AlertingWorld) -> None:
        for interval in days(3):
            started = world.hand.start(ASKED, interval)
            world.hand.end(world.hand.claim(started)[0])
        world.notifier.advance()
        assert len(world.channel.taken) == 3

    def test_a_limit_lets_the_last_message_stand_for_the_rest(self, database: Database, tmp_path: Path) -> None:
        world = AlertingWorld(database, tmp_path, limited("3/h"))
        for number in range(14):
            world.fails(named_plan(f"p{number:02d}"))
            world.clock.advance(1)
        world.notifier.advance()
        assert world.channel.titles == [
            "run_failed: p00 2026-11-02",
            "run_failed: p01 2026-11-02",
            "run_failed: p02 2026-11-02 (and 11 more since 00:00 UTC)",
        ]
        assert "… 1 others: podium alerts list" in world.channel.taken[2][1]
        for number in range(20, 23):
            world.fails(named_plan(f"p{number}"))
        world.clock.advance(30 * MINUTE)
        world.notifier.advance()
        assert len(world.channel.taken) == 3
        world.clock.advance(30 * MINUTE)
        world.notifier.advance()
        assert len(world.channel.taken) == 6
        assert world.states() == {"sent": 6, "withheld": 11}


class TestChannels:
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[Database]:
        """SQLite alone: what channels do is nothing to the database."""
        yield from on_sqlite(tmp_path)

    def test_a_channel_that_is_down_for_an_hour_gets_it_once(self, world: AlertingWorld) -> None:
        world.channel.down = "error=503"
        world.fails()
        world.fails(named_plan("other"))
        begun = world.clock.now()
        while world.clock.now() - begun < timedelta(hours=1):
            pause = world.notifier.advance()
            assert 0 < pause <= 5
            world.clock.advance(pause)
        assert world.channel.asked == 7  # at once, and after 1, 3, 7, 15, 30 and 45 minutes; for both alike
        assert {each["deliveries"][0]["error"] for each in world.alerts("pending")} == {"error=503"}
        world.channel.down = None
        for _ in range(300):
            world.clock.advance(world.notifier.advance())
        assert world.channel.titles == ["run_failed: flow 2026-11-02", "run_failed: other 2026-11-02"]
        assert "This is told 1 h 0 min after it happened." in world.channel.taken[0][1]
        assert world.states() == {"sent": 2}

    def test_one_that_is_down_keeps_no_other_from_being_told(self, world: AlertingWorld) -> None:
        rules = Rules((Rule(("run_failed",), ("oncall", "mail")),))
        mail = Recorder()
        notifier = world.another(rules, mail=mail)
        world.channel.down = "gone"
        world.fails()
        notifier.advance()
        assert (world.channel.taken, mail.titles) == ([], ["run_failed: flow 2026-11-02"])

    def test_after_a_day_of_failures_it_is_given_up_and_what_is_young_is_not(self, world: AlertingWorld) -> None:
        world.channel.down = "gone"
        world.fails()
        for _ in range(24 * 4 + 4):
            world.notifier.advance()
            world.clock.advance(15 * MINUTE)
            if world.clock.now().hour == 20 and world.clock.now().minute == 0:
                world.fails(named_plan("other"))
        assert [each["pipeline"] for each in world.alerts("given_up")] == ["flow"]
        assert [each["pipeline"] for each in world.alerts("pending")] == ["other"]
        assert [notice.reason for notice in world.notices if notice.kind == "alert.given_up"] == ["1 after a day: gone"]

    def test_what_nobody_was_there_to_send_for_days_is_not_given_up_at_the_first_failure(
        self, world: AlertingWorld
    ) -> None:
        world.fails()
        with world.database.write() as connection:
            now = world.clock.now()
            collection.keep(connection, collection.look(connection, world.rules, now), now)
        world.clock.advance(72 * HOUR)
        world.channel.down = "a hiccup"
        world.notifier.advance()
        world.channel.down = None
        world.clock.advance(2 * MINUTE)
        world.notifier.advance()
        assert len(world.channel.taken) == 1

    def test_one_that_hangs_blocks_nobody(self, world: AlertingWorld) -> None:
        let_go = threading.Event()

        class Hanging(Recorder):
            def send(self, title: str, body: str) -> str | None:
                super().send(title, body)
                let_go.wait(20)
                return None

        hanging = Hanging()
        rules = Rules((Rule(("run_failed",), ("mail", "oncall")),))
        channels = {"mail": hanging, "oncall": world.channel}
        notifier = Notifier(world.database, channels, rules, world.clock, world.notices.append, patience_seconds=0.05)
        world.fails()
        assert notifier.advance() == 0.5
        assert world.channel.titles == ["run_failed: flow 2026-11-02"]
        world.fails(named_plan("other"))
        notifier.advance()
        assert len(world.channel.taken) == 2
        assert hanging.asked == 1
        world.clock.advance(30)
        notifier.advance()
        told = [notice.reason for notice in world.notices if notice.kind == "alert.failed"]
        assert told == ["run_failed: flow 2026-11-02: no answer within 30 s"]
        world.clock.advance(MINUTE)
        notifier.advance()
        assert hanging.asked == 1
        assert world.notices[-1].reason == "run_failed: flow 2026-11-02: an earlier message still hangs there"
        let_go.set()
        world.clock.advance(2 * MINUTE)
        notifier.close()
        while hanging.asked < 3:
            notifier.advance()
            world.clock.advance(MINUTE)
        notifier.close()
        assert world.states() == {"sent": 4}

    def test_one_that_raises_is_told_without_what_it_says(self, world: AlertingWorld) -> None:
        class Raising(Recorder):
            def send(self, title: str, body: str) -> str | None:
                raise RuntimeError(f"https://user:hunter2@example {title} {body}")

        world.another(oncall=Raising()).advance()
        world.fails()
        world.another(oncall=Raising()).advance()
        (told,) = world.alerts()
        assert told["deliveries"][0]["error"] == "the channel failed with RuntimeError"

    def test_one_that_is_no_longer_set_is_said(self, world: AlertingWorld) -> None:
        world.fails()
        Notifier(world.database, {}, world.rules, world.clock, world.notices.append).advance()
        assert world.alerts("pending")[0]["deliveries"][0]["error"] == "podium.toml names no such channel any more"


class TestTwoAtOnce:
    def test_what_one_is_sending_the_other_leaves_alone(self, world: AlertingWorld) -> None:
        world.fails()
        world.fails(named_plan("other"))
        second = world.another()
        titles: list[str] = []

        class Reentrant(Recorder):
            def send(self, title: str, body: str) -> str | None:
                titles.append(title)
                second.advance()
                return super().send(title, body)

        world.another(oncall=Reentrant()).advance()
        assert sorted(titles) == ["run_failed: flow 2026-11-02", "run_failed: other 2026-11-02"]
        assert world.channel.taken == []

    def test_each_alert_is_sent_once_by_many_at_once(self, world: AlertingWorld) -> None:
        for number in range(12):
            world.fails(named_plan(f"p{number:02d}"))
        errors: list[BaseException] = []

        def advance() -> None:
            try:
                notifier = world.another()
                for _ in range(20):
                    notifier.advance()
            except BaseException as error:  # noqa: BLE001 - shown below
                errors.append(error)

        threads = [threading.Thread(target=advance) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert sorted(world.channel.titles) == [f"run_failed: p{number:02d} 2026-11-02" for number in range(12)]

    @pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)  # SQLite has one writer at a time
    def test_an_event_that_commits_after_a_later_one_is_told(self, world: AlertingWorld) -> None:
        """Numbers are drawn in one order and become visible in another."""
        early, late = world.hand.start(named_plan("early")), world.hand.start(named_plan("late"))
        with world.database.write() as slow:
            store.record(slow, early.run_id, "run.failed", world.clock.now(), reason="slow")
            with world.database.write() as quick:
                store.record(quick, late.run_id, "run.failed", world.clock.now(), reason="quick")
            for _ in range(3):
                world.notifier.advance()
                world.clock.advance(3 * MINUTE)
        assert world.channel.titles == ["run_failed: late 2026-11-02"]
        world.notifier.advance()
        assert world.channel.titles == ["run_failed: late 2026-11-02", "run_failed: early 2026-11-02"]

    def test_the_position_follows_when_what_is_before_it_has_settled(self, world: AlertingWorld) -> None:
        def position() -> int:
            with world.database.read() as connection:
                found = connection.scalar(sa.select(alert_cursor.c.position).where(alert_cursor.c.source == "events"))
            return int(found or 0)

        at_first = position()
        world.fails()
        for _ in range(2):
            world.notifier.advance()
            assert position() == at_first
            world.clock.advance(5 * MINUTE)
        world.notifier.advance()
        assert position() == at_first  # the number that was the newest at the first look
        with world.database.read() as connection:
            newest = connection.scalar(sa.select(sa.func.max(event.c.event_id)))
        world.fails(named_plan("other"))
        world.clock.advance(9 * MINUTE)
        world.notifier.advance()
        assert position() == at_first
        world.clock.advance(MINUTE)
        world.notifier.advance()
        assert position() == newest


class TestDeaths:
    POINTS = ("alert.before_collect", "alert.after_collect", "alert.before_send", "alert.after_send")

    def dies(self, world: AlertingWorld, folder: Path, armed: str = "") -> int:
        environment = {**os.environ, "PODIUM_FAULTS": armed, "PYTHONPATH": str(ROOT)}
        url = world.database.engine.url.render_as_string(hide_password=False)
        command = [sys.executable, "-m", "tests.alerting_world", url, str(folder), world.clock.now().isoformat()]
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode

    @pytest.mark.parametrize("point", POINTS)
    def test_a_sender_that_is_killed_is_followed_by_another(
        self, world: AlertingWorld, tmp_path: Path, point: str
    ) -> None:
        world.fails()
        assert self.dies(world, tmp_path, f"{point}:kill") == -9
        taken = tmp_path / "taken"
        before = taken.read_text().splitlines() if taken.exists() else []
        assert before == (["run_failed: flow 2026-11-02"] if point == "alert.after_send" else [])
        world.notifier.advance()
        again = 1 if "collect" in point else 0
        assert len(world.channel.taken) == again  # a delivery that was taken is left alone for a minute
        world.clock.advance(MINUTE)
        world.notifier.advance()
        assert world.channel.titles == ["run_failed: flow 2026-11-02"]
        assert world.states() == {"sent": 1}

    def test_every_point_is_tried(self) -> None:
        assert {point for point in faults.POINTS if point.startswith("alert.")} == set(self.POINTS)


class TestFaults:
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[Database]:
        """SQLite alone: the errors are made up."""
        yield from on_sqlite(tmp_path)

    @pytest.mark.parametrize("point", TestDeaths.POINTS)
    def test_what_fails_at_a_point_is_made_good(
        self, world: AlertingWorld, monkeypatch: pytest.MonkeyPatch, point: str
    ) -> None:
        world.fails()
        monkeypatch.setattr(faults, "_armed", {point: "raise"})
        with pytest.raises(FaultRaised):
            world.notifier.advance()
        monkeypatch.setattr(faults, "_armed", {})
        world.clock.advance(MINUTE)
        world.notifier.advance()
        assert world.channel.titles == ["run_failed: flow 2026-11-02"]  # also after_send: the answer is remembered

    def test_a_database_that_goes_away_after_a_message_was_taken_lets_it_not_be_sent_again(
        self, world: AlertingWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.fails()

        def away(*arguments: object) -> None:
            raise ServiceUnavailable("The disk is full.")

        with monkeypatch.context() as patch:
            patch.setattr(outbox, "sent", away)
            for _ in range(3):
                with pytest.raises(ServiceUnavailable):
                    world.notifier.advance()
                world.clock.advance(5)
            world.notifier.close()
        world.notifier.advance()
        assert len(world.channel.taken) == 1
        assert world.states() == {"sent": 1}

    def test_what_cannot_be_read_keeps_nothing_from_being_sent(
        self, world: AlertingWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.fails()
        with world.database.write() as connection:
            now = world.clock.now()
            collection.keep(connection, collection.look(connection, world.rules, now), now)

        def broken(*arguments: object, **options: object) -> None:
            raise KeyError("timezone")

        monkeypatch.setattr(collection, "look", broken)
        world.notifier.advance()
        assert len(world.channel.taken) == 1
        assert [notice.kind for notice in world.notices] == ["alerts.failed", "alert.sent"]
        assert "KeyError" in world.notices[0].reason

    @pytest.mark.parametrize(
        ("document", "interval"),
        [
            ('{"timezone": "Mars/Olympus"}', "2026-11-02 UTC"),
            ('{"timezone": "America"}', "2026-11-02 UTC"),  # a folder of zones
            ('{"timezone": 7, "steps": 3}', "2026-11-02 UTC"),
            ('["no", "plan"]', "2026-11-02"),
            ("{", "2026-11-02"),
        ],
    )
    def test_a_plan_that_cannot_be_read_hides_no_alert(
        self, world: AlertingWorld, document: str, interval: str
    ) -> None:
        started = world.hand.start(replace(ASKED, pipeline="asking"))
        world.hand.end(world.hand.claim(started)[0])
        odd = world.fails()
        with world.database.write() as connection:
            connection.execute(sa.text("UPDATE plan SET document = :document"), {"document": document})
            connection.execute(sa.text("UPDATE run SET parameters = '{'"))
        World(world.database, MemoryRegistry(), world.clock).champions(1)
        world.fails(named_plan("other"))
        world.notifier.advance()
        assert sorted(world.channel.titles) == [
            f"held: asking {interval} waits for approval of asked",
            "promotion: flight_delay version 1",
            f"run_failed: flow {interval}",
            "run_failed: other 2026-11-02",
        ]
        assert f"podium runs show {odd.run_id}" in dict(world.channel.taken)[f"run_failed: flow {interval}"]
        assert {notice.kind for notice in world.notices} == {"alert.sent"}

    def test_what_no_alert_can_be_made_of_is_said_once_and_everything_else_is_told(
        self, world: AlertingWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first_failure, moved = happenings._failure, texts.moved
        odd = world.fails()
        World(world.database, MemoryRegistry(), world.clock).champions(2)
        world.fails(named_plan("other"))

        def failure(connection: sa.Connection, run_id: str) -> texts.Failure | None:
            if run_id == odd.run_id:
                raise ValueError("no number")
            return first_failure(connection, run_id)

        def of_second(
            model: str, action: str, versions: tuple[str | None, str | None], actor: str, reason: str, at: datetime
        ) -> tuple[str, str]:
            if versions[0] is None:
                raise ValueError("no version")
            return moved(model, action, versions, actor, reason, at)

        monkeypatch.setattr(happenings, "_failure", failure)
        monkeypatch.setattr(texts, "moved", of_second)
        for _ in range(4):
            world.notifier.advance()
            world.clock.advance(11 * MINUTE)
        assert sorted(world.channel.titles) == ["promotion: flight_delay version 1 → 2", "run_failed: other 2026-11-02"]
        said = {notice.reason: notice.run_id for notice in world.notices if notice.kind == "alerts.failed"}
        assert said == {
            f"No run_failed alert for run {odd.run_id} of flow: ValueError: no number; "
            f"see `podium runs show {odd.run_id}`": odd.run_id,
            "No alert for entry 1 of the history of flight_delay: ValueError: no version; "
            "see `podium models history flight_delay`": "",
        }
        assert len(world.notices) == 4
        with world.database.read() as connection:
            newest = connection.scalar(sa.select(sa.func.max(event.c.event_id)))
            position = sa.select(alert_cursor.c.position).where(alert_cursor.c.source == "events")
            assert connection.scalar(position) == newest

    def test_an_alert_and_how_far_was_read_commit_together(self, world: AlertingWorld) -> None:
        world.fails()
        with suppress(RuntimeError), world.database.write() as connection:
            now = world.clock.now()
            collection.keep(connection, collection.look(connection, world.rules, now), now)
            raise RuntimeError
        with world.database.read() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(alert)) == 0
        world.notifier.advance()
        assert len(world.channel.taken) == 1


class Schedules:
    """A schedule that is due at six, and who is told if no run of it has succeeded by noon."""

    RULES = Rules((Rule(("not_run",), ("oncall",), within=timedelta(hours=6)),))
    DUE = datetime(2026, 11, 21, 6, tzinfo=UTC)

    @pytest.fixture
    def world(self, database: Database, tmp_path: Path) -> AlertingWorld:
        made = AlertingWorld(database, tmp_path, self.RULES)
        made.hand.start(ONE_STEP, days(9)[8])  # stores the plan
        with database.write() as connection:
            digest = connection.scalar(sa.select(plan.c.digest))
            row = {"pipeline": "flow", "plan_digest": digest, "rule_digest": "r", "seen_at": made.clock.now()}
            due = {"next_tick_at": self.DUE, "next_due_at": self.DUE}
            connection.execute(sa.insert(schedule).values(**row, **due))
        return made

    def acts(
        self,
        world: AlertingWorld,
        run_id: str | None,
        fate: str,
        due: datetime = DUE,
        last: datetime | None = None,
        decided: datetime | None = None,
    ) -> None:
        """What a scheduler writes at a tick, or of those that were missed until `last`."""
        with world.database.write() as connection:
            until = (last or due) if fate == "missed" else None
            row = {"pipeline": "flow", "tick_at": due, "due_at": due, "fate": fate, "late": False}
            values = {**row, "decided_at": decided or due, "run_id": run_id, "until": until}
            connection.execute(sa.insert(schedule_tick).values(values))
            after = (last or due) + timedelta(days=1)
            connection.execute(sa.update(schedule).values(next_tick_at=after, next_due_at=after))

    def at(self, world: AlertingWorld, hour: float) -> list[str]:
        """Look at an hour of that day; return what is told."""
        world.clock.advance((datetime(2026, 11, 21, tzinfo=UTC) - world.clock.now()).total_seconds() + hour * HOUR)
        world.notifier.advance()
        return world.channel.titles


class TestHasNotRun(Schedules):
    def test_a_tick_whose_run_failed_is_told_when_its_time_is_over_and_once(self, world: AlertingWorld) -> None:
        self.at(world, 6)
        failed = world.fails()
        self.acts(world, failed.run_id, "run")
        assert self.at(world, 11.9) == []
        assert self.at(world, 12) == ["not_run: flow, due 2026-11-21 06:00 UTC"]
        body = world.channel.taken[0][1]
        assert "has not run successfully within 6h." in body
        assert f"Why: its run {failed.run_id} is failed: a: a went wrong" in body
        assert self.at(world, 20) == ["not_run: flow, due 2026-11-21 06:00 UTC"]

    @pytest.mark.parametrize("again", [False, True])
    def test_a_run_of_the_tick_or_of_its_interval_that_succeeded_is_enough(
        self, world: AlertingWorld, *, again: bool
    ) -> None:
        self.at(world, 6)
        first = world.fails() if again else world.hand.start(ONE_STEP)
        self.acts(world, first.run_id, "run")
        good = world.hand.start(ONE_STEP, again=True) if again else first
        world.hand.end(world.hand.claim(good)[0])
        assert world.hand.run(good).state == "succeeded"
        assert self.at(world, 12) == []

    def test_a_tick_that_was_missed_is_told_unless_something_ran_since(self, world: AlertingWorld) -> None:
        self.at(world, 7)
        self.acts(world, None, "missed")
        other = world.hand.start(ONE_STEP)
        assert self.at(world, 12) == ["not_run: flow, due 2026-11-21 06:00 UTC"]
        world.hand.end(world.hand.claim(other)[0])
        later = self.DUE + timedelta(hours=1)
        self.acts(world, None, "missed", later)
        assert len(self.at(world, 13)) == 1

    def test_two_rules_tell_of_one_tick_each_in_its_time(self, world: AlertingWorld) -> None:
        sooner, later = timedelta(hours=1), timedelta(hours=2)
        rules = Rules(
            (Rule(("not_run",), ("oncall",), within=sooner), Rule(("not_run",), ("boss", "oncall"), within=later))
        )
        boss = Recorder()
        world.notifier = world.another(rules, boss=boss)
        assert len(self.at(world, 7)) == 1
        assert boss.taken == []
        assert len(self.at(world, 8)) == 1
        assert len(boss.taken) == 1
        assert len(world.alerts()) == 1


class TestHasNotRunForOtherReasons(Schedules):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[Database]:
        """SQLite alone: the queries are those of the tests above."""
        yield from on_sqlite(tmp_path)

    def test_a_run_that_still_runs_is_told(self, world: AlertingWorld) -> None:
        self.at(world, 6)
        slow = world.hand.start(ONE_STEP)
        self.acts(world, slow.run_id, "run")
        self.at(world, 12)
        assert f"its run {slow.run_id} is queued" in world.channel.taken[0][1]

    def test_a_tick_that_nobody_acted_on_is_told(self, world: AlertingWorld) -> None:
        self.at(world, 12)
        assert "no scheduler has acted on it; is `podium scheduler` running?" in world.channel.taken[0][1]

    @pytest.mark.parametrize(
        "change", [{"paused_at": Schedules.DUE, "paused_by": "a", "paused_reason": "b"}, {"removed_at": Schedules.DUE}]
    )
    def test_a_schedule_that_is_paused_or_gone_is_left_alone(
        self, world: AlertingWorld, change: dict[str, object]
    ) -> None:
        self.at(world, 6)
        self.acts(world, world.fails().run_id, "run")
        with world.database.write() as connection:
            connection.execute(sa.update(schedule).values(next_tick_at=None, next_due_at=None, **change))
        assert self.at(world, 30) == []

    def test_of_a_stretch_that_was_missed_the_last_tick_is_told(self, world: AlertingWorld) -> None:
        self.at(world, 7)
        last = self.DUE + timedelta(days=2)
        self.acts(world, None, "missed", last=last, decided=last + timedelta(hours=1))
        assert self.at(world, 60) == ["not_run: flow, due 2026-11-23 06:00 UTC"]

    def test_while_the_last_of_a_stretch_has_time_its_first_is_told(self, world: AlertingWorld) -> None:
        self.at(world, 7)
        last = self.DUE + timedelta(days=2)
        self.acts(world, None, "missed", last=last, decided=last + timedelta(hours=1))
        assert self.at(world, 56) == ["not_run: flow, due 2026-11-21 06:00 UTC"]

    @pytest.mark.parametrize(("hour", "told"), [(36, 1), (36.1, 0), (600, 0)])
    def test_a_rule_that_is_new_tells_a_tick_that_was_acted_on_for_a_day(
        self, world: AlertingWorld, hour: float, told: int
    ) -> None:
        self.acts(world, world.fails().run_id, "run")
        with world.database.write() as connection:
            connection.execute(sa.update(schedule).values(next_tick_at=None, next_due_at=None))
        assert len(self.at(world, hour)) == told

    def test_what_a_scheduler_that_was_long_away_comes_upon_is_told(self, world: AlertingWorld) -> None:
        self.acts(world, None, "missed", decided=self.DUE + timedelta(days=5))
        with world.database.write() as connection:
            connection.execute(sa.update(schedule).values(next_tick_at=None, next_due_at=None))
        assert self.at(world, 24 * 5 + 7) == ["not_run: flow, due 2026-11-21 06:00 UTC"]

    def test_a_plan_that_cannot_be_read_hides_no_schedule(self, world: AlertingWorld) -> None:
        with world.database.write() as connection:
            connection.execute(sa.text("UPDATE plan SET document = '{'"))
        assert self.at(world, 12) == ["not_run: flow, due 2026-11-21 06:00 UTC"]

    def test_a_schedule_that_no_alert_can_be_made_of_is_said_once_and_hides_nothing(
        self, world: AlertingWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*arguments: object) -> None:
            raise ValueError("no time")

        monkeypatch.setattr(not_run, "_last_due", broken)
        world.rules = Rules((*self.RULES.rules, *ON_EVERYTHING.rules))
        world.notifier = world.another()
        world.fails()
        for hour in (12, 13):
            assert self.at(world, hour) == ["run_failed: flow 2026-11-02"]
        assert [notice.reason for notice in world.notices if notice.kind == "alerts.failed"] == [
            "No not_run alert for the schedule of flow: ValueError: no time; see `podium schedule list`"
        ]

    def test_what_was_over_before_anybody_looked_is_not_told(self, world: AlertingWorld) -> None:
        with world.database.write() as connection:
            connection.execute(sa.delete(alert_cursor))
        assert self.at(world, 30) == []
        assert self.at(world, 40) == []


def test_nothing_that_runs_waits_for_alerts(world: AlertingWorld) -> None:
    """A notifier that is amid its transaction, or was never there, holds no run."""
    world.fails()
    with world.database.read() as connection:
        collection.look(connection, ON_EVERYTHING, world.clock.now())
        world.fails(named_plan("other"))
    with world.database.read() as connection:
        ended = connection.scalar(sa.select(sa.func.count()).select_from(run).where(run.c.state == "failed"))
        assert ended == 2
        assert connection.scalar(sa.select(sa.func.count()).select_from(alert_delivery)) == 0
