"""How schedules, triggers and backfills get their runs: from this project's executor, inside their transaction."""

from dataclasses import dataclass

import sqlalchemy as sa

from podium.dag.plan import Plan
from podium.execution.entities import Actor
from podium.execution.service import ExecutionService
from podium.scheduling.admission import Admitted, RunRequest


@dataclass(frozen=True)
class ExecutorAdmission:
    """Implements Admission with the executor; it is Podium itself that asks, so who asks needs no proof."""

    execution: ExecutionService

    def admit(self, connection: sa.Connection, plan: Plan, request: RunRequest) -> Admitted:
        """Make the run in the caller's transaction."""
        run_id, created = self.execution.admit(
            connection,
            plan,
            request.interval,
            parameters=request.parameters,
            trigger=request.trigger,
            idempotency_key=request.key,
            actor=Actor(request.asked_by, verified=True),
            cause=request.cause,
            place=request.place,
        )
        return Admitted(run_id, created)
