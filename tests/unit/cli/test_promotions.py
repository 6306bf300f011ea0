"""`podium promote`, `approve`, `reject` and `promotions`: what they say, what they exit with, and in which JSON."""

from pathlib import Path

import pytest

from podium.registry.memory_registry import MemoryRegistry
from podium.wiring import project as wiring
from podium.wiring.project import open_project
from tests.e2e.command import Result
from tests.promotion_world import World
from tests.unit.cli.conftest import InProcess

RULE = """
[approvals."flight_*"]
required = 2
approvers = ["ana", "bo", "cy"]
expires_after = "3d"
"""


class Flights:
    """A model whose first version serves, and the second is the newest."""

    def __init__(self, podium: InProcess) -> None:
        self.podium = podium
        project = open_project(podium.project)
        self.world = World(project.database, project.registry, project.clock)
        (self.first,) = self.world.champions(1)
        self.second = self.world.candidate(champion=self.first)
        (podium.project / "podium.toml").write_text(f'project = "tests"\nslots = 2\n{RULE}')

    def __call__(self, *arguments: str, user: str = "ana") -> Result:
        """Run one command as somebody."""
        return self.podium(*arguments, PODIUM_USER=user)

    def asked(self) -> str:
        """Ask for the promotion of the second version as ana; return its identifier."""
        answer = self("promote", "flight_delay", "--reason", "march", "--json")
        assert answer.code == 3
        return str(answer.document["promotion_id"])


@pytest.fixture
def flights(podium: InProcess, monkeypatch: pytest.MonkeyPatch) -> Flights:
    registry = MemoryRegistry()
    monkeypatch.setattr(wiring, "build_registry", lambda *_: registry)
    return Flights(podium)


def test_a_promotion_that_people_have_to_approve_exits_3_and_says_how(flights: Flights) -> None:
    answer = flights("promote", "flight_delay", "--reason", "march")
    assert answer.code == 3
    first, second = answer.out.splitlines()
    assert first.startswith("flight_delay: version 2 awaits 2 approvals until ")
    assert first.endswith("; champion stays 1.")
    assert second.startswith("podium approve ")
    assert answer.err.startswith("By somebody other than ana; `podium promotions show ")
    again = flights("promote", "flight_delay", "--reason", "march")
    assert again.code == 3
    assert "asked for by ana at " in again.complaint
    assert second.split()[2] in again.complaint


def test_its_json_says_what_is_missing(flights: Flights) -> None:
    document = flights("promote", "flight_delay", "--reason", "march", "--json").document
    expected = {
        "state": "awaiting_approval",
        "champion": "1",
        "to_version": "2",
        "approvals_required": 2,
        "approved": 0,
        "missing": 2,
        "approvals": [],
    }
    assert {name: document[name] for name in expected} == expected


def test_approvals_are_counted_and_the_last_one_moves_the_champion(flights: Flights) -> None:
    promotion = flights.asked()
    refused = flights("approve", promotion, "--reason", "mine")
    assert (refused.code, "asked for promotion" in refused.complaint) == (3, True)
    one = flights("approve", promotion, "--reason", "looked", user="bo")
    assert (one.code, one.out.splitlines()[0].startswith("flight_delay: version 2 awaits 1 approval until ")) == (
        0,
        True,
    )
    shown = flights("promotions", "show", promotion).out
    assert "1 of 2, until " in shown
    assert "approved     bo (nobody verified that) at " in shown
    assert "may approve  cy" in shown
    last = flights("approve", promotion, "--reason", "looked too", "--json", user="cy")
    assert (last.code, last.document["state"], last.document["missing"]) == (0, "applied", 0)
    assert [each["actor"] for each in last.document["approvals"]] == ["bo", "cy"]
    (entry,) = flights("models", "history", "flight_delay", "--json").document[-1:]
    assert (entry["state"], entry["approvers"]) == ("applied", ["bo", "cy"])


def test_a_rejection_ends_it(flights: Flights) -> None:
    promotion = flights.asked()
    answer = flights("reject", promotion, "--reason", "worse at JFK", user="bo")
    assert answer.code == 0
    assert answer.out == "flight_delay: version 2 does not become champion. bo rejected it: worse at JFK\n"
    late = flights("approve", promotion, "--reason", "fine", user="cy")
    assert (late.code, "it was refused" in late.complaint) == (3, True)
    document = flights("promotions", "show", promotion, "--json").document
    assert (document["state"], document["may_approve"]) == ("refused", [])
    assert document["approvals"][0]["decision"] == "reject"


def test_what_changed_makes_the_approval_exit_3(flights: Flights) -> None:
    promotion = flights.asked()
    settings = flights.podium.project / "podium.toml"
    settings.write_text(settings.read_text().replace("required = 2", "required = 1"))
    document = flights("promotions", "show", promotion, "--json").document
    assert document["binding"]["still_holds"] is False
    assert (
        "still so     no, the next decision makes it void: The rule of who approves (was"
        in flights("promotions", "show", promotion).out
    )
    answer = flights("approve", promotion, "--reason", "looked", user="bo")
    assert (answer.code, "changed since approvals were asked for" in answer.complaint) == (3, True)
    assert flights("promotions", "show", promotion, "--json").document["state"] == "void"


def test_the_binding_is_shown(flights: Flights) -> None:
    binding = flights("promotions", "show", flights.asked(), "--json").document["binding"]
    assert binding["still_holds"] is True
    assert binding["expected_champion"] == "1"
    assert all(len(binding[name]) == 64 for name in ("digest", "model_digest", "evidence_digest", "policy_digest"))


def test_promotions_are_listed_newest_first_by_model_and_state(flights: Flights) -> None:
    promotion = flights.asked()
    listed = flights("promotions", "list", "--json").document
    assert [(each["to_version"], each["state"]) for each in listed] == [("2", "awaiting_approval"), ("1", "applied")]
    waiting = flights("promotions", "list", "flight_delay", "--state", "awaiting_approval").out
    assert promotion in waiting
    assert "0 of 2" in waiting
    assert "applied" not in waiting
    assert len(flights("promotions", "list", "--limit", "1", "--json").document) == 1
    assert flights("promotions", "list", "nobody", "--json").document == []
    assert flights("promotions", "list", "nobody").err == "No promotions of nobody.\n"


def test_a_rollback_needs_no_approval(flights: Flights) -> None:
    promotion = flights.asked()
    for user in ("bo", "cy"):
        assert flights("approve", promotion, "--reason", "looked", user=user).code == 0
    answer = flights("rollback", "flight_delay", "--reason", "complaints")
    assert (answer.code, answer.out) == (0, "flight_delay: champion 2 → 1\n")
    blocked = "Version 2 is blocked until `podium models unblock flight_delay --version 2 --reason TEXT` lifts that."
    assert " ".join(answer.err.split()) == blocked


def test_a_rollback_says_which_promotion_is_void_by_it(flights: Flights) -> None:
    first = flights.asked()
    for user in ("bo", "cy"):
        assert flights("approve", first, "--reason", "looked", user=user).code == 0
    flights.world.candidate(champion=flights.second)
    waits = flights.asked()
    answer = flights("rollback", "flight_delay", "--reason", "complaints")
    assert answer.code == 0
    said = f"Promotion {waits} to version 3, which awaited approval, is void by it."
    assert said in " ".join(answer.err.split())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["approve", "nothing", "--reason", "x"], "There is no promotion 'nothing'; `podium promotions list`"),
        (["reject", "nothing", "--reason", "x"], "There is no promotion 'nothing'; `podium promotions list`"),
        (["promotions", "show", "nothing"], "There is no promotion 'nothing'; `podium promotions list`"),
        (
            ["promotions", "list", "--state", "waiting"],
            "--state 'waiting' is no state of a promotion; they are awaiting",
        ),
        (["approve", "nothing", "--reason", " "], "The reason is empty"),
        (["approve", "%", "--reason", "x"], "There is no promotion '%'"),
        (
            ["promote", "flight_dealy", "--reason", "x"],
            "There is no model 'flight_dealy' on Podium's record; the models are",
        ),
        (
            ["rollback", "flight_dealy", "--reason", "x"],
            "There is no model 'flight_dealy' on Podium's record; the models are",
        ),
    ],
)
def test_what_is_not_there_is_said(flights: Flights, arguments: list[str], complaint: str) -> None:
    answer = flights(*arguments)
    assert answer.code == 2
    assert complaint in answer.complaint


def test_a_part_of_an_identifier_that_no_other_has_is_enough(flights: Flights) -> None:
    promotion = flights.asked()
    assert flights("promotions", "show", promotion[-6:], "--json").document["promotion_id"] == promotion
    assert flights("approve", promotion[-6:], "--reason", "looked", user="bo").code == 0
    several = flights("promotions", "show", promotion[:2])
    assert (several.code, "More than one promotion begins or ends with '01'" in several.complaint) == (2, True)


def test_reading_asks_no_registry(podium: InProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    del tmp_path

    def none(*_: object) -> None:
        raise AssertionError("the registry was asked")

    monkeypatch.setattr(wiring, "build_registry", none)
    assert podium("promotions", "list", "--json").document == []
    assert podium("promotions", "show", "nothing").code == 2
