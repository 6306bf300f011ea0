"""The stage that makes a version champion, for pipelines that need no canary."""

from podium.dag.authoring import step
from podium.errors import PromotionOpen
from podium.execution.context import current
from podium.registry.entities import ModelVersion, Promotion
from podium.stages.approval import awaited, until_decided
from podium.stages.services import StageServices


@step(retries=2, backfill=False)
def promote_version(version: ModelVersion) -> Promotion:
    """Move `champion` to the version, if its evidence still holds against the champion of this moment.

    A refusal is an answer, recorded in the history with its reasons, and no failure of the run. Where people have to
    approve the promotion, the step waits for them, and a rejection is a refusal; while another promotion of the model
    awaits approval, it waits for the end of that. A backfilled run skips this step.
    """
    services: StageServices = current().services
    try:
        promotion = services.promote(version)
    except PromotionOpen as error:
        raise until_decided(str(error)) from None
    if promotion.awaits_approval:
        raise awaited(version.model, version.version, promotion.promotion_id)
    return promotion
