"""What the gate judged on, found on record: of a version, or of a run's candidate that was never registered."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from podium.errors import ArtifactError, NotFound
from podium.execution import plans, queries
from podium.registry import store
from podium.registry.entities import ModelVersion, RecordedEvidence, instant_text
from podium.registry.evidence import Evidence
from podium.registry.report import Circumstances


@dataclass(frozen=True)
class Judgement:
    """Evidence, and the circumstances that it was recorded in."""

    evidence: Evidence
    digest: str
    about: Circumstances

    def to_document(self) -> dict[str, Any]:
        """Return it in the interface's JSON."""
        about = self.about
        return {
            "model": about.model,
            "version": about.version,
            "run_id": about.run_id,
            "pipeline": about.pipeline,
            "interval_name": about.interval,
            "recorded_at": None if about.recorded_at is None else instant_text(about.recorded_at),
            "data_digest": about.data_digest,
            "code_digest": about.code_digest,
            "evidence_digest": self.digest,
            "evidence": self.evidence.model_dump(mode="json"),
        }


def judgement_of_version(connection: sa.Connection, model: str, number: str) -> Judgement:
    """Return what a version was judged on; NotFound for one that is not on record, or that nobody judged."""
    version = store.find_version(connection, model, number)
    if version is None:
        raise NotFound(f"Podium registered no version {number} of {model}; `podium models show {model}` lists them.")
    recorded = store.find_evidence(connection, version.evidence_digest)
    if recorded is None:
        raise NotFound(
            f"There is no report on version {number} of {model}: it was there before Podium, which never judged it."
        )
    return _judgement(connection, recorded, model, version)


def judgement_of_run(connection: sa.Connection, model: str, run_id: str) -> Judgement:
    """Return the last judgement on what a run, given by its id or a part of it, made for `model`.

    For the model of a later environment that is the one by which an advance was let in there, or kept out.
    """
    run = queries.get_run(connection, run_id)
    judged = store.evidence_for(connection, model, run.run_id)
    if not judged:
        raise NotFound(
            f"The run {run.run_id} judged no candidate for {model}; `podium runs show {run.run_id}` says what it did."
        )
    return _judgement(connection, judged[-1], model, store.version_judged_by(connection, model, judged[-1].digest))


def _judgement(
    connection: sa.Connection, recorded: RecordedEvidence, model: str, version: ModelVersion | None
) -> Judgement:
    if recorded.altered is not None:
        raise ArtifactError(f"There is no report on what nobody judged. {recorded.altered}")
    run = queries.run_rows(connection, [recorded.run_id]).get(recorded.run_id)
    lineage = None if version is None else version.lineage
    if lineage is not None:
        code_digest: str | None = lineage.code_digest
    else:
        code_digest = None if run is None else plans.load(connection, run.plan_digest).code_digest
    about = Circumstances(
        model=model,
        run_id=recorded.run_id,
        pipeline=None if run is None else run.pipeline,
        interval=None if run is None else queries.interval_of(run).name,
        version=None if version is None else version.version,
        data_digest=None if lineage is None else lineage.data_digest,
        code_digest=code_digest,
        recorded_at=recorded.recorded_at,
    )
    return Judgement(Evidence.model_validate(recorded.document), recorded.digest, about)
