"""What the tests of metrics share: a history in a database, a scrape of it, and its series by name and labels."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from podium.clock import Clock, FakeClock
from podium.dag.interval import Interval
from podium.dag.plan import Plan
from podium.db.engine import Database
from podium.db.schema import canary, canary_look, evidence
from podium.execution.entities import AttemptEndState, Run
from podium.exporter.books import BooksWatch
from podium.exporter.failures import Failures
from podium.exporter.scrape import Exporter, known_collectors
from podium.registry import history
from podium.registry.history import Fact
from tests.execution_world import DAY, HandWorker, node, plan_of

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
STEPS = (node("train"), node("judge", "train"))
DELAY = replace(plan_of(*STEPS), pipeline="flight_delay", model="flight_delay", team="network-ops", environment="prod")
FARES = replace(plan_of(*STEPS), pipeline="fares", model="fares", team="revenue", environment="staging")

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Scraped:
    """The series of one scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.series: Series = {
            (sample.name, frozenset(sample.labels.items())): float(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """The value of one series; KeyError where it is absent."""
        return self.series[name, frozenset(labels.items())]

    def all(self, name: str) -> dict[tuple[str, ...], float]:
        """Every series of a name, by its labels' values in the order of the labels' names."""
        return {
            tuple(value for _, value in sorted(labels)): found
            for (each, labels), found in self.series.items()
            if each == name
        }


def exporter_of(database: Database, clock: Clock | None = None) -> tuple[Exporter, BooksWatch]:
    """An exporter of the database, and what watches its books when told to."""
    failures, clock = Failures(known_collectors()), clock or FakeClock(NOON)
    watch = BooksWatch(lambda: database, clock, failures)
    return Exporter(lambda: database, clock, watch, failures), watch


def scrape(database: Database) -> Scraped:
    """A scrape of the database."""
    return Scraped(exporter_of(database)[0].render().decode())


def finish(world: HandWorker, plan: Plan, interval: Interval = DAY, *, last: AttemptEndState = "succeeded") -> Run:
    """Run a plan of two steps to its end, each 30 s; the last step ends like this."""
    started = world.start(plan, interval)
    for state in ("succeeded", last):
        step(world, started, state)
    return started


def step(world: HandWorker, started: Run, state: AttemptEndState = "succeeded") -> None:
    """Execute the one step of a run that may start."""
    (claim,) = world.claim(started)
    world.clock.advance(30)
    world.end(claim, state)


def judge(connection: sa.Connection, model: str, number: int, verdict: str) -> None:
    """Record the gate's verdict on a candidate."""
    row = {
        "digest": f"{model}{number}",
        "model": model,
        "candidate_digest": "c",
        "holdout_digest": "h",
        "verdict": verdict,
        "document": {},
        "run_id": "r",
        "step_key": "s",
        "recorded_at": NOON,
    }
    connection.execute(evidence.insert(), row)


def move(connection: sa.Connection, model: str, to_version: str, at: datetime = NOON, **facts: Any) -> None:
    """Append to a model's history that it moved, or as `facts` say."""
    fact = {
        "action": "promote",
        "state": "applied",
        "from_version": None,
        "actor": "tester",
        "actor_verified": False,
        "reason": "better",
        **facts,
    }
    history.append(connection, model, Fact(at=at, to_version=to_version, **fact))


def try_out(connection: sa.Connection, model: str, number: int, **facts: Any) -> str:
    """Record a canary of version 2 against 1; open in its ramp unless told otherwise."""
    canary_id = f"{model}-{number}"
    row = {
        "canary_id": canary_id,
        "model": model,
        "challenger_version": "2",
        "champion_version": "1",
        "traffic": "live",
        "plan": {},
        "plan_digest": "p",
        "seed": "0",
        "horizon": 55_200,
        "baseline_error_rate": 0.05,
        "state": "ramping",
        "position": 300,
        "counts": [cell(10, 1, 90, 4), cell(50, 3, 150, 6)],
        "reasons": [],
        "promotion_id": None,
        "run_id": "r",
        "step_key": canary_id,
        "actor": "tester",
        "actor_verified": False,
        "opened_at": NOON,
        "ended_at": None,
        **facts,
    }
    connection.execute(canary.insert(), row)
    return canary_id


def look(connection: sa.Connection, canary_id: str, position: int, **e_values: float | None) -> None:
    """Record a look at a canary, with an e-value for each guardrail; all act at 20."""
    row = {
        "canary_id": canary_id,
        "position": position,
        "at": NOON,
        "counts": [],
        "evidence": [_guardrail(name, e_value) for name, e_value in e_values.items()],
        "verdict": "continue",
    }
    connection.execute(canary_look.insert(), row)


def cell(challenger: int, challenger_errors: int, champion: int, champion_errors: int) -> Mapping[str, float]:
    """What one phase counted."""
    return {
        "weight": 0.1,
        "challenger_exposures": challenger,
        "challenger_errors": challenger_errors,
        "champion_exposures": champion,
        "champion_errors": champion_errors,
    }


def _guardrail(name: str, e_value: float | None) -> Mapping[str, Any]:
    unknown = dict.fromkeys(("log_e_value", "estimate", "low", "high"))
    return {"guardrail": name, "e_value": e_value, "threshold": 20.0, **unknown}
