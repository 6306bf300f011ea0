"""What the gate said, how champions moved, and how canaries go."""

from collections.abc import Iterator, Sequence
from itertools import product

import sqlalchemy as sa
from prometheus_client.core import Metric

from podium.canary import tally as canary_tally
from podium.canary.entities import CHALLENGER, CHAMPION
from podium.db.schema.canary import CANARY_ENDED, CANARY_STATES
from podium.db.schema.registry import PROMOTION_ENDED, VERDICTS
from podium.execution.tally import Owner
from podium.exporter.families import Labels, born_at_zero, counter, gauge
from podium.registry import tally

VARIANTS = (CHAMPION, CHALLENGER)
PHASES = tuple(state for state in CANARY_STATES if state not in CANARY_ENDED)
FOREIGN_MOVE = ("watch", "noticed")
MOVES = (
    *product(("promote", "rollback"), PROMOTION_ENDED),
    ("promote", "proposed"),
    ("approve", "approved"),
    ("reject", "rejected"),
    ("block", "blocked"),
    ("unblock", "unblocked"),
    FOREIGN_MOVE,
    ("watch", "restored"),
)
"""What happens to a champion: (action, state)."""


def collect_promotions(connection: sa.Connection, owners: Sequence[Owner]) -> Iterator[Metric]:
    """Read evidence and the history of promotions."""
    models = _models(owners)
    yield counter(
        "podium_gate_verdicts",
        "Candidates judged by the gate.",
        ("model", "verdict"),
        born_at_zero(product(models, VERDICTS), tally.verdicts(connection)),
    )
    moves = tally.moves(connection)
    yield counter(
        "podium_promotions",
        "Entries of the promotion history; those in state applied moved the champion.",
        ("model", "action", "state"),
        born_at_zero([(model, *move) for model, move in product(models, MOVES)], moves),
    )
    foreign = {(model,): count for (model, *move), count in moves.items() if tuple(move) == FOREIGN_MOVE}
    yield counter(
        "podium_foreign_alias_moves",
        "Moves of champion that somebody made outside Podium, as the guard noticed them.",
        ("model",),
        born_at_zero([(model,) for model in models], foreign),
    )
    reigns = tally.champions(connection)
    yield gauge(
        "podium_champion_info",
        "The version that serves, by the promotion history.",
        ("model", "version"),
        {(reign.model, reign.version): 1 for reign in reigns},
    )
    yield gauge(
        "podium_champion_since_timestamp_seconds",
        "When that version became champion.",
        ("model",),
        {(reign.model,): reign.since.timestamp() for reign in reigns},
    )


def collect_canaries(connection: sa.Connection, owners: Sequence[Owner]) -> Iterator[Metric]:
    """Read the canaries, and the last look at each model's newest."""
    models = _models(owners)
    canaries = canary_tally.canaries(connection)
    yield counter(
        "podium_canaries_ended",
        "Canaries that ended.",
        ("model", "verdict"),
        born_at_zero(product(models, CANARY_ENDED), canaries.ended),
    )
    yield counter(
        "podium_canary_exposures",
        "Requests counted by canaries.",
        ("model", "variant"),
        born_at_zero(product(models, VARIANTS), canaries.exposures),
    )
    yield counter(
        "podium_canary_errors",
        "Requests counted by canaries that were answered wrongly.",
        ("model", "variant"),
        born_at_zero(product(models, VARIANTS), canaries.errors),
    )
    yield gauge(
        "podium_canaries_open",
        "Canaries that have not ended.",
        ("model", "phase"),
        born_at_zero(product(models, PHASES), canaries.open),
    )
    e_values: dict[Labels, float] = {}
    thresholds: dict[Labels, float] = {}
    for model in canaries.models:
        for guardrail, (e_value, threshold) in canary_tally.newest_evidence(connection, model).items():
            thresholds[model, guardrail] = threshold
            if e_value is not None:
                e_values[model, guardrail] = e_value
    yield gauge(
        "podium_canary_e_value",
        "Evidence at the last look of the model's newest canary; absent while unknown.",
        ("model", "guardrail"),
        e_values,
    )
    yield gauge(
        "podium_canary_threshold",
        "The e-value at which the guardrail acts.",
        ("model", "guardrail"),
        thresholds,
    )


def _models(owners: Sequence[Owner]) -> list[str]:
    return sorted({owner.model for owner in owners})
