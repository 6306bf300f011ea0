"""From a run in dev to a champion in prod by the commands a person types: real stages, a real MLflow, real policies."""

import shlex
from pathlib import Path

from podium.registry import store
from podium.wiring.project import open_project
from podium.wiring.training import trained_on
from tests.unit.cli.conftest import InProcess, podium

__all__ = ["podium"]

SETTINGS = """
project = "flights"
slots = 2

[environments]
path = ["dev", "prod"]
policies = {prod = "gates/prod.yaml"}
"""

PIPELINE = """
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from podium import Interval, pipeline, step, when
from podium.registry.policy import GatePolicy
from podium.stages import evaluate_candidate, promote_version, register_version


class Rows(NamedTuple):
    history: pd.DataFrame
    holdout: pd.DataFrame


def generated(seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    features = pd.DataFrame(random.normal(size=(600, 4)), columns=list("abcd"))
    return features.assign(late=(features["a"] + random.normal(size=600) > 0).astype(int))


@step
def validate(month: Interval) -> Rows:
    return Rows(generated(1), generated(2))


@step
def train(history: pd.DataFrame) -> LogisticRegression:
    return LogisticRegression().fit(history.drop(columns="late"), history["late"])


@pipeline(model="dev.flights", team="research", environment="dev", grain="month")
def flights(month: Interval) -> None:
    rows = validate(month)
    candidate = train(rows.history)
    evidence = evaluate_candidate(candidate, rows.holdout, label="late", policy=GatePolicy(floors={"auc": 0.6}))
    with when(evidence.passed):
        promote_version(register_version(candidate, evidence))
"""


def rule(project: Path, text: str) -> None:
    (project / "gates").mkdir(exist_ok=True)
    (project / "gates" / "prod.yaml").write_text(text)


def mark_artifact(project: Path, digest: str, removed_at: str) -> None:
    """Say that an artifact was removed at a time, or with NULL that it was not."""
    opened = open_project(project)
    with opened.database.write() as connection:
        statement = f"UPDATE artifact SET removed_at = {removed_at} WHERE digest = ?"  # noqa: S608 - of this file alone
        connection.exec_driver_sql(statement, (digest,))
    opened.close()


def test_a_version_goes_from_a_run_in_dev_to_prod(podium: InProcess) -> None:
    project = podium.project
    (project / "podium.toml").write_text(SETTINGS)
    (project / "pipelines" / "counting.py").unlink()
    podium.pipeline(PIPELINE, name="flights")
    ran = podium("run", "flights", "--for", "2026-01", "--json")
    assert ran.code == 0, ran
    run = ran.document
    assert run["outcome"] == "promoted"

    rule(project, "primary: auc\nmode: refresh\n")
    answer = podium("models", "path", "flights", "--json")
    dev, prod = answer.document["environments"]
    assert (dev["model"], dev["champion"], dev["policy"], dev["equal_to_before"]) == ("dev.flights", "1", None, None)
    assert (prod["model"], prod["champion"], prod["policy"], prod["equal_to_before"]) == (
        "prod.flights",
        None,
        "gates/prod.yaml",
        None,
    )
    (following,) = answer.document["next"]
    command = shlex.split(following["command"].replace("TEXT", "'a week without complaints'"))[1:]
    assert command[:6] == ["models", "advance", "dev.flights", "--version", "1", "--reason"]

    # The gate of prod, wrong, strict, and without the rows that judge.
    rule(project, "- primary\n")
    assert "gates/prod.yaml" in podium(*command).complaint
    rule(project, "primry: auc\n")
    assert "did you mean primary?" in podium(*command).complaint
    (project / "gates" / "prod.yaml").unlink()
    answer = podium(*command)
    assert (answer.code, "there is no such file in" in answer.complaint) == (2, True)
    holdout = _holdout(project, run["verdict"]["evidence_digest"])
    rule(project, "floors: {auc: 0.999}\n")
    mark_artifact(project, holdout, "stored_at")
    answer = podium(*command)
    assert answer.code == 1
    assert answer.complaint.startswith("The rows that judged version 1 of dev.flights cannot be read.")
    assert answer.complaint.endswith(f"`podium runs rerun {run['run_id']}` makes them anew.")
    mark_artifact(project, holdout, "NULL")
    answer = podium(*command, "--json")
    assert (answer.code, answer.document["state"], answer.document["to_version"]) == (3, "failed", None)
    assert "0.999" in " ".join(answer.document["verdict"]["reasons"])
    answer = podium(*command)
    assert (answer.code, answer.complaint.startswith("Version 1 of dev.flights does not enter prod")) == (3, True)
    report = f"podium models report prod.flights --run {run['run_id']}"
    assert f"`{report}` shows what it was judged on" in answer.complaint
    shown = podium(*report.split()[1:])
    assert shown.out.startswith("# prod.flights: a candidate, 2026-01\n\n**failed**")
    assert "0.999" in shown.out

    # Through it, and once more.
    rule(project, "floors: {auc: 0.6}\n")
    rule_of_prod = '{"prod.*": {"required": 1}}'
    waits = podium(*command, PODIUM_APPROVALS=rule_of_prod)
    assert (waits.code, "Error" in waits.err) == (3, False)
    assert waits.out.startswith("prod.flights: version 1 awaits 1 approval until ")
    assert (
        podium(*waits.out.splitlines()[1].split()[1:4], "good", PODIUM_USER="grace", PODIUM_APPROVALS=rule_of_prod).code
        == 0
    )
    made = podium(*command, "--json").document
    assert (made["state"], made["to_model"], made["to_version"]) == ("applied", "prod.flights", "1")
    again = podium(*command)
    assert again.code == 0
    assert again.out.startswith("prod.flights: champion 1, the same files as version 1 of dev.flights")
    answer = podium("models", "path", "prod.flights", "--json")
    assert [each["champion"] for each in answer.document["environments"]] == ["1", "1"]
    assert answer.document["environments"][1]["equal_to_before"] is True
    assert answer.document["environments"][1]["copied_from"] == {"model": "dev.flights", "version": "1"}
    assert answer.document["next"] == []
    table = podium("models", "path", "flights").out
    assert "equal" in table
    assert "gates/prod.yaml" in table

    # What else is on record.
    shown = podium("runs", "show", run["run_id"], "--json").document
    assert (shown["model"], shown["verdict"]) == (run["model"], run["verdict"]), "the run's own, not its copy's"
    costs = [podium("costs", "version", f"{each}.flights", "1", "--json").document for each in ("dev", "prod")]
    assert costs[0]["total"] == costs[1]["total"]
    assert podium("db", "check").code == 0
    assert podium("models", "verify", "prod.flights").code == 0
    opened = open_project(project)
    with opened.database.read() as connection:
        origin, copy = (store.find_version(connection, f"{each}.flights", "1") for each in ("dev", "prod"))
    assert origin is not None
    assert copy is not None
    read = trained_on(opened, origin)
    assert read == trained_on(opened, copy) != []
    opened.close()

    # And what was blocked in dev since.
    with_block = ("models", "path", "flights")
    opened = open_project(project)
    opened.promotions.block("dev.flights", "1", actor="ada", actor_verified=False, reason="it was the feed")
    opened.close()
    assert podium(*with_block, "--json").document["environments"][1]["blocked_before"] is True
    assert "its original, version 1 of dev.flights, is blocked there" in podium(*with_block).err


def _holdout(project: Path, evidence_digest: str) -> str:
    opened = open_project(project)
    with opened.database.read() as connection:
        row = connection.exec_driver_sql("SELECT holdout_digest FROM evidence WHERE digest = ?", (evidence_digest,))
        found = str(row.scalar_one())
    opened.close()
    return found
