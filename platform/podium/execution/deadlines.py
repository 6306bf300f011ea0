"""What happens because its time has come: runs past their deadline are stopped, approvals nobody decided are decided.

Any worker does it, in its loop, for every run; conditional UPDATEs see to it that it is done once.
"""

from datetime import datetime

from podium import faults
from podium.clock import Clock
from podium.db.engine import Database
from podium.errors import DefinitionError
from podium.execution import approvals, plans, queries, stops
from podium.execution.progress import Progress
from podium.execution.setbacks import Setbacks


def enforce(database: Database, progress: Progress, clock: Clock, setbacks: Setbacks) -> None:
    """Stop every run that is past its deadline, and decide by default every approval that is; each on its own.

    A run whose plan this version of Podium cannot read is left to a worker of the version that stored it; one that
    cannot be stopped or decided about is told as `deadline.failed`.
    """
    now = clock.now()
    with database.read() as connection:
        runs = stops.overdue_runs(connection, now)
        held = approvals.overdue(connection, now)
    for run_id, step in [*((run_id, None) for run_id in runs), *held]:
        if not setbacks.put_off("deadline.failed", run_id):
            with setbacks.contained("deadline.failed", run_id):
                _enforce(database, progress, run_id, step, now)


def _enforce(database: Database, progress: Progress, run_id: str, step: str | None, now: datetime) -> None:
    """Stop a run, or decide about a step of it."""
    with database.write() as connection:
        try:
            plan = plans.load(connection, queries.get_run(connection, run_id).plan_digest)
        except DefinitionError:
            return
        if step is None:
            progress.pass_deadline(connection, run_id, plan, now)
        else:
            progress.decide(connection, run_id, plan, step, approvals.by_default(plan.step(step)), now)
        faults.reach("deadline.before_commit")
    faults.reach("deadline.after_commit")
