"""The demo on real flights: three months in order, and everything a person or a script asks about them afterwards."""

import hashlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.flight_delay import LABEL, validate
from podium import Interval
from tests.e2e import shapes
from tests.e2e.command import ROOT, Podium, Result

MONTHS = ("2013-07", "2013-08", "2013-09")
RUN = ("run", "flight_delay", *(word for month in MONTHS for word in ("--for", month)), "--json")

# What a service that knows nothing of Podium does: MLflow, the tracking URI, the alias.
PLAIN_MLFLOW = """
import sys
import mlflow, pandas
tracking_uri, rows = sys.argv[1], pandas.read_pickle(sys.argv[2])
mlflow.set_tracking_uri(tracking_uri)
model = mlflow.pyfunc.load_model("models:/flight_delay@champion")
signature = model.metadata.signature
assert signature.inputs.input_names() == list(rows.columns), signature
assert signature.outputs is not None
predictions = model.predict(rows)
assert len(predictions) == len(rows) and set(predictions) == {0, 1}, predictions
assert "podium" not in sys.modules
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Podium, Result]:
    """The command in a state folder where the three months ran, and what that command answered."""
    podium = Podium(ROOT, {"PODIUM_HOME": str(tmp_path_factory.mktemp("state")), "PODIUM_USER": "ada"})
    return podium, podium(*RUN)


@pytest.fixture(scope="module")
def podium(demo: tuple[Podium, Result]) -> Podium:
    """The command in a state folder where the three months ran."""
    return demo[0]


@pytest.fixture(scope="module")
def runs(demo: tuple[Podium, Result]) -> list[dict[str, Any]]:
    """The documents of the three runs, as `podium run --json` printed them."""
    _, answer = demo
    assert answer.code == 0, answer.err
    documents: list[dict[str, Any]] = answer.document
    return documents


@pytest.fixture
def changed_state(podium: Podium, tmp_path: Path) -> Iterator[Podium]:
    """The command in a copy of that state folder, for tests that move the champion."""
    # MLflow writes absolute paths into its database, so the copy takes the original's place for a while.
    home = Path(podium.environment["PODIUM_HOME"])
    kept = tmp_path / "kept"
    shutil.copytree(home, kept)
    yield podium
    shutil.rmtree(home)
    shutil.move(kept, home)


def test_the_report_lies_with_the_model_and_also_tells_of_the_rejected(
    podium: Podium, runs: list[dict[str, Any]]
) -> None:
    import mlflow

    home = Path(podium.environment["PODIUM_HOME"])
    client = mlflow.MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    version = client.get_model_version("flight_delay", "2")
    digest = runs[1]["verdict"]["evidence_digest"]
    lies = client.list_artifacts(version.run_id, "podium/gate")
    assert sorted(Path(each.path).name for each in lies) == [
        *("evidence.json", "report-calibration.svg", "report-gain.svg", "report.html", "report.md")
    ]
    evidence = Path(client.download_artifacts(version.run_id, "podium/gate/evidence.json", str(home)))
    assert hashlib.sha256(evidence.read_bytes()).hexdigest() == digest
    run = client.get_run(version.run_id)
    auc = runs[1]["verdict"]["metrics"][0]
    assert (run.data.metrics["candidate_auc"], run.data.metrics["champion_auc"]) == (auc["candidate"], auc["champion"])
    assert run.data.tags["mlflow.note.content"].startswith("**passed**: The candidate passed the gate:")
    assert f"/runs/{version.run_id}/artifacts/podium/gate/report.html)" in version.description

    printed = podium("models", "report", "flight_delay", "2")
    assert printed.out.startswith("# flight_delay: version 2, 2013-08\n\n**passed**")
    assert digest in printed.out
    rejected = podium("models", "report", "flight_delay", "--run", runs[2]["run_id"])
    assert rejected.out.startswith("# flight_delay: a candidate, 2013-09\n\n**failed**")
    assert runs[2]["verdict"]["reasons"][0].partition(":")[0] in rejected.out


def test_real_data_promote_the_first_model_and_a_better_one_and_reject_a_worse_one(runs: list[dict[str, Any]]) -> None:
    assert [run["outcome"] for run in runs] == ["promoted", "promoted", "rejected"]
    assert [run["model"]["version"] for run in runs] == ["1", "2", None]
    assert [run["model"]["champion_before"] for run in runs] == [None, "1", "2"]
    assert [run["model"]["champion_after"] for run in runs] == ["1", "2", "2"]
    first, better, worse = ("; ".join(run["verdict"]["reasons"]) for run in runs)
    assert "First model" in first
    assert "≥ 0.580 required" in first
    assert "is shown to be better than the champion's" in better
    assert "DeLong" in better
    assert "is not shown to be better" in worse


def test_progress_goes_to_stderr_as_plain_lines(demo: tuple[Podium, Result]) -> None:
    _, answer = demo
    lines = answer.err.splitlines()
    assert all(line.startswith("flight_delay 2013-0") for line in lines), answer.err
    assert "train attempt 1 succeeded" in answer.err
    assert "\x1b" not in answer.err


def test_the_champion_loads_with_plain_mlflow_has_a_signature_and_predicts(podium: Podium, tmp_path: Path) -> None:
    rows = validate(Interval.parse("2013-09", "America/New_York")).replay.drop(columns=LABEL)
    rows.to_pickle(tmp_path / "rows.pickle")
    uri = f"sqlite:///{podium.environment['PODIUM_HOME']}/mlflow.db"
    done = subprocess.run(
        [sys.executable, "-c", PLAIN_MLFLOW, uri, tmp_path / "rows.pickle"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_the_same_command_again_adds_nothing_and_answers_the_same(podium: Podium, runs: list[dict[str, Any]]) -> None:
    before = _rows(podium)
    again = podium(*RUN)
    assert again.code == 0
    assert again.document == runs
    assert again.err.count("had already succeeded") == 3
    assert _rows(podium) == before


def _rows(podium: Podium) -> dict[str, int]:
    """How many rows every table of Podium's and of MLflow's database has."""
    counted = {}
    for name in ("podium.db", "mlflow.db"):
        with closing(sqlite3.connect(Path(podium.environment["PODIUM_HOME"], name))) as connection:
            tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                # S608: the names are those of the schema itself
                counted[f"{name}:{table}"] = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]  # noqa: S608
    return counted


def test_runs_have_their_shape(podium: Podium, runs: list[dict[str, Any]]) -> None:
    for run in runs:
        shapes.check_run(run)
    listed = podium("runs", "list", "--json").document
    assert [run["run_id"] for run in listed] == [run["run_id"] for run in reversed(runs)]
    for run in listed:
        shapes.check_listed_run(run)
        assert "steps" not in run
    assert podium("runs", "show", runs[0]["run_id"], "--json").document == runs[0]
    assert runs[0]["interval"] == {"start": "2013-07-01T04:00:00Z", "end": "2013-08-01T04:00:00Z"}
    assert runs[0]["trigger"] == "person"
    assert runs[0]["steps"][0]["attempts"][0]["error"] is None


def test_what_the_gate_measured_can_be_read(podium: Podium, runs: list[dict[str, Any]]) -> None:
    first, better, _ = (
        {each["metric"]: each for each in run["verdict"]["metrics"]} | {"rows": run["verdict"]["rows"]} for run in runs
    )
    assert first["rows"] > 10_000
    assert first["log_loss"]["champion"] is None
    assert better["log_loss"]["candidate"] < better["log_loss"]["baseline"]
    assert better["auc"]["candidate"] > better["auc"]["champion"] > better["auc"]["baseline"] == 0.5
    # Flights are on time more often than not: the best constant answer is right for more than half of them.
    assert 0.5 < better["accuracy"]["baseline"] < 1
    shown = [line.split() for line in podium("runs", "show", runs[0]["run_id"]).out.splitlines()]
    assert ["metric", "candidate", "champion", "baseline"] in shown
    (log_loss,) = (words for words in shown if words[:1] == ["log_loss"])
    measured = first["log_loss"]
    assert log_loss[1:] == [f"{measured['candidate']:.4g}", "–", f"{measured['baseline']:.4g}"]


def test_models_have_their_shape(podium: Podium, runs: list[dict[str, Any]]) -> None:
    shown = podium("models", "show", "flight_delay", "--json").document
    (listed,) = podium("models", "list", "--json").document
    for model in (shown, listed):
        assert model["name"] == "flight_delay"
        assert model["aliases"] == {"champion": "2", "challenger": None}
        assert [version["version"] for version in model["versions"]] == ["2", "1"]
        for version in model["versions"]:
            assert version.keys() >= {"version", "state", "run_id", "digest", "blocked"}
            assert version["blocked"] is False
    assert [version["run_id"] for version in shown["versions"]] == [runs[1]["run_id"], runs[0]["run_id"]]


def test_history_has_its_shape_and_verifies(podium: Podium) -> None:
    entries = podium("models", "history", "flight_delay", "--json").document
    for entry in entries:
        shapes.check_entry(entry)
    assert [(entry["state"], entry["from_version"], entry["to_version"]) for entry in entries] == [
        ("applied", None, "1"),
        ("applied", "1", "2"),
    ]
    assert {entry["actor"] for entry in entries} == {"ada"}
    assert entries[1]["previous_hash"] == entries[0]["hash"]
    verified = podium("models", "verify", "flight_delay", "--json")
    assert verified.code == 0
    assert verified.document.items() >= {"ok": True, "entries": 2, "first_bad": None}.items()


def test_a_changed_history_is_located_and_exits_1(changed_state: Podium) -> None:
    with closing(sqlite3.connect(Path(changed_state.environment["PODIUM_HOME"], "podium.db"))) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute("UPDATE promotion_history SET reason = 'never happened' WHERE id = 2")
        connection.commit()
    verified = changed_state("models", "verify", "flight_delay", "--json")
    assert verified.code == 1
    assert verified.document.items() >= {"ok": False, "entries": 2, "first_bad": 2}.items()


def test_costs_agree_wherever_they_are_asked_for(podium: Podium, runs: list[dict[str, Any]]) -> None:
    report = podium("costs", "report", "--by", "team,model", "--json").document
    assert report.keys() >= {"currency", "from", "to", "rows", "total"}
    (row,) = report["rows"]
    assert (report["currency"], row["team"], row["model"]) == ("USD", "network-ops", "flight_delay")
    assert shapes.is_money(row["amount"])
    assert shapes.is_money(report["total"])
    assert Decimal(report["total"]) == sum(Decimal(run["cost_usd"]) for run in runs) > 0
    assert podium("costs", "run", runs[0]["run_id"], "--json").document["total"] == runs[0]["cost_usd"]


def test_the_books_reconcile(podium: Podium) -> None:
    answer = podium("costs", "reconcile", "--json")
    assert answer.code == 0
    assert answer.document["ok"] is True
    for check in answer.document["checks"]:
        assert check.keys() >= {"name", "left", "right", "difference"}
        assert check["left"] == check["right"], check
        assert check["difference"] == "0", check


def test_rollback_blocks_what_it_rolls_back_from_until_a_person_unblocks_it(changed_state: Podium) -> None:
    podium = changed_state
    back = podium("rollback", "flight_delay", "--reason", "false alarms", "--json")
    shapes.check_promotion(back.document)
    assert back.code == 0
    assert back.document.items() >= {"state": "applied", "from_version": "2", "champion": "1"}.items()

    refused = podium("promote", "flight_delay", "--version", "2", "--reason", "again", "--json")
    shapes.check_promotion(refused.document)
    assert refused.code == 3
    assert refused.document.items() >= {"state": "refused", "to_version": "2", "champion": "1"}.items()
    assert "`podium models unblock flight_delay --version 2 --reason TEXT` lifts that" in " ".join(
        refused.document["reasons"]
    )

    assert podium("models", "unblock", "flight_delay", "--version", "2", "--reason", "it was the network").code == 0
    swapped = podium("promote", "flight_delay", "--expect-champion", "2", "--reason", "I saw 2 serve", "--json")
    assert swapped.code == 3
    assert "is version 1, not version 2" in " ".join(swapped.document["reasons"])
    forward = podium("promote", "flight_delay", "--expect-champion", "1", "--reason", "all is well", "--json")
    assert forward.code == 0, forward.out
    assert forward.document["champion"] == "2"

    entries = podium("models", "history", "flight_delay", "--json").document
    told = ["applied", "blocked", "refused", "unblocked", "refused", "applied"]
    assert [entry["state"] for entry in entries[2:]] == told
    assert podium("models", "verify", "flight_delay").code == 0


def test_tables_read_well_at_a_hundred_columns(podium: Podium, runs: list[dict[str, Any]]) -> None:
    run_id = runs[1]["run_id"]
    for command in (
        ("run", "flight_delay", "--for", "2013-08"),
        ("runs", "list"),
        ("runs", "show", run_id),
        ("runs", "graph", run_id),
        ("models", "list"),
        ("models", "show", "flight_delay"),
        ("models", "history", "flight_delay"),
        ("costs", "report", "--by", "team,model,resource"),
        ("costs", "run", run_id),
        ("costs", "reconcile"),
        ("pipelines", "list"),
        ("pipelines", "show", "flight_delay"),
    ):
        answer = podium(*command)
        assert answer.code == 0, answer.err
        assert "…" not in answer.out, command  # nothing is cut
        assert max(map(len, answer.out.splitlines())) <= 100, answer.out
        assert not any(line.endswith(" ") for line in answer.out.splitlines()), command
    assert run_id in podium("runs", "list").out


def test_logs_are_what_the_steps_printed(podium: Podium, runs: list[dict[str, Any]]) -> None:
    answer = podium("runs", "logs", runs[0]["run_id"], "--step", "validate")
    assert answer.code == 0
    assert "history of flight_delay" in answer.out
    assert "validate attempt 1 (succeeded)" in answer.out
