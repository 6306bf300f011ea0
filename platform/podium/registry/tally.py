"""How often the gate said what, how often the champion moved, and which version it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from podium.db.schema import evidence, promotion_history
from podium.registry.timeline import LIVE


@dataclass(frozen=True)
class Reign:
    """The version that serves, by Podium's history, and since when."""

    model: str
    version: str
    since: datetime


def verdicts(connection: sa.Connection) -> Mapping[tuple[str, str], int]:
    """Count the gate's verdicts, by model and verdict."""
    query = sa.select(evidence.c.model, evidence.c.verdict, sa.func.count())
    rows = connection.execute(query.group_by(evidence.c.model, evidence.c.verdict))
    return {(model, verdict): count for model, verdict, count in rows}


def moves(connection: sa.Connection) -> Mapping[tuple[str, str, str], int]:
    """Count the entries of every model's history, by model, action and state."""
    key = promotion_history.c.model, promotion_history.c.action, promotion_history.c.state
    rows = connection.execute(sa.select(*key, sa.func.count()).group_by(*key))
    return {(model, action, state): count for model, action, state, count in rows}


def champions(connection: sa.Connection) -> list[Reign]:
    """Return each model's champion; a model whose champion never moved has none."""
    history = promotion_history.c
    reigns = []
    for model in connection.scalars(sa.select(history.model).distinct().order_by(history.model)).all():
        # One model at a time, from the newest entry back: that reads a few rows of each, however long its history.
        last = sa.select(history.to_version, history.at).where(history.model == model, history.state.in_(LIVE))
        moved = connection.execute(last.order_by(history.id.desc()).limit(1)).first()
        if moved is not None and moved.to_version is not None:
            reigns.append(Reign(model, moved.to_version, moved.at))
    return reigns
