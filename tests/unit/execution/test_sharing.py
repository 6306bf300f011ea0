"""How free slots are shared among runs."""

from hypothesis import given
from hypothesis import strategies as st

from podium.execution.sharing import shares

RUNS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20)), max_size=6)


def test_the_oldest_run_is_first_where_all_have_the_same() -> None:
    assert shares(1, {}, {"old": 1, "new": 1}) == {"old": 1}


def test_a_wide_run_gets_every_slot_while_nobody_else_wants_one() -> None:
    assert shares(4, {"wide": 2}, {"wide": 100}) == {"wide": 4}


def test_a_run_that_comes_later_gets_the_next_free_slot_however_wide_the_one_before_is() -> None:
    assert shares(1, {"wide": 3}, {"wide": 100, "later": 5}) == {"later": 1}


@given(st.integers(0, 12), RUNS)
def test_slots_are_levelled_and_none_stays_free_that_somebody_wants(free: int, runs: list[tuple[int, int]]) -> None:
    held = {str(number): slots for number, (slots, _) in enumerate(runs)}
    claimable = {str(number): wanted for number, (_, wanted) in enumerate(runs)}
    given_ = shares(free, held, claimable)
    assert sum(given_.values()) == min(free, sum(claimable.values()))
    assert all(0 < count <= claimable[run_id] for run_id, count in given_.items())
    total = {run_id: held[run_id] + given_.get(run_id, 0) for run_id in claimable}
    for giver in given_:
        for other in claimable:
            if given_.get(other, 0) < claimable[other]:  # it wanted more: nobody was lifted more than one above it
                assert total[giver] <= total[other] + 1
