"""What one look at a canary's evidence costs beside a plain z-test of the same counts; exits 1 above 12 times.

    python benchmarks/bench_canary.py

A look asks three questions that may be asked as often as wanted: is the challenger worse, is it within the margin,
does the traffic go where it was sent. The floor asks one that may be asked once: a pooled two-proportion z-test in
numpy. Both start from the same cells. Their runs alternate, and the ratio is that of the fastest run of each: what else
the machine does only adds time.
"""

import math
import sys
import timeit
from collections.abc import Callable

import numpy as np
from scipy.special import ndtr

from podium.stats.sequential import (
    Cell,
    Cells,
    Difference,
    log_e_sample_ratio,
    log_e_within_margin,
    log_e_worse,
    relative_risk_interval,
)

PAIRS = 40
CALLS = 250
ALLOWED = 12
CELLS = (
    Cell(0.05, 400, 20, 7600, 380),
    Cell(0.25, 4000, 210, 12_000, 610),
    Cell(0.50, 7000, 350, 7000, 360),
)


def look(cells: Cells) -> tuple[float, float, float]:
    """Return the three log e-values of one look."""
    return log_e_worse(cells), log_e_within_margin(cells, margin=0.01, centre=0.05), log_e_sample_ratio(cells)


def plain_z_test(cells: Cells) -> float:
    """Return the p-value of a two-proportion z-test of the pooled counts."""
    table = np.array(
        [
            (cell.challenger_exposures, cell.challenger_errors, cell.champion_exposures, cell.champion_errors)
            for cell in cells
        ]
    )
    challenger, challenger_errors, champion, champion_errors = table.sum(axis=0)
    rate = (challenger_errors + champion_errors) / (challenger + champion)
    spread = math.sqrt(rate * (1 - rate) * (1 / challenger + 1 / champion))
    return float(ndtr((champion_errors / champion - challenger_errors / challenger) / spread))


def microseconds(call: Callable[[], object]) -> float:
    """Return how long one call takes, averaged over many."""
    return timeit.timeit(call, number=CALLS) / CALLS * 1e6


def main() -> None:
    """Measure, print, and exit 1 where the bar is missed."""
    pairs = [(microseconds(lambda: plain_z_test(CELLS)), microseconds(lambda: look(CELLS))) for _ in range(PAIRS)]
    floor, ours = (min(times) for times in zip(*pairs, strict=True))
    ratio = ours / floor
    verdict = "≤" if ratio <= ALLOWED else ">"
    print(f"one look: {ours:.0f} µs, a plain z-test: {floor:.0f} µs, fastest of {PAIRS} runs over {len(CELLS)} phases")
    for name, call in (
        ("at the horizon, also the stratified test", lambda: Difference(CELLS).p_value(0.01)),
        ("for people, the interval of the relative risk", lambda: relative_risk_interval(CELLS, alpha=0.05)),
    ):
        print(f"{name}: {microseconds(call):.0f} µs")
    print(f"ratio {ratio:.1f} {verdict} {ALLOWED} allowed")
    sys.exit(ratio > ALLOWED)


if __name__ == "__main__":
    main()
