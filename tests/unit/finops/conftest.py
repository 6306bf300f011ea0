"""Usage records and a priced database for the tests of money."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from podium.clock import FakeClock
from podium.db.engine import Database
from podium.finops.book import load_book
from podium.finops.ledger import Ledger
from podium.finops.prices import import_book
from podium.finops.usage import UsageRecord

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def usage() -> Callable[..., UsageRecord]:
    """Builds a usage record: ten minutes of two cores and 3 GiB, unless told otherwise."""

    def build(attempt_id: str = "attempt-1", **changes: Any) -> UsageRecord:
        facts: dict[str, Any] = {
            "attempt_id": attempt_id,
            "run_id": "run-1",
            "step": "train",
            "number": 1,
            "team": "network-ops",
            "model": "flight_delay",
            "environment": "prod",
            "outcome": "succeeded",
            "started_at": NOON,
            "wall_seconds": 600.0,
            "cpu": 2.0,
            "memory_bytes": 3 * 2**30,
            "gpu": 0,
            "cpu_seconds": 1500.0,
            "peak_memory_bytes": 2**30,
            "meter_source": "slot",
            "meter_quality": "measured",
            **changes,
        }
        if "ended_at" not in facts:
            facts["ended_at"] = facts["started_at"] + timedelta(seconds=facts["wall_seconds"])
        return UsageRecord(**facts)

    return build


@pytest.fixture
def ledger(clock: FakeClock) -> Ledger:
    """A ledger."""
    return Ledger(clock)


@pytest.fixture
def priced(database: Database, clock: FakeClock) -> Database:
    """A database with the seed book's prices."""
    import_book(database, load_book(None), clock)
    return database
