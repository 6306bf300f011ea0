"""A rollback's target is looked at first; where it is no good the next one that is gets offered, and never taken."""

import json
from typing import Any

import pytest
import sqlalchemy as sa

from podium.clock import FakeClock
from podium.db.engine import Database
from podium.db.schema import model_version
from podium.registry.entities import Promotion
from podium.registry.memory_registry import MemoryRegistry
from podium.registry.rollback import Columns, Offer, find_next, misfit
from podium.registry.stored_model import InputColumn
from tests.promotion_world import World


@pytest.fixture
def world(database: Database, clock: FakeClock) -> World:
    return World(database, MemoryRegistry(), clock)


def files(world: World, version: str) -> dict[str, bytes]:
    assert isinstance(world.registry, MemoryRegistry)
    return world.registry.stored[world.registry.get_version(world.model, version).source]


def break_(world: World, version: str) -> None:
    """Change a byte of a version's files, so that its digest is another."""
    stored = files(world, version)
    name = next(name for name in stored if name.startswith("model."))
    stored[name] += b"x"


def test_the_next_version_that_is_good_is_offered_and_not_taken(world: World) -> None:
    first, second, third, fourth = world.champions(4)
    break_(world, second)
    files(world, third).clear()
    refused = world.rollback()
    assert (refused.state, refused.to_version, refused.champion, refused.next_valid) == (
        "refused",
        third,
        fourth,
        first,
    )
    assert world.champion == fourth
    (reason,) = refused.reasons
    assert f"Version {third} of flight_delay is damaged. No model files are stored" in reason
    assert f"Version {second} would not do either: Version {second} of flight_delay is damaged." in reason
    assert f"`podium rollback flight_delay --to {first} --reason TEXT` leads there." in reason
    assert refused.to_document()["next_valid"] == first
    assert reason in world.history[-1].reason
    assert world.rollback(to=first).raise_unless_applied().next_valid is None
    assert world.verify().ok


def test_where_no_earlier_champion_is_good_each_is_named_with_its_reason(world: World) -> None:
    first, second, _ = world.champions(3)
    for version in (first, second):
        files(world, version).clear()
    refused = world.rollback()
    assert refused.next_valid is None
    (reason,) = refused.reasons
    assert f"Version {first} would not do either" in reason
    assert "No earlier champion of these can take over; restore the files of one from a backup." in reason


def test_a_target_that_was_named_is_offered_a_way_round_too(world: World) -> None:
    first, second, _ = world.champions(3)
    break_(world, first)
    refused = world.rollback(to=first)
    assert (refused.to_version, refused.next_valid) == (first, second)


def test_a_blocked_version_is_not_offered(world: World) -> None:
    first, second, _ = world.champions(3)
    world.service.block(world.model, second, actor="ada", actor_verified=False, reason="slow")
    break_(world, first)
    refused = world.rollback()
    assert (refused.to_version, refused.next_valid) == (first, None)
    assert "No earlier champion besides version 1 can take over" in refused.reasons[0]


def test_a_version_rolled_back_from_comes_back_by_no_run_and_no_canary_until_it_is_unblocked(world: World) -> None:
    _, second = world.champions(2)
    world.rollback()
    by_run = world.promote(second, run_id="r9")
    assert (by_run.state, by_run.champion) == ("refused", "1")
    assert "Version 2 of flight_delay is blocked since" in by_run.reasons[0]
    assert "is blocked since" in str(world.service.objection(world.model, second))  # what a canary asks first
    world.unblock(second)
    assert "is blocked" not in str(world.service.objection(world.model, second))


@pytest.mark.parametrize("ask", [{"to": "9"}, {"expect": "7"}])
def test_a_rollback_refused_by_a_rule_looks_at_no_other_version(world: World, ask: dict[str, Any]) -> None:
    world.champions(3)
    world.register(key="another")
    for version in ("1", "2"):
        files(world, version).clear()
    ask = {**ask, "to": world.candidate(champion="3")} if "to" in ask else ask
    refused: Promotion = world.rollback(**ask)
    assert refused.state == "refused"
    assert "would not do either" not in refused.reasons[0]
    assert refused.next_valid is None


def test_a_version_that_needs_what_requests_of_today_lack_does_not_come_back(world: World) -> None:
    first, second, third = world.champions(3)
    columns = json.loads(files(world, second)["signature.json"])
    files(world, second)["signature.json"] = json.dumps({**columns, "wind": "float64"}).encode()
    _record_digest(world, second)
    refused = world.rollback()
    assert (refused.to_version, refused.champion, refused.next_valid) == (second, third, first)
    assert "Version 2 of flight_delay does not fit today's requests: it requires the column wind" in refused.reasons[0]


def test_a_version_that_needs_less_than_the_champion_does_come_back(world: World) -> None:
    first, second = world.champions(2)
    columns = json.loads(files(world, second)["signature.json"])
    files(world, second)["signature.json"] = json.dumps({**columns, "wind": "float64"}).encode()
    assert world.rollback().to_version == first


def test_a_champion_whose_files_are_gone_keeps_nobody_from_leaving_it(world: World) -> None:
    first, second = world.champions(2)
    files(world, second).clear()
    assert world.rollback().raise_unless_applied().to_version == first


def _record_digest(world: World, version: str) -> None:
    """Let the record say of a version what its files are now."""
    source = world.registry.get_version(world.model, version).source
    with world.database.write() as connection:
        connection.execute(
            sa.update(model_version)
            .where(model_version.c.version == version)
            .values(digest=world.registry.digest_of(source))
        )


def stored(**types: str) -> Columns:
    return [InputColumn(name, type_) for name, type_ in types.items()]


@pytest.mark.parametrize(
    ("target", "champion", "why"),
    [
        (stored(hour="double"), stored(hour="double"), None),
        (stored(hour="double"), stored(hour="double", wind="double"), None),
        (stored(hour="any"), stored(hour="string"), None),
        (stored(hour="double"), stored(hour="any"), None),
        (stored(hour="long"), stored(hour="integer"), None),
        (stored(hour="double"), stored(hour="long"), "hour as double, and the champion's requests have it as long"),
        (stored(hour="string"), stored(hour="double"), "hour as string"),
        (stored(hour="double", wind="double", rain="double"), stored(hour="double"), "the columns wind, rain"),
        (None, stored(hour="double"), None),
        (stored(hour="double"), None, None),
    ],
)
def test_requests_fit_a_version_that_takes_their_columns(
    target: Columns | None, champion: Columns | None, why: str | None
) -> None:
    found = misfit(target, champion)
    assert (found is None) if why is None else (why in str(found))


def test_a_column_that_need_not_be_sent_is_not_missed() -> None:
    target = [InputColumn("hour", "double"), InputColumn("wind", "double", required=False)]
    assert misfit(target, stored(hour="double")) is None


def test_the_search_ends_at_the_first_good_version() -> None:
    asked = []

    def damage_of(version: str) -> str | None:
        asked.append(version)
        return None if version == "3" else f"{version} is gone."

    assert find_next(["5", "4", "3", "2"], damage_of) == Offer("3", (("5", "5 is gone."), ("4", "4 is gone.")))
    assert asked == ["5", "4", "3"]
