"""What messages say where there is less, or more, to say than usually."""

from datetime import UTC, datetime, timedelta

from podium.notify import texts
from podium.notify.texts import Failure, Folded, RunFacts

AT = datetime(2026, 11, 21, 6, 30, tzinfo=UTC)
RUN = RunFacts("0j9x3k", "flight_delay", "2013-04")


def test_a_failure_of_many_says_how_many_and_is_cut() -> None:
    _, body = texts.run_failed(RUN, Failure("fit[2]", "x" * 5000, 7), None, AT)
    assert "Step: fit[2] (7 more failed)" in body
    assert len(body) < 2000
    assert f"{'x' * 1500}…\n" in body


def test_a_run_that_failed_without_an_attempt_says_why_it_did() -> None:
    assert "\nWhy: it did not end within 2h\n" in texts.run_failed(RUN, None, "it did not end within 2h", AT)[1]
    assert "\nWhy: no reason is on record\n" in texts.run_failed(RUN, None, None, AT)[1]


def test_what_is_approved_by_default_says_so() -> None:
    _, body = texts.held(RUN, "asked", "Is it good?", AT, "approve", AT)
    assert "Until 2026-11-21 06:30 UTC; then it is approved." in body


def test_the_first_champion_replaced_none() -> None:
    title, body = texts.moved("flight_delay", "promotion", (None, "1"), "ada", "first model", AT)
    assert title == "promotion: flight_delay version 1"
    assert "ada moved the champion of flight_delay to version 1, the first champion, at 2026-11-21 06:30 UTC." in body


def test_a_message_that_is_told_in_time_says_nothing_more() -> None:
    assert texts.message("title", "body", AT, [], AT + timedelta(minutes=4)) == ("title", "body")


def test_what_it_stands_for_is_counted_from_its_day_on() -> None:
    folded = [Folded(AT + timedelta(hours=hour), f"failure {hour}") for hour in range(12)]
    title, body = texts.message("title", "body", AT, folded, AT + timedelta(days=1))
    assert title == "title (and 12 more since 2026-11-21 06:30 UTC)"
    assert body.splitlines() == [
        "body",
        "",
        "This is told 1 d 0 h after it happened.",
        "",
        "And 12 more since 2026-11-21 06:30 UTC:",
        *(f"- failure {hour} (2026-11-21 {6 + hour:02d}:30 UTC)" for hour in range(10)),
        "… 2 others: podium alerts list",
    ]
