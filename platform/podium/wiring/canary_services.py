"""What the canary stage may ask, answered by the supervisor; and the canary controller on this project's adapters."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from podium.canary.entities import CanaryRequest, CanaryResult
from podium.execution.entities import Assignment
from podium.execution.questions import Service
from podium.registry.entities import ModelVersion
from podium.wiring.project import Project


def canary_services(project: Project) -> dict[str, Service]:
    """Return the canary's services, by name."""
    return {
        "open_canary": partial(_open, project),
        "advance_canary": partial(_advance, project),
    }


def _open(project: Project, assignment: Assignment, arguments: Mapping[str, Any]) -> CanaryResult:
    version: ModelVersion = arguments["version"]
    run = assignment.run
    return project.canaries.open(
        CanaryRequest(
            model=assignment.plan.model,
            challenger=version.version,
            judged_against=arguments["judged_against"],
            plan=arguments["plan"],
            available=arguments["available"],
            baseline_error_rate=arguments["baseline_error_rate"],
            run_id=run.run_id,
            step_key=assignment.step_key,
            actor=run.actor.name,
            actor_verified=run.actor.verified,
            traffic_digest=arguments["traffic_digest"],
            # Not by the run's id: who asks for the same run on another machine sees the same canary.
            draw_key=f"{run.idempotency_key}/{assignment.label}",
        )
    )


def _advance(project: Project, _: Assignment, arguments: Mapping[str, Any]) -> CanaryResult:
    return project.canaries.advance(arguments["canary_id"], arguments["cells"])
