"""The stage that registers a candidate in MLflow."""

from typing import Any

from podium import ids
from podium.dag.authoring import step
from podium.errors import InternalError
from podium.execution.context import AttemptContext, current
from podium.registry.entities import ModelVersion
from podium.registry.evidence import Evidence
from podium.registry.report import Circumstances
from podium.stages.services import StageServices

_SAMPLE_ROWS = 1000
"""How many rows the signature is read from: enough to see which columns have missing values."""


@step(retries=2, memory="2GiB")
def register_version(candidate: Any, evidence: Evidence) -> ModelVersion:
    """Register the candidate as a new model version, with its signature, digests, lineage and report; no alias moves.

    Registering again under the same step of the same run finds the version that is there.
    """
    context = current()
    services: StageServices = context.services
    if evidence.candidate_digest != context.input_digests["candidate"]:
        raise InternalError(f"The evidence given to register_version in {context.pipeline} is about another candidate.")
    data_digest = _data_digest(context)
    rows = context.artifact(evidence.holdout_digest).head(_SAMPLE_ROWS)
    names = getattr(candidate, "feature_names_in_", None)  # the holdout may hold more, to be sliced by
    sample = rows.drop(columns=evidence.label) if names is None else rows[list(names)]
    tags = {
        "podium.run_id": context.run_id,
        "podium.pipeline": context.pipeline,
        "podium.team": context.team,
        "podium.environment": context.environment,
        "podium.interval": context.interval.name,
        "podium.data_digest": data_digest,
        "podium.code_digest": context.code_digest,
        "podium.evidence_digest": evidence.digest,
        "podium.verdict": evidence.verdict,
    }
    logged = services.log_model(candidate, sample, model=context.model, tags=tags)
    services.attach_report(
        logged,
        evidence,
        Circumstances(
            run_id=context.run_id,
            pipeline=context.pipeline,
            interval=context.interval.name,
            data_digest=data_digest,
            code_digest=context.code_digest,
        ),
    )
    return services.register(logged, evidence, data_digest)


def _data_digest(context: AttemptContext) -> str:
    """Return the digest of what trained the candidate; a step that read no artifact is known by its interval alone."""
    read = context.read_before("candidate")
    if len(read) == 1:
        return read[0]
    return ids.digest_json(read or context.interval.to_document())
