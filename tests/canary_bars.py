"""Simulated canaries through the production's own traffic, plan and analysis: how often they decide wrongly.

`simulate` plays whole canaries look by look. Both variants answer every request on their own, so what the challenger
would have said of a request tells nothing about the champion.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean, median

import numpy as np
import numpy.typing as npt

from podium.canary.analysis import verdict_of
from podium.canary.entities import Verdict, totals
from podium.canary.plan import CanaryPlan, Phase
from podium.canary.replay import ReplayTraffic
from podium.stats.canary_planning import expected_requests_to_roll_back

PLAN = CanaryPlan()
BASELINE = 0.05

Rates = npt.NDArray[np.float64]


def constant(index: Rates) -> Rates:
    """5 % of errors all the time."""
    return np.full_like(index, BASELINE)


def drifting(index: Rates) -> Rates:
    """3 %, 5 % and 8 % while the weights ramp: what makes pooled rates call equal models different."""
    return np.select([index < 8_000, index < 24_000], [0.03, 0.05], default=0.08)


def diurnal(index: Rates) -> Rates:
    """5 % on average, from 1 % to 9 % over a day of 5,000 requests."""
    return BASELINE + 0.04 * np.sin(2 * np.pi * index / 5_000)


def incidents(index: Rates) -> Rates:
    """5 %, and for 300 of every 7,000 requests an outage in which both variants fail in 60 %."""
    return np.where(index % 7_000 >= 6_700, 0.6, BASELINE)


@dataclass(frozen=True)
class Scenario:
    """How often the champion errs at each request, and by how much more the challenger does."""

    base_rate: Callable[[Rates], Rates]
    harm: float = 0.0


SCENARIOS = {
    "equal": Scenario(constant),
    "equal, drifting": Scenario(drifting),
    "equal, diurnal": Scenario(diurnal),
    "equal, incidents": Scenario(incidents),
    "at the margin": Scenario(constant, harm=PLAN.margin),
    "two points worse": Scenario(constant, harm=0.02),
}


@dataclass(frozen=True)
class Ended:
    """How one simulated canary ended, and after how many requests to the challenger."""

    verdict: Verdict
    looks: int
    challenger_requests: int


@dataclass(frozen=True)
class Shares:
    """How the canaries of one scenario ended."""

    ended: tuple[Ended, ...]

    def of(self, verdict: Verdict) -> float:
        """Return the share that ended so."""
        return Counter(each.verdict for each in self.ended)[verdict] / len(self.ended)

    def median_challenger_requests(self, verdict: Verdict) -> float:
        """Return the median number of requests to the challenger until that verdict; infinite without one."""
        numbers = [each.challenger_requests for each in self.ended if each.verdict == verdict]
        return median(numbers) if numbers else float("inf")


@dataclass(frozen=True)
class Bar:
    """A share of a scenario's canaries that may end in a verdict at most, or must at least."""

    scenario: str
    verdict: Verdict
    share: float
    at_least: bool = False

    def __str__(self) -> str:
        return f"{self.scenario}: {self.verdict} {'≥' if self.at_least else '≤'} {self.share:.2f}"

    def missed_by(self, shares: Shares, *, slack: float = 0.0) -> str | None:
        """Return what was found where it misses the bar by more than `slack`, else None."""
        found = shares.of(self.verdict)
        missing = self.share - found if self.at_least else found - self.share
        return f"{self}, but {found:.4f} of {len(shares.ended):,}" if missing > slack else None


BARS = (
    *(Bar(name, "roll_back", 0.05) for name, scenario in SCENARIOS.items() if scenario.harm == 0),
    Bar("equal", "promote", 0.93, at_least=True),
    Bar("at the margin", "promote", 0.05),
    Bar("two points worse", "roll_back", 0.99, at_least=True),
)
MEDIAN_CHALLENGER_REQUESTS = 1_500
"""So many requests to the challenger, in the median, until one that is two points worse is rolled back."""


def problems(scenario: str, shares: Shares) -> list[str]:
    """Return every bar of a scenario that its canaries miss."""
    missed = [found for bar in BARS if bar.scenario == scenario and (found := bar.missed_by(shares))]
    needed = shares.median_challenger_requests("roll_back")
    if scenario == "two points worse" and needed > MEDIAN_CHALLENGER_REQUESTS:
        missed.append(f"{scenario}: roll_back after {MEDIAN_CHALLENGER_REQUESTS:,} requests, but {needed:,.0f}")
    return missed


def simulate(repetitions: int, seed: int, scenario: Scenario, plan: CanaryPlan = PLAN) -> Shares:
    """Play so many canaries of a scenario, each with a look after every `plan.look_every` requests."""
    return Shares(tuple(_play(np.random.default_rng([seed, number]), scenario, plan) for number in range(repetitions)))


def times_longer(repetitions: int, seed: int, *, error_rate: float, relative_risk: float, weight: float) -> float:
    """Return how long until a challenger this bad is rolled back, in the mean, over what its planning says."""
    planned = expected_requests_to_roll_back(
        error_rate=error_rate, relative_risk=relative_risk, weight=weight, alpha=PLAN.alpha
    )
    plan = CanaryPlan(phases=(Phase(weight_percent=100 * weight, requests=8 * round(planned)),))
    scenario = Scenario(lambda index: np.full_like(index, error_rate), harm=error_rate * (relative_risk - 1))
    ended = [each for each in simulate(repetitions, seed, scenario, plan).ended if each.verdict == "roll_back"]
    return mean(each.looks for each in ended) * plan.look_every / planned


def _play(generator: np.random.Generator, scenario: Scenario, plan: CanaryPlan) -> Ended:
    rates = scenario.base_rate(np.arange(plan.requests, dtype=np.float64))
    traffic = ReplayTraffic(
        generator.random(plan.requests) < rates + scenario.harm,
        generator.random(plan.requests) < rates,
        weights=plan.weights,
        seed=generator.bytes(32).hex(),
    )
    for looks, position in enumerate(plan.looks(plan.requests), start=1):
        cells = traffic.cells(position)
        verdict = verdict_of(plan, plan.requests, BASELINE, cells)
        if verdict != "continue":
            return Ended(verdict, looks, totals(cells)["challenger_exposures"])
    raise AssertionError("The last look is at the horizon, where every canary ends.")
