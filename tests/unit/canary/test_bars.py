"""How often canaries decide wrongly; `make soak` plays 1,000 of each scenario against the bars themselves.

A smaller number of canaries may exceed a bar by chance, so here each is allowed three standard errors more.
"""

import math
from functools import cache

import pytest

from tests.canary_bars import BARS, MEDIAN_CHALLENGER_REQUESTS, SCENARIOS, Bar, Shares, simulate, times_longer

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


@pytest.mark.parametrize("weight", [0.1, 0.5])
@pytest.mark.parametrize("relative_risk", [1.2, 1.5, 2.0])
def test_harm_is_seen_about_as_late_as_the_documents_say(relative_risk: float, weight: float) -> None:
    found = times_longer(50, SEED, error_rate=0.2, relative_risk=relative_risk, weight=weight)
    assert 1.0 < found < 2.0  # docs/canary.md: 1.21 to 1.64, of 2,000; the standard error of 50 is 0.13
