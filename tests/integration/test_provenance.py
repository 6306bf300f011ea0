"""Provenance of versions whose record is unusual: signed off, copied, changed, or made elsewhere."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import sqlalchemy as sa

from podium.clock import FakeClock
from podium.db.engine import Database
from podium.db.schema import approval, evidence, promotion_history
from podium.registry import store
from podium.registry.entities import ModelVersion
from podium.registry.memory_registry import MemoryRegistry
from podium.wiring.provenance import provenance
from tests.promotion_world import World

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "provenance.schema.json").read_text())


@pytest.fixture
def world(database: Database, clock: FakeClock) -> World:
    return World(database, MemoryRegistry(), clock)


def told(world: World, version: str, model: str | None = None) -> dict[str, Any]:
    document = provenance(world.database, world.registry, world.clock, model or world.model, version)
    jsonschema.validate(json.loads(json.dumps(document)), SCHEMA)
    return document


def test_who_signed_a_promotion_off_is_told_in_order(world: World, clock: FakeClock) -> None:
    promotion = world.promote(world.candidate())
    for actor, verified in (("bo", True), ("ana", False)):
        clock.advance(60)
        with world.database.write() as connection:
            connection.execute(
                sa.insert(approval).values(
                    promotion_id=promotion.promotion_id,
                    actor=actor,
                    actor_verified=verified,
                    decision="approve",
                    binding_digest="b" * 64,
                    reason="read the evidence",
                    at=clock.now(),
                )
            )
    (move,) = told(world, "1")["promotions"]
    assert [(each["actor"], each["actor_verified"], each["decision"]) for each in move["approvals"]] == [
        ("bo", True, "approve"),
        ("ana", False, "approve"),
    ]
    assert move["approvals"][0]["binding_digest"] == "b" * 64


def test_what_made_a_version_elsewhere_is_unknown_and_said(world: World) -> None:
    document = told(world, world.candidate())
    assert document["run"] is None
    assert document["cost"] is None
    assert [sentence.partition(" ")[0] for sentence in document["unknown"]] == ["The", "No"]
    assert "is not on this project's record" in document["unknown"][0]
    assert document["data"]["digest"] == "d" * 64
    assert document["code"] == {"code_digest": "e" * 64, "plan_digest": None, "file": None, "modules": None}


def test_every_move_to_a_version_and_away_from_it_is_told(world: World, clock: FakeClock) -> None:
    for champion in (None, "1", "2"):
        world.promote(world.candidate(champion=champion))
        clock.advance(3600)
    world.rollback(to="1")
    document = told(world, "2")
    assert [(move["action"], move["from_version"], move["to_version"]) for move in document["promotions"]] == [
        ("promote", "1", "2"),
        ("promote", "2", "3"),
    ]
    assert [live["until"] is None for live in document["history"]["live"]] == [False]
    third = told(world, "3")
    assert [entry["state"] for entry in third["history"]["entries"]] == ["applied", "applied", "blocked"]
    assert third["history"]["head"].startswith("5:")


def test_changed_files_evidence_and_history_are_told(world: World) -> None:
    version = world.candidate()
    world.promote(version)
    assert isinstance(world.registry, MemoryRegistry)
    world.registry.stored[world.registry.get_version(world.model, version).source]["extra"] = b"x"
    with world.database.write() as connection:
        connection.execute(sa.update(promotion_history).values(actor="mallory"))
        stored: Any = connection.scalar(sa.select(evidence.c.document))
        connection.execute(sa.update(evidence).values(document={**stored, "rows": 5}))
    document = told(world, version)
    assert document["evidence"]["intact"] is False
    assert (document["history"]["ok"], "was changed" in document["history"]["problem"]) == (False, True)
    assert document["files"]["found_digest"] != document["files"]["recorded_digest"]
    assert "they were changed" in document["files"]["problem"]


def test_files_that_are_gone_are_told(world: World) -> None:
    version = world.candidate()
    assert isinstance(world.registry, MemoryRegistry)
    world.registry.stored.clear()
    document = told(world, version)
    assert document["files"]["registry_asked"] is True
    assert "No model files are stored" in document["files"]["problem"]
    assert "The registry has no files of it" in document["unknown"][-1]


def test_a_copied_version_names_the_one_it_was_copied_from(world: World) -> None:
    original = world.register()
    copied = replace(
        original, model="prod.flight_delay", version="1", origin="copied", copied_from=(world.model, original.version)
    )
    assert isinstance(copied, ModelVersion)
    with world.database.write() as connection:
        store.add_version(connection, copied, step_key="copy", at=world.clock.now())
    document = told(world, "1", "prod.flight_delay")
    assert document["origin"] == "copied"
    assert document["copied_from"] == {"model": "flight_delay", "version": original.version}
    assert document["data"]["digest"] == "d" * 64
    assert document["cost"] is None
    assert "no version 1 of model prod.flight_delay" in document["files"]["problem"]
