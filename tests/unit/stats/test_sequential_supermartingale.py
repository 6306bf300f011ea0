"""Each e-process bets fairly: after every possible history, its next value is expected not to exceed the present one.

That is all that a decision at any look rests on. It is checked exactly, by enumeration of every history of a short
canary, with base rates that move, and that answer to what has been seen.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from podium.stats.sequential import (
    Cell,
    Cells,
    log_e_better,
    log_e_sample_ratio,
    log_e_within_margin,
    log_e_worse,
)

Outcome = tuple[bool, bool]  # the challenger answered, with an error
History = tuple[Outcome, ...]
LogE = Callable[[Cells], float]
Rate = Callable[[History], float]  # the champion's error rate at the next request

OUTCOMES = ((True, True), (True, False), (False, True), (False, False))
WEIGHTS = (0.05, 0.05, 0.25, 0.8)
RATES: dict[str, Rate] = {
    "constant": lambda _: 0.1,
    "rising": lambda past: 0.02 + 0.08 * len(past),
    "after each error, an incident": lambda past: 0.45 if past and past[-1][1] else 0.03,
    "worst where the challenger has been lucky": lambda past: 0.4 if sum(a and not y for a, y in past) else 0.05,
    "no errors at first": lambda past: 0.0 if len(past) < 2 else 0.3,
}


def cells_of(history: History) -> list[Cell]:
    counts: dict[float, Counter[Outcome]] = {weight: Counter() for weight in WEIGHTS[: len(history)]}
    for weight, outcome in zip(WEIGHTS, history, strict=False):
        counts[weight][outcome] += 1
    return [
        Cell(
            weight,
            seen[True, True] + seen[True, False],
            seen[True, True],
            seen[False, True] + seen[False, False],
            seen[False, True],
        )
        for weight, seen in counts.items()
    ]


def growths(log_e: LogE, champion: Rate, challenger: Rate, assigned: Rate) -> Iterator[float]:
    """Yield, for every history that can happen, the expected next value over the present one."""
    pending: list[History] = [()]
    while pending:
        past = pending.pop()
        present = log_e(cells_of(past))
        weight, expected = assigned(past), 0.0
        for to_challenger, wrong in OUTCOMES:
            rate = challenger(past) if to_challenger else champion(past)
            probability = (weight if to_challenger else 1 - weight) * (rate if wrong else 1 - rate)
            if probability > 0:
                after = (*past, (to_challenger, wrong))
                expected += probability * math.exp(log_e(cells_of(after)) - present)
                if len(after) < len(WEIGHTS):
                    pending.append(after)
        yield expected


def as_recorded(past: History) -> float:
    return WEIGHTS[len(past)]


every_rate = pytest.mark.parametrize("champion", RATES.values(), ids=RATES.keys())


@every_rate
@pytest.mark.parametrize("ratio", [0.8, 1.0, 1.3])
def test_evidence_of_worse_is_a_fair_bet_at_the_ratio_and_a_losing_one_below(champion: Rate, ratio: float) -> None:
    def log_e(cells: Cells) -> float:
        return log_e_worse(cells, ratio=ratio)

    for growth in growths(log_e, champion, lambda past: ratio * champion(past), as_recorded):
        assert growth == pytest.approx(1, abs=1e-12)
    for growth in growths(log_e, champion, lambda past: ratio * champion(past) * 0.7, as_recorded):
        assert growth <= 1 + 1e-12


@every_rate
@pytest.mark.parametrize("ratio", [0.8, 1.0, 1.3])
def test_evidence_of_better_is_a_fair_bet_at_the_ratio_and_a_losing_one_above(champion: Rate, ratio: float) -> None:
    def log_e(cells: Cells) -> float:
        return log_e_better(cells, ratio=ratio)

    for growth in growths(log_e, champion, lambda past: ratio * champion(past), as_recorded):
        assert growth == pytest.approx(1, abs=1e-12)
    for growth in growths(log_e, champion, lambda past: ratio * champion(past) * 1.6, as_recorded):
        assert growth <= 1 + 1e-12


@every_rate
@pytest.mark.parametrize("margin", [0.01, 0.5])
@pytest.mark.parametrize("centre", [0.0, 0.05, 1.0])
def test_evidence_of_within_the_margin_is_a_fair_bet_at_the_margin_and_a_losing_one_beyond(
    champion: Rate, margin: float, centre: float
) -> None:
    def log_e(cells: Cells) -> float:
        return log_e_within_margin(cells, margin=margin, centre=centre)

    for growth in growths(log_e, champion, lambda past: champion(past) + margin, as_recorded):
        assert growth == pytest.approx(1, abs=1e-12)
    for growth in growths(log_e, champion, lambda past: champion(past) + margin + 0.04, as_recorded):
        assert growth <= 1 + 1e-12


@every_rate
def test_evidence_of_a_wrong_sample_ratio_is_a_fair_bet_while_the_weights_hold(champion: Rate) -> None:
    for growth in growths(log_e_sample_ratio, champion, lambda past: champion(past) / 2, as_recorded):
        assert growth == pytest.approx(1, abs=1e-12)


def test_traffic_that_goes_elsewhere_than_recorded_makes_a_bet_unfair() -> None:
    def more_to_the_challenger(past: History) -> float:
        return min(as_recorded(past) + 0.15, 1.0)

    same = RATES["constant"]
    assert max(growths(log_e_worse, same, same, more_to_the_challenger)) > 1
    assert max(growths(log_e_sample_ratio, same, same, more_to_the_challenger)) > 1
