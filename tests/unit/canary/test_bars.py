"""How often canaries decide wrongly; `make soak` plays 1,000 of each scenario against the bars themselves.

A smaller number of canaries may exceed a bar by chance, so here each is allowed three standard errors more.
"""

import math
from functools import cache

import pytest

from tests.canary_bars import BARS, MEDIAN_CHALLENGER_REQUESTS, SCENARIOS, Bar, Shares, simulate

SEED = 2026
REPETITIONS = {"equal": 100}  # for the others 40


@cache
def played(scenario: str) -> Shares:
    return simulate(REPETITIONS.get(scenario, 40), SEED, SCENARIOS[scenario])


@pytest.mark.parametrize("bar", BARS, ids=str)
def test_canaries_decide_wrongly_as_rarely_as_promised(bar: Bar) -> None:
    shares = played(bar.scenario)
    slack = 3 * math.sqrt(bar.share * (1 - bar.share) / len(shares.ended))
    assert bar.missed_by(shares, slack=slack) is None


def test_harm_of_two_points_is_seen_soon() -> None:
    assert played("two points worse").median_challenger_requests("roll_back") <= MEDIAN_CHALLENGER_REQUESTS
