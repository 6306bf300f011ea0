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
    _refuse_training_rows(context, holdout_digest, champion)
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
    if champion is not None and champion.interval_start > context.interval.start:
        evidence = _without_verdict(evidence, context, champion)
    services.record_evidence(evidence)
    return evidence


def _refuse_training_rows(context: AttemptContext, holdout_digest: str, champion: ModelVersion | None) -> None:
    if holdout_digest in context.trained_on.get("candidate", ()):
        raise EvaluationError(
            f"The rows given to evaluate_candidate in {context.pipeline} are those the candidate was trained on, "
            "so they cannot judge it; hold newer rows back in the step that prepares the data."
        )
    if champion is not None and champion.data_digest == holdout_digest:
        raise EvaluationError(
            f"The rows given to evaluate_candidate in {context.pipeline} trained the champion (version "
            f"{champion.version}), so they cannot judge it; use rows that are newer."
        )


def _without_verdict(evidence: Evidence, context: AttemptContext, champion: ModelVersion) -> Evidence:
    """A later champion may have been trained on this interval's rows: the comparison proves nothing."""
    reason = (
        f"The champion, version {champion.version}, is from a later interval (from "
        f"{champion.interval_start:%Y-%m-%d}) than this run's {context.interval.name} and may have been trained on "
        "these rows, so they cannot compare the two."
    )
    return evidence.model_copy(update={"verdict": "insufficient", "reasons": (reason, *evidence.reasons)})
