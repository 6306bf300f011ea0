"""How many requests a canary needs, before it starts."""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from scipy.special import ndtri

from podium.errors import EvaluationError
from podium.stats.cells import check_absolute_margin


def requests_for_margin(
    *, error_rate: float, margin: float, weights: Sequence[tuple[float, int]], alpha: float, power: float
) -> int:
    """Return the requests, of both variants together, after which an equal challenger is found within `margin`.

    It is the horizon at which `Difference.p_value` of the stratified test is at most `alpha` with probability `power`,
    by the normal approximation: margin ≥ z_{1-alpha}·(standard error at the margin) + z_power·(standard error of equal
    rates). `weights` is the ramp: the challenger's share and the requests at that share, phase by phase; the last share
    goes on for as long as needed.

    >>> ramp = [(0.05, 8000), (0.25, 16_000), (0.50, 31_200)]
    >>> requests_for_margin(error_rate=0.05, margin=0.01, weights=ramp, alpha=0.025, power=0.9)
    31241
    """
    check_absolute_margin(margin)
    if not 0 <= error_rate <= 1 - margin:
        raise EvaluationError(
            f"No challenger can err {margin} more often than a champion with the error rate {error_rate}: their sum "
            "must be at most 1, and neither may be negative."
        )
    if not 0 < alpha < power < 1:
        raise EvaluationError(f"A test needs 0 < alpha < power < 1, but alpha is {alpha} and power is {power}.")
    if not weights or any(not 0 < weight < 1 or requests < 0 for weight, requests in weights):
        raise EvaluationError(
            f"The ramp {list(weights)} is impossible: it needs at least one phase, each with a weight between 0 and 1 "
            "and 0 or more requests."
        )
    level, sureness = float(ndtri(1 - alpha)), float(ndtri(power))

    def enough(total: int) -> bool:
        # A request at the weight π adds π(1 − π) to the information; either variance of the estimate is then its
        # average per request over the information.
        information = at_margin = 0.0
        for weight, requests in _ramp_of(weights, total):
            added = requests * weight * (1 - weight)
            information += added
            at_margin += added * _variance_at_margin(error_rate, margin, weight)
        equal = information * error_rate * (1 - error_rate)
        return margin * information >= level * math.sqrt(at_margin) + sureness * math.sqrt(equal)

    last = weights[-1][0]
    most = (max(level, 0) + max(sureness, 0)) ** 2 / (4 * margin**2)  # no variance exceeds 1/4
    limit = sum(requests for _, requests in weights) + math.ceil(most / (last * (1 - last)))
    return 1 + bisect_left(range(1, limit + 1), x=True, key=enough)


def expected_requests_to_roll_back(*, error_rate: float, relative_risk: float, weight: float, alpha: float) -> float:
    """Return the requests, of both variants together, until a challenger this bad is expected to be rolled back.

    Each error adds on average KL(q ‖ π) to the log e-value of the right alternative, q being the probability that the
    error is the challenger's. That reaches ln(1/alpha) after ln(1/alpha)/D requests, D = p(1 − π + πr)·KL(q ‖ π), which
    is p(πr·ln r − s·ln s) with s = 1 − π + πr. `log_e_worse` has to find the right alternative first: with
    looks every 50 requests simulated canaries took 1.2 to 1.6 times as long (docs/canary.md).

    >>> round(expected_requests_to_roll_back(error_rate=0.05, relative_risk=1.4, weight=0.5, alpha=0.05))
    3578
    """
    if not (0 < error_rate <= 1 and 1.01 <= relative_risk <= 1 / error_rate):
        raise EvaluationError(
            f"A challenger with {relative_risk} times the error rate {error_rate} cannot be planned for: the rate must "
            "be above 0, the relative risk at least 1.01 and their product at most 1."
        )
    if not 0 < weight < 1:
        raise EvaluationError(f"A weight of {weight} compares nothing; it must be a share between 0 and 1.")
    if not 0 < alpha < 1:
        raise EvaluationError(f"An alpha of {alpha} is no probability between 0 and 1; 0.05 is usual.")
    scale = 1 - weight + weight * relative_risk
    growth = error_rate * (weight * relative_risk * math.log(relative_risk) - scale * math.log(scale))
    return math.log(1 / alpha) / growth


def _ramp_of(weights: Sequence[tuple[float, int]], total: int) -> Iterator[tuple[float, int]]:
    """Yield the requests at each weight when `total` requests have come."""
    for weight, planned in weights[:-1]:
        requests = min(planned, total)
        yield weight, requests
        total -= requests
    yield weights[-1][0], total


def _variance_at_margin(error_rate: float, margin: float, weight: float) -> float:
    """Return the variance that `Difference.z` takes one request to have, where both variants err at `error_rate`."""
    champion = min(max(error_rate - margin * weight, 0.0), 1 - margin)
    challenger = champion + margin
    return weight * champion * (1 - champion) + (1 - weight) * challenger * (1 - challenger)
