"""A backfill registers models and moves no alias, with real stages, a real registry and real workers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podium.dag.interval import Interval
from podium.errors import Refused
from podium.execution.entities import Actor
from podium.execution.questions import Service
from podium.registry.promotion import ANY
from podium.scheduling.backfill_entities import BackfillRequest
from podium.scheduling.backfill_plan import intervals_of
from podium.stages.answers import answers_about_models
from podium.testing import FakeRegistry
from podium.wiring.backfills import backfill_document, backfills_of, stands_still
from podium.wiring.documents import run_document
from podium.wiring.plans import load_plans
from podium.wiring.project import Project, open_project
from podium.wiring.runs import foreground

PIPELINE = """
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from podium import Interval, pipeline, step, when
from podium.canary.entities import CanaryResult
from podium.execution.context import current
from podium.registry.entities import ModelVersion
from podium.registry.policy import GatePolicy
from podium.stages import evaluate_candidate, register_version, run_canary


class Rows(NamedTuple):
    history: pd.DataFrame
    holdout: pd.DataFrame
    replay: pd.DataFrame


def generated(seed: int, size: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    features = pd.DataFrame(random.normal(size=(size, 8)), columns=list("abcdefgh"))
    return features.assign(late=(features["a"] + random.normal(size=size) > 0).astype(int))


@step
def validate(month: Interval) -> Rows:
    first, few = 10 * month.start.month, month.start.month == 3
    return Rows(generated(first, 12 if few else 800), generated(first + 1, 400), generated(first + 2, 400))


@step
def train(history: pd.DataFrame) -> LogisticRegression:
    return LogisticRegression(C=1e6).fit(history.drop(columns="late"), history["late"])


@step
def celebrate(result: CanaryResult) -> None:
    pass


@step
def unmarked(version: ModelVersion) -> None:
    current().services.promote(version)


@pipeline(model="delays", team="research", environment="dev", grain="month")
def delays(month: Interval) -> None:
    rows = validate(month)
    candidate = train(rows.history)
    policy = GatePolicy(primary="auc", floors={"auc": 0.6})
    evidence = evaluate_candidate(candidate, rows.holdout, label="late", policy=policy)
    with when(evidence.passed):
        version = register_version(candidate, evidence)
        celebrate(run_canary(version, replay=rows.replay))


@pipeline(model="unmarked", team="research", environment="dev", grain="month")
def itself(month: Interval) -> None:
    rows = validate(month)
    candidate = train(rows.history)
    policy = GatePolicy(primary="auc", floors={"auc": 0.6})
    unmarked(register_version(candidate, evaluate_candidate(candidate, rows.holdout, label="late", policy=policy)))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    root: Path = tmp_path_factory.mktemp("backfilled")
    (root / "pipelines").mkdir()
    (root / "podium.toml").write_text('project = "backfilled"\nslots = 2\n')
    (root / "pipelines" / "delays.py").write_text(PIPELINE)
    opened = open_project(root)
    yield opened
    opened.close()


def test_no_alias_moves_the_versions_are_registered_and_a_later_run_promotes(project: Project) -> None:
    plans = load_plans(project).plans
    backfills = backfills_of(project)

    def champion(model: str) -> str | None:
        return project.registry.alias(model, "champion")

    with foreground(project, plans["delays"], lambda _: None) as worker:

        def person(month: str) -> dict[str, Any]:
            started = project.execution.start(
                plans["delays"], Interval.parse(month), parameters={}, actor=Actor("tester")
            )
            worker.execute(started.run_id)
            with project.database.read() as connection:
                return run_document(connection, started.run_id, project.clock.now())

        def backfill(name: str, start: str, end: str) -> dict[str, Any]:
            plan = plans[name]
            intervals = tuple(intervals_of(start, end, plan, project.clock.now()))
            found = backfills.start(BackfillRequest(plan, intervals, {}, "tester"))

            def is_over() -> bool:
                with project.database.read() as connection:
                    return stands_still(connection, found)

            worker.execute_backfill(found.backfill_id, is_over)
            with project.database.read() as connection:
                return backfill_document(connection, backfills, found)

        # Nothing is champion yet, which a first model would be at once.
        document = backfill("delays", "2026-01", "2026-03")
        assert [(each["state"], each["outcome"]) for each in document["intervals"]] == [("succeeded", "none")] * 2
        assert champion("delays") is None

        first = person("2026-03")
        assert first["outcome"] == "promoted"
        document = backfill("delays", "2026-01", "2026-05")
        actions = [(each["action"], each["outcome"]) for each in document["intervals"]]
        assert actions == [("keep", "none"), ("keep", "none"), ("keep", "promoted"), ("run", "none")]
        assert champion("delays") == first["model"]["version"]
        with project.database.read() as connection:
            made = run_document(connection, document["intervals"][-1]["run_id"], project.clock.now())
        states = {each["name"]: each["state"] for each in made["steps"]}
        assert (states["register_version"], states["run_canary"], states["celebrate"]) == (
            "succeeded",
            "skipped",
            "skipped",
        )
        assert made["trigger"] == "backfill"
        assert made["backfill_id"] == document["backfill_id"]
        assert made["model"]["version"] is not None
        assert made["canary"] is None
        assert made["promotion"] is None

        # A step that asks all the same is refused, and a person may promote what was registered.
        (asking,) = backfill("itself", "2026-01", "2026-02")["intervals"]
        assert asking["state"] == "failed"
        with project.database.read() as connection:
            refused = run_document(connection, asking["run_id"], project.clock.now())
        assert "which registers and promotes nothing" in refused["reason"]
        assert champion("unmarked") is None
        promotion = project.promotions.promote(
            "unmarked",
            refused["model"]["version"],
            expect_champion=ANY,
            idempotency_key="a person",
            actor="tester",
            actor_verified=False,
            reason="it will do",
        )
        assert promotion.applied

        assert person("2026-06")["canary"] is not None


@pytest.mark.parametrize("service", ["promote", "open_canary"])
def test_the_supervisor_refuses_what_moves_an_alias_before_it_looks_at_anything(service: str) -> None:
    class Backfilled:
        backfill_id = "b"
        run_id = "r"

    class Asked:
        run = Backfilled()

    answer: Service = answers_about_models(FakeRegistry())[service]
    asked: Any = Asked()
    with pytest.raises(Refused, match="The run r is of the backfill b, which registers and"):
        answer(asked, {"version": "1"})
