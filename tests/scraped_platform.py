"""A platform that is moved by hand and scraped as Prometheus scrapes, under a clock that moves when told to.

Runs, canaries, promotions and reversals go through the real functions, and each scrape is the real exporter's answer.
A scrape falls on a quarter of an hour and nothing else does, so what was posted until a scrape is what it tells.
"""

import itertools
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from podium.canary.controller import CanaryController
from podium.canary.entities import CanaryRequest, CanaryResult
from podium.canary.plan import CanaryPlan, Phase
from podium.canary.replay import ReplayTraffic
from podium.dag.interval import Interval
from podium.dag.plan import Plan, Resources
from podium.db.schema import ledger_entry, worker
from podium.execution import queries
from podium.execution.claims import Claim
from podium.execution.entities import AttemptEnd, AttemptEndState, AttemptError, AttemptUsage, Run
from podium.execution.meter import Usage
from podium.execution.plans import store as store_plan
from podium.execution.progress import Progress
from podium.execution.service import ExecutionService
from podium.exporter.books import BooksWatch
from podium.exporter.failures import Failures
from podium.exporter.scrape import Exporter, known_collectors
from podium.finops.book import parse_book
from podium.finops.ledger import Ledger
from podium.finops.prices import import_book
from podium.notify import outbox
from podium.notify.entities import Alert, Subject
from podium.registry import versions
from podium.registry.memory_registry import MemoryRegistry
from podium.registry.promotion import PromotionService
from podium.scheduling.presence import Presence
from podium.scheduling.schedules import Schedules
from podium.scheduling.triggers import Triggers
from podium.wiring.admission import ExecutorAdmission
from podium.wiring.project import LedgerAdapter, run_outcome
from tests.execution_world import HandWorker, json_artifact, node, plan_of
from tests.promotion_world import World, evidence

BEGIN = datetime(2026, 11, 1, 0, 0, 1, tzinfo=UTC)  # a second past the hour, where no scrape falls
SCRAPE_INTERVAL = timedelta(minutes=15)
TARGET = 'instance="server:8080",job="podium"'

# From 06:00 to 08:00 on the sixth day nobody knows what memory costs.
_PRICES = [
    {"sku": "cpu.standard", "unit": "core-hours", "unit_price": "0.04048", "valid_from": "2000-01-01"},
    {
        "sku": "memory.standard",
        "unit": "GiB-hours",
        "unit_price": "0.004445",
        "valid_from": "2000-01-01",
        "valid_to": "2026-11-06T06:00:00Z",
    },
    {
        "sku": "memory.standard",
        "unit": "GiB-hours",
        "unit_price": "0.005",
        "valid_from": "2026-11-06T08:00:00Z",
    },
]
_CANARY = CanaryPlan(
    phases=(
        Phase(weight_percent=5, requests=2_000),
        Phase(weight_percent=25, requests=4_000),
        Phase(weight_percent=50, requests=8_000),
    ),
    margin=0.03,
    look_every=500,
)


def _pipeline(name: str, team: str, environment: str, cpu: float, memory_gib: int) -> Plan:
    steps = [node("validate"), node("train", "validate"), node("judge", "train")]
    resources = Resources(cpu=cpu, memory_bytes=memory_gib * 2**30, gpu=0)
    sized = [replace(step, resources=resources) if step.name == "train" else step for step in steps]
    return replace(plan_of(*sized), pipeline=name, model=name, team=team, environment=environment)


FLIGHTS = _pipeline("flight_delay", "network-ops", "prod", cpu=8, memory_gib=32)
ARRIVALS = _pipeline("arrival_delay", "ground-ops", "staging", cpu=0.5, memory_gib=1)
NOBODYS = _pipeline("forgotten", "network-ops", "dev", cpu=1, memory_gib=1)


@dataclass(frozen=True)
class _OwnerUnknown(LedgerAdapter):
    """Posts costs of which nobody knows whose they are."""

    def post(self, connection: sa.Connection, usage: AttemptUsage) -> None:
        super().post(connection, replace(usage, team=""))


@dataclass
class ScrapedPlatform(HandWorker):
    """Everything of a platform, with short ways to let something happen to it."""

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.clock)
        self.progress = Progress(LedgerAdapter(self.ledger), run_outcome)
        self.service = ExecutionService(self.database, self.progress, self.clock)
        rows = [{"currency": "USD", "source": "this test", **row} for row in _PRICES]
        import_book(self.database, parse_book("prices.yaml", rows), self.clock)
        self.registry = MemoryRegistry()
        self.promotions = PromotionService(self.database, self.registry, self.clock)
        self.canaries = CanaryController(
            self.database, self.clock, aliases=self.registry, promoter=self.promotions, run_is_open=lambda _: True
        )
        self.failures = Failures(known_collectors())
        self.books = BooksWatch(lambda: self.database, self.clock, self.failures)
        self.exporter = Exporter(lambda: self.database, self.clock, self.books, self.failures)
        self.reachable = True
        self.samples: list[str] = []
        self._days = itertools.count()
        self.worker("w")
        self._live(slots=4)
        self.schedules = Schedules(self.database, self.clock)
        self.triggers = Triggers(self.database, ExecutorAdmission(self.service), self.clock, lambda _: None)
        self.presence = Presence(self.database, self.clock, "elsewhere", 1)

    def advance(self, *, to: str | None = None, minutes: float = 0.0) -> None:
        """Let time pass, so many minutes or until `day hh:mm` (days from 0), and be scraped meanwhile."""
        until = self.clock.now() + timedelta(minutes=minutes)
        if to is not None:
            day, time = to.split()
            hours, minute = time.split(":")
            until = BEGIN + timedelta(days=int(day), hours=int(hours), minutes=int(minute))
        assert until >= self.clock.now(), f"{to} is over"
        while (scrape := next_scrape(self.clock.now())) <= until:
            self.clock.advance((scrape - self.clock.now()).total_seconds())
            self._scrape()
        self.clock.advance((until - self.clock.now()).total_seconds())

    def retrain(self, plan: Plan, *, train_minutes: float, fails: bool = False) -> Run:
        """Execute the pipeline's next day; `fails`: in the training, each time it is tried."""
        run = self.begin(plan)
        self.work(run, "validate", minutes=3)
        if fails:
            error = AttemptError("MemoryError", "train needs more than it reserved", retryable=False)
            self.work(run, "train", minutes=train_minutes, state="failed", error=error)
            return run
        self.work(run, "train", minutes=train_minutes)
        return run

    def begin(self, plan: Plan) -> Run:
        """Start the pipeline's next day; a worker comes for it after 7 minutes."""
        start = datetime(2026, 10, 1, tzinfo=UTC) + timedelta(days=next(self._days))
        run = self.start(plan, Interval(start, start + timedelta(days=1)))
        self.advance(minutes=7)
        return run

    def work(
        self,
        run: Run,
        step: str,
        *,
        minutes: float,
        state: AttemptEndState = "succeeded",
        error: AttemptError | None = None,
    ) -> None:
        """Claim the run's next step and end it after so many minutes."""
        (claim,) = self.claim(run)
        assert claim.step == step
        self.advance(minutes=minutes)
        self.finish(claim, minutes, state, error)

    def finish(
        self, claim: Claim, minutes: float, state: AttemptEndState = "succeeded", error: AttemptError | None = None
    ) -> None:
        """End a claimed attempt."""
        used = Usage(
            minutes * 60, cpu_seconds=minutes * 50, peak_memory_bytes=2**29, source="getrusage", quality="measured"
        )
        with self.database.write() as connection:
            row = queries.running_attempt(connection, claim.attempt_id)
            assert row is not None
            plan = self.plan(connection, queries.get_run(connection, claim.run_id))
            names = plan.step(row.step).outputs if state == "succeeded" else ()
            outputs = {name: json_artifact("1") for name in names}
            progress = self.progress
            if plan.pipeline == NOBODYS.pipeline:
                progress = replace(progress, ledger=_OwnerUnknown(self.ledger))
            progress.end(connection, row, plan, AttemptEnd(state, used, outputs, error), self.clock.now())

    def judge(self, run: Run, model: str, verdict: str = "passed") -> str | None:
        """Judge the run's candidate in its last step; register it if it passed, and return its version."""
        world = World(self.database, self.registry, self.clock, model)
        key, champion = run.run_id, world.champion
        version = None
        if verdict == "passed":
            version = world.candidate(champion=champion, key=key)
            with self.database.write() as connection:
                self.ledger.record_lineage(connection, model, version, self._attempts(connection, run))
        else:
            judged = evidence(model, champion_version=champion, candidate_digest=f"{key:x<64}", verdict=verdict)
            with self.database.write() as connection:
                versions.record_evidence(connection, judged, run_id=key, step_key=f"{key}/judge", at=self.clock.now())
        return version

    def promote(self, run: Run, model: str, version: str) -> None:
        """Promote a version in its run."""
        promoted = World(self.database, self.registry, self.clock, model).promote(
            version, run_id=run.run_id, key=f"{run.run_id}/promote"
        )
        assert promoted.applied, promoted.reasons

    def try_out(
        self, run: Run, model: str, version: str, *, error_rate: float, looks: int | None = None
    ) -> CanaryResult:
        """Let a version and a champion that errs in 5 % answer requests, 500 in 20 minutes; stop after some looks."""
        champion = World(self.database, self.registry, self.clock, model).champion
        assert champion is not None
        opened = self.canaries.open(
            CanaryRequest(
                model=model,
                challenger=version,
                judged_against=champion,
                plan=_CANARY,
                available=14_000,
                baseline_error_rate=0.05,
                run_id=run.run_id,
                step_key=f"{run.run_id}/canary",
                actor="tester",
                actor_verified=False,
                traffic_digest="f" * 64,
            )
        )
        assert opened.canary_id is not None
        generator = np.random.default_rng(5)
        wrong, champion_wrong = generator.random(14_000) < error_rate, generator.random(14_000) < 0.05
        traffic = ReplayTraffic(wrong, champion_wrong, weights=_CANARY.weights, seed="2026")
        latest = opened
        for position in itertools.islice(_CANARY.looks(opened.horizon), looks):
            self.advance(minutes=20)
            latest = self.canaries.advance(opened.canary_id, traffic.cells(position))
            if latest.ended:
                break
        return latest

    def reverse_one(self, run: Run) -> None:
        """Take back the dearest entry of a run."""
        with self.database.write() as connection:
            rows = connection.execute(sa.select(ledger_entry).where(ledger_entry.c.run_id == run.run_id)).all()
            self.ledger.reverse(connection, max(rows, key=lambda row: row.amount).entry_id, "it was the shared pool")

    def take_up(self, *plans: Plan) -> None:
        """Take up what these plans say of schedules and triggers; the scheduler is alive, and acts on none of them."""
        with self.database.write() as connection:
            for each in plans:
                store_plan(connection, each, self.clock.now())
        assert self.schedules.take_up(plans)
        self.triggers.take_up(plans)

    def alert(self, run: Run, *channels: str) -> None:
        """Put an alert about a run into the outbox, which nobody sends."""
        subject = Subject(run.pipeline, run.pipeline)
        failure = Alert(f"run:{run.run_id}", "run_failed", subject, "failure", "body", self.clock.now(), channels)
        with self.database.write() as connection:
            outbox.add(connection, failure, self.clock.now())

    def write(self, path: Path) -> None:
        """Write what was scraped, in the format that `promtool tsdb create-blocks-from openmetrics` reads."""
        path.write_text("".join(f"{line}\n" for line in (*self.samples, "# EOF")))

    def _attempts(self, connection: sa.Connection, run: Run) -> list[str]:
        entries = sa.select(ledger_entry.c.attempt_id).where(ledger_entry.c.run_id == run.run_id)
        return list(connection.scalars(entries.distinct()))

    def _live(self, **facts: object) -> None:
        """Let the worker tell that it is alive, and what else it says of itself."""
        with self.database.write() as connection:
            connection.execute(worker.update().values(heartbeat_at=self.clock.now(), **facts))

    def _scrape(self) -> None:
        self._live()
        self.presence.advance()
        at = f"{self.clock.now().timestamp():.0f}"
        self.samples.append(f"up{{{TARGET}}} {self.reachable:d} {at}")
        if not self.reachable:
            return
        self.books.look()
        for line in self.exporter.render().decode().splitlines():
            if line.startswith("#"):
                continue
            # Prometheus adds to each sample the labels of its target and the time.
            series, value = line.rsplit(" ", 1)
            name, brace, labels = series.partition("{")
            with_target = f"{{{TARGET},{labels}" if brace else f"{{{TARGET}}}"
            self.samples.append(f"{name}{with_target} {value} {at}")


def next_scrape(now: datetime) -> datetime:
    seconds = SCRAPE_INTERVAL.total_seconds()
    return datetime.fromtimestamp((now.timestamp() // seconds + 1) * seconds, UTC)
