"""What was spent, by whom and on what."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import product

import sqlalchemy as sa
from prometheus_client.core import Metric

from podium.canary.tally import open_challengers
from podium.execution.tally import Owner
from podium.exporter.families import born_at_zero, counter, gauge
from podium.finops import savings, tally
from podium.finops.usage import RESOURCES
from podium.registry.tally import champions

OWNER = ("team", "model", "environment")
CORRECTION = "correction"
NO_TEAM = "no_team"


def collect_costs(connection: sa.Connection, owners: Sequence[Owner]) -> Iterator[Metric]:
    """Read the rollups of the ledger."""
    costs = tally.costs(connection)
    owned = {(owner.team, owner.model, owner.environment) for owner in owners}
    spent = [(*owner, "direct", resource.name) for owner, resource in product(owned, RESOURCES)]
    yield counter(
        "podium_cost_usd",
        "Cost of all usage ever posted to the ledger; what is reversed stays in it and is a credit.",
        (*OWNER, "kind", "resource"),
        born_at_zero(spent, costs.charged),
    )
    yield counter(
        "podium_cost_credits_usd",
        "Charges taken back by reversals; cost minus credits is what the ledger comes to.",
        (*OWNER, "reason"),
        born_at_zero(
            [(*owner, CORRECTION) for owner in owned],
            {(*owner, CORRECTION): amount for owner, amount in costs.credited.items()},
        ),
    )
    yield counter(
        "podium_avoided_cost_usd",
        "What steps cost when they were computed whose results were taken over; it is in no cost.",
        (*OWNER, "reason"),
        born_at_zero([(*owner, savings.CACHE) for owner in owned], savings.saved_by_owner(connection)),
    )
    yield counter(
        "podium_cost_unattributed_usd",
        "The part of podium_cost_usd_total that belongs to no team.",
        ("reason",),
        {(NO_TEAM,): costs.unattributed},
    )
    yield gauge(
        "podium_ledger_unpriced_entries",
        "Ledger entries whose price is unknown; they are in no cost.",
        (),
        {(): costs.unpriced},
    )
    yield gauge(
        "podium_ledger_entries_in_other_currencies",
        "Ledger entries in a currency other than USD; they are in no cost.",
        ("currency",),
        {(currency,): entries for currency, entries in costs.other_currencies.items()},
    )
    posted_at = tally.last_posting(connection)
    yield gauge(
        "podium_ledger_last_posting_timestamp_seconds",
        "When the newest ledger entry was posted.",
        (),
        {} if posted_at is None else {(): posted_at.timestamp()},
    )


def collect_version_costs(connection: sa.Connection, owners: Sequence[Owner]) -> Iterator[Metric]:
    """Read what the live versions cost; one whose cost is unknown is absent."""
    del owners
    serving = [(reign.model, reign.version) for reign in champions(connection)]
    costs: dict[tuple[str, ...], Decimal] = {}
    for model, version in {*serving, *open_challengers(connection)}:
        cost = tally.version_cost_usd(connection, model, version)
        if cost is not None:
            costs[model, version] = cost
    yield gauge(
        "podium_model_version_cost_usd",
        "Cost of all attempts that made a live version (the champion, the challenger of an open canary).",
        ("model", "version"),
        costs,
    )
