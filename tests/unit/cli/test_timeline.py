"""A run over time: which waits and attempts there are, how many rows they take, and where they lie."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from podium.cli.timeline import ITEM_ROWS, Scale, Span, rows_of

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def text(seconds: float | None) -> str | None:
    return None if seconds is None else at(seconds).isoformat()


def attempt(number: int, state: str, start: float, end: float | None) -> dict[str, Any]:
    return {"number": number, "state": state, "started_at": text(start), "ended_at": text(end)}


def step(name: str, state: str, *attempts: dict[str, Any], index: int | None = None, **facts: Any) -> dict[str, Any]:
    entry = {"name": name, "map_index": index, "state": state, "attempts": list(attempts), "cached": False}
    return {**entry, "ended_at": None, **facts}


def ready(name: str, seconds: float, kind: str = "step.ready") -> dict[str, Any]:
    return {"kind": kind, "step": name, "at": text(seconds)}


def spans(entry: dict[str, Any], *events: dict[str, Any], now: float = 100) -> list[tuple[str, float, float]]:
    (row,) = rows_of({"steps": [entry]}, events, at(now))
    return [(each.kind, (each.start - NOON).total_seconds(), (each.end - NOON).total_seconds()) for each in row.spans]


def test_a_step_waits_for_a_worker_runs_backs_off_and_runs_again() -> None:
    tried_twice = step("a", "succeeded", attempt(1, "failed", 2, 5), attempt(2, "succeeded", 7, 9))
    assert spans(tried_twice, ready("a", 1)) == [
        ("queue", 1, 2),
        ("failed", 2, 5),
        ("back_off", 5, 7),
        ("succeeded", 7, 9),
    ]


def test_between_attempts_lies_what_the_first_of_them_ended_with() -> None:
    for state, wait in (("timed_out", "back_off"), ("snoozed", "snooze"), ("lost", "queue"), ("cancelled", "queue")):
        again = step("a", "succeeded", attempt(1, state, 2, 5), attempt(2, "succeeded", 7, 9))
        assert spans(again)[1] == (wait, 5, 7)


def test_a_run_that_failed_and_was_resumed_waited_from_then_on_only() -> None:
    resumed = step("a", "succeeded", attempt(1, "failed", 2, 5), attempt(2, "succeeded", 81, 82))
    assert spans(resumed, ready("a", 1), ready("a", 80))[2:] == [("queue", 80, 81), ("succeeded", 81, 82)]


def test_what_goes_on_ends_now() -> None:
    assert spans(step("a", "running", attempt(1, "running", 2, None)))[-1] == ("running", 2, 100)
    assert spans(step("a", "ready"), ready("a", 1)) == [("queue", 1, 100)]
    assert spans(step("a", "waiting", attempt(1, "snoozed", 2, 5)))[-1] == ("snooze", 5, 100)
    assert spans(step("a", "waiting")) == spans(step("a", "skipped")) == []
    assert spans(step("a", "failed", attempt(1, "failed", 2, 5))) == [("failed", 2, 5)]


def test_an_item_waits_since_its_step_was_mapped() -> None:
    steps = [step("fit", "waiting"), step("fit", "succeeded", attempt(1, "succeeded", 4, 5), index=0)]
    whole, item = rows_of({"steps": steps}, [ready("fit", 3, "step.mapped")], at(9))
    assert (whole.label, whole.kind, whole.note, list(whole.spans)) == ("fit", "step", "1 item", [])
    assert (item.label, item.kind) == ("fit[0]", "item")
    assert [(each.kind, each.start) for each in item.spans] == [("queue", at(3)), ("succeeded", at(4))]


def test_very_many_items_take_as_many_rows_as_ran_side_by_side() -> None:
    items = [step("fit", "succeeded", attempt(1, "succeeded", n // 2, n // 2 + 1), index=n) for n in range(200)]
    _, *lanes = rows_of({"steps": [step("fit", "succeeded"), *items]}, [], at(100))
    assert len(items) > ITEM_ROWS
    assert [row.kind for row in lanes] == ["lane", "lane"]
    assert sorted(span.label for row in lanes for span in row.spans) == sorted(f"fit[{n}]" for n in range(200))
    for row in lanes:
        assert all(one.end <= other.start for one, other in pairwise(row.spans))


def test_what_was_cached_is_marked_where_it_was_taken_over() -> None:
    (row,) = rows_of({"steps": [step("a", "succeeded", cached=True, ended_at=text(3))]}, [], at(9))
    assert (row.cached_at, row.note) == (at(3), "cached")


def ran(*pairs: tuple[float, float]) -> list[Span]:
    return [Span("a", "succeeded", 1, at(start), at(end)) for start, end in pairs]


def scale(*pairs: tuple[float, float], end: float) -> Scale:
    return Scale(NOON, at(end), ran(*pairs), 1000)


def test_a_time_in_which_nothing_ran_is_drawn_short_where_it_is_longer_than_all_else() -> None:
    short = scale((0, 10), (15, 20), end=20)
    assert short.breaks() == []
    assert [short.place(at(each)) for each in (0, 10, 20)] == [0, 500, 1000]
    (gap,) = (next_day := scale((0, 10), (86_400, 86_410), end=86_410)).breaks()
    assert (gap.seconds, gap.right - gap.left) == (86_390, 44)
    assert next_day.place(at(10)) == gap.left == (1000 - 44) / 2
    assert next_day.place(at(86_410)) == 1000


def test_ticks_are_at_round_times_and_not_within_a_break() -> None:
    assert [each.seconds for each in scale((0, 20), end=20).ticks()] == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]
    next_day = scale((0, 10), (86_400, 86_410), end=86_410)
    (gap,) = next_day.breaks()
    assert not [each for each in next_day.ticks() if gap.left < each.at < gap.right]
    assert [each.seconds for each in next_day.ticks()][-1] == 86_410


def test_a_run_that_took_no_time_has_an_axis() -> None:
    assert scale(end=0).place(NOON) == 0
    assert len(scale(end=0).ticks()) > 1


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), max_size=6), st.lists(st.floats(0, 1e6), min_size=2))
def test_what_is_later_lies_further_right_and_within_the_axis(
    pairs: Sequence[tuple[float, float]], times: Sequence[float]
) -> None:
    found = scale(*[(min(pair), max(pair)) for pair in pairs], end=1e6)
    places = [found.place(at(each)) for each in sorted(times)]
    assert all(one <= other + 1e-6 for one, other in pairwise(places))
    assert all(0 <= place <= 1000 + 1e-6 for place in places)
