"""Attempts that end before their time: their worker stops, or never heard that it had claimed them."""

from podium import faults
from podium.clock import Clock
from podium.db.engine import Session
from podium.execution import plans
from podium.execution.entities import AttemptEnd
from podium.execution.meter import Usage
from podium.execution.progress import Progress
from podium.execution.queries import AttemptRow


def interrupt(
    session: Session, progress: Progress, clock: Clock, attempt: AttemptRow, end: AttemptEnd | None = None
) -> None:
    """End an attempt, so that its step run is claimable again; without an `end`, it was never begun."""
    now = clock.now()
    if end is None:
        wall_seconds = max(0.0, (now - attempt.started_at).total_seconds())
        end = AttemptEnd("cancelled", Usage(wall_seconds, None, None, source="clock", quality="missing"))
    with session.write() as connection:
        progress.end(connection, attempt, plans.load(connection, attempt.plan_digest), end, now)
        faults.reach("interrupt.before_commit")
    faults.reach("interrupt.after_commit")
