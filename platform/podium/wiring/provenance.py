"""The whole provenance of a version, gathered from what every slice has on record about it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from podium.canary import documents as canaries
from podium.clock import Clock
from podium.db.engine import Database
from podium.errors import ArtifactError, NotFound
from podium.execution import lineage as artifacts
from podium.execution import outputs, plans, queries
from podium.finops import costs
from podium.finops.sums import cost_document
from podium.ids import digest_json
from podium.registry import history, records, store, timeline
from podium.registry.entities import CHAMPION, ModelVersion, RecordedEvidence, instant_text
from podium.registry.port import ModelRegistry
from podium.registry.stored_model import StoredModel
from podium.registry.verification import verify
from podium.wiring.documents import run_document
from podium.wiring.provenance_document import FORMAT, Provenance

Document = dict[str, Any]


def provenance(database: Database, registry: ModelRegistry | None, clock: Clock, model: str, version: str) -> Document:
    """Return the provenance of a version, in the form of `Provenance`; without a registry none is asked.

    The same record gives the same document. Raises NotFound for a version that is not on record.
    """
    with database.read() as connection:
        found = _find(connection, model, version)
    stored, problem = (None, None) if registry is None else _stored(registry, found)
    aliases = None if registry is None else dict(registry.aliases(model))
    with database.read() as connection:
        document = _document(connection, clock, found, stored, problem, aliases)
    sealed = {**document, "document_digest": digest_json(document)}
    return Provenance.model_validate(sealed).model_dump(mode="json")


def document_digest(document: Mapping[str, Any]) -> str:
    """Return the digest that a provenance document must carry to be unchanged."""
    return digest_json({name: value for name, value in document.items() if name != "document_digest"})


def _find(connection: sa.Connection, model: str, version: str) -> ModelVersion:
    found = store.find_version(connection, model, version)
    if found is None:
        records.require_model(connection, model)
        known = ", ".join(records.versions_of(connection, model)) or "none"
        raise NotFound(
            f"Version {version} of {model} is not on Podium's record; on record are: {known}. Where the registry has "
            f"it, `podium models adopt {model} --version {version} --reason TEXT` puts it there."
        )
    return found


def _stored(registry: ModelRegistry, version: ModelVersion) -> tuple[StoredModel | None, str | None]:
    """Return what the registry has of the version's files, or why it has none."""
    try:
        return registry.describe(registry.get_version(version.model, version.version).source), None
    except (ArtifactError, NotFound) as error:
        return None, str(error)


def _document(
    connection: sa.Connection,
    clock: Clock,
    version: ModelVersion,
    stored: StoredModel | None,
    problem: str | None,
    aliases: Mapping[str, str] | None,
) -> Document:
    evidence = store.find_evidence(connection, version.evidence_digest)
    run = _run(connection, clock, version)
    tried = canaries.of_challenger(connection, version.model, version.version)
    cost = _cost(connection, version)
    if stored is not None and stored.digest != version.digest:
        problem = f"The files have digest {stored.digest}, recorded is {version.digest}: they were changed."
    return {
        "format": FORMAT,
        "model": version.model,
        "version": version.version,
        "origin": version.origin,
        "copied_from": version.to_document()["copied_from"],
        "registered_at": instant_text(records.versions_of(connection, version.model)[version.version]),
        "unknown": _unknown(version, run, cost, stored, asked=aliases is not None),
        "files": {
            "source": version.source,
            "recorded_digest": version.digest,
            "registry_asked": aliases is not None,
            "found_digest": stored and stored.digest,
            "problem": problem,
            "flavors": None if stored is None else list(stored.flavors),
            "serialization": stored and stored.serialization,
            "sha256": None if stored is None else dict(sorted(stored.files.items())),
        },
        "environment": None
        if stored is None
        else {
            "python": stored.python,
            "requirements": None if stored.requirements is None else list(stored.requirements),
        },
        "inputs": None if stored is None or stored.inputs is None else [asdict(column) for column in stored.inputs],
        "data": _data(connection, version, evidence, tried, known_run=run is not None),
        "code": _code(connection, version, known_run=run is not None),
        "run": run,
        "evidence": None if evidence is None else _evidence(evidence),
        "promotions": _moves(connection, version),
        "canaries": [_only(_CANARY, canary) for canary in tried],
        "history": _history(connection, version),
        "aliases": _aliases(connection, version, aliases),
        "cost": cost,
    }


def _unknown(
    version: ModelVersion, run: Document | None, cost: Document | None, stored: StoredModel | None, *, asked: bool
) -> list[str]:
    """Say in words what is null, and why."""
    said = []
    if version.lineage is None:
        said.append(
            "It was adopted: nobody knows what data, code and run made it, what it was judged on, what it cost."
        )
    elif run is None:
        said.append(f"The run {version.run_id} that made it is not on this project's record.")
    if version.lineage is not None and cost is None:
        said.append("No attempt is recorded to have made it, so what it cost is not known.")
    if not asked:
        said.append("The registry was not asked: files, environment and signature are not told, aliases by history.")
    elif stored is None:
        said.append("The registry has no files of it, so environment and signature are not known.")
    return said


def _run(connection: sa.Connection, clock: Clock, version: ModelVersion) -> Document | None:
    if version.run_id is None or version.run_id not in queries.run_rows(connection, [version.run_id]):
        return None
    document = run_document(connection, version.run_id, clock.now())
    steps = [
        {
            **_only(("name", "map_index", "state", "cached"), step),
            "attempts": [_only(_ATTEMPT, attempt) for attempt in step["attempts"]],
        }
        for step in document["steps"]
    ]
    return {**_only(_RUN, document), "steps": steps}


def _data(
    connection: sa.Connection,
    version: ModelVersion,
    evidence: RecordedEvidence | None,
    tried: list[Document],
    *,
    known_run: bool,
) -> Document | None:
    """Return what trained, judged and tried the version, artifact by artifact."""
    lineage = version.lineage
    if lineage is None:
        return None
    made = {row.digest: row for row in artifacts.of_run(connection, lineage.run_id)} if known_run else {}
    wanted: list[tuple[str, str]] = []
    if evidence is not None and known_run:
        plan = plans.load(connection, queries.get_run(connection, lineage.run_id).plan_digest)
        read = outputs.read_for(connection, lineage.run_id, plan, evidence.candidate_digest)
        wanted += [("read", digest) for digest in read]
    if evidence is not None:
        wanted += [("candidate", evidence.candidate_digest), ("holdout", evidence.holdout_digest)]
    wanted += [("replayed", canary["traffic_digest"]) for canary in tried if canary["traffic_digest"] is not None]
    return {
        "digest": lineage.data_digest,
        "interval": {"start": instant_text(lineage.interval_start), "end": instant_text(lineage.interval_end)},
        "artifacts": [_artifact(role, digest, made.get(digest)) for role, digest in dict.fromkeys(wanted)],
    }


def _artifact(role: str, digest: str, row: sa.Row[Any] | None) -> Document:
    said: Document = {"role": role, "digest": digest}
    if row is None:
        return {**said, **dict.fromkeys(("step", "output", "codec", "size_bytes", "removed"))}
    of_row = {"step": row.step, "output": row.name, "codec": row.codec, "size_bytes": row.size_bytes}
    return {**said, **of_row, "removed": row.removed_at is not None}


def _code(connection: sa.Connection, version: ModelVersion, *, known_run: bool) -> Document | None:
    if version.lineage is None:
        return None
    plan = None
    if known_run:
        plan = plans.load(connection, queries.get_run(connection, version.lineage.run_id).plan_digest)
    return {
        "code_digest": version.lineage.code_digest,
        "plan_digest": plan and plan.digest,
        "file": plan and plan.file,
        "modules": None if plan is None else dict(sorted(plan.modules.items())),
    }


def _evidence(evidence: RecordedEvidence) -> Document:
    return {
        "digest": evidence.digest,
        "recorded_at": instant_text(evidence.recorded_at),
        "verdict": evidence.verdict,
        "intact": evidence.altered is None,
        "document": dict(evidence.document),
    }


def _moves(connection: sa.Connection, version: ModelVersion) -> list[Document]:
    return [
        {
            **_only(_MOVE, promotion.to_document()),
            "binding_digest": promotion.binding_digest,
            "approvals_required": promotion.approvals_required,
            "approvals": [each.to_document() for each in records.sign_offs(connection, promotion.promotion_id)],
        }
        for promotion in records.promotions_about(connection, version.model, version.version)
    ]


def _history(connection: sa.Connection, version: ModelVersion) -> Document:
    told = history.entries(connection, version.model)
    verified = verify(connection, version.model)
    about = [entry for entry in told if version.version in (entry.from_version, entry.to_version)]
    live = [each.to_document() for each in timeline.tenures(told) if each.version == version.version]
    return {
        "ok": verified.ok,
        "problem": verified.problem,
        "head": verified.head,
        "entries": [entry.to_document() for entry in about],
        "live": [_only(("since", "until", "entry_id", "fact", "actor", "reason"), each) for each in live],
    }


def _aliases(connection: sa.Connection, version: ModelVersion, aliases: Mapping[str, str] | None) -> Document:
    if aliases is not None:
        names = sorted(alias for alias, at in aliases.items() if at == version.version)
        return {"told_by": "registry", "names": names}
    champion = timeline.live_now(history.entries(connection, version.model))
    return {"told_by": "history", "names": [CHAMPION] if champion == version.version else []}


def _cost(connection: sa.Connection, version: ModelVersion) -> Document | None:
    """Return what made the version cost; of a copied one, what made the version it was first copied from did."""
    original = version
    while original.copied_from is not None:
        before = store.find_version(connection, *original.copied_from)
        if before is None:
            return None
        original = before
    try:
        whole = costs.version_cost(connection, original.model, original.version)
    except NotFound:
        return None
    steps = costs.version_cost_by_step(connection, original.model, original.version)
    return {
        "currency": whole.currency,
        "attempts": whole.attempts,
        **cost_document(whole.total, "total"),
        "steps": [{"step": step, **cost_document(cost, "amount")} for step, cost in steps.items()],
    }


def _only(names: tuple[str, ...], document: Mapping[str, Any]) -> Document:
    return {name: document[name] for name in names}


_RUN = (
    "run_id", "pipeline", "team", "environment", "interval_name", "parameters", "trigger", "cause", "backfill_id",
    "rerun_of", "actor", "actor_verified", "state", "outcome", "created_at", "started_at", "ended_at",
)  # fmt: skip
_ATTEMPT = (
    "attempt_id", "number", "state", "started_at", "ended_at", "wall_seconds", "cpu_seconds", "peak_memory_bytes",
    "meter_quality", "cost_usd", "error",
)  # fmt: skip
_MOVE = (
    "promotion_id", "action", "state", "from_version", "to_version", "reasons", "evidence_digest", "run_id", "actor",
    "actor_verified", "reason", "proposed_at", "ended_at",
)  # fmt: skip
_CANARY = (
    "canary_id", "champion", "state", "verdict", "looks", "position", "horizon", "exposures", "errors", "reasons",
    "plan", "plan_digest", "seed", "traffic", "traffic_digest", "promotion_id", "run_id", "opened_at", "ended_at",
)  # fmt: skip
