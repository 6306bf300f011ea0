"""A second team on the same flights: several configurations side by side, the bootstrap as test, a cost of its own."""

from decimal import Decimal
from typing import Any

import pytest

from tests.e2e import shapes
from tests.e2e.command import ROOT, Podium

MONTHS = ("2013-06", "2013-07")
STEPS = ["validate", "configurations", "fit", "choose", "train", "evaluate_candidate"]
STAGES = ["register_version", "promote_version"]


@pytest.fixture(scope="module")
def podium(tmp_path_factory: pytest.TempPathFactory) -> Podium:
    """The command in a state folder of its own."""
    return Podium(ROOT, {"PODIUM_HOME": str(tmp_path_factory.mktemp("state")), "PODIUM_USER": "grace"})


@pytest.fixture(scope="module")
def runs(podium: Podium) -> list[dict[str, Any]]:
    """The documents of two months' runs, as `podium run --json` printed them."""
    answer = podium("run", "minutes_late", *(word for month in MONTHS for word in ("--for", month)), "--json")
    assert answer.code == 0, answer.err
    documents: list[dict[str, Any]] = answer.document
    for document in documents:
        shapes.check_run(document)
    return documents


def test_the_first_model_beats_a_constant_and_a_newer_one_need_only_not_be_worse(runs: list[dict[str, Any]]) -> None:
    assert [run["outcome"] for run in runs] == ["promoted", "promoted"]
    assert [run["model"]["champion_after"] for run in runs] == ["1", "2"]
    first, newer = ("; ".join(run["verdict"]["reasons"]) for run in runs)
    assert "of the best constant answer, which must be beaten" in first
    assert "is shown to be not worse than the champion's by the margin 0.5" in newer
    assert newer.count("paired bootstrap (BCa)") == 2  # the absolute error and its guard, the squared one
    for run in runs:
        errors = {each["metric"]: each for each in run["verdict"]["metrics"]}
        assert errors["mean_absolute_error"]["candidate"] < 0.9 * errors["mean_absolute_error"]["baseline"]


def test_every_configuration_is_a_step_run_with_an_attempt_and_a_cost_of_its_own(runs: list[dict[str, Any]]) -> None:
    for run, configurations in zip(runs, (2, 4), strict=True):  # half a year of data is there from July on
        assert list(dict.fromkeys(step["name"] for step in run["steps"])) == [*STEPS, *STAGES]
        items = [step for step in run["steps"] if step["map_index"] is not None]
        assert [(step["name"], step["map_index"]) for step in items] == [("fit", i) for i in range(configurations)]
        attempts = [attempt for step in items for attempt in step["attempts"]]
        assert [attempt["state"] for attempt in attempts] == ["succeeded"] * configurations
        assert all(Decimal(attempt["cost_usd"]) > 0 for attempt in attempts)


def test_the_log_of_the_choice_names_every_configuration(podium: Podium, runs: list[dict[str, Any]]) -> None:
    log = podium("runs", "logs", runs[1]["run_id"], "--step", "choose").out
    assert log.count(" leaves: ") == 4
    assert "since 2013-01-01, 48 leaves" in log


def test_costs_and_logs_call_an_item_by_its_number(podium: Podium, runs: list[dict[str, Any]]) -> None:
    run_id = runs[1]["run_id"]
    table = podium("costs", "run", run_id).out.splitlines()
    named = list(dict.fromkeys(line.split()[0] for line in table if line.startswith("fit")))
    assert named == [f"fit[{index}]" for index in range(4)]
    refused = podium("runs", "logs", run_id, "--step", "fit[9]")
    assert refused.code == 2
    assert refused.complaint == f"The step fit of run {run_id} has no item 9; it has fit[0] to fit[3]."
    assert "The step choose of run" in podium("runs", "logs", run_id, "--step", "choose[0]").complaint


def test_each_team_pays_for_its_own_runs(podium: Podium, runs: list[dict[str, Any]]) -> None:
    answer = podium("run", "flight_delay", "--for", "2013-07", "--json")
    assert answer.code == 0, answer.err
    other = answer.document
    report = podium("costs", "report", "--by", "team,model,environment", "--json").document
    paid = {(row["team"], row["model"], row["environment"]): Decimal(row["amount"]) for row in report["rows"]}
    assert paid == {
        ("passenger-care", "minutes_late", "staging"): sum(Decimal(run["cost_usd"]) for run in runs),
        ("network-ops", "flight_delay", "prod"): Decimal(other["cost_usd"]),
    }
    assert podium("costs", "reconcile").code == 0
