"""What the registry talks about: uploaded models, versions, promotions, entries of the history."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from podium.errors import ChampionMoved, Refused
from podium.ids import digest_json

CHAMPION = "champion"
CHALLENGER = "challenger"

Origin = Literal["run", "adopted", "copied"]


def instant_text(at: datetime) -> str:
    """Return `at` as ISO 8601 in UTC, always with microseconds: one instant, one text.

    >>> instant_text(datetime(2013, 3, 1, tzinfo=UTC))
    '2013-03-01T00:00:00.000000Z'
    """
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True)
class LoggedModel:
    """A fitted estimator's uploaded files, not yet a version; `digest` covers every file."""

    source: str
    digest: str
    serialization: str
    mlflow_run_id: str
    mlflow_model_id: str


@dataclass(frozen=True)
class RegisteredVersion:
    """What the registry itself says of a version, whoever registered it; `description` is Markdown.

    Ids of MLflow's own are empty where there are none.
    """

    model: str
    version: str
    source: str
    tags: Mapping[str, str]
    description: str = ""
    mlflow_run_id: str = ""
    mlflow_model_id: str = ""


@dataclass(frozen=True)
class Removal:
    """What a version rests on and the registry has marked as deleted or has lost: `problem` in a sentence.

    `repair` is how that is taken back, None where the registry cannot.
    """

    problem: str
    repair: str | None


@dataclass(frozen=True)
class Lineage:
    """What a version was made by and from."""

    run_id: str
    interval_start: datetime
    interval_end: datetime
    data_digest: str
    code_digest: str
    evidence_digest: str

    def to_tags(self) -> dict[str, str]:
        """Return it as tags for the registry, where people without Podium read it."""
        return {
            "podium.run_id": self.run_id,
            "podium.interval": f"{instant_text(self.interval_start)}/{instant_text(self.interval_end)}",
            "podium.data_digest": self.data_digest,
            "podium.code_digest": self.code_digest,
            "podium.evidence_digest": self.evidence_digest,
        }


@dataclass(frozen=True)
class ModelVersion:
    """A version on Podium's record.

    `origin` is `run` for one that a run registered, `copied` for one brought from another model (`copied_from`, its
    model and version), whose lineage it keeps, and `adopted` for one that was there before Podium: that has no lineage.
    """

    model: str
    version: str
    digest: str
    source: str
    lineage: Lineage | None
    origin: Origin = "run"
    copied_from: tuple[str, str] | None = None

    @property
    def run_id(self) -> str | None:
        """The run that made it; None where nobody knows."""
        return None if self.lineage is None else self.lineage.run_id

    @property
    def made_by_run(self) -> bool:
        """Whether a run of this project made its files, so that code inside them is that of a pipeline."""
        return self.lineage is not None

    @property
    def evidence_digest(self) -> str | None:
        """What it was judged on; None where nobody judged it."""
        return None if self.lineage is None else self.lineage.evidence_digest

    def to_document(self) -> dict[str, Any]:
        """Return it in the interface's JSON."""
        return {
            "model": self.model,
            "version": self.version,
            "digest": self.digest,
            "source": self.source,
            "origin": self.origin,
            "copied_from": None
            if self.copied_from is None
            else {"model": self.copied_from[0], "version": self.copied_from[1]},
            **lineage_document(self.lineage),
        }


def lineage_document(lineage: Lineage | None) -> dict[str, Any]:
    """Return a version's lineage in the interface's JSON: of one that has none, each key is null."""
    if lineage is None:
        return dict.fromkeys(("run_id", "interval", "data_digest", "code_digest", "evidence_digest"))
    return {
        "run_id": lineage.run_id,
        "interval": {"start": instant_text(lineage.interval_start), "end": instant_text(lineage.interval_end)},
        "data_digest": lineage.data_digest,
        "code_digest": lineage.code_digest,
        "evidence_digest": lineage.evidence_digest,
    }


@dataclass(frozen=True)
class RecordedEvidence:
    """Stored evidence: what the gate's verdict was, on which candidate, against which champion."""

    digest: str
    model: str
    candidate_digest: str
    champion_version: str | None
    holdout_digest: str
    verdict: str
    reasons: tuple[str, ...]
    run_id: str
    recorded_at: datetime
    document: Mapping[str, Any]

    @property
    def altered(self) -> str | None:
        """Say that it is not what was recorded under its digest, None where it is."""
        name, found = (
            f"The evidence {self.digest[:12]}… on {self.model}, of run {self.run_id},",
            digest_json(self.document),
        )
        if found != self.digest:
            return f"{name} was changed: what is stored has the digest {found[:12]}…. {_RESTORE}"
        for fact in ("model", "candidate_digest", "champion_version", "holdout_digest", "verdict", "reasons"):
            stored = getattr(self, fact)
            if (list(stored) if fact == "reasons" else stored) != self.document.get(fact):
                return f"{name} was changed: its row says another {fact} than what was recorded. {_RESTORE}"
        return None


_RESTORE = "Nobody changes that but Podium: restore the database from a backup, or judge anew."


@dataclass(frozen=True)
class Promotion:
    """A recorded move of `champion`, or the refusal to make it.

    `expected_version` is the champion the caller counted on; `from_version` the one found. `reasons` say why
    a promotion did not apply; `reason` is what the actor wrote. `binding` is what approvals are given for, under its
    digest; without it, nobody has to approve, or a Podium asked that kept the digest alone. `next_valid` is where a
    rollback that was refused just now for its target could lead instead; only the caller is told, the record says it
    in words.
    """

    promotion_id: str
    model: str
    action: str
    expected_version: str | None
    from_version: str | None
    to_version: str
    state: str
    reasons: tuple[str, ...]
    idempotency_key: str
    evidence_digest: str | None
    run_id: str | None
    actor: str
    actor_verified: bool
    reason: str
    proposed_at: datetime
    ended_at: datetime | None
    approvals_required: int = 0
    binding_digest: str | None = None
    binding: Mapping[str, Any] | None = None
    expires_at: datetime | None = None
    next_valid: str | None = None

    @property
    def applied(self) -> bool:
        """Whether the alias moved."""
        return self.state == "applied"

    @property
    def awaits_approval(self) -> bool:
        """Whether people have yet to sign it off."""
        return self.state == "awaiting_approval"

    def is_due(self, now: datetime) -> bool:
        """Whether the time in which it could be approved is over."""
        return self.expires_at is not None and self.expires_at <= now

    @property
    def champion(self) -> str | None:
        """The champion when the promotion ended."""
        return self.to_version if self.applied else self.from_version

    @property
    def lost_the_swap(self) -> bool:
        """Whether it was refused because the champion was not the expected one."""
        return self.state == "refused" and self.expected_version != self.from_version

    def raise_unless_applied(self) -> "Promotion":
        """Return itself when it applied; raise ChampionMoved or Refused with the reasons otherwise."""
        if self.applied:
            return self
        if self.awaits_approval:
            raise Refused(
                f"The promotion of {self.model} to version {self.to_version} awaits approval; "
                f"`podium promotions show {self.promotion_id}` says by whom."
            )
        verb = "rollback" if self.action == "rollback" else "promotion"
        outcome = {"refused": "was refused", "void": "is void"}.get(self.state, f"is {self.state}")
        error = ChampionMoved if self.lost_the_swap else Refused
        raise error(f"The {verb} of {self.model} to version {self.to_version} {outcome}: {' '.join(self.reasons)}")

    def to_document(self) -> dict[str, Any]:
        """Return it in the interface's JSON."""
        return {
            "promotion_id": self.promotion_id,
            "state": self.state,
            "model": self.model,
            "action": self.action,
            "from_version": self.from_version,
            "to_version": self.to_version,
            "champion": self.champion,
            "reasons": list(self.reasons),
            "next_valid": self.next_valid,
            "evidence_digest": self.evidence_digest,
            "run_id": self.run_id,
            "actor": self.actor,
            "actor_verified": self.actor_verified,
            "reason": self.reason,
            "proposed_at": instant_text(self.proposed_at),
            "ended_at": None if self.ended_at is None else instant_text(self.ended_at),
            "approvals_required": self.approvals_required,
            "binding_digest": self.binding_digest,
            "expires_at": None if self.expires_at is None else instant_text(self.expires_at),
        }


@dataclass(frozen=True)
class HistoryEntry:
    """One fact about a model's champion; `hash` covers every other field, `previous_hash` among them."""

    model: str
    id: int
    at: datetime
    action: str
    state: str
    from_version: str | None
    to_version: str | None
    actor: str
    actor_verified: bool
    approvers: tuple[str, ...]
    reason: str
    evidence_digest: str | None
    promotion_id: str | None
    previous_hash: str
    hash: str

    def to_document(self) -> dict[str, Any]:
        """Return it in the interface's JSON."""
        return {
            "id": self.id,
            "at": instant_text(self.at),
            "action": self.action,
            "state": self.state,
            "from_version": self.from_version,
            "to_version": self.to_version,
            "actor": self.actor,
            "actor_verified": self.actor_verified,
            "approvers": list(self.approvers),
            "reason": self.reason,
            "evidence_digest": self.evidence_digest,
            "promotion_id": self.promotion_id,
            "previous_hash": self.previous_hash,
            "hash": self.hash,
        }
