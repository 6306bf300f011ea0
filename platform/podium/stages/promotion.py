"""The stage that makes a version champion, for pipelines that need no canary."""

from podium.dag.authoring import step
from podium.execution.context import current
from podium.registry.entities import ModelVersion, Promotion
from podium.stages.services import StageServices


@step(retries=2, backfill=False)
def promote_version(version: ModelVersion) -> Promotion:
    """Move `champion` to the version, if its evidence still holds against the champion of this moment.

    A refusal is an answer, recorded in the history with its reasons, and no failure of the run. A backfilled run skips
    this step.
    """
    services: StageServices = current().services
    return services.promote(version)
