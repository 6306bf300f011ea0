"""A canary by replay through the command: from the first model to one that is rolled back."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import Podium

# The label hangs on `x`, and a little on `z`: a model that is shown only `z` errs twice as often, and the gate's wide
# margin lets it through, as a gate does whose holdout was not like the traffic.
TRIED = """
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from podium import Interval, pipeline, step, when
from podium.canary.plan import CanaryPlan, Phase
from podium.registry.policy import GatePolicy
from podium.stages import evaluate_candidate, register_version, run_canary

class Days(NamedTuple):
    history: pd.DataFrame
    holdout: pd.DataFrame
    replay: pd.DataFrame

@step
def validate(day: Interval, replayed: int) -> Days:
    random = np.random.default_rng(day.start.toordinal())
    def rows(count: int) -> pd.DataFrame:
        x = random.normal(size=count)
        label = (x + random.normal(scale=0.4, size=count) > 0).astype(int)
        return pd.DataFrame({"x": x, "z": x + random.normal(scale=0.9, size=count), "label": label})
    return Days(rows(500), rows(500), rows(replayed))

@step
def train(history: pd.DataFrame, features: str) -> LogisticRegression:
    return LogisticRegression().fit(history[features.split(",")], history["label"])

@step
def seen_before(replay: pd.DataFrame, replayed: int, taken_from: str) -> pd.DataFrame:
    if not taken_from:
        return replay
    part, day = taken_from.split("/")
    return getattr(validate(Interval.parse(day, "UTC"), replayed), part)

@pipeline(model="tried", team="research", environment="dev")
def tried(day: Interval, features: str = "x,z", replayed: int = 4000, taken_from: str = "") -> None:
    days = validate(day, replayed)
    candidate = train(days.history, features)
    policy = GatePolicy(primary="auc", mode="refresh", margin=0.4)
    evidence = evaluate_candidate(candidate, days.holdout, label="label", policy=policy)
    plan = CanaryPlan(phases=(Phase(weight_percent=20, requests=500), Phase(weight_percent=50, requests=3500)),
                      margin=0.06, look_every=250)
    with when(evidence.passed):
        version = register_version(candidate, evidence)
        run_canary(version, replay=seen_before(days.replay, replayed, taken_from), plan=plan)
"""


@pytest.fixture(scope="module")
def podium(tmp_path_factory: pytest.TempPathFactory) -> Podium:
    """The command in a project whose pipeline ends in a canary, after its first model."""
    project = tmp_path_factory.mktemp("canary")
    (project / "podium.toml").write_text('project = "canary"\n')
    (project / "pipelines").mkdir()
    (project / "pipelines" / "tried.py").write_text(TRIED)
    podium = Podium(project)
    first = _run(podium, "2026-01-01")
    assert first["outcome"] == "promoted"
    assert first["canary"] is None
    assert "first model" in first["promotion"]["reason"]
    return podium


def _run(podium: Podium, day: str, **parameters: Any) -> dict[str, Any]:
    words = [word for name, value in parameters.items() for word in ("--param", f"{name}={value}")]
    answer = podium("run", "tried", "--for", day, *words, "--json")
    assert answer.code == 0, answer.err
    document: dict[str, Any] = answer.document
    return document


def _champion(podium: Podium) -> dict[str, str | None]:
    """Return the aliases as MLflow has them, asked here: a process that imports MLflow takes seconds."""
    from mlflow import MlflowClient

    aliases = MlflowClient(f"sqlite:///{podium.project}/.podium/mlflow.db").get_registered_model("tried").aliases
    return {alias: str(aliases[alias]) if alias in aliases else None for alias in ("champion", "challenger")}


def test_an_equal_version_is_promoted_by_its_canary(podium: Podium) -> None:
    before = _champion(podium)["champion"]
    run = _run(podium, "2026-02-01")
    assert run["outcome"] == "promoted"
    assert run["canary"]["state"] == "promoted"
    assert "is not higher by 0.060 or more" in run["canary"]["reasons"][0]
    assert run["canary"]["champion"] == before
    assert _champion(podium) == {"champion": run["model"]["version"], "challenger": None}
    assert podium("models", "show", "tried", "--json").document["aliases"] == _champion(podium)
    assert f"canary {run['canary']['canary_id']} of run {run['run_id']}" in run["promotion"]["reason"]


def test_a_worse_version_is_rolled_back_and_the_champion_stays(podium: Podium) -> None:
    before = _champion(podium)["champion"]
    run = _run(podium, "2026-02-02", features="z")
    assert run["verdict"]["result"] == "passed"
    assert run["outcome"] == "rolled_back"
    assert run["promotion"] is None
    shown = podium("canary", "show", "tried", "--json").document
    assert shown["state"] == "rolled_back"
    assert shown["verdict"] == "roll_back"
    assert "errs more often" in shown["reasons"][0]
    assert shown["position"] < shown["horizon"] == 4000
    counted = shown["exposures"]["challenger"] + shown["exposures"]["champion"]
    assert counted == shown["position"]
    assert _champion(podium) == {"champion": before, "challenger": None}
    table = podium("canary", "show", "tried").out
    assert "rolled_back" in table
    assert "error_rate_margin" in table
    assert "errs more often" in podium("runs", "show", run["run_id"]).out


def test_a_version_of_older_data_is_not_tried(podium: Podium) -> None:
    before = _champion(podium)
    run = _run(podium, "2026-01-15")
    assert (run["outcome"], run["canary"]["state"], run["canary"]["position"]) == ("inconclusive", "aborted", 0)
    assert "a run brings back no older data" in run["canary"]["reasons"][0]
    assert _champion(podium) == before
    table = " ".join(podium("canary", "show", "tried").out.split())
    assert "a run brings back no older data" in table
    assert "guardrail" not in table, "there was no look, so there is no evidence"


def test_too_few_requests_are_inconclusive_and_say_how_many_it_takes(podium: Podium) -> None:
    before = _champion(podium)["champion"]
    run = _run(podium, "2026-02-03", replayed=60)
    assert run["outcome"] == "inconclusive"
    assert "60 requests < " in run["canary"]["reasons"][-1]
    assert "needed for a margin of 0.060" in run["canary"]["reasons"][-1]
    assert _champion(podium)["champion"] == before


@pytest.mark.parametrize(
    ("taken_from", "complaint"),
    [
        ("history/2026-02-04", "were read on the way to version"),
        ("holdout/2026-02-01", "judged the champion (version 2)"),
    ],
)
def test_rows_that_one_of_the_models_knows_do_not_replay_it(podium: Podium, taken_from: str, complaint: str) -> None:
    answer = podium("run", "tried", "--for", "2026-02-04", "--param", f"taken_from={taken_from}", "--json")
    assert answer.code == 1
    assert complaint in answer.document["reason"]
    assert "keep later rows apart" in answer.document["reason"]


def test_a_plan_says_how_many_requests_it_needs(podium: Podium) -> None:
    arguments = ("canary", "plan", "--error-rate", "0.05", "--margin", "0.01")
    document = podium(*arguments, "--json").document
    assert document["requests_planned"] == 55_200
    needed = document["requests_needed"]
    assert 25_000 < needed < 35_000
    assert document["enough"]
    assert f"55,200 ≥ {needed:,} needed" in podium(*arguments).out
    short = podium(*arguments, "--phase", "50:1000", "--json").document
    assert not short["enough"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("plan", "--error-rate", "2"), "--error-rate 2 is no error rate to plan for"),
        (("plan", "--error-rate", "0.1", "--phase", "half"), "--phase 'half' is no phase"),
        (("plan", "--error-rate", "0.1", "--phase", "100:10"), "the assignment carries no information"),
        (("show", "nobody"), "Model nobody never had a canary"),
        (("abort", "tried", "--reason", "late labels"), "has no open canary"),
    ],
)
def test_wrong_usage_is_told_in_one_paragraph(podium: Podium, arguments: tuple[str, ...], complaint: str) -> None:
    answer = podium("canary", *arguments)
    assert answer.code == 2
    assert complaint in answer.complaint


def test_the_decisions_of_a_canary_replay_from_its_stored_counts(podium: Podium) -> None:
    from podium.canary import documents
    from podium.wiring.project import open_project

    shown = podium("canary", "show", "tried", "--json").document
    project = open_project(Path(podium.project))
    try:
        with project.database.read() as connection:
            again = documents.replayed(connection, shown["canary_id"])
    finally:
        project.close()
    assert again.ok
    assert again.looks == shown["looks"] > 0
