"""How attempts ended, how long they had waited for a worker, and who could take more."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import accumulate, product

import sqlalchemy as sa
from prometheus_client.core import HistogramMetricFamily, Metric

from podium.db.schema.execution import ATTEMPT_ENDED
from podium.execution import attempt_rollup
from podium.execution.attempt_rollup import BOUNDS, INFINITE, UNKNOWN
from podium.execution.situations import open_workers
from podium.execution.tally import Owner
from podium.exporter.families import Labels, born_at_zero, counter, gauge

_BUCKETS = (*map(str, BOUNDS), INFINITE)


def collect_attempts(connection: sa.Connection, owners: Sequence[Owner]) -> Iterator[Metric]:
    """Read the rollups of attempts, and the attempts of open runs."""
    pipelines = [owner.pipeline for owner in owners]
    ends = Counter[Labels]()
    waits: dict[str, Counter[str]] = {pipeline: Counter() for pipeline in pipelines}
    seconds = defaultdict[str, float](float)
    for (pipeline, state, waited), sums in attempt_rollup.ended(connection).items():
        ends[pipeline, state] += sums.attempts
        if waited != UNKNOWN:
            waits.setdefault(pipeline, Counter())[waited] += sums.attempts
            seconds[pipeline] += sums.waited_seconds
    yield counter(
        "podium_attempts",
        "Attempts that ended; the lost ones are those whose worker died or let its lease run out.",
        ("pipeline", "state"),
        born_at_zero(product(pipelines, ATTEMPT_ENDED), ends),
    )
    family = HistogramMetricFamily(
        "podium_claim_latency_seconds",
        "How long a step run could have started, retries at their time, before a worker claimed it; of ended attempts.",
        labels=("pipeline",),
    )
    for pipeline, counts in sorted(waits.items()):
        buckets = list(zip(_BUCKETS, accumulate(counts[bucket] for bucket in _BUCKETS), strict=True))
        family.add_metric((pipeline,), buckets=buckets, sum_value=seconds[pipeline])
    yield family
    running = attempt_rollup.running(connection)
    yield gauge(
        "podium_attempts_running",
        "Attempts that run now.",
        ("pipeline",),
        born_at_zero([(pipeline,) for pipeline in pipelines], {(each,): count for each, count in running.items()}),
    )


def collect_workers(connection: sa.Connection, now: datetime) -> Iterator[Metric]:
    """Read the workers that are alive, and what they execute; a host without one is absent."""
    workers, slots, busy = Counter[Labels](), Counter[Labels](), Counter[Labels]()
    for worker in open_workers(connection, now):
        if worker.alive and worker.for_any_run:
            workers[worker.host,] += 1
            slots[worker.host,] += worker.slots or 0
            busy[worker.host,] += len(worker.busy)
    yield gauge("podium_workers", "Workers that are alive and take up any run.", ("host",), workers)
    yield gauge("podium_worker_slots", "Attempts that these workers may execute at once.", ("host",), slots)
    yield gauge("podium_worker_slots_busy", "Attempts that these workers execute now.", ("host",), busy)
