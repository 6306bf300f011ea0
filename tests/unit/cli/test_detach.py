"""`podium run --detach`: a run is put on record for a worker, or it is said why not."""

from collections.abc import Callable

from tests.unit.cli.conftest import InProcess


def test_a_detached_run_is_on_record_and_untouched_and_its_id_is_all_of_stdout(podium: InProcess) -> None:
    answer = podium("run", "counting", "--for", "2026-03", "--detach")
    assert answer.code == 0
    run_id = answer.out.removesuffix("\n")
    hint = f"A `podium worker` executes it; `podium runs show {run_id}` tells how far it is.\n"
    assert answer.err == hint
    (run,) = podium("runs", "list", "--json").document
    assert (run["run_id"], run["state"], run["interval_name"]) == (run_id, "queued", "2026-03")


def test_detaching_an_interval_twice_is_one_run_and_json_is_its_document(podium: InProcess) -> None:
    first = podium("run", "counting", "--for", "2026-03", "--detach", "--json")
    again = podium("run", "counting", "--for", "2026-03", "--detach", "--json")
    assert first.document == again.document
    assert first.document["state"] == "queued"
    assert [step["state"] for step in first.document["steps"]] == ["ready", "waiting"]


def test_an_interval_that_has_a_finished_run_shows_it_and_adds_nothing(podium: InProcess) -> None:
    finished = podium("run", "counting", "--for", "2026-03", "--json").document
    answer = podium("run", "counting", "--for", "2026-03", "--detach", "--json")
    assert (answer.code, answer.document) == (0, finished)
    assert "podium worker" not in answer.err
    assert len(podium("runs", "list", "--json").document) == 1


def test_several_intervals_are_not_detached_at_once(refuses: Callable[..., str]) -> None:
    complaint = refuses("run", "counting", "--for", "2026-03", "--for", "2026-04", "--detach")
    assert complaint.startswith("--detach takes one --for, and 2 are given")
    assert "one after another" in complaint


def test_a_detached_run_that_could_not_be_paid_for_is_not_on_record(
    podium: InProcess, refuses: Callable[..., str]
) -> None:
    (podium.project / "prices.yaml").write_text("prices: []\n")
    assert "prices.yaml" in refuses("run", "counting", "--for", "2026-03", "--detach")


def test_a_worker_without_prices_does_not_start(podium: InProcess, refuses: Callable[..., str]) -> None:
    (podium.project / "prices.yaml").write_text("prices: []\n")
    assert "prices.yaml" in refuses("worker")
