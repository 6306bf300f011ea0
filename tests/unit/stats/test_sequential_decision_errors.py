"""How often the sequential evidence misleads, and how soon it sees, with a look every 50 requests.

`PODIUM_SOAK=n` multiplies the number of simulated canaries. A bar gets three standard errors of slack, which the soak
shrinks.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from podium.stats.sequential import (
    Cell,
    Cells,
    log_e_sample_ratio,
    log_e_within_margin,
    log_e_worse,
    relative_risk_interval,
)

CANARIES = 100 * int(os.environ.get("PODIUM_SOAK", "1"))
LOOK = 50
SHORT_RAMP = ((0.05, 2000), (0.25, 3000), (0.5, 5000))
LOG_20, LOG_40, LOG_1000 = math.log(20), math.log(40), math.log(1000)

BASE_RATES: dict[str, Callable[[int], float]] = {
    "constant": lambda _: 0.05,
    "rising with the weight": lambda position: 0.03 if position < 2000 else 0.05 if position < 5000 else 0.08,
    "diurnal": lambda position: 0.05 * (1 + 0.6 * math.sin(position / 300)),
    "shared incidents": lambda position: 0.4 if position % 1300 < 100 else 0.05,
}


def looks(
    generator: np.random.Generator,
    base_rate: Callable[[int], float],
    *,
    ramp: Sequence[tuple[float, int]] = SHORT_RAMP,
    ratio: float = 1.0,
    added: float = 0.0,
    routed: float | None = None,
) -> Iterator[Cells]:
    """Yield the counts after every 50 requests.

    The challenger errs with the base rate times `ratio` plus `added`; `routed` is the true weight where it is not the
    recorded one.
    """
    finished: list[Cell] = []
    position = 0
    for weight, requests in ramp:
        counts = np.zeros(4, dtype=np.int64)
        for _ in range(requests // LOOK):
            rate = base_rate(position)
            exposed = generator.binomial(LOOK, weight if routed is None else routed)
            counts += (
                exposed,
                generator.binomial(exposed, rate * ratio + added),
                LOOK - exposed,
                generator.binomial(LOOK - exposed, rate),
            )
            position += LOOK
            yield [*finished, Cell(weight, *map(int, counts))]
        finished.append(Cell(weight, *map(int, counts)))


def share(happens: Callable[[], bool], canaries: int = CANARIES) -> float:
    return sum(happens() for _ in range(canaries)) / canaries


def slack(bar: float, canaries: int = CANARIES) -> float:
    return 3 * math.sqrt(bar * (1 - bar) / canaries)


@pytest.mark.parametrize("base_rate", BASE_RATES.values(), ids=BASE_RATES.keys())
def test_equal_variants_are_rarely_called_worse_at_any_look(base_rate: Callable[[int], float]) -> None:
    generator = np.random.default_rng(31)
    alarms = share(lambda: any(log_e_worse(cells) >= LOG_20 for cells in looks(generator, base_rate)))
    assert alarms <= 0.05 + slack(0.05)


def test_an_error_rate_of_seven_instead_of_five_percent_is_seen_within_few_challenger_requests() -> None:
    generator = np.random.default_rng(32)

    def exposures_until_seen() -> int:
        ramp = ((0.05, 8000), (0.25, 16_000))
        for cells in looks(generator, BASE_RATES["constant"], ramp=ramp, ratio=1.4):
            if log_e_worse(cells) >= LOG_20:
                return sum(cell.challenger_exposures for cell in cells)
        return 10**9

    assert np.median([exposures_until_seen() for _ in range(CANARIES)]) <= 1500


@pytest.mark.parametrize("base_rate", BASE_RATES.values(), ids=BASE_RATES.keys())
def test_a_challenger_one_margin_worse_is_rarely_called_within_it_at_any_look(
    base_rate: Callable[[int], float],
) -> None:
    generator = np.random.default_rng(33)

    def passes() -> bool:
        return any(
            log_e_within_margin(cells, margin=0.01, centre=0.05) >= LOG_40
            for cells in looks(generator, base_rate, added=0.01)
        )

    assert share(passes) <= 0.025 + slack(0.025)


def test_equal_variants_are_called_within_the_margin_soon() -> None:
    generator = np.random.default_rng(34)
    ramp = ((0.5, 20_000),)

    def passes() -> bool:
        return any(
            log_e_within_margin(cells, margin=0.02, centre=0.05) >= LOG_40
            for cells in looks(generator, BASE_RATES["constant"], ramp=ramp)
        )

    assert share(passes) >= 0.95 - slack(0.95)


def test_traffic_at_28_percent_that_is_recorded_as_25_is_caught_and_right_traffic_is_not() -> None:
    generator = np.random.default_rng(35)

    def caught(routed: float) -> bool:
        ramp = ((0.25, 20_000),)
        return any(
            log_e_sample_ratio(cells) >= LOG_1000
            for cells in looks(generator, BASE_RATES["constant"], ramp=ramp, routed=routed)
        )

    assert share(lambda: caught(0.28)) >= 0.99
    assert share(lambda: caught(0.25), CANARIES // 2) <= 0.001 + slack(0.001, CANARIES // 2)


def test_the_interval_of_the_relative_risk_holds_it_at_all_looks_together() -> None:
    generator = np.random.default_rng(36)

    def missed() -> bool:
        seen = list(looks(generator, BASE_RATES["rising with the weight"], ratio=1.4))[19::20]
        return any(not low <= 1.4 <= high for low, high in (relative_risk_interval(c, alpha=0.1) for c in seen))

    assert share(missed) <= 0.1 + slack(0.1)
