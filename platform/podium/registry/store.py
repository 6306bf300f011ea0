"""The registry's rows: evidence, model versions and promotions, in the caller's transaction."""

from dataclasses import fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from podium.db.engine import insert_unless_present
from podium.db.prepared import Prepared
from podium.db.schema import approval, evidence, model_version, promotion, promotion_history
from podium.db.schema.columns import is_in
from podium.errors import NotFound
from podium.registry.approval import Approval
from podium.registry.entities import (
    Lineage,
    ModelVersion,
    Promotion,
    RecordedEvidence,
)

_OPEN = ("proposed", "awaiting_approval", "applying")  # as the index has them that allows one of a model
_LINEAGE = tuple(field.name for field in fields(Lineage))
# Of versions registered at one instant the higher number is the newer one.
NEWEST_FIRST = (
    model_version.c.registered_at.desc(),
    sa.func.length(model_version.c.version).desc(),
    model_version.c.version.desc(),
)


def add_evidence(connection: sa.Connection, recorded: RecordedEvidence, *, step_key: str) -> None:
    """Store evidence; the same digest is stored once, whoever measured it first."""
    row = {
        "digest": recorded.digest,
        "model": recorded.model,
        "candidate_digest": recorded.candidate_digest,
        "champion_version": recorded.champion_version,
        "holdout_digest": recorded.holdout_digest,
        "verdict": recorded.verdict,
        "document": dict(recorded.document),
        "run_id": recorded.run_id,
        "step_key": step_key,
        "recorded_at": recorded.recorded_at,
    }
    insert_unless_present(connection, evidence, row)


def find_evidence(connection: sa.Connection, digest: str | None) -> RecordedEvidence | None:
    """Return the evidence with that digest; without one there is none."""
    row = connection.execute(sa.select(evidence).where(evidence.c.digest == digest)).first()
    return None if row is None else _evidence(row)


def evidence_of_run(connection: sa.Connection, run_id: str) -> list[RecordedEvidence]:
    """Return the evidence that a run measured, oldest first; not what was measured later, for another environment."""
    rows = connection.execute(_EVIDENCE.where(evidence.c.run_id == run_id, _MEASURED_BY_A_RUN))
    return [_evidence(row) for row in rows]


def evidence_on(connection: sa.Connection, model: str) -> list[RecordedEvidence]:
    """Return the evidence on all candidates for a model, oldest first."""
    return [_evidence(row) for row in connection.execute(_EVIDENCE.where(evidence.c.model == model))]


def evidence_for(connection: sa.Connection, model: str, run_id: str) -> list[RecordedEvidence]:
    """Return the evidence on what a run made, as a version of `model`, oldest first.

    That of an environment's model was measured later, when a version was to enter there.
    """
    rows = connection.execute(_EVIDENCE.where(evidence.c.run_id == run_id, evidence.c.model == model))
    return [_evidence(row) for row in rows]


def evidence_of_step(connection: sa.Connection, step_key: str) -> RecordedEvidence | None:
    """Return the last evidence that was recorded under a step key."""
    newest_first = evidence.c.recorded_at.desc(), evidence.c.digest.desc()
    found = connection.execute(sa.select(evidence).where(evidence.c.step_key == step_key).order_by(*newest_first))
    row = found.first()
    return None if row is None else _evidence(row)


def count_holdout_uses(connection: sa.Connection, model: str, holdout_digest: str, *, except_step_key: str) -> int:
    """Count the steps other than `except_step_key` that judged a candidate for `model` on that holdout."""
    steps = sa.select(sa.func.count(sa.distinct(evidence.c.step_key))).where(
        evidence.c.model == model,
        evidence.c.holdout_digest == holdout_digest,
        evidence.c.step_key != except_step_key,
    )
    return int(connection.scalar(steps) or 0)


def needed_digests(connection: sa.Connection) -> dict[str, set[str]]:
    """Return the digests of the artifacts that trained or judged a version, or that history rests on, by the reason."""
    of_versions = sa.select(model_version.c.evidence_digest)
    of_history = sa.union(
        sa.select(promotion.c.evidence_digest).where(promotion.c.evidence_digest.is_not(None)),
        sa.select(promotion_history.c.evidence_digest).where(promotion_history.c.evidence_digest.is_not(None)),
    )

    def judged(digests: sa.Select[Any] | sa.CompoundSelect[Any]) -> set[str]:
        columns = (evidence.c.candidate_digest, evidence.c.holdout_digest)
        rows = connection.execute(sa.select(*columns).where(evidence.c.digest.in_(digests)))
        return {digest for row in rows for digest in row}

    return {
        "the history of a champion rests on it": judged(of_history),
        "a model version was trained or judged with it": judged(of_versions)
        | set(connection.scalars(sa.select(model_version.c.data_digest))),
    }


def add_version(connection: sa.Connection, version: ModelVersion, *, step_key: str, at: datetime) -> None:
    """Put a version on record at `at`."""
    copied_from = version.copied_from or (None, None)
    connection.execute(
        sa.insert(model_version).values(
            model=version.model,
            version=version.version,
            digest=version.digest,
            source=version.source,
            origin=version.origin,
            copied_from_model=copied_from[0],
            copied_from_version=copied_from[1],
            **{name: None if version.lineage is None else getattr(version.lineage, name) for name in _LINEAGE},
            step_key=step_key,
            registered_at=at,
        )
    )


def find_version(connection: sa.Connection, model: str, version: str) -> ModelVersion | None:
    """Return a version on record."""
    found = _versions(connection, model_version.c.model == model, model_version.c.version == version)
    return found[0] if found else None


def judged_version(
    connection: sa.Connection, model: str, version: str
) -> tuple[ModelVersion | None, RecordedEvidence | None]:
    """Return a version on record and what it was judged on, as far as there is either."""
    found = find_version(connection, model, version)
    return found, find_evidence(connection, found.evidence_digest if found else None)


def version_of_step(connection: sa.Connection, step_key: str) -> ModelVersion | None:
    """Return the version that a step run registered."""
    found = _versions(connection, model_version.c.step_key == step_key)
    return found[0] if found else None


def version_judged_by(connection: sa.Connection, model: str, evidence_digest: str) -> ModelVersion | None:
    """Return the newest version of a model that was registered on that evidence; None where none was."""
    found = _versions(connection, model_version.c.model == model, model_version.c.evidence_digest == evidence_digest)
    return found[-1] if found else None


def versions_of_run(connection: sa.Connection, run_id: str) -> list[ModelVersion]:
    """Return the versions that a run registered, oldest first; not copies of them."""
    return _versions(connection, model_version.c.run_id == run_id, model_version.c.origin == "run")


def versions_of_model(connection: sa.Connection, model: str) -> list[ModelVersion]:
    """Return the versions of a model, oldest first."""
    return _versions(connection, model_version.c.model == model)


def add_promotion(connection: sa.Connection, proposed: Promotion) -> None:
    """Store a promotion as it is."""
    facts = {column.name: getattr(proposed, column.name) for column in promotion.columns}
    connection.execute(sa.insert(promotion).values(**{**facts, "reasons": list(proposed.reasons)}))


def move_promotion(connection: sa.Connection, moved: Promotion, *, before: str) -> bool:
    """Bring a stored promotion to its new state; False when it was not in the state `before` any more."""
    found = connection.execute(
        sa.update(promotion)
        .where(promotion.c.promotion_id == moved.promotion_id, promotion.c.state == before)
        .values(state=moved.state, reasons=list(moved.reasons), ended_at=moved.ended_at)
    )
    return found.rowcount == 1


def get_promotion(connection: sa.Connection, promotion_id: str) -> Promotion:
    """Return a promotion by its id, or by a beginning or an end of it that only one has; NotFound otherwise."""
    name = promotion.c.promotion_id
    exact = _promotions(connection, name == promotion_id)
    if exact:
        return exact[0]
    if not promotion_id.isalnum():
        raise NotFound(f"There is no promotion {promotion_id!r}; `podium promotions list` shows what there is.")
    found = _promotions(connection, sa.or_(name.startswith(promotion_id), name.endswith(promotion_id)))
    if len(found) != 1:
        fact = "More than one promotion begins or ends with" if found else "There is no promotion"
        raise NotFound(f"{fact} {promotion_id!r}; `podium promotions list` shows what there is.")
    return found[0]


def add_approval(connection: sa.Connection, given: Approval) -> None:
    """Store one person's word on a promotion."""
    connection.execute(sa.insert(approval).values(**vars(given)))


def approvals_of(connection: sa.Connection, promotion_id: str) -> list[Approval]:
    """Return what people said about a promotion, in the order they did."""
    rows = connection.execute(
        sa.select(approval).where(approval.c.promotion_id == promotion_id).order_by(approval.c.at, approval.c.actor)
    ).mappings()
    return [Approval(**row) for row in rows]


def approvals_on(connection: sa.Connection, model: str) -> dict[str, list[Approval]]:
    """Return what people said about the promotions of a model, by promotion, each in the order they did."""
    rows = connection.execute(
        sa.select(approval)
        .join(promotion, promotion.c.promotion_id == approval.c.promotion_id)
        .where(promotion.c.model == model)
        .order_by(approval.c.at, approval.c.actor)
    )
    found: dict[str, list[Approval]] = {}
    for row in rows:
        found.setdefault(row.promotion_id, []).append(Approval(**row._asdict()))
    return found


def is_rejected(connection: sa.Connection, promotion_id: str) -> bool:
    """Tell whether somebody rejected a promotion."""
    return any(each.decision == "reject" for each in approvals_of(connection, promotion_id))


def open_promotions(connection: sa.Connection) -> list[Promotion]:
    """Return the promotions of all models that have not ended, oldest first."""
    return _promotions(connection, sa.text(is_in("promotion.state", _OPEN)))  # the index' condition


def newest_promotions(connection: sa.Connection, model: str | None, state: str | None, limit: int) -> list[Promotion]:
    """Return the newest promotions, of one model or in one state where either is given."""
    wanted = [*([promotion.c.model == model] if model else []), *([promotion.c.state == state] if state else [])]
    rows = connection.execute(
        sa.select(promotion.c.promotion_id)
        .where(*wanted)
        .order_by(promotion.c.proposed_at.desc(), promotion.c.promotion_id.desc())
        .limit(limit)
    )
    return _promotions(connection, promotion.c.promotion_id.in_(list(rows.scalars())))[::-1]


def promotion_with_key(connection: sa.Connection, idempotency_key: str) -> Promotion | None:
    """Return the promotion asked for under a key."""
    found = _promotions(connection, promotion.c.idempotency_key == idempotency_key)
    return found[0] if found else None


def open_promotion(connection: sa.Connection, model: str) -> Promotion | None:
    """Return the promotion of `model` that awaits approval, or whose alias move was begun and not confirmed."""
    found = _promotions(connection, promotion.c.model == model, promotion.c.state.in_(_OPEN))
    return found[0] if found else None


def promotions_of(connection: sa.Connection, model: str) -> list[Promotion]:
    """Return the promotions and rollbacks of a model, oldest first."""
    return _promotions(connection, promotion.c.model == model)


def promotions_to(connection: sa.Connection, model: str, version: str) -> list[Promotion]:
    """Return the promotions to a version, rollbacks included, oldest first."""
    return _promotions(connection, promotion.c.model == model, promotion.c.to_version == version)


def promotions_of_run(connection: sa.Connection, run_id: str) -> list[Promotion]:
    """Return the promotions a run asked for, oldest first."""
    return _promotions(connection, promotion.c.run_id == run_id)


def run_outcome(connection: sa.Connection, run_id: str) -> str:
    """Return what a run came to, as the registry sees it.

    `promoted` when one of its promotions applied. Else its last promotion decides: `inconclusive` when the
    champion had moved (nobody has compared the two) or the version was gone, `rejected` when a rule refused.
    Without a promotion its last evidence decides: failed is `rejected`, insufficient `inconclusive`. Everything
    else is `none`.
    """
    of_run = {"of_run": run_id}
    asked = promotions_of_run(connection, run_id) if _A_PROMOTION.first(connection, of_run) else []
    if any(each.applied for each in asked):
        return "promoted"
    if asked:
        last = asked[-1]
        if last.state not in ("refused", "void"):
            return "none"
        return "inconclusive" if last.state == "void" or last.lost_the_swap else "rejected"
    verdict = _LAST_VERDICT.first(connection, of_run)
    return {"failed": "rejected", "insufficient": "inconclusive"}.get(verdict[0] if verdict else "", "none")


def model_names(connection: sa.Connection) -> list[str]:
    """Return the models that Podium registered versions of, sorted."""
    return list(connection.scalars(sa.select(model_version.c.model).distinct().order_by(model_version.c.model)))


def is_known(connection: sa.Connection, model: str) -> bool:
    """Return whether Podium has a version of `model` on record."""
    one = sa.select(model_version.c.version).where(model_version.c.model == model).limit(1)
    return connection.scalar(one) is not None


def newest_version(connection: sa.Connection, model: str, *, besides: str | None) -> str | None:
    """Return the newest version on record that is not `besides`; None without one."""
    newest = sa.select(model_version.c.version).where(model_version.c.model == model).order_by(*NEWEST_FIRST)
    found = connection.scalars(newest.limit(2)).all()
    return next((version for version in found if version != besides), None)


def _evidence(row: sa.Row[Any]) -> RecordedEvidence:
    return RecordedEvidence(
        digest=row.digest,
        model=row.model,
        candidate_digest=row.candidate_digest,
        champion_version=row.champion_version,
        holdout_digest=row.holdout_digest,
        verdict=row.verdict,
        reasons=tuple(row.document["reasons"]),
        run_id=row.run_id,
        recorded_at=row.recorded_at,
        document=row.document,
    )


def _versions(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> list[ModelVersion]:
    rows = connection.execute(
        sa.select(model_version).where(*conditions).order_by(model_version.c.registered_at, model_version.c.version)
    )
    return [version_of(row) for row in rows]


def version_of(row: sa.Row[Any]) -> ModelVersion:
    """Return the version in a row."""
    return ModelVersion(
        model=row.model,
        version=row.version,
        digest=row.digest,
        source=row.source,
        lineage=lineage_of(row),
        origin=row.origin,
        copied_from=(row.copied_from_model, row.copied_from_version) if row.origin == "copied" else None,
    )


def lineage_of(row: sa.Row[Any]) -> Lineage | None:
    """Return the lineage in a row of a version; None of an adopted one."""
    return None if row.run_id is None else Lineage(**{name: getattr(row, name) for name in _LINEAGE})


def _promotions(connection: sa.Connection, *conditions: sa.ColumnElement[bool] | sa.TextClause) -> list[Promotion]:
    rows = connection.execute(
        sa.select(promotion).where(*conditions).order_by(promotion.c.proposed_at, promotion.c.promotion_id)
    ).mappings()
    return [Promotion(**{**row, "reasons": tuple(row["reasons"])}) for row in rows]


ADVANCE = "advance:"
"""How the step keys begin under which versions are judged for another environment, and copied there."""

_EVIDENCE = sa.select(evidence).order_by(evidence.c.recorded_at, evidence.c.digest)
_MEASURED_BY_A_RUN = sa.not_(evidence.c.step_key.startswith(ADVANCE, autoescape=True))
_OF_RUN: sa.BindParameter[Any] = sa.bindparam("of_run")
_A_PROMOTION = Prepared(sa.select(promotion.c.promotion_id).where(promotion.c.run_id == _OF_RUN).limit(1))
_LAST_VERDICT = Prepared(
    sa.select(evidence.c.verdict)
    .where(evidence.c.run_id == _OF_RUN, _MEASURED_BY_A_RUN)
    .order_by(evidence.c.recorded_at.desc(), evidence.c.digest.desc())
    .limit(1)
)
