"""`podium db check` of what a project has on record: in words, as JSON, and its exit code."""

import sqlite3
from contextlib import closing

from tests.unit.cli.conftest import InProcess


def change(podium: InProcess, statement: str) -> None:
    with closing(sqlite3.connect(podium.project / ".podium" / "podium.db")) as database, database:
        database.execute(statement)


def test_a_project_that_is_well_is_said_to_be(podium: InProcess) -> None:
    assert podium("run", "counting", "--for", "2026-03").code == 0
    checked = podium("db", "check", "--deep")
    assert checked.code == 0
    assert checked.out.endswith("Runs, attempts, events, artifacts and ledger are as they must be.\n")


def test_each_violation_is_named_with_its_repair_and_the_exit_code_is_1(podium: InProcess) -> None:
    assert podium("run", "counting", "--for", "2026-03", "--detach").code == 0
    run_id = podium("runs", "list", "--json").document[0]["run_id"]
    change(podium, "UPDATE run SET open_steps = 5")
    checked = podium("db", "check")
    right = f"open_steps = 2 WHERE run_id = '{run_id}'"
    repair = f"With no worker at work, `UPDATE run SET {right}`."  # noqa: S608 - nobody runs it here
    fact = "it counts 5 open steps, and 2 are open"
    assert checked.code == 1
    assert f"transactions: run {run_id}: {fact}. {repair}" in " ".join(checked.out.split())
    document = podium("db", "check", "--json").document
    assert (document["ok"], document["problem"], document["warnings"]) == (False, None, [])
    assert document["violations"] == [
        {
            "invariant": "transactions",
            "object": f"run {run_id}",
            "fact": fact,
            "repair": repair,
            "severity": "broken",
        }
    ]


def test_what_only_a_deep_check_sees(podium: InProcess) -> None:
    assert podium("run", "counting", "--for", "2026-03").code == 0
    change(podium, "UPDATE artifact SET inline = zeroblob(length(inline))")
    assert podium("db", "check").code == 0
    assert podium("db", "check", "--deep").code == 1
