"""Which message is sent next, what it stands for, and until when the others wait."""

from datetime import UTC, datetime, timedelta

from podium.notify.choosing import Choice, choose
from podium.notify.entities import Pending, Told
from podium.notify.rules import Limit

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def waiting(
    name: str, event: str = "run_failed", *, due: timedelta = timedelta(), tries: int = 0, error: str | None = None
) -> Pending:
    """What waits since an hour: `due` from now, of the pipeline that is the first letter of its name."""
    return Pending(name, (event, name[0], None), NOW - HOUR, NOW + due, tries, error)


def told(pipeline: str, ago: timedelta) -> Told:
    return Told(("run_failed", pipeline, None), NOW - ago)


def chosen(*pending: Pending, told: tuple[Told, ...] = (), limit: str = "") -> Choice:
    return choose(pending, told, [Limit.parse(limit)] if limit else [], HOUR, NOW)


def names(choice: Choice) -> tuple[str | None, tuple[str, ...]]:
    lead = None if choice.lead is None else choice.lead.alert_id
    return lead, tuple(each.alert_id for each in choice.folded)


def test_nothing_that_is_not_due_is_chosen() -> None:
    assert chosen(waiting("a", due=MINUTE)) == Choice()
    assert chosen() == Choice()


def test_the_oldest_is_chosen_with_its_repetitions_alone() -> None:
    assert names(chosen(waiting("a1"), waiting("b1"), waiting("a2"), waiting("b2"))) == ("a1", ("a2",))


def test_what_asks_for_an_act_is_no_repetition() -> None:
    assert names(chosen(waiting("a1", "held"), waiting("a2", "held"))) == ("a1", ())
    assert names(chosen(waiting("a1", "held"), told=(Told(("held", "a", None), NOW - MINUTE),))) == ("a1", ())


def test_a_repetition_waits_until_the_last_message_is_an_hour_old() -> None:
    choice = chosen(waiting("a1"), waiting("b1"), told=(told("a", 2 * HOUR), told("a", 20 * MINUTE)))
    assert names(choice) == ("b1", ())
    assert choice.put_off == {"a1": NOW + 40 * MINUTE}
    assert names(chosen(waiting("a1"), told=(told("a", HOUR),))) == ("a1", ())


def test_a_message_that_was_tried_is_no_repetition_of_one_that_was_told_meanwhile() -> None:
    assert names(chosen(waiting("a1", tries=3, error="gone"), told=(told("a", MINUTE),))) == ("a1", ())


def test_while_a_message_is_on_its_way_nothing_else_is_chosen_or_put_off() -> None:
    assert chosen(waiting("a1"), waiting("b1", tries=1, due=MINUTE)) == Choice()


def test_while_a_channel_rests_what_is_due_waits_as_long() -> None:
    choice = chosen(waiting("a1"), waiting("b1", tries=4, error="gone", due=8 * MINUTE))
    assert choice == Choice(put_off={"a1": NOW + 8 * MINUTE})


def test_a_limit_counts_what_was_told_within_its_time() -> None:
    three = (told("x", HOUR), told("y", 30 * MINUTE), told("z", 10 * MINUTE))
    assert names(chosen(waiting("a1"), waiting("b1"), told=three, limit="4/h")) == ("a1", ())
    assert names(chosen(waiting("a1"), waiting("b1"), waiting("a2"), told=three, limit="3/h")) == ("a1", ("a2", "b1"))
    full = chosen(waiting("a1"), waiting("b1"), told=three, limit="2/h")
    assert full == Choice(put_off={"a1": NOW + 30 * MINUTE, "b1": NOW + 30 * MINUTE})


def test_of_several_limits_the_tightest_holds() -> None:
    choice = choose(
        [waiting("a1")], [told("x", 2 * HOUR), told("y", MINUTE)], [Limit(5, HOUR), Limit(2, 24 * HOUR)], HOUR, NOW
    )
    assert choice == Choice(put_off={"a1": NOW + 22 * HOUR})
