"""How many canaries are open and how many ended how, and what all of them together have counted."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from podium.canary import store
from podium.canary.entities import CHALLENGER, CHAMPION
from podium.db.schema import canary


@dataclass(frozen=True)
class CanaryTally:
    """Numbers of canaries by model and state, and of requests by model and variant; `models` had any canary."""

    open: Mapping[tuple[str, str], int]
    ended: Mapping[tuple[str, str], int]
    exposures: Mapping[tuple[str, str], int]
    errors: Mapping[tuple[str, str], int]
    models: tuple[str, ...]


def canaries(connection: sa.Connection) -> CanaryTally:
    """Count the canaries, and add up what each has counted."""
    open_, ended, exposures, errors = (Counter[tuple[str, str]]() for _ in range(4))
    rows = connection.execute(
        sa.select(canary.c.model, canary.c.state, canary.c.counts, canary.c.ended_at.is_(None).label("is_open"))
    )
    for model, state, counts, is_open in rows:
        (open_ if is_open else ended)[model, state] += 1
        for variant in (CHAMPION, CHALLENGER):
            exposures[model, variant] += sum(cell[f"{variant}_exposures"] for cell in counts)
            errors[model, variant] += sum(cell[f"{variant}_errors"] for cell in counts)
    models = tuple(sorted({model for model, _ in (*open_, *ended)}))
    return CanaryTally(open_, ended, exposures, errors, models)


def open_challengers(connection: sa.Connection) -> list[tuple[str, str]]:
    """Return the model and version of each challenger in an open canary."""
    query = sa.select(canary.c.model, canary.c.challenger_version).where(canary.c.ended_at.is_(None))
    return [(model, version) for model, version in connection.execute(query.order_by(canary.c.model))]


def newest_evidence(connection: sa.Connection, model: str) -> Mapping[str, tuple[float | None, float]]:
    """Return e-value and threshold by guardrail, as the last look at the model's newest canary found them."""
    newest = store.newest_of(connection, model)
    look = None if newest is None else store.last_look(connection, newest.canary_id)
    return {} if look is None else {each.guardrail: (each.e_value, each.threshold) for each in look.evidence}
