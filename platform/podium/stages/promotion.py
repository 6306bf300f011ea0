"""The stage that makes a version champion, for pipelines that need no canary."""

from podium.dag.authoring import step
from podium.execution.context import current
from podium.registry.entities import ModelVersion, Promotion
from podium.stages.approval import awaited
from podium.stages.services import StageServices


@step(retries=2, backfill=False)
def promote_version(version: ModelVersion) -> Promotion:
    """Move `champion` to the version, if its evidence still holds against the champion of this moment.

    A refusal is an answer, recorded in the history with its reasons, and no failure of the run. Where people have to
    approve the promotion, the step waits for them, and a rejection is a refusal. A backfilled run skips this step.
    """
    services: StageServices = current().services
    promotion = services.promote(version)
    if promotion.awaits_approval:
        raise awaited(version.model, version.version, promotion.promotion_id)
    return promotion
