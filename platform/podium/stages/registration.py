"""The stage that registers a candidate in MLflow."""

from typing import Any

from podium import ids
from podium.dag.authoring import step
from podium.errors import InternalError
from podium.execution.context import current
from podium.registry.entities import ModelVersion
from podium.registry.evidence import Evidence
from podium.stages.services import StageServices

_SAMPLE_ROWS = 1000
"""How many rows the signature is read from: enough to see which columns have missing values."""


@step(retries=2, memory="2GiB")
def register_version(candidate: Any, evidence: Evidence) -> ModelVersion:
    """Register the candidate as a new model version, with its signature, digests and lineage; no alias moves.

    Registering again under the same step of the same run finds the version that is there.
    """
    context = current()
    services: StageServices = context.services
    if evidence.candidate_digest != context.input_digests["candidate"]:
        raise InternalError(f"The evidence given to register_version in {context.pipeline} is about another candidate.")
    read = context.trained_on["candidate"]
    data_digest = read[0] if len(read) == 1 else ids.digest_json(read)
    sample = context.artifact(evidence.holdout_digest).drop(columns=evidence.label).head(_SAMPLE_ROWS)
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
    return services.register(logged, evidence, data_digest)
