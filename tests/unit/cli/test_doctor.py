"""`podium doctor` and `podium models doctor`: in words, as JSON, and their exit codes."""

import sqlite3
from contextlib import closing

from podium.clock import FakeClock
from podium.registry.memory_registry import MemoryRegistry
from podium.settings import load
from podium.wiring.project import Project
from tests.promotion_world import World
from tests.unit.cli.conftest import InProcess


def test_a_project_that_is_well(podium: InProcess) -> None:
    assert podium("run", "counting", "--for", "2026-03").code == 0
    looked = podium("doctor")
    assert (looked.code, looked.out) == (0, "Nothing is wrong with the project.\n")
    assert podium("doctor", "--json").document == {"ok": True, "findings": []}
    assert podium("models", "doctor").out == "Nothing is wrong with the models.\n"
    assert not (podium.project / ".podium" / "mlflow.db").exists()


def test_each_finding_is_named_with_its_repair_and_the_exit_code_is_1(podium: InProcess) -> None:
    podium.pipeline("import nowhere_to_be_found", "broken")
    (podium.project / "prices.yaml").write_text("- sku: [")
    looked = podium("doctor", "--json")
    assert looked.code == 1
    found = looked.document
    assert found["ok"] is False
    assert [(each["check"], each["model"], each["object"]) for each in found["findings"]] == [
        ("prices", None, "prices.yaml"),
        ("pipelines", None, "pipelines/broken.py"),
    ]
    assert "nowhere_to_be_found" in found["findings"][1]["problem"]
    assert all(set(each) == {"check", "model", "object", "problem", "repair"} for each in found["findings"])
    words = podium("doctor")
    assert words.code == 1
    assert "pipelines: pipelines/broken.py: " in words.out


def test_gates_that_nobody_could_be_judged_by(podium: InProcess) -> None:
    settings = podium.project / "podium.toml"
    gates = '[gates]\ncounting = "gate.yaml"\n"other_*" = "gate.yaml"\n"*" = "gone.yaml"\n'
    settings.write_text(f"{settings.read_text()}\n{gates}")
    gate = podium.project / "gate.yaml"
    gate.write_text("mode: refrsh\n")
    misspelt, gone = podium("doctor", "--json").document["findings"]
    assert [(each["check"], each["object"]) for each in (misspelt, gone)] == [
        ("gates", "gate.yaml"),
        ("gates", "gone.yaml"),
    ]
    assert "refrsh" in misspelt["problem"]
    assert "there is no such file" in gone["problem"]
    gate.write_text("mode: refresh\nrules: ['pipelines.counting:nowhere']\n")
    (podium.project / "gone.yaml").write_text("mode: refresh\n")
    (no_rule,) = podium("doctor", "--json").document["findings"]
    assert (no_rule["object"], "pipelines.counting:nowhere" in no_rule["problem"]) == ("gate.yaml", True)


def test_a_schedule_that_nobody_keeps(podium: InProcess) -> None:
    (source,) = (podium.project / "pipelines").glob("counting.py")
    podium.pipeline(source.read_text().replace('grain="month"', 'grain="month", schedule="0 6 1 * *"'))
    (finding,) = podium("doctor", "--json").document["findings"]
    assert finding["check"] == "schedules"
    assert "counting will not run" in finding["problem"]
    assert "`podium scheduler`" in finding["repair"]


def test_a_database_that_is_not_podiums_is_the_only_finding(podium: InProcess) -> None:
    assert podium("run", "counting", "--for", "2026-03").code == 0
    podium.pipeline("import nowhere_to_be_found", "broken")
    with closing(sqlite3.connect(podium.project / ".podium" / "podium.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'c4e5a9f1'")
    looked = podium("doctor", "--json")
    assert looked.code == 1
    assert [each["check"] for each in looked.document["findings"]] == ["database"]


def test_models_of_a_store_that_is_gone(podium: InProcess) -> None:
    project = Project(load(podium.project), FakeClock())
    World(project.database, MemoryRegistry(), project.clock).champions(1)
    project.close()
    looked = podium("models", "doctor", "flight_delay", "--json")
    assert looked.code == 1
    (finding,) = looked.document["findings"]
    assert (finding["check"], finding["object"]) == ("registry", "MLflow")
    assert "mlflow.db is not there" in finding["problem"]


def test_a_model_that_nobody_knows(podium: InProcess) -> None:
    looked = podium("models", "doctor", "flight_delay")
    assert looked.code == 2
    assert "There is no model 'flight_delay'" in looked.err
