"""A project, an environment or files that are wrong: one paragraph that names the object, the fact and the remedy."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.cli.conftest import InProcess

Refuses = Callable[..., str]


def test_outside_a_project_the_way_into_one_is_named(podium: InProcess, tmp_path: Path) -> None:
    (podium.project / "podium.toml").unlink()
    answer = podium("runs", "list")
    assert answer.code == 2
    assert answer.complaint.startswith(f"No podium.toml in {podium.project} or any folder above it")
    assert "`podium init`" in answer.complaint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('project = "x\n', "is not valid TOML"),
        ("slot = 3\n", "sets 'slot', which is no setting; did you mean slots?"),
        ("slots = 'many'\n", "is 'many': Input should be a valid integer"),
        ('home = "/tmp"\n', "sets 'home', which is no setting"),
        ("[budgets]\ncap = 3\n", "sets 'budgets', which is no setting."),
        ('artifact_retention = "a while"\n', "give a whole number of days, as 90d"),
        ('pipelines = "elsewhere"\n', "elsewhere"),
        ('[gates]\ncounting = "../gate.yaml"\n', "give a YAML file of the project"),
        (
            '[gates]\n"count*" = "gates/gone.yaml"\n',
            "says that gates/gone.yaml holds the gate of counting, but there is no",
        ),
    ],
)
def test_a_wrong_podium_toml_names_file_and_fault(podium: InProcess, text: str, said: str) -> None:
    (podium.project / "podium.toml").write_text(text)
    answer = podium("run", "counting", "--for", "2026-10")
    assert answer.code == 2
    assert said in answer.complaint
    assert str(podium.project) in answer.complaint
    (podium.project / "podium.toml").write_text("")
    assert podium("runs", "list", "--json").document == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PODIUM_SLOTS", "x"),
        ("PODIUM_SLOTS", "0"),
        ("PODIUM_LEASE_SECONDS", "-1"),
        ("PODIUM_ARTIFACT_RETENTION", "0d"),
        ("PODIUM_MLFLOW_TRACKING_URI", "nonsense"),
        ("PODIUM_MLFLOW_TRACKING_URI", "file:///tmp/mlruns"),
    ],
)
def test_a_wrong_type_in_the_environment_names_the_variable(refuses: Refuses, name: str, value: str) -> None:
    assert refuses("runs", "list", **{name: value}).startswith(f"{name} is '{value}': ")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nowhere://ada:s3cret@bucket", "nowhere://bucket: Protocol not known: nowhere. Correct it."),
        ("memory://podium", "the memory of one process"),
    ],
)
def test_a_place_of_artifacts_that_no_step_could_write_to_is_told_before_a_run(
    refuses: Refuses, url: str, said: str
) -> None:
    complaint = refuses("run", "counting", "--for", "2026-10", PODIUM_ARTIFACT_URL=url)
    assert "artifact_url (PODIUM_ARTIFACT_URL)" in complaint
    assert said in complaint
    assert "s3cret" not in complaint


def test_a_state_folder_that_cannot_be_made_is_named(refuses: Refuses, podium: InProcess) -> None:
    below_a_file = str(podium.project / "podium.toml" / "state")
    complaint = refuses("run", "counting", "--for", "2026-10", PODIUM_HOME=below_a_file)
    assert (
        complaint
        == f"The state folder {below_a_file} cannot be made: Not a directory. Set PODIUM_HOME to a folder that can."
    )


def test_a_read_only_state_folder_is_named(refuses: Refuses) -> None:
    complaint = refuses("runs", "list", code=1, PODIUM_HOME="/sys/kernel")
    assert "sqlite:////sys/kernel/podium.db" in complaint


def test_a_file_that_is_no_database_is_not_overwritten(podium: InProcess, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "podium.db").write_bytes(b"my thesis, chapter one\n" * 500)
    answer = podium("run", "counting", "--for", "2026-10", PODIUM_HOME=str(state))
    assert answer.code == 1
    assert "cannot be read: file is not a database. Restore it from a copy" in answer.complaint
    assert (state / "podium.db").read_bytes().startswith(b"my thesis")


def test_a_damaged_database_is_named(podium: InProcess, tmp_path: Path) -> None:
    assert podium("runs", "list").code == 0
    whole = podium.project / ".podium" / "podium.db"
    with closing(sqlite3.connect(whole)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(whole.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    state = tmp_path / "state"
    state.mkdir()
    (state / "podium.db").write_bytes(data)
    answer = podium("runs", "list", PODIUM_HOME=str(state))
    assert answer.code == 1
    assert "cannot be read: database disk image is malformed" in answer.complaint


def test_a_database_of_a_newer_podium_asks_for_an_upgrade_of_podium(podium: InProcess) -> None:
    assert podium("runs", "list").code == 0
    with closing(sqlite3.connect(podium.project / ".podium" / "podium.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    answer = podium("runs", "list")
    assert answer.code == 2
    assert "newer than" in answer.complaint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- sku: [unclosed\n", "prices.yaml"),
        ("prices: 3\n", "prices.yaml"),
        ("prices: []\n", "has no entries"),
        ("- {sku: cpu-core, unit_price: free}\n", "prices.yaml"),
    ],
)
def test_a_malformed_price_book_stops_the_run_before_anything_is_spent(
    refuses: Refuses, podium: InProcess, text: str, said: str
) -> None:
    (podium.project / "prices.yaml").write_text(text)
    assert said in refuses("run", "counting", "--for", "2026-10")
    assert podium("costs", "report", "--json").document["rows"] == []


def test_a_malformed_price_book_does_not_hide_a_finished_run(podium: InProcess) -> None:
    command = ("run", "counting", "--for", "2026-10", "--json")
    finished = podium(*command).document
    (podium.project / "prices.yaml").write_text("prices: 3\n")
    again = podium(*command)
    assert (again.code, again.document) == (0, finished)
    stopped = podium(*command, "--for", "2026-11")  # the first is shown, and nothing is made of the second
    assert stopped.code == 2
    assert "prices.yaml" in stopped.complaint
    assert [run["run_id"] for run in podium("runs", "list", "--json").document] == [finished["run_id"]]


BROKEN = {
    "raising": ("import nothing_of_this_name\n", "nothing_of_this_name"),
    "unparsable": ("def (:\n", "unparsable.py"),
    "hanging": ("import time\ntime.sleep(600)\n", "did not finish importing in 2 s and was stopped"),
    "exiting": ("import os\nos._exit(3)\n", "exit code 3"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_pipeline_file_is_named_and_the_others_run(refuses: Refuses, podium: InProcess, name: str) -> None:
    text, said = BROKEN[name]
    podium.pipeline(text, name)
    complaint = refuses("run", name, "--for", "2026-10", PODIUM_TRACE_TIMEOUT_SECONDS="2")
    assert f"pipelines/{name}.py" in complaint
    assert said in complaint
    listed = podium("pipelines", "list", "--json", PODIUM_TRACE_TIMEOUT_SECONDS="2")
    assert listed.code == 2
    assert [plan["pipeline"] for plan in listed.document] == ["counting"]
    assert said in listed.complaint
    shown = podium("pipelines", "show", "counting", "--json", PODIUM_TRACE_TIMEOUT_SECONDS="2")
    assert shown.code == 0
    assert shown.document["pipeline"] == "counting"


def test_two_pipelines_of_one_name_are_both_named(refuses: Refuses, podium: InProcess) -> None:
    podium.pipeline((podium.project / "pipelines" / "counting.py").read_text(), "copied")
    complaint = refuses("run", "counting", "--for", "2026-10")
    assert "counting.py" in complaint
    assert "copied.py" in complaint
    assert "rename" in complaint
