"""The metrics of schedules, triggers and alerts: what is due and nobody acts on, and what reaches nobody."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from podium.dag.plan import Plan
from podium.dag.triggers import NewFiles, Trigger, read_triggers
from podium.db.engine import Database
from podium.db.schema import schedule, trigger_source, trigger_state
from podium.execution import plans
from podium.exporter import scrape as scrape_module
from podium.notify import outbox
from podium.notify.entities import Alert, Subject
from podium.scheduling.presence import Presence
from podium.scheduling.triggers import Triggers
from podium.wiring.admission import ExecutorAdmission
from tests.alerting_world import ON_EVERYTHING
from tests.metrics_world import Scraped, exporter_of
from tests.scheduling_world import START, SchedulingWorld, scheduled

OURS = ("podium_schedule", "podium_trigger", "podium_alert")
OVERDUE = "podium_schedule_overdue_seconds"
DELIVERIES = "podium_alert_deliveries"


@pytest.fixture
def world(database: Database, tmp_path: Path) -> SchedulingWorld:
    return SchedulingWorld(database, tmp_path)


def scrape(world: SchedulingWorld) -> Scraped:
    """A scrape at the time that it is in the world; no collector failed."""
    found = Scraped(exporter_of(world.database, world.clock)[0].render().decode())
    assert set(found.all("podium_scrape_errors_total").values()) == {0.0}
    return found


def states(world: SchedulingWorld, name: str) -> dict[str, str]:
    """The one state that each schedule or trigger is in."""
    found = scrape(world).all(name)
    assert set(found.values()) <= {0.0, 1.0}
    return {key[-1] if len(key) == 3 else key[0]: key[1] for key, value in found.items() if value}


def test_an_empty_database_tells_that_no_scheduler_is_alive_and_nothing_else(world: SchedulingWorld) -> None:
    found = {key: value for key, value in scrape(world).series.items() if key[0].startswith(OURS)}
    assert found == {("podium_scheduler_up", frozenset()): 0.0}


def test_a_tick_that_is_due_is_overdue_until_somebody_acts_on_it(world: SchedulingWorld) -> None:
    world.take_up(scheduled("hourly"), scheduled("daily", "0 6 * * *", grain="day"))
    assert scrape(world).all(OVERDUE) == {("hourly",): 0, ("daily",): 0}
    world.clock.advance(2 * 3600 + 60)
    assert scrape(world).all(OVERDUE) == {("hourly",): 3660, ("daily",): 0}
    world.advance()
    assert scrape(world).all(OVERDUE) == {("hourly",): 0, ("daily",): 0}


def test_a_schedule_is_active_or_paused_and_one_that_was_removed_is_absent(world: SchedulingWorld) -> None:
    world.take_up(scheduled("hourly"), scheduled("daily", "0 6 * * *", grain="day"))
    assert states(world, "podium_schedule_state") == {"hourly": "active", "daily": "active"}
    world.schedules.pause("hourly", reason="the source is being rebuilt", actor="ada")
    world.clock.advance(7200)
    assert states(world, "podium_schedule_state") == {"hourly": "paused", "daily": "active"}
    assert scrape(world).all(OVERDUE) == {("daily",): 0}
    world.take_up(scheduled("daily", "0 6 * * *", grain="day"))
    assert states(world, "podium_schedule_state") == {"daily": "active"}


def test_a_scheduler_is_up_until_it_ends_or_was_silent_for_long(world: SchedulingWorld) -> None:
    first, second = (Presence(world.database, world.clock, "a", process_id) for process_id in (1, 2))
    first.advance()
    second.advance()
    assert scrape(world).value("podium_scheduler_up") == 2
    first.end()
    assert scrape(world).value("podium_scheduler_up") == 1
    world.clock.advance(45)
    assert scrape(world).value("podium_scheduler_up") == 0
    second.advance()
    assert scrape(world).value("podium_scheduler_up") == 1


def test_a_trigger_is_in_one_state_and_its_failed_looks_in_a_row_are_told(world: SchedulingWorld) -> None:
    made = [Trigger(name, any_of=[NewFiles("data/*"), NewFiles("more/*")]) for name in ("new", "gone")]
    flow = scheduled("flow", None, triggers=read_triggers(made, pipeline="flow"))
    triggers = Triggers(world.database, ExecutorAdmission(world.execution), world.clock, world.fired.append)

    def take_up(plan: Plan) -> None:
        world.take_up(plan)
        triggers.take_up([plan])

    take_up(flow)
    assert states(world, "podium_trigger_state") == {"flow.new": "waits", "flow.gone": "waits"}
    take_up(replace(flow, triggers=flow.triggers[:1]))
    assert states(world, "podium_trigger_state") == {"flow.new": "waits"}
    with world.database.write() as connection:
        failed = {"result": "unknown", "looked_at": START, "failures": 3}
        connection.execute(trigger_source.update().where(trigger_source.c.position == 1).values(failed))
    assert states(world, "podium_trigger_state") == {"flow.new": "unknown"}
    assert scrape(world).all("podium_trigger_failures") == {("flow", "flow.new"): 3}
    standings: list[tuple[str, object, str]] = [
        ("fires_at", START, "fires"),
        ("problem", "its run was refused", "blocked"),
    ]
    for column, value, state in standings:
        with world.database.write() as connection:
            connection.execute(trigger_state.update().values({column: value}))
        assert states(world, "podium_trigger_state") == {"flow.new": state}


def an_alert(number: int, at: datetime, *channels: str) -> Alert:
    """A failure to tell on these channels."""
    return Alert(f"event:{number}", "run_failed", Subject(f"p{number}"), "failure", "body", at, channels)


def test_deliveries_are_counted_that_wait_or_that_ended_within_a_day(world: SchedulingWorld) -> None:
    with world.database.write() as connection:
        for number in range(3):
            outbox.add(connection, an_alert(number, START, "mail", "oncall"), START)
        message = outbox.take(connection, "oncall", ON_EVERYTHING, START)
        assert message is not None
        outbox.sent(connection, message, START)
    told = {(channel, state): 0 for channel in ("mail", "oncall") for state in ("sent", "withheld", "given_up")}
    expected = {**told, ("mail", "pending"): 3, ("oncall", "pending"): 2, ("oncall", "sent"): 1}
    assert scrape(world).all(DELIVERIES) == expected
    world.clock.advance(timedelta(hours=24).total_seconds())
    expected["oncall", "sent"] = 0
    assert scrape(world).all(DELIVERIES) == expected
    now = world.clock.now()
    with world.database.write() as connection:
        message = outbox.take(connection, "mail", ON_EVERYTHING, now)
        assert message is not None
        tried_often = replace(message, tries=10)
        connection.execute(sa.text("UPDATE alert_delivery SET tries = 10 WHERE channel = 'mail' AND tries > 0"))
        given_up = outbox.failed(connection, tried_often, "no route to host", now)
    assert given_up
    expected |= {("mail", "given_up"): given_up, ("mail", "pending"): 3 - given_up}
    assert scrape(world).all(DELIVERIES) == expected


def test_thousands_of_schedules_are_read_by_as_many_statements_as_a_few(world: SchedulingWorld) -> None:
    plan = scheduled("p")
    with world.database.write() as connection:
        plans.store(connection, plan, START)

    def add(count: int, first: int) -> None:
        facts = {"plan_digest": plan.digest, "rule_digest": "r", "seen_at": START}
        due = {"next_tick_at": START - timedelta(minutes=1), "next_due_at": START - timedelta(minutes=1)}
        rows = [{"pipeline": f"p{number}", **facts, **due} for number in range(first, first + count)]
        with world.database.write() as connection:
            connection.execute(schedule.insert(), rows)

    def statements() -> list[str]:
        noted: list[str] = []

        def note(_c: object, _k: object, statement: str, *_: object) -> None:
            noted.append(statement)

        sa.event.listen(world.database.engine, "before_cursor_execute", note)
        found = scrape(world)
        sa.event.remove(world.database.engine, "before_cursor_execute", note)
        assert set(found.all(OVERDUE).values()) == {60.0}
        return noted

    add(10, first=0)
    few = statements()
    add(9_990, first=10)
    many = statements()
    assert len(scrape(world).all(OVERDUE)) == 10_000
    assert len(many) == len(few)
    of_schedules = [each for each in many if "FROM schedule" in each]
    assert len(of_schedules) == 2  # the schedules, and the schedulers
    assert not [each for each in of_schedules if "plan." in each or "schedule_tick" in each]


@pytest.mark.parametrize("collector", ["schedules", "triggers", "alerts"])
def test_one_that_fails_is_counted_and_stops_no_other(
    world: SchedulingWorld, monkeypatch: pytest.MonkeyPatch, collector: str
) -> None:
    def fail(connection: sa.Connection, _: object) -> object:
        return connection.execute(sa.text("SELECT nothing FROM nowhere"))

    monkeypatch.setitem(scrape_module._COLLECTORS_BY_TIME, collector, fail)
    found = Scraped(exporter_of(world.database, world.clock)[0].render().decode())
    errors = {key[0]: value for key, value in found.all("podium_scrape_errors_total").items() if value}
    assert errors == {collector: 1}
    assert found.value("podium_ledger_unpriced_entries") == 0
    assert ("podium_scheduler_up", frozenset()) in found.series or collector == "schedules"
