"""The stage that tries a version on a share of the traffic before it serves all of it."""

import pandas as pd

from podium.canary.entities import CanaryResult
from podium.canary.plan import CanaryPlan
from podium.dag.authoring import step
from podium.errors import CanaryOpen, ConfigurationError, EvaluationError, PromotionOpen
from podium.execution.context import AttemptContext, current
from podium.registry.entities import ModelVersion
from podium.registry.evidence import Evidence
from podium.stages.approval import awaited, until_decided
from podium.stages.services import StageServices


@step(retries=2, memory="2GiB", backfill=False)
def run_canary(
    version: ModelVersion, *, replay: pd.DataFrame | None = None, plan: CanaryPlan | None = None
) -> CanaryResult:
    """Route requests to the version and the champion at random, and let their errors decide which of them serves.

    The version becomes champion, is rolled back, or the champion stays because nothing was shown; without a champion
    the version is promoted at once. `replay` holds the requests in the order of their time, with the label; they must
    have trained and judged neither model. The default plan is made for live traffic; see CanaryPlan. While another
    run's canary of the model is open, or a promotion of the model awaits approval, its own or another, the step waits.
    A backfilled run skips it. Raises EvaluationError for rows that cannot be replayed.
    """
    context = current()
    if replay is None:
        raise ConfigurationError(
            f"The canary of {context.model} has no traffic: this version of Podium has no gateway that could send live "
            "requests. Keep the newest rows apart and give them to it: run_canary(version, replay=…)."
        )
    try:
        return _ended(_tried(context, version, replay, plan or CanaryPlan()))
    except (CanaryOpen, PromotionOpen) as error:
        raise until_decided(str(error)) from None


def _tried(context: AttemptContext, version: ModelVersion, replay: pd.DataFrame, plan: CanaryPlan) -> CanaryResult:
    """Take the canary as far as it goes; raises CanaryOpen or PromotionOpen while something else of the model is."""
    services: StageServices = context.services
    known = services.resume_canary(version, context.input_digests["replay"])
    if known is not None:
        return known
    evidence = services.evidence(version)
    champion = None if evidence.champion_version is None else services.version(context.model, evidence.champion_version)
    _refuse_known_rows(context, evidence, version, champion)
    from podium.canary.replay import ReplayTraffic, play  # numpy, pandas, sklearn: only who asks models pays for them
    from podium.registry.holdout import read_holdout
    from podium.registry.requests import wrong_answers

    requests = read_holdout(replay, evidence.label, called="replay")
    error_rate = 0.0  # without a champion nothing is measured against it
    if champion is not None:
        serving = services.load_model(champion)
        judged = read_holdout(context.artifact(evidence.holdout_digest), evidence.label)
        error_rate = float(wrong_answers(serving, "champion", judged, tolerance=plan.tolerance).mean())
    opened = services.open_canary(
        version,
        plan,
        judged_against=evidence.champion_version,
        available=len(requests),
        traffic_digest=context.input_digests["replay"],
        baseline_error_rate=error_rate,
    )
    if champion is None or opened.ended:
        return opened
    tried = opened.plan  # as it was when the canary opened, whatever the pipeline says by now
    traffic = ReplayTraffic(
        wrong_answers(services.load_model(version), "challenger", requests, tolerance=tried.tolerance),
        wrong_answers(serving, "champion", requests, tolerance=tried.tolerance),
        weights=tried.weights,
        seed=opened.seed,
    )
    return play(opened, traffic, services.advance_canary)


def _ended(result: CanaryResult) -> CanaryResult:
    """Return what a canary came to; wait where people have to approve that."""
    if result.awaits_approval and result.promotion_id is not None:
        raise awaited(result.model, result.challenger, result.promotion_id)
    return result


def _refuse_known_rows(
    context: AttemptContext, evidence: Evidence, version: ModelVersion, champion: ModelVersion | None
) -> None:
    """Raise EvaluationError for rows that trained or judged one of the models."""
    services: StageServices = context.services
    digest = context.input_digests["replay"]
    tried = [(f"version {version.version}", version, evidence)]
    if champion is not None and champion.lineage is not None:  # of an adopted one nobody knows what it has seen
        tried.append((f"the champion (version {champion.version})", champion, services.evidence(champion)))
    for who, model, judged in tried:
        if digest == judged.holdout_digest:
            did = f"judged {who}"
        elif digest in services.trained_on(model):
            did = f"were read on the way to {who}"
        else:
            continue
        raise EvaluationError(
            f"The rows given to run_canary in {context.pipeline} {did}, so they cannot stand for traffic that neither "
            "model has seen; keep later rows apart in the step that prepares the data."
        )
