"""`podium models report`: of a version, of a run's rejected candidate, on stdout, in files, as JSON."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from podium.clock import FakeClock
from podium.registry import versions
from podium.registry.entities import ModelVersion
from podium.registry.memory_registry import MemoryRegistry
from podium.wiring.project import open_project
from tests.promotion_world import World
from tests.unit.cli.conftest import InProcess
from tests.unit.registry.test_report import evidence


@pytest.fixture
def world(podium: InProcess, clock: FakeClock) -> World:
    """The project's own database, and a registry that no command of these tests may ask."""
    return World(open_project(podium.project).database, MemoryRegistry(), clock, "counting")


@pytest.fixture
def run_id(podium: InProcess) -> str:
    """A run of the project."""
    return podium("run", "counting", "--for", "2026-03", "--detach").out.strip()


def reject(world: World, run_id: str, *, reason: str) -> None:
    """Put a judgement on record of which no version came."""
    with world.database.write() as connection:
        judged = evidence(model=world.model, reasons=(reason,))
        versions.record_evidence(connection, judged, run_id=run_id, step_key=f"{run_id}/evaluate", at=world.clock.now())


def test_a_versions_report_is_printed_as_markdown_without_pictures(
    podium: InProcess, world: World, run_id: str
) -> None:
    version = world.register(key=run_id)
    answer = podium("models", "report", "counting", "1")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("# counting: version 1, 2026-03\n\n**passed**: The candidate passed the gate:")
    for fact in (run_id, str(version.evidence_digest), "d" * 64, "e" * 64, "- pipeline: counting"):
        assert fact in answer.out
    assert "![" not in answer.out


def test_a_rejected_candidate_is_found_by_its_run_and_the_last_judgement_counts(
    podium: InProcess, world: World, run_id: str
) -> None:
    reject(world, run_id, reason="AUC 0.51 < 0.58 required.")
    world.clock.advance(60)  # type: ignore[attr-defined]  # a FakeClock
    reject(world, run_id, reason="AUC 0.52 < 0.58 required.")
    for given in (run_id, run_id[-6:]):
        answer = podium("models", "report", "counting", "--run", given)
        assert answer.code == 0
        assert answer.out.startswith("# counting: a candidate, 2026-03\n\n**failed**")
        assert "AUC 0.52 < 0.58 required." in answer.out
        assert "0.51" not in answer.out


def test_a_run_that_registered_says_which_version(podium: InProcess, world: World, run_id: str) -> None:
    world.register(key=run_id)
    by_run = podium("models", "report", "counting", "--run", run_id).out
    assert by_run == podium("models", "report", "counting", "1").out


def test_files_are_written_with_the_plots_beside_the_markdown(
    podium: InProcess, world: World, run_id: str, tmp_path: Path
) -> None:
    reject(world, run_id, reason="AUC 0.51 < 0.58 required.")
    page, text = tmp_path / "page.html", tmp_path / "may (1).md"
    answer = podium("models", "report", "counting", "--run", run_id, "--html", str(page), "--markdown", str(text))
    assert (answer.code, answer.out) == (0, "")
    assert page.read_text().startswith("<!doctype html>")
    plots = [f"may (1)-{name}.svg" for name in ("gain", "slices", "calibration")]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == sorted([page.name, text.name, *plots])
    for name in plots:
        ElementTree.fromstring((tmp_path / name).read_text())  # noqa: S314 - made here
        assert f"({name.replace(' (1)', '%20%281%29')})" in text.read_text()
    assert str(tmp_path / plots[0]) in answer.err.replace("\n", "")


def test_json_holds_the_evidence_and_its_circumstances(podium: InProcess, world: World, run_id: str) -> None:
    version: ModelVersion = world.register(key=run_id)
    document = podium("models", "report", "counting", "1", "--json").document
    assert (document["model"], document["version"], document["run_id"]) == ("counting", "1", run_id)
    assert (document["pipeline"], document["interval_name"]) == ("counting", "2026-03")
    assert document["evidence_digest"] == version.evidence_digest
    assert document["evidence"]["verdict"] == "passed"


def test_an_adopted_version_has_no_report(podium: InProcess, world: World) -> None:
    from podium.registry import store

    with world.database.write() as connection:
        adopted = ModelVersion("counting", "7", "d" * 64, "memory:/7", None, "adopted")
        store.add_version(connection, adopted, step_key="adopt/7", at=world.clock.now())
    answer = podium("models", "report", "counting", "7")
    assert answer.code == 2
    assert answer.complaint.startswith("There is no report on version 7 of counting: it was there before Podium")


def test_what_is_not_there_is_said(podium: InProcess, world: World, run_id: str, tmp_path: Path) -> None:
    def complaint(*words: str) -> str:
        answer = podium("models", "report", "counting", *words)
        assert (answer.code, answer.out) == (2, "")
        return answer.complaint

    assert complaint("9") == "Podium registered no version 9 of counting; `podium models show counting` lists them."
    assert f"The run {run_id} judged no candidate for counting" in complaint("--run", run_id)
    assert "There is no run 'nothing'" in complaint("--run", "nothing")
    for words in ((), ("1", "--run", run_id)):
        assert complaint(*words).startswith("Say which candidate for counting you mean: a VERSION, or the run")
    world.register(key=run_id)
    nowhere = tmp_path / "nowhere" / "x.html"
    assert complaint("1", "--html", str(nowhere)) == (
        f"The report cannot be written to {nowhere}: No such file or directory. Name another file."
    )
