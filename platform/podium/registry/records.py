"""What is on record about one model, or one version of it: names, promotions with their sign-offs, history."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from podium.db.schema import approval, model_version, promotion, promotion_history
from podium.errors import NotFound
from podium.registry.entities import Promotion, instant_text


@dataclass(frozen=True)
class SignOff:
    """One person's word on a promotion."""

    actor: str
    actor_verified: bool
    decision: str
    binding_digest: str
    reason: str
    at: datetime

    def to_document(self) -> dict[str, Any]:
        """Return it in the interface's JSON."""
        return {**vars(self), "at": instant_text(self.at)}


def require_model(connection: sa.Connection, model: str) -> None:
    """Raise NotFound, naming the models that there are, unless Podium has a version or a history of `model`."""
    for column in (model_version.c.model, promotion_history.c.model):
        if connection.scalar(sa.select(column).where(column == model).limit(1)) is not None:
            return
    names = connection.scalars(sa.select(model_version.c.model).distinct().order_by(model_version.c.model)).all()
    known = f"the models are {', '.join(names)}" if names else "no version of any model was registered yet"
    raise NotFound(f"There is no model {model!r} on Podium's record; {known}.")


def versions_of(connection: sa.Connection, model: str) -> dict[str, datetime]:
    """Return the versions of a model on record with when they were put there, oldest first."""
    rows = connection.execute(
        sa.select(model_version.c.version, model_version.c.registered_at)
        .where(model_version.c.model == model)
        .order_by(model_version.c.registered_at, model_version.c.version)
    )
    return {row.version: row.registered_at for row in rows}


def move_is_open(connection: sa.Connection, model: str) -> bool:
    """Tell whether a move of the model's champion was begun and not confirmed."""
    applying = sa.select(promotion.c.promotion_id).where(promotion.c.model == model, promotion.c.state == "applying")
    return connection.execute(applying.limit(1)).first() is not None


def promotions_about(connection: sa.Connection, model: str, version: str) -> list[Promotion]:
    """Return the promotions to a version and away from it, applied or not, oldest first."""
    rows = connection.execute(
        sa.select(promotion)
        .where(promotion.c.model == model)
        .where(sa.or_(promotion.c.to_version == version, promotion.c.from_version == version))
        .order_by(promotion.c.proposed_at, promotion.c.promotion_id)
    ).mappings()
    return [Promotion(**{**row, "reasons": tuple(row["reasons"])}) for row in rows]


def sign_offs(connection: sa.Connection, promotion_id: str) -> list[SignOff]:
    """Return what people said to a promotion, in the order in which they did."""
    columns = (approval.c[name] for name in SignOff.__dataclass_fields__)
    rows = connection.execute(
        sa.select(*columns).where(approval.c.promotion_id == promotion_id).order_by(approval.c.at, approval.c.actor)
    )
    return [SignOff(**row._asdict()) for row in rows]
