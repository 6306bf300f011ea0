"""The stage that judges a candidate."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from podium.checks.report import DataReport
from podium.dag.authoring import step
from podium.errors import EvaluationError
from podium.execution.context import AttemptContext, current
from podium.registry.doubt import doubt_about
from podium.registry.entities import ModelVersion
from podium.registry.evidence import Evidence, Feature, PolicySource
from podium.registry.policy import GatePolicy
from podium.stages.services import StageServices


@step(retries=2, memory="2GiB")
def evaluate_candidate(
    candidate: Any,
    holdout: pd.DataFrame,
    *,
    label: str,
    policy: GatePolicy | None = None,
    checks: DataReport | Sequence[DataReport] | None = None,
) -> Evidence:
    """Compare the candidate with the champion on the same rows, which trained neither.

    `holdout` holds the features and the column `label`. Without a `policy` that of the section `[gates]` in podium.toml
    applies, and without one there the default gate of the kind of problem. `checks` are reports of data checks, for a
    policy that requires them. The verdict and what it rests on are recorded, whatever it is. Raises EvaluationError for
    rows that cannot judge: those that trained the candidate or the champion, none, or unknown labels.
    """
    from podium.registry.evaluation import evaluate  # scipy and sklearn: only who judges pays for them

    context = current()
    services: StageServices = context.services
    policy, policy_source = _in_force(services, context.model, policy)
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
        policy=policy,
        candidate_digest=context.input_digests["candidate"],
        champion_version=None if champion is None else champion.version,
        holdout_digest=holdout_digest,
        holdout_uses=services.holdout_uses(context.model, holdout_digest),
        seed=int(holdout_digest[:8], 16),
        checks=checks,
        cost_usd=None if policy.limits.cost_usd is None else services.cost_so_far(),
        champion_features=None if policy.signature == "any" else _features(services, champion),
        doubt=None
        if champion is None
        else doubt_about(champion, start=context.interval.start, judged=f"this run's {context.interval.name}"),
        policy_source=policy_source,
    )
    services.record_evidence(evidence)
    return evidence


def _in_force(services: StageServices, model: str, stated: GatePolicy | None) -> tuple[GatePolicy, PolicySource]:
    """Return the policy that judges, and who states it."""
    if stated is not None:
        return stated, "pipeline"
    set_by_project = services.gate_policy(model)
    return (GatePolicy(), "default") if set_by_project is None else (set_by_project, "file")


def _trained(context: AttemptContext, who: str) -> EvaluationError:
    return EvaluationError(
        f"The rows given to evaluate_candidate in {context.pipeline} were read on the way to {who}, so they cannot "
        "judge it; hold newer rows back in the step that prepares the data."
    )


def _features(services: StageServices, champion: ModelVersion | None) -> tuple[Feature, ...] | None:
    """Return what the champion's columns held when it was judged; None where nobody wrote that down."""
    if champion is None or champion.lineage is None:
        return None
    signature = services.evidence(champion).signature
    return None if signature is None else signature.features
