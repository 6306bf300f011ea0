"""Turns the attempts of dead workers into lost ones, so that their step runs go on elsewhere."""

from datetime import datetime

from podium import faults
from podium.clock import Clock
from podium.db.engine import Database
from podium.errors import DefinitionError
from podium.execution import liveness, plans, queries, workers
from podium.execution.entities import AttemptEnd, AttemptError
from podium.execution.meter import Usage
from podium.execution.progress import Progress
from podium.execution.queries import AttemptRow
from podium.execution.setbacks import Setbacks
from podium.execution.workers import WorkerRow


def rescue(
    database: Database, progress: Progress, clock: Clock, setbacks: Setbacks, *, besides: str
) -> list[AttemptRow]:
    """End every attempt of a dead worker as lost and return them; `besides` is the caller's own worker.

    A lost attempt is billed its reservation up to the last heartbeat: more is not known. One that cannot be ended is
    told as `rescue.failed`.
    """
    now = clock.now()
    with database.read() as connection:
        holding = workers.with_attempts(connection)
        dead = [worker for worker in holding if worker.worker_id != besides and liveness.is_dead(worker, now)]
        left = [
            (worker, attempt)
            for worker in dead
            for attempt in queries.running_attempts_of(connection, worker.worker_id)
        ]
    lost = []
    for worker, attempt in left:
        if setbacks.put_off("rescue.failed", attempt.run_id):
            continue
        with setbacks.contained("rescue.failed", attempt.run_id):
            # One transaction each: the ledger's locks are then never taken in two orders.
            if _lose(database, progress, worker, attempt, now):
                lost.append(attempt)
    return lost


def _lose(database: Database, progress: Progress, worker: WorkerRow, attempt: AttemptRow, now: datetime) -> bool:
    """End one attempt as lost; False if somebody else was first, or if this version of Podium cannot read its plan."""
    message = (
        f"its worker (process {worker.process_id} on {worker.host}) died; "
        f"the last sign of life was at {attempt.heartbeat_at:%H:%M:%S} UTC"
    )
    # Not below 0: the worker's clock may have been set back.
    seen_seconds = max(0.0, (attempt.heartbeat_at - attempt.started_at).total_seconds())
    usage = Usage(seen_seconds, cpu_seconds=None, peak_memory_bytes=None, source="heartbeat", quality="estimated")
    end = AttemptEnd("lost", usage, error=AttemptError("Lost", message))
    with database.write() as connection:
        try:
            plan = plans.load(connection, attempt.plan_digest)
        except DefinitionError:
            return False  # a worker of the version that stored the plan rescues it
        lost = progress.end(connection, attempt, plan, end, now) is not None
        faults.reach("rescue.before_commit")
    faults.reach("rescue.after_commit")
    return lost
