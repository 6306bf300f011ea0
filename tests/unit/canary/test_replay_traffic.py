from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.canary.entities import CanaryResult, State, requests_of
from podium.canary.plan import CanaryPlan, Phase
from podium.canary.ports import Traffic
from podium.canary.replay import ReplayTraffic, play
from podium.errors import EvaluationError
from podium.stats.cells import Cell, Cells

seeds = st.binary(min_size=1, max_size=32).map(bytes.hex)
ramps = st.lists(st.tuples(st.floats(0.01, 0.99), st.integers(1, 60)), min_size=1, max_size=4)
lengths = st.integers(0, 200)


def traffic(ramp: Sequence[tuple[float, int]], seed: str, length: int) -> ReplayTraffic:
    generator = np.random.default_rng(length)
    return ReplayTraffic(generator.random(length) < 0.3, generator.random(length) < 0.1, weights=ramp, seed=seed)


@given(ramps, seeds, lengths, st.data())
def test_cells_count_every_request_once_in_its_phase(
    ramp: list[tuple[float, int]], seed: str, length: int, data: st.DataObject
) -> None:
    replay = traffic(ramp, seed, length)
    assert replay.available == min(length, sum(requests for _, requests in ramp))
    until = data.draw(st.integers(0, replay.available))
    cells = replay.cells(until)
    assert [cell.weight for cell in cells] == [weight for weight, _ in ramp]
    assert requests_of(cells) == until
    left = until
    for cell, (_, requests) in zip(cells, ramp, strict=True):
        assert requests_of([cell]) == min(left, requests)
        left -= requests_of([cell])


@given(ramps, seeds, st.integers(1, 200), st.data())
def test_more_requests_only_ever_add(
    ramp: list[tuple[float, int]], seed: str, length: int, data: st.DataObject
) -> None:
    replay = traffic(ramp, seed, length)
    until = data.draw(st.integers(1, replay.available))
    for before, after in zip(replay.cells(until - 1), replay.cells(until), strict=True):
        for name in ("challenger_exposures", "challenger_errors", "champion_exposures", "champion_errors"):
            assert 0 <= getattr(after, name) - getattr(before, name) <= 1


@given(ramps, seeds, st.integers(0, 100), st.integers(0, 100))
def test_an_assignment_depends_on_seed_and_position_alone(
    ramp: list[tuple[float, int]], seed: str, length: int, more: int
) -> None:
    wrong = np.random.default_rng(5).random((2, length + more)) < 0.3
    longer = ReplayTraffic(wrong[0], wrong[1], weights=ramp, seed=seed)
    shorter = ReplayTraffic(wrong[0][:length], wrong[1][:length], weights=ramp, seed=seed)
    assert shorter.cells(shorter.available) == longer.cells(shorter.available)


def test_each_variants_own_answers_are_counted() -> None:
    length = 2_000
    all_wrong, all_right = np.ones(length, dtype=bool), np.zeros(length, dtype=bool)
    (cell,) = ReplayTraffic(all_wrong, all_right, weights=[(0.3, length)], seed="5eed").cells(length)
    assert (cell.challenger_errors, cell.champion_errors) == (cell.challenger_exposures, 0)
    assert 500 < cell.challenger_exposures < 700
    (cell,) = ReplayTraffic(all_right, all_wrong, weights=[(0.3, length)], seed="5eed").cells(length)
    assert (cell.challenger_errors, cell.champion_errors) == (0, cell.champion_exposures)


def test_another_seed_routes_otherwise() -> None:
    assert traffic([(0.5, 200)], "a", 200).cells(200) != traffic([(0.5, 200)], "b", 200).cells(200)


@pytest.mark.parametrize(
    ("challenger", "champion", "words"),
    [
        (np.zeros(3), np.zeros(3, dtype=bool), "challenger's answers are an array of float64"),
        (np.zeros(3, dtype=bool), np.zeros((3, 1), dtype=bool), "champion's answers .* with 2 dimensions"),
        (np.zeros(3, dtype=bool), np.zeros(4, dtype=bool), "answered 3 requests and the champion 4"),
    ],
)
def test_answers_of_another_shape_are_refused(
    challenger: npt.NDArray[Any], champion: npt.NDArray[Any], words: str
) -> None:
    with pytest.raises(EvaluationError, match=words):
        ReplayTraffic(challenger, champion, weights=[(0.5, 10)], seed="5eed")


# Playing

PLAN = CanaryPlan(phases=(Phase(weight_percent=50, requests=120),), look_every=50)
OPENED = CanaryResult(
    canary_id="c1",
    model="flight_delay",
    challenger="2",
    champion="1",
    state="ramping",
    reasons=(),
    plan=PLAN,
    position=0,
    horizon=120,
    seed="5eed",
    challenger_exposures=0,
    challenger_errors=0,
    champion_exposures=0,
    champion_errors=0,
)


class Looks:
    """Ends a canary at one position and remembers every look."""

    def __init__(self, ends_at: int) -> None:
        self.positions: list[int] = []
        self._ends_at = ends_at

    def __call__(self, canary_id: str, cells: Cells) -> CanaryResult:
        assert canary_id == "c1"
        self.positions.append(requests_of(cells))
        state: State = "rolled_back" if self.positions[-1] == self._ends_at else "ramping"
        return replace(OPENED, state=state, position=self.positions[-1])


@pytest.mark.parametrize(
    ("position", "ends_at", "looked_at"),
    [(0, 100, [50, 100]), (0, 120, [50, 100, 120]), (50, 120, [50, 100, 120]), (70, 70, [70]), (120, 120, [120])],
)
def test_a_canary_is_played_from_where_it_stands_to_its_end(position: int, ends_at: int, looked_at: list[int]) -> None:
    looks = Looks(ends_at)
    replay: Traffic = traffic(PLAN.weights, "5eed", 120)
    ended = play(replace(OPENED, position=position), replay, looks)
    assert looks.positions == looked_at
    assert (ended.state, ended.position) == ("rolled_back", ends_at)


def test_a_canary_without_requests_is_looked_at_once() -> None:
    looks = Looks(0)
    assert play(replace(OPENED, horizon=0), traffic(PLAN.weights, "5eed", 0), looks).ended
    assert looks.positions == [0]


def test_an_ended_canary_and_a_first_model_stay_as_they_are() -> None:
    looks = Looks(0)
    for result in (replace(OPENED, state="inconclusive"), replace(OPENED, canary_id=None, state="promoted")):
        assert play(result, traffic(PLAN.weights, "5eed", 120), looks) == result
    assert looks.positions == []


def test_totals_are_over_all_phases() -> None:
    assert requests_of([Cell(0.5, 1, 1, 2, 0), Cell(0.2, 3, 0, 4, 4)]) == 10
