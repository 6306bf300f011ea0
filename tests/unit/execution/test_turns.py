"""Whose turn it is to get a slot."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from podium.execution.turns import AGEING_SECONDS, Turns, WaitingRun

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def waiting(run_id: str, *, priority: int = 0, age: float = 0.0, ready: float = 0.0) -> WaitingRun:
    """A run that was asked for `age` seconds before noon and of which something is ready since `ready` seconds."""
    return WaitingRun(run_id, priority, NOON - timedelta(seconds=age), NOON - timedelta(seconds=ready))


def turns_of(*runs: WaitingRun) -> Turns:
    found = Turns()
    found.replace(runs, NOON)
    return found


def taken(turns: Turns, slots: int, held: Mapping[str, int] | None = None) -> list[str]:
    """Give away so many slots, to runs that could use any number of them."""
    have = dict(held or {})
    given_to = []
    for _ in range(slots):
        run_id = turns.next(have)
        if run_id is None:
            break
        have[run_id] = have.get(run_id, 0) + 1
        given_to.append(run_id)
    return given_to


def test_the_run_that_was_asked_for_first_is_first() -> None:
    assert turns_of(waiting("new"), waiting("old", age=60)).next({}) == "old"


def test_a_higher_priority_goes_first_and_gets_every_slot_while_it_can_use_them() -> None:
    turns = turns_of(waiting("old", age=60), waiting("urgent", priority=1))
    assert taken(turns, 3) == ["urgent", "urgent", "urgent"]


def test_a_wide_run_gets_every_slot_while_nobody_else_wants_one() -> None:
    assert taken(turns_of(waiting("wide")), 3, {"wide": 2}) == ["wide"] * 3


def test_a_run_that_comes_later_gets_the_next_slot_however_wide_the_one_before_is() -> None:
    turns = turns_of(waiting("wide", age=60))
    turns.add(waiting("later"), NOON)
    assert taken(turns, 3, {"wide": 2}) == ["later", "later", "wide"]


def test_a_run_that_waits_without_a_slot_gains_a_point_of_priority_every_ten_minutes() -> None:
    patient = waiting("patient", age=AGEING_SECONDS, ready=AGEING_SECONDS)
    assert turns_of(patient, waiting("urgent", priority=1, age=AGEING_SECONDS + 1)).next({}) == "urgent"
    assert turns_of(patient, waiting("urgent", priority=1)).next({}) == "patient"
    turns = turns_of(waiting("young", age=AGEING_SECONDS - 1, ready=AGEING_SECONDS - 1), waiting("urgent", priority=1))
    assert turns.next({}) == "urgent"


def test_who_has_a_slot_does_not_age() -> None:
    turns = turns_of(waiting("served", age=7200, ready=7200), waiting("urgent", priority=1))
    assert turns.next({}) == "served"
    assert turns.next({"served": 1}) == "urgent"


def test_what_was_passed_over_or_removed_has_no_turn_and_keeps_its_place() -> None:
    turns = turns_of(waiting("first", age=60), waiting("second"))
    assert turns.next({}, ["first"]) == "second"
    assert turns.next({}) == "first"
    turns.remove("first")
    assert (turns.next({}), "first" in turns) == ("second", False)
    turns.remove("second")
    assert (turns.next({}), bool(turns)) == (None, False)


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 3)), max_size=8), st.integers(0, 10))
def test_slots_are_levelled_among_equals_and_no_lower_priority_is_served_before_a_higher(
    runs: list[tuple[int, int]], slots: int
) -> None:
    turns = turns_of(*(waiting(str(n), priority=priority) for n, (priority, _) in enumerate(runs)))
    held = {str(n): slots for n, (_, slots) in enumerate(runs)}
    given_to = taken(turns, slots, held)
    assert len(given_to) == (slots if runs else 0)
    best = max((priority for priority, _ in runs), default=0)
    assert all(runs[int(run_id)][0] == best for run_id in given_to)
    total = {run_id: count + given_to.count(run_id) for run_id, count in held.items()}
    equals = [str(n) for n, (priority, _) in enumerate(runs) if priority == best]
    for giver in set(given_to):
        assert all(total[giver] <= total[other] + 1 for other in equals)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12, unique=True))
def test_adding_one_by_one_is_the_same_as_knowing_all(ages: list[int]) -> None:
    one_by_one = Turns()
    for age in ages:
        one_by_one.add(waiting(str(age), age=age), NOON)
    assert one_by_one.next({}) == turns_of(*(waiting(str(age), age=age) for age in ages)).next({}) == str(max(ages))
