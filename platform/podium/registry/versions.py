"""From a fitted estimator to a version on record: upload, report, evidence, registration; each once per step run."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from podium import faults
from podium.clock import Clock
from podium.db.engine import Database
from podium.errors import NotFound, Refused
from podium.registry import packaging, report, store
from podium.registry.entities import CHAMPION, Lineage, LoggedModel, ModelVersion, RecordedEvidence
from podium.registry.evidence import Evidence
from podium.registry.port import ModelRegistry
from podium.registry.report import Circumstances

if TYPE_CHECKING:  # heavy, and not needed to import this module
    import pandas as pd

_REPORT = f"{report.FOLDER}/report.html"


def upload(
    registry: ModelRegistry,
    estimator: Any,
    sample: "pd.DataFrame",
    *,
    model: str,
    step_key: str,
    tags: Mapping[str, str],
) -> LoggedModel:
    """Upload a fitted estimator with the signature of `sample` and its own requirements, once per step run.

    Needs no database: it runs where the estimator is.
    """
    faults.reach("registry.before_log_model")
    logged = registry.log_model(
        estimator,
        sample,
        model=model,
        key=step_key,
        requirements=packaging.requirements_of(estimator),
        tags=tags,
    )
    faults.reach("registry.after_log_model")
    return logged


def attach_report(registry: ModelRegistry, logged: LoggedModel, evidence: Evidence, about: Circumstances) -> None:
    """Keep the report of a judgement, the evidence and its numbers beside the uploaded model; again, nothing changes.

    Needs no database, like `upload`.
    """
    faults.reach("registry.before_attach")
    files = report.render(evidence, about).files
    registry.attach(
        logged,
        {f"{report.FOLDER}/{name}": content for name, content in files.items()},
        metrics=report.numbers(evidence),
        parameters=report.parameters(evidence),
        note=f"{report.summary(evidence)}\n\nThe report is `{_REPORT}`, among the artifacts of this run.",
    )
    faults.reach("registry.after_attach")


def register(
    database: Database,
    registry: ModelRegistry,
    clock: Clock,
    *,
    model: str,
    logged: LoggedModel,
    lineage: Lineage,
    step_key: str,
    copied_from: tuple[str, str] | None = None,
) -> ModelVersion:
    """Make an uploaded model a version and record it, once per step run; moves no alias.

    With `copied_from`, a model and a version, it is on record as a copy of that one, whose files it shares.
    Raises NotFound when the evidence was never recorded: a version without evidence could not be promoted.
    """
    with database.lock(f"versions-{model}"):
        with database.read() as connection:
            known = store.version_of_step(connection, step_key)
            evidence = store.find_evidence(connection, lineage.evidence_digest)
        if known is not None:
            return known
        if evidence is None or evidence.model != model:
            raise NotFound(
                f"Evidence {lineage.evidence_digest[:12]}… on a candidate for {model} is not on record; "
                "register what evaluate_candidate judged in the same run."
            )
        faults.reach("registry.before_create_version")
        judged = report.summary(Evidence.model_validate(evidence.document))
        first = "" if copied_from is None else f"A copy of version {copied_from[1]} of {copied_from[0]}: of that one, "
        link = f"{first}[{'the' if first else 'The'} report]({registry.link(logged, _REPORT)}) says what it rests on."
        tags = lineage.to_tags()
        if copied_from is not None:
            tags["podium.copied_from"] = "/".join(copied_from)
        number = registry.create_version(model, logged, key=step_key, tags=tags, description=f"{judged}\n\n{link}")
        faults.reach("registry.after_create_version")
        version = ModelVersion(
            model=model,
            version=number,
            digest=logged.digest,
            source=logged.source,
            lineage=lineage,
            origin="run" if copied_from is None else "copied",
            copied_from=copied_from,
        )
        with database.write() as connection:
            store.add_version(connection, version, step_key=step_key, at=clock.now())
        faults.reach("registry.after_record_version")
        return version


def record_evidence(
    connection: sa.Connection, evidence: Evidence, *, run_id: str, step_key: str, at: datetime
) -> RecordedEvidence:
    """Store what a step run measured, in the caller's transaction; the same evidence is stored once."""
    document = evidence.model_dump(mode="json")
    recorded = RecordedEvidence(
        digest=evidence.digest,
        model=evidence.model,
        candidate_digest=evidence.candidate_digest,
        champion_version=evidence.champion_version,
        holdout_digest=evidence.holdout_digest,
        verdict=evidence.verdict,
        reasons=evidence.reasons,
        run_id=run_id,
        recorded_at=at,
        document=document,
    )
    store.add_evidence(connection, recorded, step_key=step_key)
    return recorded


def holdout_uses(connection: sa.Connection, model: str, holdout_digest: str, *, step_key: str) -> int:
    """Return how often a holdout judged for `model` before, this step run's own attempts not counted."""
    return store.count_holdout_uses(connection, model, holdout_digest, except_step_key=step_key)


def champion_to_judge_by(
    database: Database, registry: ModelRegistry, model: str, *, judged: str
) -> ModelVersion | None:
    """Return the version that serves now, None where there is none; Refused for one that is not on record.

    `judged` is what a message calls that which is to be compared with it.
    """
    number = registry.alias(model, CHAMPION)
    if number is None:
        return None
    with database.read() as connection:
        champion = store.find_version(connection, model, number)
    if champion is None:
        raise Refused(
            f"The champion of {model} is version {number}, which is not on Podium's record, so no {judged} can be "
            f"compared with it; `podium models adopt {model} --reason TEXT` puts it there."
        )
    return champion
