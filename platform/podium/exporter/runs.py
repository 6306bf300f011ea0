"""How runs ended, what they cost and how long they took, and how much work is open."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import accumulate, product
from math import inf

import sqlalchemy as sa
from prometheus_client.core import HistogramMetricFamily, Metric, SummaryMetricFamily

from podium.db.schema.execution import OUTCOMES
from podium.execution import tally
from podium.execution.tally import OPEN_RUN_STATES, OPEN_STEP_STATES, Owner
from podium.exporter.costs import OWNER
from podium.exporter.families import Labels, born_at_zero, counter, gauge
from podium.finops.money import USD, decimal_text, total
from podium.finops.run_rollup import BOUNDS, INFINITE, UNPRICED
from podium.finops.tally import RunTally, ended_runs

ENDS = (*OUTCOMES, "failed", "cancelled")
"""How a run can have ended: the outcome of one that succeeded, else its state."""

_BUCKETS = (*map(decimal_text, BOUNDS), INFINITE)
_LE = (*(str(float(bound)) for bound in BOUNDS), INFINITE)  # as Prometheus writes numbers: 1.0, not 1


def collect_ended_runs(connection: sa.Connection, owners: Sequence[Owner]) -> Iterator[Metric]:
    """Read the rollups of runs."""
    rollups = ended_runs(connection)
    yield _costs(rollups, owners)
    yield _durations(rollups, owners)
    last: dict[Labels, float] = {}
    for each in rollups:
        key = each.pipeline, each.outcome
        last[key] = max(last.get(key, 0.0), each.last_ended_at.timestamp())
    yield gauge(
        "podium_run_last_ended_timestamp_seconds",
        "When a run last ended like this.",
        ("pipeline", "outcome"),
        last,
    )
    unpriced = Counter[Labels]()
    for each in rollups:
        if each.cost_bucket == UNPRICED:
            unpriced[each.pipeline,] += each.ends
    yield counter(
        "podium_runs_unpriced",
        "Runs that ended while a price of theirs was unknown; they are not in podium_run_cost_usd.",
        ("pipeline",),
        born_at_zero([(owner.pipeline,) for owner in owners], unpriced),
    )


def collect_open_work(connection: sa.Connection, owners: Sequence[Owner]) -> Iterator[Metric]:
    """Read the runs and step runs that have not ended."""
    pipelines = [owner.pipeline for owner in owners]
    yield gauge(
        "podium_runs_open",
        "Runs that have not ended.",
        ("pipeline", "state"),
        born_at_zero(product(pipelines, OPEN_RUN_STATES), tally.open_runs(connection)),
    )
    steps = tally.open_steps(connection)
    yield gauge(
        "podium_step_runs_open",
        "Step runs of open runs that have not ended.",
        ("pipeline", "state"),
        born_at_zero(product(pipelines, OPEN_STEP_STATES), {key: found.count for key, found in steps.items()}),
    )
    since: dict[Labels, float] = {}
    for (pipeline, state), found in steps.items():
        at = found.first_ready_at if state == "ready" else found.first_due_at
        if at is not None:
            since[pipeline,] = min(at.timestamp(), since.get((pipeline,), inf))
    yield gauge(
        "podium_oldest_ready_step_timestamp_seconds",
        "Since when the step run that waits longest for a worker may start: it is ready, or its back-off or snooze is "
        "over. A time ahead is the first at which one may; absent while none will.",
        ("pipeline",),
        since,
    )


def _costs(rollups: Sequence[RunTally], owners: Sequence[Owner]) -> Metric:
    """Return the histogram of what ended runs cost; those whose cost is unknown are in none of its buckets."""
    family = HistogramMetricFamily(
        "podium_run_cost_usd",
        "Cost of ended runs; one that was resumed ends again, with what it cost since.",
        labels=(*OWNER, "outcome"),
    )
    ends: dict[Labels, Counter[str]] = {
        (owner.team, owner.model, owner.environment, end): Counter() for owner, end in product(owners, ENDS)
    }
    amounts: dict[Labels, Decimal] = {}
    for each in rollups:
        if each.currency == USD and each.amount is not None:
            key = each.team, each.model, each.environment, each.outcome
            ends.setdefault(key, Counter())[each.cost_bucket] += each.ends
            amounts[key] = total((amounts.get(key, Decimal(0)), each.amount))
    for whose, by_bucket in sorted(ends.items()):
        up_to = accumulate(by_bucket[bucket] for bucket in _BUCKETS)
        family.add_metric(whose, list(zip(_LE, up_to, strict=True)), sum_value=float(amounts.get(whose, 0)))
    return family


def _durations(rollups: Sequence[RunTally], owners: Sequence[Owner]) -> Metric:
    family = SummaryMetricFamily(
        "podium_run_duration_seconds",
        "Time from a run's start, or from when it was resumed, to its end.",
        labels=("pipeline", "team", "environment", "outcome"),
    )
    known = [(owner.pipeline, owner.team, owner.environment, end) for owner, end in product(owners, ENDS)]
    ends, seconds = Counter[Labels](dict.fromkeys(known, 0)), defaultdict[Labels, float](float)
    for each in rollups:
        key = each.pipeline, each.team, each.environment, each.outcome
        ends[key] += each.ends
        seconds[key] += each.wall_seconds
    for whose, count in sorted(ends.items()):
        family.add_metric(whose, count_value=count, sum_value=seconds[whose])
    return family
