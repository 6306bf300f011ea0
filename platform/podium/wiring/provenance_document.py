"""The form of a version's provenance, as one JSON document with a schema: `docs/provenance.schema.json`."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT: Literal["podium.provenance/1"] = "podium.provenance/1"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Span(_Part):
    """A half-open interval."""

    start: str
    end: str


class VersionName(_Part):
    """A version of a model."""

    model: str
    version: str


class StoredFiles(_Part):
    """The model's files: what the record says, and what lies in the registry now."""

    source: str
    recorded_digest: str
    registry_asked: bool
    found_digest: str | None = Field(description="null where the registry was not asked or the files are gone")
    problem: str | None
    flavors: list[str] | None
    serialization: str | None
    sha256: dict[str, str] | None = Field(description="SHA-256 by relative path")


class Environment(_Part):
    """What the model needs in order to load, as stored with it."""

    python: str | None
    requirements: list[str] | None


class Column(_Part):
    """One column of the model's signature."""

    name: str
    type: str
    required: bool


class Artifact(_Part):
    """A stored value that the version rests on, and what for."""

    role: Literal["read", "candidate", "holdout", "replayed"]
    digest: str
    step: str | None
    output: str | None
    codec: str | None
    size_bytes: int | None
    removed: bool | None = Field(description="null where no artifact of that digest is on record")


class Data(_Part):
    """What the version was trained and judged on."""

    digest: str
    interval: Span
    artifacts: list[Artifact]


class Code(_Part):
    """The project's code when the run was planned: each module's file digest, and the plan it was traced to."""

    code_digest: str
    plan_digest: str | None
    file: str | None
    modules: dict[str, str] | None


class Attempt(_Part):
    """One try at a step, and what it used."""

    attempt_id: str
    number: int
    state: str
    started_at: str
    ended_at: str | None
    wall_seconds: float | None
    cpu_seconds: float | None
    peak_memory_bytes: int | None
    meter_quality: str | None
    cost_usd: str | None
    error: str | None


class Step(_Part):
    """One step of the run; `cached` if it took over an equal one's result."""

    name: str
    map_index: int | None
    state: str
    cached: bool
    attempts: list[Attempt]


class Run(_Part):
    """The run that registered the version."""

    run_id: str
    pipeline: str
    team: str
    environment: str
    interval_name: str
    parameters: dict[str, Any]
    trigger: str
    cause: str | None
    backfill_id: str | None
    rerun_of: str | None
    actor: str
    actor_verified: bool
    state: str
    outcome: str | None
    created_at: str
    started_at: str | None
    ended_at: str | None
    steps: list[Step]


class JudgedOn(_Part):
    """The evidence; `intact` tells whether the stored document still has the digest it is named by."""

    digest: str
    recorded_at: str
    verdict: str
    intact: bool
    document: dict[str, Any]


class Approval(_Part):
    """One person's word on a promotion."""

    actor: str
    actor_verified: bool
    decision: str
    binding_digest: str
    reason: str
    at: str


class Move(_Part):
    """A promotion or rollback to this version or away from it, whatever became of it, with its sign-offs."""

    promotion_id: str
    action: str
    state: str
    from_version: str | None
    to_version: str
    reasons: list[str]
    evidence_digest: str | None
    binding_digest: str | None
    approvals_required: int
    approvals: list[Approval]
    run_id: str | None
    actor: str
    actor_verified: bool
    reason: str
    proposed_at: str
    ended_at: str | None


class Canary(_Part):
    """A trial of this version on traffic."""

    canary_id: str
    champion: str
    state: str
    verdict: str | None
    looks: int
    position: int
    horizon: int
    exposures: dict[str, int]
    errors: dict[str, int]
    reasons: list[str]
    plan: dict[str, Any]
    plan_digest: str
    seed: str
    traffic: str
    traffic_digest: str | None
    promotion_id: str | None
    run_id: str
    opened_at: str
    ended_at: str | None


class Live(_Part):
    """A time during which this version was champion, by the history."""

    since: str
    until: str | None
    entry_id: int
    fact: str
    actor: str
    reason: str


class History(_Part):
    """The entries about this version, and whether the whole history of the model is sound; `head` is its last entry."""

    ok: bool
    problem: str | None
    head: str | None
    entries: list[dict[str, Any]]
    live: list[Live]


class Aliases(_Part):
    """The aliases that point at this version now."""

    told_by: Literal["registry", "history"]
    names: list[str]


class StepCost(_Part):
    """What a step's attempts cost; the amount is a decimal string, null where none of them has a price."""

    step: str
    amount: str | None
    unpriced: int


class Cost(_Part):
    """What the attempts that made the version cost, failed ones included."""

    currency: str
    attempts: int
    total: str | None
    unpriced: int
    steps: list[StepCost]


class Provenance(_Part):
    """Where a model version comes from and what became of it, from its data to its cost.

    What nobody knows is null, and `unknown` says so in words. `document_digest` is the SHA-256 of everything else in
    canonical JSON (sorted keys, no white space, UTF-8).
    """

    format: Literal["podium.provenance/1"] = FORMAT
    model: str
    version: str
    origin: Literal["run", "adopted", "copied"]
    copied_from: VersionName | None
    registered_at: str
    unknown: list[str]
    files: StoredFiles
    environment: Environment | None
    inputs: list[Column] | None
    data: Data | None
    code: Code | None
    run: Run | None
    evidence: JudgedOn | None
    promotions: list[Move]
    canaries: list[Canary]
    history: History
    aliases: Aliases
    cost: Cost | None
    document_digest: str


def json_schema() -> dict[str, Any]:
    """Return the document's JSON Schema, as it is published."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Provenance.model_json_schema()}
