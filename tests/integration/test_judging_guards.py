"""What keeps a verdict honest: rows that trained nobody, a champion that is no younger, features and nothing else."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from podium.dag.interval import Interval
from podium.dag.parameters import bind_parameters
from podium.execution.entities import Actor
from podium.registry.promotion import ANY
from podium.wiring.documents import run_document
from podium.wiring.plans import load_plans
from podium.wiring.project import Project, open_project
from podium.wiring.runs import foreground

Run = Callable[..., dict[str, Any]]

PIPELINES = """
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from podium import Interval, pipeline, step, when
from podium.registry.policy import GatePolicy
from podium.stages import evaluate_candidate, promote_version, register_version

OWNER = {"team": "research", "environment": "dev", "grain": "month"}
POLICY = GatePolicy(primary="auc", floors={"auc": 0.6})


class Rows(NamedTuple):
    history: pd.DataFrame
    holdout: pd.DataFrame


def generated(seed: int, size: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    features = pd.DataFrame(random.normal(size=(size, 12)), columns=[f"f{n}" for n in range(12)])
    return features.assign(late=(features["f0"] + random.normal(size=size) > 0).astype(int))


@step
def validate(month: Interval, swap: bool, rows: int) -> Rows:
    one, other = generated(1, rows), generated(2, 800)
    return Rows(other, one) if swap else Rows(one, other)


@step
def validate_month(month: Interval) -> Rows:
    few = month.start.month == 3
    return Rows(generated(1, 24 if few else 600), generated(2, 800))


@step
def scale(rows: pd.DataFrame) -> pd.DataFrame:
    return rows * 1.0


@step
def train(history: pd.DataFrame) -> LogisticRegression:
    return LogisticRegression(C=1e6).fit(history.drop(columns="late"), history["late"])


@pipeline(model="leaking", **OWNER)
def leaking(month: Interval) -> None:
    rows = validate(month, False, 400)
    evaluate_candidate(train(scale(rows.holdout)), rows.holdout, label="late", policy=POLICY)


class Parts(NamedTuple):
    parts: list[pd.DataFrame]
    holdout: pd.DataFrame


@step
def parted(month: Interval, train_on: list[int], judge_on: int) -> Parts:
    return Parts([generated(seed, 400) for seed in train_on], generated(judge_on, 400))


@step
def first(models: list[LogisticRegression]) -> LogisticRegression:
    return models[0]


@pipeline(model="parted", **OWNER)
def from_parts(month: Interval, train_on: list[int], judge_on: int) -> None:
    rows = parted(month, train_on, judge_on)
    candidate = first(train.map(scale.map(rows.parts)))
    evidence = evaluate_candidate(candidate, rows.holdout, label="late", policy=POLICY)
    with when(evidence.passed):
        promote_version(register_version(candidate, evidence))


@pipeline(model="several", **OWNER)
def several(month: Interval, train_on: list[int], judge_on: int) -> None:
    rows = parted(month, train_on, judge_on)
    evaluate_candidate.map(train.map(rows.parts), holdout=rows.holdout, label="late", policy=POLICY)


@pipeline(model="swapped", **OWNER)
def swapped(month: Interval, swap: bool) -> None:
    rows = validate(month, swap, 800)
    candidate = train(scale(rows.history))
    evidence = evaluate_candidate(candidate, rows.holdout, label="late", policy=POLICY)
    with when(evidence.passed):
        promote_version(register_version(candidate, evidence))


@pipeline(model="ageing", **OWNER)
def ageing(month: Interval) -> None:
    rows = validate_month(month)
    candidate = train(rows.history)
    evidence = evaluate_candidate(candidate, rows.holdout, label="late", policy=POLICY)
    with when(evidence.passed):
        promote_version(register_version(candidate, evidence))


@step
def with_sites(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(site=np.where(rows.index % 2 == 0, "north", "south"))


@pipeline(model="sliced", **OWNER)
def sliced(month: Interval) -> None:
    rows = validate(month, False, 400)
    candidate = train(rows.history)
    policy = GatePolicy(primary="auc", floors={"auc": 0.6}, slices=("site",))
    evidence = evaluate_candidate(candidate, with_sites(rows.holdout), label="late", policy=policy)
    with when(evidence.passed):
        promote_version(register_version(candidate, evidence))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    root: Path = tmp_path_factory.mktemp("guards")
    (root / "pipelines").mkdir()
    (root / "podium.toml").write_text('project = "guards"\n')
    (root / "pipelines" / "guards.py").write_text(PIPELINES)
    opened = open_project(root)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def run(project: Project) -> Iterator[Run]:
    """Runs a pipeline for a month; one worker serves them all, since they are one file's code."""
    plans = load_plans(project).plans

    with foreground(project, plans["leaking"], lambda _: None) as worker:

        def execute(name: str, month: str, **parameters: str) -> dict[str, Any]:
            plan = plans[name]
            started = project.execution.start(
                plan, Interval.parse(month), parameters=bind_parameters(plan, parameters), actor=Actor("tester")
            )
            worker.execute(started.run_id)
            with project.database.read() as connection:
                return run_document(connection, started.run_id, project.clock.now())

        yield execute


def test_rows_that_were_read_on_the_way_to_the_candidate_do_not_judge_it(run: Run) -> None:
    document = run("leaking", "2026-01")
    assert document["state"] == "failed"
    assert "were read on the way to the candidate" in document["reason"]
    (evaluation,) = [each for each in document["steps"] if each["name"] == "evaluate_candidate"]
    assert len(evaluation["attempts"]) == 1, "trying again cannot help"


def test_rows_that_trained_the_champion_do_not_judge_its_challenger(run: Run) -> None:
    assert run("swapped", "2026-01", swap="false")["outcome"] == "promoted"
    document = run("swapped", "2026-02", swap="true")
    assert document["state"] == "failed"
    assert "were read on the way to the champion (version 1)" in document["reason"]


def test_rows_that_trained_one_of_the_models_a_candidate_was_chosen_from_do_not_judge_it(run: Run) -> None:
    document = run("from_parts", "2026-01", train_on="[1, 2, 3]", judge_on="3")
    assert document["state"] == "failed"
    assert "were read on the way to the candidate" in document["reason"]


def test_rows_that_trained_one_of_the_models_a_champion_was_chosen_from_do_not_judge_its_challenger(run: Run) -> None:
    assert run("from_parts", "2026-02", train_on="[1, 2]", judge_on="3")["outcome"] == "promoted"
    document = run("from_parts", "2026-03", train_on="[4, 5]", judge_on="2")
    assert document["state"] == "failed"
    assert "were read on the way to the champion (version 1)" in document["reason"]


def test_of_several_candidates_only_the_one_that_read_the_rows_is_refused(run: Run) -> None:
    document = run("several", "2026-01", train_on="[1, 2, 3]", judge_on="2")
    states = {each["map_index"]: each["state"] for each in document["steps"] if each["name"] == "evaluate_candidate"}
    assert states == {None: "failed", 0: "succeeded", 1: "failed", 2: "succeeded"}
    assert "evaluate_candidate: 1 of 3 items failed: [1]: The rows given" in document["reason"]


def test_a_run_brings_back_no_older_data_but_a_person_may(run: Run, project: Project) -> None:
    assert run("ageing", "2026-03")["outcome"] == "promoted"
    document = run("ageing", "2026-02")
    assert (document["state"], document["outcome"]) == ("succeeded", "rejected")
    assert document["verdict"]["result"] == "passed"
    assert "may have been trained on these rows" in document["verdict"]["reasons"][0]
    assert "brings back no older data" in document["promotion"]["reasons"][0]
    promotion = project.promotions.promote(
        "ageing",
        document["model"]["version"],
        expect_champion=ANY,
        idempotency_key="a person",
        actor="tester",
        actor_verified=False,
        reason="the newer rows are broken",
    )
    assert promotion.applied


def test_a_column_to_slice_by_is_no_feature_of_the_registered_model(run: Run, project: Project) -> None:
    document = run("sliced", "2026-01")
    assert document["outcome"] == "promoted", document["reason"]
    source = project.registry.get_version("sliced", document["model"]["version"]).source
    signature = (Path(source.removeprefix("file://")) / "MLmodel").read_text()
    assert "f11" in signature
    assert "site" not in signature
