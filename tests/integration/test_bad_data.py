"""Data and steps that go wrong in a run: exit code 1, a paragraph each, and everything else goes on working."""

import re
import resource
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import EXECUTABLE, Podium

# Three pipelines over one month of generated rows: `frames` retrains, and can be told to fail; `judging` judges one
# candidate on rows that cannot judge, each set in a step of its own; `breaking` has a step for each way to break.
FRAMES = """
import os
import signal
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from podium import Interval, pipeline, step, when
from podium.registry.policy import GatePolicy
from podium.stages import evaluate_candidate, promote_version, register_version

POLICY = GatePolicy(primary="auc", floors={"auc": 0.6})


class Rows(NamedTuple):
    history: pd.DataFrame
    holdout: pd.DataFrame


@step
def validate(month: Interval, fail: bool) -> Rows:
    if fail:
        raise ValueError("the warehouse answered with its lunch menu")
    random = np.random.default_rng(month.start.month)
    size = random.normal(size=1200)
    rows = pd.DataFrame({"size": size, "late": (size + random.normal(size=1200) > 0).astype(int)})
    return Rows(rows[:400], rows[400:])


@step
def train(history: pd.DataFrame) -> LogisticRegression:
    return LogisticRegression().fit(history.drop(columns="late"), history["late"])


@pipeline(model="frames", team="research", environment="dev", grain="month")
def frames(month: Interval, fail: bool = False) -> None:
    rows = validate(month, fail)
    candidate = train(rows.history)
    evidence = evaluate_candidate(candidate, rows.holdout, label="late", policy=POLICY)
    with when(evidence.passed):
        promote_version(register_version(candidate, evidence))


class Damaged(NamedTuple):
    empty_month: pd.DataFrame
    missing_column: pd.DataFrame
    column_of_another_type: pd.DataFrame
    unknown_labels: pd.DataFrame
    no_label: pd.DataFrame
    single_class: pd.DataFrame


@step
def damage(rows: pd.DataFrame) -> Damaged:
    return Damaged(
        empty_month=rows[:0],
        missing_column=rows.drop(columns="size"),
        column_of_another_type=rows.assign(size="tall"),
        unknown_labels=rows.assign(late=rows["late"].where(rows.index % 2 == 0)),
        no_label=rows.drop(columns="late"),
        single_class=rows[rows["late"] == 1],
    )


@pipeline(model="judged", team="research", environment="dev", grain="month")
def judging(month: Interval) -> None:
    rows = validate(month, False)
    candidate = train(rows.history)
    damaged = damage(rows.holdout)
    for name in Damaged._fields:
        judge = evaluate_candidate.named(name)
        judge(candidate, getattr(damaged, name), label="late", policy=POLICY)


@step
def raises(month: Interval) -> int:
    raise ValueError("the warehouse answered with its lunch menu")


@step
def killed(month: Interval) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


@step(timeout="1s")
def endless(month: Interval) -> int:
    signal.pause()
    return 0


@step
def no_codec(month: Interval) -> object:
    return open(os.devnull)


@step
def works(month: Interval) -> int:
    return 1


@step
def after(number: int) -> int:
    return number


@pipeline(model="broken", team="research", environment="dev", grain="month")
def breaking(month: Interval) -> None:
    after.named("after_raises")(raises(month))
    killed(month)
    endless(month)
    no_codec(month)
    after(works(month))
"""

REFUSED_ROWS = {
    "empty_month": r"The holdout is empty: 0 rows < 1 required; check the interval",
    "missing_column": r"lacks 1 of the 1 feature columns .*: size",
    "column_of_another_type": r"failed on rows 0 to .* ValueError: could not convert .*'tall'",
    "unknown_labels": r"'late' is missing in 400 of 800 rows",
    "no_label": r"has no label column 'late'",
    "single_class": r"'late' has the single value 1 in all \d+ rows of the holdout, 1 < 2 required",
}
BROKEN_STEPS = {
    "raises": ("failed", r"the warehouse answered with its lunch menu"),
    "killed": ("failed", r"was killed by signal 9"),
    "endless": ("timed_out", r"it ran for [\d.]+ s > 1 s allowed"),
    "no_codec": ("failed", r"TextIOWrapper.*Return plain data"),
}


@pytest.fixture(scope="module")
def podium(tmp_path_factory: pytest.TempPathFactory) -> Podium:
    """The command in a project where one good month made a champion."""
    project = tmp_path_factory.mktemp("frames")
    (project / "pipelines").mkdir()
    (project / "podium.toml").write_text('project = "frames"\nslots = 2\n')
    (project / "pipelines" / "frames.py").write_text(FRAMES)
    command = Podium(project, {"OMP_NUM_THREADS": "1"})
    made = command("run", "frames", "--for", "2026-01", "--json")
    assert made.code == 0, made.err
    assert made.document["outcome"] == "promoted"
    return command


def _failed(podium: Podium, *arguments: str, **environment: str) -> dict[str, Any]:
    answer = podium("run", *arguments, "--json", **environment)
    assert answer.code == 1, answer
    assert "Traceback" not in answer.err
    document: dict[str, Any] = answer.document
    assert document["state"] == "failed"
    assert document["outcome"] is None
    return document


def _errors(run: dict[str, Any]) -> dict[str, str]:
    """The paragraph of each failed step's last attempt."""
    return {step["name"]: step["attempts"][-1]["error"] for step in run["steps"] if step["state"] == "failed"}


def _nothing_is_lost(podium: Podium) -> None:
    """The books agree, and the champion is whom the last evidence made it."""
    assert podium("costs", "reconcile").code == 0
    (model,) = podium("models", "list", "--json").document
    assert (model["name"], model["aliases"]["champion"], len(model["versions"])) == ("frames", "1", 1)


def test_rows_that_cannot_judge_fail_their_step_with_a_paragraph(podium: Podium) -> None:
    run = _failed(podium, "judging", "--for", "2026-02")
    errors = _errors(run)
    assert errors.keys() == REFUSED_ROWS.keys()
    for name, said in REFUSED_ROWS.items():
        assert re.search(said, errors[name]), f"{name}: {errors[name]}"
        assert "\n" not in errors[name]
    assert run["reason"] == f"empty_month: {errors['empty_month']}"
    # What no second try can change is not tried again.
    assert all(len(step["attempts"]) == 1 for step in run["steps"])
    _nothing_is_lost(podium)


def test_a_step_that_breaks_fails_the_run_and_the_others_finish(podium: Podium) -> None:
    run = _failed(podium, "breaking", "--for", "2026-02")
    steps = {step["name"]: step for step in run["steps"]}
    for name, (state, said) in BROKEN_STEPS.items():
        (attempt,) = steps[name]["attempts"]
        assert attempt["state"] == state
        assert re.search(said, attempt["error"]), f"{name}: {attempt['error']}"
    assert steps["after_raises"]["state"] == "skipped"
    assert steps["after"]["state"] == "succeeded"
    assert run["reason"].startswith("raises: ")
    _nothing_is_lost(podium)


def test_a_failed_run_is_shown_not_repeated_and_resumes_with_repaired_code(podium: Podium) -> None:
    asked = ("frames", "--for", "2026-02", "--param", "fail=true")
    failed = _failed(podium, *asked)
    assert _failed(podium, *asked) == failed
    shown = podium("runs", "show", failed["run_id"])
    assert shown.code == 0
    assert "the warehouse answered with its lunch menu" in shown.out
    assert "Traceback" in podium("runs", "logs", failed["run_id"]).out  # the log has what the message leaves out

    file = Path(podium.project, "pipelines", "frames.py")
    file.write_text(FRAMES.replace("if fail:", "if False:"))
    resumed = podium("runs", "resume", failed["run_id"], "--json")
    file.write_text(FRAMES)
    assert resumed.code == 0, resumed.err
    assert resumed.document["state"] == "succeeded"
    assert [attempt["state"] for attempt in resumed.document["steps"][0]["attempts"]] == ["failed", "succeeded"]


def test_behind_a_month_that_fails_no_later_one_starts(podium: Podium) -> None:
    answer = podium("run", "frames", "--for", "2026-03", "--for", "2026-04", "--param", "fail=true", "--json")
    assert answer.code == 1
    (only,) = answer.document
    assert only["interval"]["start"] == "2026-03-01T00:00:00Z"
    assert "2026-04 was not started, because 2026-03 failed." in answer.err


def test_mlflow_that_is_away_fails_the_step_soon_and_the_run_goes_on_when_it_is_back(podium: Podium) -> None:
    away = {"PODIUM_MLFLOW_TRACKING_URI": "http://127.0.0.1:1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    failed = _failed(podium, "frames", "--for", "2026-05", **away)
    assert "MLflow at http://127.0.0.1:1 did not" in failed["reason"]
    assert "Connection refused. Check that it runs" in failed["reason"]
    assert [step["name"] for step in failed["steps"] if step["state"] == "succeeded"] == ["validate", "train"]

    resumed = podium("runs", "resume", failed["run_id"], "--json")
    assert resumed.code == 0, resumed.err
    for step in resumed.document["steps"][:2]:
        assert len(step["attempts"]) == 1, step["name"]  # what had succeeded was not done again
    assert resumed.document["verdict"] is not None


def test_a_command_does_not_wait_minutes_for_mlflow(podium: Podium) -> None:
    answer = podium("models", "show", "frames", PODIUM_MLFLOW_TRACKING_URI="http://127.0.0.1:1")
    assert answer.code == 1
    assert answer.complaint.endswith("[Errno 111] Connection refused. Check that it runs and try again.")
    assert podium("models", "list").code == 0  # asks no registry


def _no_file_grows() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_a_full_disk_fails_the_command_with_its_reason_and_loses_nothing(podium: Podium) -> None:
    before = podium("runs", "list", "--json").document
    done = subprocess.run(
        [EXECUTABLE, "run", "frames", "--for", "2026-06"],
        cwd=podium.project,
        env=podium.variables(),
        capture_output=True,
        text=True,
        preexec_fn=_no_file_grows,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert "Error: " in done.stderr
    assert podium("runs", "list", "--json").document[-len(before) :] == before
    _nothing_is_lost(podium)
    assert podium("run", "frames", "--for", "2026-06", "--json").code == 0
