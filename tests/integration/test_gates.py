"""The gates that podium.toml names, in real runs: read by the slot, refused before a run is on record, priced."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from podium.dag.interval import Interval
from podium.errors import ConfigurationError
from podium.execution.entities import Actor
from podium.finops.costs import cost_of_runs
from podium.registry import store
from podium.registry.evidence import Evidence
from podium.wiring.documents import run_document
from podium.wiring.plans import load_plans
from podium.wiring.project import Project, open_project
from podium.wiring.runs import foreground

PIPELINES = """
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from podium import Interval, pipeline, step
from podium.checks import DataReport, Volume, check_data
from podium.registry.policy import GatePolicy
from podium.registry.rules import Finding, RuleInput
from podium.stages import evaluate_candidate


class Rows(NamedTuple):
    history: pd.DataFrame
    holdout: pd.DataFrame
    report: DataReport


def generated(seed):
    random = np.random.default_rng(seed)
    rows = pd.DataFrame(random.normal(size=(400, 2)), columns=["x", "noise"])
    return rows.assign(late=(rows["x"] + random.normal(size=400) > 0).astype(int))


@step
def prepare(day: Interval) -> Rows:
    holdout = generated(day.start.day)
    return Rows(generated(0), holdout, check_data(holdout, [Volume(at_least=100)], called="holdout"))


@step
def train(history: pd.DataFrame) -> LogisticRegression:
    return LogisticRegression().fit(history[["x", "noise"]], history["late"])


@pipeline(model="late_flights", team="research", environment="dev")
def late_flights(day: Interval) -> None:
    rows = prepare(day)
    evaluate_candidate(train(rows.history), rows.holdout, label="late", checks=rows.report)


def sees_400_rows(given: RuleInput) -> Finding:
    rows = len(given.holdout)
    return Finding("passed" if rows == 400 else "failed", f"{rows} rows")


@pipeline(model="late_flights", team="research", environment="dev")
def with_a_rule_in_its_file(day: Interval) -> None:
    rows = prepare(day)
    policy = GatePolicy(floors={"auc": 0.6}, rules=(sees_400_rows,))
    evaluate_candidate(train(rows.history), rows.holdout, label="late", policy=policy)
"""

RULES = """
from podium.registry.rules import Finding, RuleInput

LEAST = 0.6


def right_often(given: RuleInput) -> Finding:
    share = float((given.candidate.predictions == given.labels).mean())
    return Finding("passed" if share >= LEAST else "failed", f"{share:.3f} against {LEAST:.3f}")
"""

GATE = """
name: late
floors: {auc: 0.6}
limits: {cost_usd: 1000, size_bytes: 1_000_000, latency_milliseconds: 60_000}
data_checks: required
rules: ["pipelines.rules:right_often"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Any:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "gates").mkdir()
    (tmp_path / "podium.toml").write_text('project = "gates"\nslots = 1\n[gates]\n"late_*" = "gates/late.yaml"\n')
    (tmp_path / "pipelines" / "late.py").write_text(PIPELINES)
    (tmp_path / "pipelines" / "rules.py").write_text(RULES)
    (tmp_path / "gates" / "late.yaml").write_text(GATE)
    opened = open_project(tmp_path)
    yield opened
    opened.close()


def started(project: Project, day: str, pipeline: str) -> str:
    plan = load_plans(project).plan(pipeline)
    return project.execution.start(plan, Interval.parse(day), parameters={}, actor=Actor("tester")).run_id


def test_the_slot_judges_by_the_file_as_it_is_and_by_rules_as_they_are(project: Project) -> None:
    plan = load_plans(project).plan("late_flights")
    root = project.settings.root
    with foreground(project, plan, lambda _: None) as worker:

        def judge(day: str, pipeline: str = "late_flights") -> tuple[Evidence, str]:
            run_id = started(project, day, pipeline)
            worker.execute(run_id)
            with project.database.read() as connection:
                document = run_document(connection, run_id, project.clock.now())
                assert document["state"] == "succeeded", document["reason"]
                (recorded,) = store.evidence_of_run(connection, run_id)
            found = Evidence.model_validate(recorded.document)
            assert found.digest == recorded.digest
            named = {"name": found.policy.name, "version": None, "digest": found.policy_digest}
            assert document["verdict"]["policy"] == named
            return found, run_id

        evidence, run_id = judge("2026-01-01")
        assert evidence.verdict == "passed", evidence.reasons
        assert [check.check for check in evidence.data_checks] == ["volume"]
        cost = next(limit for limit in evidence.limits if limit.limit == "cost_usd")
        with project.database.read() as connection:
            whole = cost_of_runs(connection, [run_id])[run_id].complete
        assert whole is not None
        assert cost.value is not None
        assert Decimal(0) < cost.value < whole, "what the attempts before the evaluation cost"

        assert evidence.policy.name == "late"
        own, _ = judge("2026-01-04", "with_a_rule_in_its_file")
        assert own.reasons[-1] == "late:sees_400_rows: 400 rows"
        assert own.policy.name is None
        assert (evidence.policy_source, own.policy_source) == ("file", "pipeline")

        (root / "pipelines" / "rules.py").write_text(RULES.replace("0.6", "0.999"))
        (root / "gates" / "late.yaml").write_text(GATE.replace("name: late", "name: stricter"))
        stricter, _ = judge("2026-01-02")
        assert stricter.verdict == "failed"
        assert stricter.policy.name == "stricter"
        assert stricter.reasons[1].startswith("pipelines.rules:right_often: 0.")
        assert stricter.reasons[1].endswith("against 0.999")
        assert stricter.policy.rules[0].digest != evidence.policy.rules[0].digest


def test_a_gate_that_cannot_judge_is_refused_before_a_run_of_its_model(project: Project) -> None:
    plan = load_plans(project).plan("late_flights")
    project.require_runnable(plan)
    gate, rules = (project.settings.root / name for name in ("gates/late.yaml", "pipelines/rules.py"))
    wrong: list[tuple[Path, str | None, str]] = [
        (gate, None, "gates/late.yaml holds the gate of late_flights, but there is no such file"),
        (gate, "primery: auc\n", "did you mean primary"),
        (rules, None, "there is no pipelines/rules.py"),
        (rules, "", "is not in pipelines/rules.py"),
    ]
    for path, text, said in wrong:
        right = path.read_text()
        path.unlink()
        if text is not None:
            path.write_text(text)
        with pytest.raises(ConfigurationError, match=said) as caught, foreground(project, plan, lambda _: None):
            pass
        assert caught.value.exit_code == 2
        path.write_text(right)
    (project.settings.root / "gates" / "late.yaml").unlink()
    project.require_runnable()  # a worker for every run goes on with those of other models
