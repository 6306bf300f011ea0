"""The stage that judges a candidate."""

from typing import Any

import pandas as pd

from podium.dag.authoring import step
from podium.errors import EvaluationError
from podium.execution.context import AttemptContext, current
from podium.registry.entities import ModelVersion
from podium.registry.evidence import Evidence
from podium.registry.policy import GatePolicy
from podium.stages.services import StageServices


@step(retries=2, memory="2GiB")
def evaluate_candidate(
    candidate: Any, holdout: pd.DataFrame, *, label: str, policy: GatePolicy | None = None
) -> Evidence:
    """Compare the candidate with the champion on the same rows, which trained neither.

    `holdout` holds the features and the column `label`; without a `policy` the default gate of the kind of problem
    applies. The verdict and what it rests on are recorded, whatever it is. Raises EvaluationError for rows that
    cannot judge: those that trained the candidate or the champion, none, or unknown labels.
    """
    from podium.registry.evaluation import evaluate  # scipy and sklearn: only who judges pays for them

    context = current()
    services: StageServices = context.services
    holdout_digest = context.input_digests["holdout"]
    champion = services.champion(context.model)
    if champion is not None and holdout_digest in services.trained_on(champion):
        raise _trained(context, f"the champion (version {champion.version})")
    if holdout_digest in context.read_before("candidate"):
        raise _trained(context, "the candidate")
    evidence = evaluate(
        candidate,
        None if champion is None else services.load_model(champion),
        holdout,
        label=label,
        model=context.model,
        policy=policy or GatePolicy(),
        candidate_digest=context.input_digests["candidate"],
        champion_version=None if champion is None else champion.version,
        holdout_digest=holdout_digest,
        holdout_uses=services.holdout_uses(context.model, holdout_digest),
        seed=int(holdout_digest[:8], 16),
    )
    if champion is not None:
        evidence = _with_doubt(evidence, context, champion)
    services.record_evidence(evidence)
    return evidence


def _trained(context: AttemptContext, who: str) -> EvaluationError:
    return EvaluationError(
        f"The rows given to evaluate_candidate in {context.pipeline} were read on the way to {who}, so they cannot "
        "judge it; hold newer rows back in the step that prepares the data."
    )


def _with_doubt(evidence: Evidence, context: AttemptContext, champion: ModelVersion) -> Evidence:
    """Say it where the champion may know these rows, being of a later or unknown interval.

    To lose against it then proves nothing.
    """
    lineage = champion.lineage
    if lineage is not None and lineage.interval_start <= context.interval.start:
        return evidence
    whence = (
        "was adopted, so nobody knows what trained it,"
        if lineage is None
        else f"is from a later interval (from {lineage.interval_start:%Y-%m-%d}) than this run's "
        f"{context.interval.name}"
    )
    reason = (
        f"The champion, version {champion.version}, {whence} and may have been trained on these rows: an advantage "
        "that the candidate did not have."
    )
    verdict = "insufficient" if evidence.verdict == "failed" else evidence.verdict
    return evidence.model_copy(update={"verdict": verdict, "reasons": (reason, *evidence.reasons)})
