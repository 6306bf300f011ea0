"""The path of environments: names, neighbours, who may leave and who may enter."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from podium.errors import UsageError
from podium.registry.entities import HistoryEntry, Lineage, ModelVersion
from podium.registry.environments import (
    Entrance,
    EnvironmentPath,
    Place,
    departure_objection,
    entrance_objection,
    misplaced,
    twin_objection,
)

PATH = EnvironmentPath(("dev", "staging", "prod"))
LINEAGE = Lineage("r1", datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 2, 1, tzinfo=UTC), "d", "c", "e")


def version(model: str = "dev.flights", number: str = "3", **changes: Any) -> ModelVersion:
    return replace(ModelVersion(model, number, "f" * 64, "memory:/1", LINEAGE), **changes)


def copied(number: str = "1", **changes: Any) -> ModelVersion:
    made = version("staging.flights", number, origin="copied", copied_from=("dev.flights", "3"))
    return replace(made, **changes)


def applied(number: str) -> HistoryEntry:
    at = datetime(2013, 2, 1, tzinfo=UTC)
    return HistoryEntry(
        "dev.flights", 1, at, "promote", "applied", None, number, "ada", False, (), "monthly", None, None, "", ""
    )


# Names


@pytest.mark.parametrize("template", ["{environment}.{model}", "{model}-{environment}", "ml_{environment}__{model}"])
@pytest.mark.parametrize("model", ["flights", "dev.flights", "a-prod-b", "x.y"])
def test_a_name_is_read_back_as_it_was_made(template: str, model: str) -> None:
    path = EnvironmentPath(("dev", "staging", "prod"), template)
    for environment in path.names:
        assert path.place_of(path.name_in(environment, model)) == Place(environment, model)


@pytest.mark.parametrize("name", ["flights", "devflights", "test.flights", "dev.", ".flights", "Dev.flights"])
def test_other_names_are_outside_the_path(name: str) -> None:
    assert PATH.place_of(name) is None
    assert PATH.before(name) is None
    with pytest.raises(UsageError, match=r"is in no environment of the path dev → staging → prod; such models are"):
        PATH.after(name)


def test_neighbours_follow_the_path() -> None:
    assert [PATH.before(f"{each}.m") for each in PATH.names] == [None, "dev.m", "staging.m"]
    assert [PATH.after(f"{each}.m") for each in ("dev", "staging")] == ["staging.m", "prod.m"]


def test_the_last_environment_leads_nowhere() -> None:
    with pytest.raises(
        UsageError, match=r"prod is the last environment .* `podium promote prod.m --reason TEXT` decides"
    ):
        PATH.after("prod.m")


def test_without_a_path_nothing_is_constrained() -> None:
    none = EnvironmentPath()
    assert none.place_of("dev.m") is None
    assert none.before("staging.m") is None
    assert misplaced(none, pipeline="p", model="m", environment="x", registers=True) is None
    with pytest.raises(UsageError, match=r"has no path of environments; write one in podium.toml"):
        none.after("dev.m")


# Leaving


def test_a_present_and_a_former_champion_may_leave() -> None:
    assert departure_objection(version(), [applied("3")], ()) is None
    assert departure_objection(version(), [applied("3"), applied("4")], ()) is None


@pytest.mark.parametrize(
    ("changes", "history", "blocked", "said"),
    [
        ({}, [], (), "was never champion"),
        ({}, [applied("4")], (), "was never champion"),
        ({}, [applied("3")], {"3"}, "`podium models unblock dev.flights --version 3 --reason TEXT` lifts that"),
        ({"lineage": None, "origin": "adopted"}, [applied("3")], (), "was adopted"),
    ],
)
def test_who_may_not_leave_is_told_why(
    changes: dict[str, Any], history: list[HistoryEntry], blocked: set[str], said: str
) -> None:
    assert said in str(departure_objection(version(**changes), history, blocked))


def test_files_that_are_blocked_in_the_next_environment_stay_out() -> None:
    twins = [copied("1", digest="0" * 64), copied("2")]
    assert twin_objection(version(), twins, {"1"}) is None
    assert twin_objection(version(), twins, ()) is None
    assert "as version 2, which is blocked" in str(twin_objection(version(), twins, {"2"}))


# Entering


def test_an_equal_copy_of_the_environment_before_may_enter() -> None:
    assert entrance_objection(Entrance("dev.flights", version(), ()), copied()) is None


@pytest.mark.parametrize(
    ("entrance", "candidate", "said"),
    [
        (Entrance("dev.flights", None, ()), version("staging.flights"), "did not come from dev.flights"),
        (
            Entrance("dev.flights", version("dev.other"), ()),
            copied(copied_from=("dev.other", "3")),
            "did not come from dev.flights",
        ),
        (Entrance("dev.flights", None, ()), copied(), "version 3 of dev.flights, which is not on record"),
        (Entrance("dev.flights", version(digest="0" * 64), ()), copied(), "digest ffffffffffff… and not 000000000000…"),
        (Entrance("dev.flights", version(), {"3"}), copied(), "is blocked there: it goes no further"),
    ],
)
def test_who_may_not_enter_is_told_why(entrance: Entrance, candidate: ModelVersion, said: str) -> None:
    assert said in str(entrance_objection(entrance, candidate))


# Pipelines


def complaint(model: str, environment: str, *, registers: bool = False) -> str:
    return str(misplaced(PATH, pipeline="flights", model=model, environment=environment, registers=registers))


def test_a_pipeline_in_its_place_is_none_s_business() -> None:
    assert misplaced(PATH, pipeline="p", model="dev.m", environment="dev", registers=True) is None
    assert misplaced(PATH, pipeline="p", model="prod.m", environment="prod", registers=False) is None


def test_a_misplaced_pipeline_is_told_what_to_write() -> None:
    assert complaint("m", "test").endswith("write environment='dev' and model='dev.m'.")
    assert complaint("m", "dev").endswith("by its name is in no environment; write model='dev.m'.")
    assert complaint("prod.m", "dev").endswith("by its name is in prod; write model='dev.m'.")


def test_versions_are_registered_in_the_first_environment_alone() -> None:
    text = complaint("staging.m", "staging", registers=True)
    assert "staging gets its versions from the environment before" in text
    assert "write environment='dev' and model='dev.m'" in text
