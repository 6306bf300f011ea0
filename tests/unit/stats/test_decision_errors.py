"""How often the offline tests decide wrongly, by simulation; the bars are those of the design's section 5.

`PODIUM_SOAK=n` multiplies the number of simulated comparisons. A bar gets three standard errors of slack,
which the soak shrinks.
"""

import math
import os
from collections.abc import Callable

import numpy as np

from podium.stats.bootstrap import compare_means
from podium.stats.delong import PairedAuc, compare_auc
from podium.stats.mcnemar import PairedAccuracy

SOAK = int(os.environ.get("PODIUM_SOAK", "1"))
COMPARISONS = 4000 * SOAK
SLOW_COMPARISONS = 600 * SOAK
ALPHA, ROWS, DISAGREEMENT, MARGIN = 0.05, 2000, 0.06, 0.01


def share(decides: Callable[[], bool], comparisons: int) -> float:
    return sum(decides() for _ in range(comparisons)) / comparisons


def slack(bar: float, comparisons: int) -> float:
    return 3 * math.sqrt(bar * (1 - bar) / comparisons)


def accuracy(generator: np.random.Generator, gain: float, rows: int = ROWS) -> PairedAccuracy:
    gained, lost = (DISAGREEMENT + gain) / 2, (DISAGREEMENT - gain) / 2
    only_candidate, only_champion, _ = generator.multinomial(rows, [gained, lost, 1 - gained - lost])
    return PairedAccuracy(int(only_candidate), int(only_champion), rows)


def equal_auc(generator: np.random.Generator, rows: int = 400) -> PairedAuc:
    positive = generator.random(rows) < 0.3
    common = generator.normal(size=rows) + positive
    return compare_auc(positive, common + generator.normal(size=rows), common + generator.normal(size=rows))


def test_equal_models_are_rarely_called_superior_by_accuracy() -> None:
    generator = np.random.default_rng(11)
    false_alarms = share(lambda: accuracy(generator, 0.0).p_superior() <= ALPHA, COMPARISONS)
    assert 0.03 < false_alarms <= 0.06


def test_a_gain_of_one_and_a_half_points_is_seen_on_two_thousand_rows() -> None:
    generator = np.random.default_rng(12)
    power = share(lambda: accuracy(generator, 0.015).p_superior() <= ALPHA, COMPARISONS)
    assert abs(power - 0.87) <= 0.01 + slack(0.87, COMPARISONS)


def test_a_model_exactly_one_margin_worse_is_rarely_called_not_inferior() -> None:
    generator = np.random.default_rng(13)
    false_passes = share(lambda: accuracy(generator, -MARGIN).p_not_inferior(MARGIN) <= ALPHA, COMPARISONS)
    assert false_passes <= 0.06


def test_equal_models_are_called_not_inferior_as_often_as_planned() -> None:
    generator = np.random.default_rng(14)
    for rows, promoted in ((2_000, 0.56), (10_000, 0.99)):
        comparisons = [accuracy(generator, 0.0, rows) for _ in range(COMPARISONS)]
        found = sum(one.p_not_inferior(MARGIN) <= ALPHA for one in comparisons) / COMPARISONS
        assert abs(found - promoted) <= 0.015 + slack(promoted, COMPARISONS)


def test_equal_models_are_rarely_called_superior_by_auc() -> None:
    generator = np.random.default_rng(15)
    false_alarms = share(lambda: equal_auc(generator).p_superior() <= ALPHA, SLOW_COMPARISONS)
    assert false_alarms <= 0.075 + slack(0.05, SLOW_COMPARISONS) / 3


def test_equal_models_are_rarely_called_superior_by_a_skewed_loss() -> None:
    generator = np.random.default_rng(16)

    def superior() -> bool:
        losses = generator.lognormal(size=(2, 200))
        return compare_means(losses[0] - losses[1], generator, resamples=400).p_superior() <= ALPHA

    assert share(superior, SLOW_COMPARISONS) <= 0.075 + slack(0.05, SLOW_COMPARISONS) / 3


def test_a_mean_exactly_one_margin_worse_is_rarely_called_not_inferior() -> None:
    generator = np.random.default_rng(17)

    def passes() -> bool:
        gains = generator.normal(-0.1, 1.0, size=300)
        return compare_means(gains, generator, resamples=400).p_not_inferior(0.1) <= ALPHA

    assert share(passes, SLOW_COMPARISONS) <= 0.06 + slack(0.05, SLOW_COMPARISONS)
