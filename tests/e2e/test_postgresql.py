"""A new project whose state is wholly in PostgreSQL: run, promote, roll back, report, by the command alone."""

from decimal import Decimal
from pathlib import Path

import pytest

from tests.e2e import shapes
from tests.e2e.command import Podium
from tests.postgresql_on_tcp import PASSWORD, TcpServer


@pytest.fixture
def podium(tmp_path: Path, password_server: TcpServer) -> Podium:
    """The command in a new project with a database of its own on a server that asks for a password."""
    assert Podium(tmp_path)("init", "project").code == 0
    return Podium(
        tmp_path / "project", {"PODIUM_DATABASE_URL": password_server.create("whole_project"), "PODIUM_USER": "ada"}
    )


def test_a_project_lives_wholly_on_postgresql(podium: Podium) -> None:
    early = podium("run", "digits", "--for", "2026-09")
    assert (early.code, "run `podium db upgrade`" in early.complaint) == (2, True)
    assert podium("db", "upgrade").code == 0

    ran = podium("run", "digits", "--for", "2026-09", "--json")
    assert ran.code == 0, ran.err
    assert (ran.document["state"], ran.document["outcome"]) == ("succeeded", "promoted")
    again = podium("run", "digits", "--for", "2026-09", "--json")
    assert (again.code, again.document) == (0, ran.document)

    (listed,) = podium("runs", "list", "--json").document
    assert listed["run_id"] == ran.document["run_id"]
    shapes.check_run(podium("runs", "show", listed["run_id"], "--json").document)
    (promoted,) = podium("models", "history", "digits", "--json").document
    assert (promoted["state"], promoted["to_version"]) == ("applied", "1")
    assert podium("models", "verify", "digits", "--json").document["ok"] is True

    report = podium("costs", "report", "--by", "team,model", "--json").document
    assert Decimal(report["total"]) == Decimal(ran.document["cost_usd"]) > 0
    assert podium("costs", "reconcile", "--json").document["ok"] is True

    home = podium.project / ".podium"
    assert not (home / "podium.db").exists()
    assert (home / "mlflow.db").exists()
    written = [path for path in podium.project.rglob("*") if path.is_file() and path.suffix not in (".db", ".skops")]
    assert [path for path in written if PASSWORD in path.read_text(encoding="utf-8", errors="replace")] == []
