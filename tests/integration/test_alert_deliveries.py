"""Whatever happens to channels and senders, everything is told, and told once unless a sender died."""

import tempfile
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium import faults
from podium.clock import FakeClock
from podium.db.engine import Database
from podium.faults import FaultRaised
from podium.notify import outbox
from podium.notify.documents import alert_documents
from podium.notify.entities import Alert, Message, Subject
from podium.notify.loop import Notifier
from podium.notify.rules import Limit, Rules
from tests.alerting_world import ON_EVERYTHING, Recorder, fresh_sqlite

POINTS = ["alert.before_collect", "alert.before_send", "alert.after_send"]
STEPS = st.one_of(
    st.tuples(st.just("happens"), st.integers(0, 2)),
    st.tuples(st.just("passes"), st.integers(1, 90)),
    st.tuples(st.just("goes"), st.booleans()),
    st.tuples(st.just("dies"), st.sampled_from(POINTS)),
)


def an_alert(number: int, pipeline: str, at: datetime) -> Alert:
    """The failure numbered so of a pipeline."""
    subject = Subject(pipeline, "model", "team", "dev")
    return Alert(f"event:{number}", "run_failed", subject, f"failure <{number}>", "body", at, ("oncall",))


@given(steps=st.lists(STEPS, min_size=4, max_size=11), limit=st.sampled_from([None, 1, 3]))
@settings(max_examples=60)
def test_everything_is_told(steps: list[tuple[str, object]], limit: int | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = fresh_sqlite(Path(folder))
        rules = ON_EVERYTHING if limit is None else replace(ON_EVERYTHING, limits={"oncall": (Limit(limit, HOUR),)})
        _play(database, rules, steps)
        database.close()


HOUR = timedelta(hours=1)


def _play(database: Database, rules: Rules, steps: list[tuple[str, object]]) -> None:
    clock, sent_at = FakeClock(), list[datetime]()

    class Timed(Recorder):
        def send(self, title: str, body: str) -> str | None:
            sent_at.append(clock.now())
            return super().send(title, body)

    channel = Timed()
    number = deaths = 0

    def sender() -> Notifier:
        return Notifier(database, {"oncall": channel}, rules, clock, lambda _: None, patience_seconds=20.0)

    notifier = sender()
    for kind, what in [*steps, ("goes", True), *[("passes", 60)] * 12]:
        if kind == "happens":
            with database.write() as connection:
                outbox.add(connection, an_alert(number, f"p{what}", clock.now()), clock.now())
            number += 1
        elif kind == "passes":
            assert isinstance(what, int)
            clock.advance(60.0 * what)
        elif kind == "goes":
            channel.down = None if what else "gone"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(faults, "_armed", {str(what): "raise"} if kind == "dies" else {})
            try:
                notifier.advance()
            except FaultRaised:
                deaths += 1
                notifier = sender()  # what it remembered is gone
    told = Counter(each for each in range(number) for title, body in channel.taken if f"<{each}>" in f"{title}\n{body}")
    assert set(told) == set(range(number))
    assert max(told.values(), default=1) <= 1 + deaths
    if rules.limits and not deaths and channel.asked == len(channel.taken):
        (limit,) = rules.limits["oncall"]
        assert all(later - first >= limit.per for first, later in zip(sent_at, sent_at[limit.count :], strict=False))


def test_what_was_folded_into_a_message_goes_with_it_into_another(database: Database, clock: FakeClock) -> None:
    rules = replace(ON_EVERYTHING, limits={"oncall": (Limit(1, HOUR),)})

    def add(*alerts: Alert) -> None:
        with database.write() as connection:
            for each in alerts:
                outbox.add(connection, each, clock.now())

    def take() -> Message:
        with database.write() as connection:
            taken = outbox.take(connection, "oncall", rules, clock.now())
        assert taken is not None
        return taken

    at = clock.now()
    add(an_alert(1, "p", at), an_alert(2, "p", at + timedelta(seconds=1)))
    first = take()
    assert first.title == "failure <1> (and 1 more since 00:00 UTC)"
    with database.write() as connection:
        assert outbox.failed(connection, first, "gone", clock.now()) == 0
    clock.advance(60)
    add(an_alert(3, "older", at - timedelta(hours=2)))
    second = take()
    assert second.title == "failure <3> (and 2 more since 00:00 UTC)"
    assert "- failure <1> (2013-03-01 00:00 UTC)\n- failure <2> (2013-03-01 00:00 UTC)" in second.body


def test_a_sender_that_was_slower_than_its_lease_does_not_undo_what_the_next_one_did(
    database: Database, clock: FakeClock
) -> None:
    with database.write() as connection:
        outbox.add(connection, an_alert(1, "p", clock.now()), clock.now())
        first = outbox.take(connection, "oncall", ON_EVERYTHING, clock.now())
    with database.write() as connection:
        outbox.add(connection, an_alert(2, "q", clock.now() + HOUR), clock.now())
    clock.advance(60)
    with database.write() as connection:
        second = outbox.take(connection, "oncall", ON_EVERYTHING, clock.now())
    assert first is not None
    assert second is not None
    with database.write() as connection:
        outbox.failed(connection, first, "too slow", clock.now())
        (ours,) = [each["deliveries"] for each in alert_documents(connection, 2) if "<1>" in each["title"]]
        assert (ours[0]["tries"], ours[0]["error"]) == (2, None)  # still the second's
        assert outbox.due(connection, clock.now()) == ["oncall"]  # and the channel does not rest
        assert outbox.take(connection, "oncall", ON_EVERYTHING, clock.now()) is None
        outbox.sent(connection, second, clock.now())
        outbox.failed(connection, first, "still too slow", clock.now())
        assert [each["title"] for each in alert_documents(connection, 2, "sent")] == ["failure <1>"]


@pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)  # SQLite has one writer at a time
def test_who_comes_while_another_takes_a_message_waits_for_nothing(database: Database, clock: FakeClock) -> None:
    with database.write() as connection:
        outbox.add(connection, an_alert(1, "p", clock.now()), clock.now())
    with database.write() as first, database.write() as second:
        assert outbox.take(first, "oncall", ON_EVERYTHING, clock.now()) is not None
        second.exec_driver_sql("SET LOCAL lock_timeout = '1s'")
        assert outbox.take(second, "oncall", ON_EVERYTHING, clock.now()) is None
