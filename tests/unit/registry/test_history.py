import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from podium.db.engine import Database
from podium.db.schema import promotion, promotion_history
from podium.registry import history
from podium.registry.entities import HistoryEntry
from podium.registry.history import GENESIS, Fact, hash_of
from podium.registry.verification import check_blocks, check_chain, check_promotions, verify

NOON = datetime(2013, 3, 1, 12, tzinfo=UTC)
VERSIONS = st.none() | st.integers(1, 99).map(str)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
FACTS = st.builds(
    Fact,
    at=st.datetimes(datetime(2013, 1, 1), datetime(2014, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - zone beside
    action=st.sampled_from(("promote", "rollback")),
    state=st.sampled_from(("applied", "refused", "void")),
    from_version=VERSIONS,
    to_version=VERSIONS,
    actor=TEXTS,
    actor_verified=st.booleans(),
    reason=TEXTS,
    approvers=st.lists(TEXTS, max_size=2).map(tuple),
    evidence_digest=st.none() | TEXTS,
    promotion_id=TEXTS,
)


def chained(facts: list[Fact], model: str = "flight_delay") -> list[HistoryEntry]:
    entries: list[HistoryEntry] = []
    for number, fact in enumerate(facts, start=1):
        previous = entries[-1].hash if entries else GENESIS
        entry = HistoryEntry(**vars(fact), model=model, id=number, previous_hash=previous, hash="")
        entries.append(replace(entry, hash=hash_of(entry)))
    return entries


CHAINS = st.lists(FACTS, min_size=1, max_size=5).map(chained)


def different(value: object) -> object:
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 7
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, tuple):
        return (*value, "mallory")
    if isinstance(value, datetime):
        return value + timedelta(microseconds=1)
    assert value is None
    return "x"


@given(CHAINS)
def test_an_untouched_chain_is_whole(entries: list[HistoryEntry]) -> None:
    assert check_chain(entries).to_document() == {
        "ok": True,
        "entries": len(entries),
        "first_bad": None,
        "problem": None,
        "head": None,
    }


@given(CHAINS, st.data())
def test_any_single_field_changed_in_any_row_is_located(entries: list[HistoryEntry], data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(entries) - 1))
    name = data.draw(st.sampled_from([field.name for field in fields(HistoryEntry)]))
    changed: dict[str, Any] = {name: different(getattr(entries[position], name))}
    entries[position] = replace(entries[position], **changed)
    verification = check_chain(entries)
    assert not verification.ok
    assert verification.first_bad == position + 1
    assert f"Entry {position + 1}" in str(verification.problem)


@given(CHAINS.filter(lambda entries: len(entries) > 1), st.data())
def test_any_row_removed_before_the_last_is_located(entries: list[HistoryEntry], data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(entries) - 2))
    del entries[position]
    assert check_chain(entries).first_bad == position + 1


@given(CHAINS, FACTS, st.data())
def test_a_row_inserted_with_a_right_hash_breaks_the_one_after_it(
    entries: list[HistoryEntry], fact: Fact, data: st.DataObject
) -> None:
    position = data.draw(st.integers(0, len(entries) - 1))
    previous = entries[position - 1].hash if position else GENESIS
    forged = HistoryEntry(**vars(fact), model="flight_delay", id=position + 1, previous_hash=previous, hash="")
    forged = replace(forged, hash=hash_of(forged))
    entries = [*entries[:position], forged, *(replace(entry, id=entry.id + 1) for entry in entries[position:])]
    assert check_chain(entries).first_bad == position + 2


@given(CHAINS.filter(lambda entries: len(entries) > 1), st.data())
def test_a_row_rewritten_with_its_hash_breaks_the_link_to_the_next(
    entries: list[HistoryEntry], data: st.DataObject
) -> None:
    position = data.draw(st.integers(0, len(entries) - 2))
    rewritten = replace(entries[position], actor=entries[position].actor + "x")
    entries[position] = replace(rewritten, hash=hash_of(rewritten))
    assert check_chain(entries).first_bad == position + 2


@given(CHAINS.filter(lambda entries: len(entries) > 1), st.data())
def test_linking_the_next_row_to_a_rewritten_one_breaks_the_next_ones_hash(
    entries: list[HistoryEntry], data: st.DataObject
) -> None:
    position = data.draw(st.integers(0, len(entries) - 2))
    rewritten = replace(entries[position], actor=entries[position].actor + "x")
    entries[position] = replace(rewritten, hash=hash_of(rewritten))
    entries[position + 1] = replace(entries[position + 1], previous_hash=entries[position].hash)
    verification = check_chain(entries)
    assert verification.first_bad == position + 2
    assert "was changed" in str(verification.problem)


def test_one_instant_hashes_the_same_in_every_zone() -> None:
    (entry,) = chained([fact()])
    elsewhere = datetime.fromisoformat("2013-03-01T07:00:00-05:00")
    assert entry.at == elsewhere
    assert hash_of(replace(entry, at=elsewhere)) == entry.hash


def fact(state: str = "applied", promotion_id: str | None = "p1", **changes: Any) -> Fact:
    facts: dict[str, Any] = {
        "at": NOON,
        "action": "promote",
        "state": state,
        "from_version": None,
        "to_version": "1",
        "actor": "ada",
        "actor_verified": False,
        "reason": "first model",
        "promotion_id": promotion_id,
    }
    return Fact(**(facts | changes))


def test_history_and_promotions_must_tell_the_same() -> None:
    whole = chained([fact(), fact("refused", "p2"), fact("blocked", "p2"), fact("applied", "p3")])
    ended = [("p1", "applied"), ("p2", "refused"), ("p3", "applied")]
    assert check_promotions(whole, ended).ok

    cut = check_promotions(whole[:3], ended)
    assert (cut.first_bad, cut.problem) == (
        4,
        "No entry tells that promotion p3 is applied: the end of the history was cut off.",
    )
    forged = check_promotions(whole, ended[:2])
    assert forged.first_bad == 4
    assert "p3 is not on record" in str(forged.problem)
    twice = check_promotions([*whole, *chained([fact()])], ended)
    assert "tells of promotion p1 a second time" in str(twice.problem)
    other = check_promotions(whole, [*ended[:2], ("p3", "void")])
    assert other.problem == "Entry 4 says applied, but promotion p3 is void."


def test_an_applied_rollback_must_be_followed_by_its_block() -> None:
    rollback = fact(action="rollback", from_version="2", promotion_id="p2")
    block = fact("blocked", "p2", action="block", to_version="2")
    whole = chained([fact(), rollback, block, fact(promotion_id="p3")])
    assert check_blocks(whole, [("p2", "2")]).ok

    cut = check_blocks(whole[:2], [("p2", "2")])
    assert (cut.ok, cut.first_bad, cut.problem) == (
        False,
        3,
        "No entry tells that rollback p2 blocked version 2: it was cut off or replaced.",
    )
    elsewhere = check_blocks(whole, [("p2", "1")])
    assert (elsewhere.ok, elsewhere.first_bad) == (False, 3)
    others = check_blocks(whole, [("p2", "2"), ("p3", "2")])
    assert (others.ok, others.first_bad) == (False, 5)


@pytest.fixture
def written(database: Database) -> Database:
    """Three promotions of one model, and one of another."""
    with database.write() as connection:
        for number, model in enumerate(("flight_delay", "flight_delay", "other", "flight_delay"), start=1):
            connection.execute(
                sa.insert(promotion).values(
                    promotion_id=f"p{number}",
                    model=model,
                    action="promote",
                    from_version=None,
                    to_version=str(number),
                    state="applied",
                    reasons=[],
                    idempotency_key=f"k{number}",
                    actor="ada",
                    actor_verified=False,
                    reason="new",
                    proposed_at=NOON,
                    ended_at=NOON,
                )
            )
            history.append(
                connection,
                model,
                fact(promotion_id=f"p{number}", to_version=str(number), reason="new"),
            )
    return database


def test_every_model_has_a_chain_of_its_own(written: Database) -> None:
    with written.read() as connection:
        assert [entry.id for entry in history.entries(connection, "flight_delay")] == [1, 2, 3]
        assert [entry.to_version for entry in history.entries(connection, "other")] == ["3"]
        assert verify(connection, "flight_delay").to_document() == {
            "ok": True,
            "entries": 3,
            "first_bad": None,
            "problem": None,
            "head": f"3:{history.entries(connection, 'flight_delay')[-1].hash}",
        }
        assert verify(connection, "nobody").entries == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("at", NOON + timedelta(seconds=1)),
        ("actor", "mallory"),
        ("actor_verified", True),
        ("approvers", ["mallory"]),
        ("reason", "because"),
        ("to_version", "9"),
        ("evidence_digest", "9" * 64),
        ("state", "refused"),
        ("previous_hash", "0" * 64),
        ("hash", "0" * 64),
        ("model", "elsewhere"),
        ("id", 9),
    ],
)
def test_a_row_changed_in_the_database_is_located(written: Database, column: str, value: object) -> None:
    with written.write() as connection:
        connection.execute(
            sa.update(promotion_history)
            .where(promotion_history.c.model == "flight_delay", promotion_history.c.id == 2)
            .values({column: value})
        )
    with written.read() as connection:
        verification = verify(connection, "flight_delay")
    assert (verification.ok, verification.first_bad) == (False, 2)


def test_a_tail_removed_from_the_database_is_seen_by_the_promotions(written: Database) -> None:
    with written.write() as connection:
        connection.execute(
            sa.delete(promotion_history).where(promotion_history.c.model == "flight_delay", promotion_history.c.id == 3)
        )
    with written.read() as connection:
        verification = verify(connection, "flight_delay")
    assert (verification.ok, verification.first_bad) == (False, 3)
    assert "promotion p4 is applied: the end of the history was cut off" in str(verification.problem)


def test_an_entry_has_the_interfaces_names() -> None:
    (entry,) = chained([fact()])
    document = entry.to_document()
    assert json.loads(json.dumps(document)) == document
    assert document.keys() >= {
        "id",
        "at",
        "action",
        "from_version",
        "to_version",
        "actor",
        "actor_verified",
        "approvers",
        "reason",
        "evidence_digest",
        "state",
        "previous_hash",
        "hash",
    }
