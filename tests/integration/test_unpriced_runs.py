"""A run whose price ended under it: its cost is unknown, and known once the price book has what was missing."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from podium.clock import FakeClock
from podium.finops.reconciliation import reconcile
from podium.wiring.documents import run_document
from podium.wiring.project import open_project
from podium.wiring.runs import foreground
from tests.execution_world import ONE_STEP, FlowProject

NOW = datetime(2026, 11, 21, tzinfo=UTC)
SOON = "2026-11-21T00:00:00.000001Z"
OFFER = """
  - {{sku: {sku}, unit: {unit}, unit_price: "{price}", currency: USD, source: ours, {period}}}"""


def offers(price: str, period: str) -> str:
    """Entries of a price book for cores and memory."""
    return "".join(
        OFFER.format(sku=sku, unit=unit, price=price, period=period)
        for sku, unit in (("cpu.standard", "core-hours"), ("memory.standard", "GiB-hours"))
    )


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[FlowProject]:
    """A project whose prices end while any run of it goes on."""
    made = FlowProject(tmp_path / "project")
    made.project = open_project(made.root, FakeClock(NOW))
    ending = offers("0.04", f'valid_from: "2026-01-01", valid_to: "{SOON}"')
    (made.root / "prices.yaml").write_text(f"prices:{ending}")
    made.write("@step\ndef it() -> int:\n    return 1\n" + ONE_STEP)
    yield made
    made.project.close()


def document_of(flow: FlowProject, run_id: str) -> dict[str, Any]:
    with flow.project.database.read() as connection:
        return run_document(connection, run_id, flow.project.clock.now())


def wrong(flow: FlowProject) -> set[str]:
    """The names of the checks of the books that fail."""
    with flow.project.database.read() as connection:
        return {check.name for check in reconcile(connection).checks if not check.ok}


def execute(flow: FlowProject) -> str:
    run = flow.start()
    with foreground(flow.project, flow.plan(), lambda _: None) as worker:
        worker.execute(run.run_id)
    return run.run_id


def test_a_part_of_a_cost_is_not_shown_as_the_cost(flow: FlowProject) -> None:
    document = document_of(flow, execute(flow))
    (attempt,) = document["steps"][0]["attempts"]
    assert (document["cost_usd"], document["unpriced_entries"]) == (None, 2)
    assert (attempt["cost_usd"], attempt["unpriced_entries"]) == (None, 2)
    assert wrong(flow) == {"entries with a price"}


def test_the_next_run_prices_what_had_no_price_when_it_was_posted(flow: FlowProject) -> None:
    run_id = execute(flow)
    with (flow.root / "prices.yaml").open("a") as book:
        book.write(offers("0.05", f'valid_from: "{SOON}"'))
    execute(flow)
    document = document_of(flow, run_id)
    assert float(document["cost_usd"]) > 0
    assert document["unpriced_entries"] == 0
    assert document["steps"][0]["attempts"][0]["cost_usd"] == document["cost_usd"]
    assert wrong(flow) == set()
