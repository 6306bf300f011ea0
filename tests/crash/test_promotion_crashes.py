"""A process killed anywhere between upload and confirmed promotion, then the same request again, on a real MLflow."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podium.db.engine import Database
from tests.registry_processes import Processes, started

_numbers = itertools.count(1)

KILLED = -9
POINTS = [
    "registry.before_log_model",
    "registry.after_log_model",
    "registry.before_attach",
    "registry.after_attach",
    "registry.before_create_version",
    "registry.after_create_version",
    "registry.after_record_version",
    "promotion.before_compare",
    "promotion.after_intent",
    "promotion.after_alias",
    "promotion.after_applied",
]

APPROVED = [
    ["promote", "proposed", "1"],
    ["approve", "approved", "1"],
    ["approve", "approved", "1"],
    ["promote", "applied", "1"],
]


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with started(tmp_path_factory.mktemp("crashes")) as running:
        yield running


@pytest.fixture
def model() -> str:
    return f"crashing-{next(_numbers)}"


@pytest.mark.parametrize("point", POINTS)
def test_a_request_repeated_after_a_kill_ends_as_if_nothing_had_happened(
    processes: Processes, database: Database, model: str, point: str
) -> None:
    assert processes.one(database, model, "journey", key=f"{model}/run", faults=f"{point}:kill") == KILLED
    found = processes.one(database, model, "journey", key=f"{model}/run")
    promotion = found.pop("promotion")
    assert (promotion["state"], promotion["from_version"], promotion["to_version"]) == ("applied", None, "1")
    assert found["verify"].pop("head").startswith("1:")
    assert found == {
        "versions": ["1"],
        "champion": "1",
        "told": [["promote", "applied", "1"]],
        "verify": {"ok": True, "entries": 1, "first_bad": None, "problem": None},
    }


@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("promotion.after")])
def test_whoever_comes_next_first_ends_what_the_dead_process_began(
    processes: Processes, database: Database, model: str, point: str
) -> None:
    first, second = processes.one(database, model, "candidates", count=2)
    request = {"expect": None, "version": first, "key": f"{model}/dead"}
    assert processes.one(database, model, "promote", faults=f"{point}:kill", **request) == KILLED
    promotion = processes.one(database, model, "promote", expect=None, version=second, key=f"{model}/next")
    assert (promotion["state"], promotion["champion"]) == ("refused", first)
    assert "ada promoted version 1" in promotion["reasons"][0]
    found = processes.one(database, model, "inspect")
    assert (found["champion"], found["told"]) == (
        first,
        [["promote", "applied", first], ["promote", "refused", second]],
    )
    assert found["verify"]["ok"]


GUARD_POINTS = ["guard.after_noticed", "guard.after_restore"]


@pytest.mark.parametrize("point", GUARD_POINTS)
def test_a_guard_that_was_killed_leaves_what_the_next_one_completes(
    processes: Processes, database: Database, model: str, point: str
) -> None:
    processes.one(database, model, "champions", count=2, found="1")
    assert processes.one(database, model, "look", faults=f"{point}:kill") == KILLED
    assert processes.one(database, model, "look") == ["restored"]
    assert processes.one(database, model, "look") == []
    found = processes.one(database, model, "inspect")
    assert (found["champion"], found["told"][2:]) == ("2", [["watch", "noticed", "1"], ["watch", "restored", "2"]])
    assert found["verify"]["ok"]


def test_of_guards_that_look_at_once_one_acts(processes: Processes, database: Database, model: str) -> None:
    processes.one(database, model, "champions", count=2, found="1")
    acts: list[tuple[str, dict[str, Any]]] = [("look", {})] * 4
    seen = processes.run(database, model, *acts, faults="promotion.before_compare:barrier=4")
    assert sorted(seen, key=len) == [[], [], [], ["noticed", "restored"]]
    found = processes.one(database, model, "inspect")
    assert (found["champion"], len(found["told"])) == ("2", 4)


@pytest.mark.parametrize("point", ["adopt.after_version", "adopt.after_alias"])
def test_an_adoption_repeated_after_a_kill_ends_as_if_nothing_had_happened(
    processes: Processes, database: Database, model: str, point: str
) -> None:
    foreign = processes.one(database, model, "foreign", alias="production", count=2)
    assert processes.one(database, model, "adopt", alias="production", faults=f"{point}:kill") == KILLED
    adopted = processes.one(database, model, "adopt", alias="production")
    assert [each["version"] for each in adopted["versions"]] == foreign
    found = processes.one(database, model, "inspect")
    assert found["verify"]["ok"]
    assert (found["versions"], found["champion"], found["told"]) == (
        foreign,
        foreign[-1],
        [["adopt", "adopted", foreign[-1]]],
    )


@pytest.mark.parametrize("point", ["advance.after_evidence", "registry.after_create_version", "advance.after_copy"])
def test_an_advance_repeated_after_a_kill_ends_as_if_nothing_had_happened(
    processes: Processes, database: Database, model: str, point: str
) -> None:
    processes.one(database, model, "serve_in_dev")
    assert processes.one(database, model, "advance", faults=f"{point}:kill") == KILLED
    found = processes.one(database, model, "advance")
    assert len(found.pop("digests")) == 1
    assert found == {
        "state": "applied",
        "versions": ["1"],
        "champion": "1",
        "told": [["promote", "applied", "1"]],
        "uses": 1,
        "same_files": True,
    }


def test_two_who_advance_the_same_version_at_once_do_it_once(
    processes: Processes, database: Database, model: str
) -> None:
    processes.one(database, model, "serve_in_dev")
    acts: list[tuple[str, dict[str, Any]]] = [("advance", {})] * 2
    for found in processes.run(database, model, *acts, faults="advance.after_evidence:barrier=2"):
        assert (found["state"], found["versions"], found["told"]) == ("applied", ["1"], [["promote", "applied", "1"]])


def test_the_processes_share_one_mlflow(tmp_path: Path, processes: Processes, database: Database, model: str) -> None:
    # Its tables do not exist yet, and four processes want them at once.
    fresh = Processes(processes._process, tmp_path / "fresh")
    (tmp_path / "fresh").mkdir()
    acts: list[tuple[str, dict[str, Any]]] = [("inspect", {})] * 4
    assert [found["versions"] for found in fresh.run(database, model, *acts)] == [[]] * 4


# What people have to approve


@pytest.fixture
def act(processes: Processes, database: Database, model: str) -> Any:
    """Do one act in a process of its own."""

    def do(name: str, faults: str = "", **arguments: Any) -> Any:
        return processes.one(database, model, name, faults=faults, **arguments)

    return do


def test_a_proposal_repeated_after_a_kill_is_the_same(act: Any, model: str) -> None:
    assert act("propose", key=model, faults="promotion.after_proposal:kill") == KILLED
    asked = act("propose", key=model)
    assert (asked["state"], asked["to_version"]) == ("awaiting_approval", "1")
    found = act("inspect")
    assert (found["champion"], found["told"], found["verify"]["ok"]) == (None, APPROVED[:1], True)


@pytest.mark.parametrize(
    "point",
    ["promotion.before_decision", "promotion.after_decision", "promotion.after_alias", "promotion.after_applied"],
)
def test_the_last_approval_is_completed_by_whoever_comes_next(act: Any, model: str, point: str) -> None:
    asked = act("propose", key=model)
    decision = {"promotion_id": asked["promotion_id"], "decision": "approve"}
    assert act("decide", actor="bo", **decision)["said"] == "awaiting_approval"
    assert act("decide", actor="cy", faults=f"{point}:kill", **decision) == KILLED
    found = act("decide", actor="cy", **decision)
    if point != "promotion.before_decision":
        assert "awaits no approval: it was applied" in found["said"]
    assert (found["champion"], found["told"], found["approvers"]) == ("1", APPROVED, ["bo", "cy"])
    assert found["verify"]["ok"]


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_word_that_was_said_counts_though_its_process_died(act: Any, model: str, decision: str) -> None:
    asked = act("propose", key=model)
    said = {"promotion_id": asked["promotion_id"], "decision": decision, "actor": "bo"}
    assert act("decide", faults="promotion.after_decision:kill", **said) == KILLED
    found = act("decide", **{**said, "actor": "cy", "decision": "approve"})
    assert found["verify"]["ok"]
    if decision == "approve":
        assert (found["said"], found["told"]) == ("applied", APPROVED)
    else:
        assert found["champion"] is None
        assert found["told"][1:] == [["reject", "rejected", "1"], ["promote", "refused", "1"]]
