"""A model from before Podium, adopted, retrained by a pipeline, judged, promoted, rolled back; and all of it told."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import mlflow
import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from podium.dag.interval import Interval
from podium.errors import NotFound
from podium.execution.entities import Actor
from podium.registry import history, timeline
from podium.registry.adoption import AdoptionService, Choice
from podium.registry.promotion import ANY
from podium.registry.verification import verify
from podium.wiring.documents import run_document
from podium.wiring.model_scan import trust_of
from podium.wiring.plans import load_plans
from podium.wiring.project import Project, open_project
from podium.wiring.provenance import document_digest, provenance
from podium.wiring.provenance_document import json_schema
from podium.wiring.runs import foreground

SCHEMA = Path(__file__).parents[2] / "docs" / "provenance.schema.json"

PIPELINE = """
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from podium import Interval, pipeline, step, when
from podium.registry.policy import GatePolicy
from podium.stages import evaluate_candidate, register_version, run_canary


class Rows(NamedTuple):
    history: pd.DataFrame
    holdout: pd.DataFrame
    replay: pd.DataFrame


def generated(seed: int, size: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    features = pd.DataFrame(random.normal(size=(size, 2)), columns=["distance", "hour"])
    return features.assign(late=(features["distance"] + random.normal(size=size) > 0).astype(int))


@step
def validate(month: Interval) -> Rows:
    return Rows(*(generated(10 * month.start.month + number, 800) for number in range(3)))


@step
def train(history: pd.DataFrame) -> LogisticRegression:
    return LogisticRegression().fit(history.drop(columns="late"), history["late"])


@pipeline(model="delays", team="research", environment="dev", grain="month")
def delays(month: Interval) -> None:
    rows = validate(month)
    candidate = train(rows.history)
    evidence = evaluate_candidate(candidate, rows.holdout, label="late", policy=GatePolicy(floors={"auc": 0.6}))
    with when(evidence.passed):
        run_canary(register_version(candidate, evidence), replay=rows.replay)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose MLflow has a model that plain MLflow code registered, always wrong: `production`."""
    root: Path = tmp_path_factory.mktemp("adopted")
    (root / "pipelines").mkdir()
    (root / "podium.toml").write_text('project = "adopted"\nslots = 2\n')
    (root / "pipelines" / "delays.py").write_text(PIPELINE)
    opened = open_project(root)
    assert opened.registry.models() == []  # makes MLflow's tables
    mlflow.set_tracking_uri(opened.settings.effective_tracking_uri)
    try:
        mlflow.create_experiment("team", artifact_location=(root / "team").as_uri())
        mlflow.set_experiment("team")
        random = np.random.default_rng(0)
        rows = pd.DataFrame(random.normal(size=(60, 2)), columns=["distance", "hour"])
        with mlflow.start_run():
            mlflow.sklearn.log_model(
                LogisticRegression().fit(rows, (rows["distance"] < 0).astype(int)),
                name="model",
                input_example=rows.head(2),
                pip_requirements=["scikit-learn"],
                registered_model_name="delays",
            )
        mlflow.MlflowClient().set_registered_model_alias("delays", "production", "1")
    finally:
        mlflow.set_tracking_uri(None)
    yield opened
    opened.close()


def told(project: Project, version: str, *, ask: bool = True) -> dict[str, Any]:
    """The provenance of a version, which fits the published schema and carries its digest."""
    registry = project.registry if ask else None
    document = provenance(project.database, registry, project.clock, "delays", version)
    jsonschema.validate(json.loads(json.dumps(document)), json.loads(SCHEMA.read_text()))
    assert document["document_digest"] == document_digest(document)
    assert document == provenance(project.database, registry, project.clock, "delays", version)
    return document


def test_an_adopted_champion_is_judged_against_replaced_and_gone_back_to(project: Project) -> None:
    said: dict[str, Any] = {"actor": "grace", "actor_verified": False}
    service = AdoptionService(
        project.database, project.registry, project.clock, project.promotions, trust=trust_of(project)
    )
    service.adopt("delays", Choice(champion_alias="production"), reason="served before Podium", **said)
    plan = load_plans(project).plans["delays"]
    with foreground(project, load_plans(project).plans["delays"], lambda _: None) as worker:
        run_id = project.execution.start(plan, Interval.parse("2026-03"), parameters={}, actor=Actor("ada")).run_id
        worker.execute(run_id)
    with project.database.read() as connection:
        run = run_document(connection, run_id, project.clock.now())
    assert run["state"] == "succeeded", run["reason"]
    assert run["verdict"]["result"] == "passed"
    assert "The champion, version 1, was adopted, so nobody knows what trained it" in run["verdict"]["reasons"][0]
    # No run replaces a champion whose data may be newer; a person may, and rolls back to it.
    assert (run["model"]["version"], run["canary"]["state"]) == ("2", "aborted")
    assert "was adopted, so nobody knows whether its data is newer" in run["canary"]["reasons"][0]
    promoted = project.promotions.promote(
        "delays", "2", expect_champion="1", idempotency_key="p1", reason="better", **said
    )
    assert promoted.raise_unless_applied().from_version == "1"
    document = told(project, "2")
    back = project.promotions.rollback("delays", expect_champion=ANY, idempotency_key="p2", reason="slow", **said)
    assert back.raise_unless_applied().to_version == "1"
    with project.database.read() as connection:
        entries = history.entries(connection, "delays")
        assert verify(connection, "delays").ok
    assert [tenure.version for tenure in timeline.tenures(entries)] == ["1", "2", "1"]

    _check_made_by_a_run(project, document, run)
    later = told(project, "2")
    assert later["document_digest"] != document["document_digest"]
    assert [move["action"] for move in later["promotions"]] == ["promote", "rollback"]
    assert later["aliases"] == {"told_by": "registry", "names": []}
    _check_adopted(told(project, "1"))
    _check_offline(told(project, "2", ask=False))
    with pytest.raises(NotFound, match="Version 9 of delays is not on Podium's record; on record are: 1, 2"):
        provenance(project.database, None, project.clock, "delays", "9")
    with pytest.raises(NotFound, match="no model 'nobody' on Podium's record; the models are delays"):
        provenance(project.database, None, project.clock, "nobody", "1")


def _check_made_by_a_run(project: Project, document: dict[str, Any], run: dict[str, Any]) -> None:
    assert (document["origin"], document["unknown"]) == ("run", [])
    assert document["files"]["found_digest"] == document["files"]["recorded_digest"]
    assert {"MLmodel", "model.skops"} <= document["files"]["sha256"].keys()
    assert document["environment"]["requirements"]
    assert [column["name"] for column in document["inputs"]] == ["distance", "hour"]
    artifacts = document["data"]["artifacts"]
    roles = {(each["role"], each["step"], each["output"]) for each in artifacts}
    assert roles >= {
        ("read", "validate", "history"),
        ("candidate", "train", "result"),
        ("holdout", "validate", "holdout"),
        ("replayed", "validate", "replay"),
    }
    assert all(each["size_bytes"] and each["removed"] is False for each in artifacts)
    assert document["data"]["digest"] == next(each["digest"] for each in artifacts if each["role"] == "read")
    assert document["code"]["file"] == "pipelines/delays.py"
    assert document["code"]["modules"]
    assert document["run"]["run_id"] == run["run_id"]
    assert document["run"]["actor"] == "ada"
    steps = {step["name"]: step for step in document["run"]["steps"]}
    assert steps["train"]["attempts"][0]["wall_seconds"] > 0
    assert (document["evidence"]["verdict"], document["evidence"]["intact"]) == ("passed", True)
    assert document["evidence"]["document"]["champion_version"] == "1"
    (canary,) = document["canaries"]
    assert (canary["state"], canary["looks"], canary["run_id"]) == ("aborted", 0, run["run_id"])
    (move,) = document["promotions"]
    assert (move["state"], move["actor"], move["approvals"]) == ("applied", "grace", [])
    assert (document["history"]["ok"], len(document["history"]["entries"])) == (True, 1)
    assert [live["until"] for live in document["history"]["live"]] == [None]
    assert document["aliases"] == {"told_by": "registry", "names": ["champion"]}
    cost = document["cost"]
    assert cost["currency"] == "USD"
    assert [step["step"] for step in cost["steps"]][:2] == ["validate", "train"]
    assert cost["total"] is not None


def _check_adopted(document: dict[str, Any]) -> None:
    assert document["origin"] == "adopted"
    assert "nobody knows what data, code and run made it" in document["unknown"][0]
    for name in ("data", "code", "run", "evidence", "cost"):
        assert document[name] is None
    assert document["files"]["found_digest"] == document["files"]["recorded_digest"]
    assert document["aliases"]["names"] == ["champion", "production"]
    assert [live["fact"] for live in document["history"]["live"]] == ["adopted", "applied"]


def _check_offline(document: dict[str, Any]) -> None:
    assert "The registry was not asked" in document["unknown"][0]
    assert document["files"]["registry_asked"] is False
    assert document["files"]["found_digest"] is document["environment"] is document["inputs"] is None
    assert document["aliases"] == {"told_by": "history", "names": []}


def test_the_published_schema_is_that_of_the_code() -> None:
    assert json.loads(SCHEMA.read_text()) == json_schema()
    jsonschema.Draft202012Validator.check_schema(json_schema())
