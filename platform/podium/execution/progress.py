"""What the end of an attempt, or an act of a person, sets in motion in one transaction: the step run's move, the
ledger, what becomes ready or is skipped downstream, and the run's own end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from podium.dag.options import duration
from podium.dag.plan import Plan
from podium.db.schema import run as run_table
from podium.execution import (
    approvals,
    attempt_store,
    caching,
    giving_up,
    outputs,
    plans,
    queries,
    reopening,
    skipping,
    stops,
    store,
)
from podium.execution.approvals import Choice
from podium.execution.claims import Candidate
from podium.execution.entities import Actor, AttemptEnd, AttemptError, AttemptUsage, Run
from podium.execution.meter import Usage
from podium.execution.moving import LedgerPort, Moving
from podium.execution.reads import read_by
from podium.execution.rerun import RerunStep
from podium.execution.transitions import StepMove, after_attempt, within_its_wait

__all__ = ["LedgerPort", "Progress"]


@dataclass(frozen=True)
class Progress:
    """Ends attempts and moves runs along; `outcome_of` tells a succeeded run's business result."""

    ledger: LedgerPort
    outcome_of: Callable[[sa.Connection, str], str]

    def begin(self, connection: sa.Connection, run_id: str, plan: Plan, now: datetime) -> None:
        """Make ready, in a run just created, what waits on nothing."""
        moving = self._moving(connection, run_id, plan, now)
        for node in plan.steps:
            if not node.dependencies:
                moving.settle(node)
        moving.advance()

    def end(
        self,
        connection: sa.Connection,
        attempt: queries.AttemptRow,
        plan: Plan,
        end: AttemptEnd,
        now: datetime,
    ) -> StepMove | None:
        """End one attempt and commit nothing; None if its worker no longer holds it (and nothing is written).

        `plan` is the one that the attempt began under; what follows is done under the plan the run has now.
        """
        locked = store.lock_run(connection, attempt.run_id)
        if locked.plan_digest != plan.digest:
            plan = plans.load(connection, locked.plan_digest)
        node = plan.step(attempt.step)
        if end.wait is not None and node.every_seconds is not None:
            began_at = queries.first_started_at(connection, attempt.run_id, attempt.step_run_id)
            end = within_its_wait(end, node, (now - began_at).total_seconds())
        if not self._end_attempt(connection, attempt, end, now):
            return None
        move = after_attempt(
            end,
            attempt_id=attempt.attempt_id,
            failures=attempt.failures,
            retries=node.retries,
            now=now,
            retry=node.retry,
        )
        if move.state == "succeeded":
            attempt_store.store_outputs(connection, attempt.step_run_id, attempt.attempt_id, end.outputs, now)
            outputs.restore(connection, end.outputs.values(), now)
        store.move_step(connection, attempt.run_id, attempt.step_run_id, attempt.label, move, now)
        moving = self._moving(connection, attempt.run_id, plan, now)
        if move.state in ("succeeded", "failed"):
            moving.end(node, attempt.map_index)
        if locked.cancel_reason is not None:
            moving.cancel_rest(locked.cancel_reason)
        moving.advance()
        return move

    def settle_claimable(
        self, connection: sa.Connection, plan: Plan, wanted: Candidate, now: datetime
    ) -> caching.Settled:
        """Let a cached step's candidate, of a locked run, take over an equal result, and do what follows from that.

        Or say that this transaction may `execute` it, or that an equal one of somebody else is just begun: `busy`.
        """
        node = plan.step(wanted.step)
        if node.run_if != "all_succeeded":
            read = set(read_by(plan, node, wanted.map_index).values())
            if outputs.there(connection, wanted.run_id, read) != read:
                return "execute"  # with None for what is missing, it is like no other
        run = queries.get_run(connection, wanted.run_id)
        settled, taken = caching.settle_claimable(connection, self.ledger, run, plan, wanted, now)
        moving = self._moving(connection, wanted.run_id, plan, now)
        for each in taken:
            moving.end(node, each.map_index)
        moving.advance()
        return settled

    def cancel(self, connection: sa.Connection, run_id: str, reason: str, now: datetime) -> None:
        """Cancel an open run: what has not begun now, what runs as soon as its workers have ended it.

        Then the steps for clean-up run, unless nothing of the run had begun, and with the last of them it ends. If
        nothing was left to be cancelled by then, it ends as it would have. Asked again, the first reason stays.
        """
        self._stop(connection, run_id, "run.cancel_requested", reason, now)

    def pass_deadline(self, connection: sa.Connection, run_id: str, plan: Plan, now: datetime) -> None:
        """Stop an open run whose deadline has come, as if it were cancelled; it ends as failed.

        Nothing is done if the run was taken up again meanwhile, with a later deadline.
        """
        store.lock_run(connection, run_id)
        deadline_at = stops.deadline_at(connection, run_id)
        if deadline_at is None or deadline_at > now:
            return
        within = "in time" if plan.deadline_seconds is None else f"within {duration(plan.deadline_seconds)}"
        reason = f"it did not end {within} (deadline {deadline_at:%Y-%m-%d %H:%M:%S} UTC)"
        self._stop(connection, run_id, "run.deadline_passed", reason, now)

    def cancel_now(self, connection: sa.Connection, run_id: str, reason: str, now: datetime) -> None:
        """End an open run at once, without clean-up: its attempts are taken from their workers, which end them.

        An attempt is billed until now. Its worker finds within a second that it does not hold it any more.
        """
        locked = store.lock_run(connection, run_id)
        if locked.state not in ("queued", "running"):
            return
        store.request_stop(connection, run_id, "run.cancel_requested", reason, now)
        reason = locked.cancel_reason or reason
        for attempt in queries.running_attempts_of_run(connection, run_id):
            wall_seconds = max(0.0, (now - attempt.started_at).total_seconds())
            used = Usage(wall_seconds, None, None, source="clock", quality="estimated")
            error = AttemptError("RunCancelled", f"run cancelled, without clean-up: {reason}")
            self._end_attempt(connection, attempt, AttemptEnd("cancelled", used, error=error), now)
            move = StepMove("ready", attempt.failures, reason)
            store.move_step(connection, run_id, attempt.step_run_id, attempt.label, move, now)
        moving = self._moving(connection, run_id, plans.load(connection, locked.plan_digest), now)
        moving.cancel_rest(reason, also_always=True)
        moving.advance()

    def cancel_queued(self, connection: sa.Connection, backfill_id: str, reason: str, now: datetime) -> list[str]:
        """Cancel what a backfill has queued and return the runs' ids; the few that had mapped steps one by one."""
        cancelled = giving_up.cancel_queued(connection, backfill_id, reason, now)
        self.ledger.close_all(connection, cancelled, now)
        left = connection.scalars(
            sa.select(run_table.c.run_id)
            .where(run_table.c.backfill_id == backfill_id, run_table.c.state == "queued")
            .order_by(run_table.c.run_id)
        ).all()
        for run_id in left:
            self.cancel(connection, run_id, reason, now)
        return [*cancelled, *left]

    def decide(
        self, connection: sa.Connection, run_id: str, plan: Plan, step: str, choice: Choice, now: datetime
    ) -> bool:
        """Let a held step succeed with what was decided; False, and nothing written, if it is not held any more."""
        store.lock_run(connection, run_id)
        node = plan.step(step)
        if not approvals.decide(connection, run_id, plan, node, choice, now):
            return False
        self._ended(connection, run_id, plan, step, now)
        return True

    def skip(
        self, connection: sa.Connection, run: Run, plan: Plan, step: str, reason: str, actor: Actor, now: datetime
    ) -> None:
        """Skip a step by hand; an open run goes on without it at once, one that has ended when it is resumed.

        Raises Conflict while it runs, UsageError if there is nothing to skip. The run is locked.
        """
        skipping.skip(connection, run, plan.step(step), reason, actor, now)
        if run.state in ("queued", "running"):
            self._ended(connection, run.run_id, plan, step, now)

    def reopen(
        self,
        connection: sa.Connection,
        run_id: str,
        plan: Plan,
        steps: Sequence[RerunStep],
        now: datetime,
        *,
        kind: str,
        reason: str,
    ) -> None:
        """Make a run that has ended run again: the `steps` that are to run, decided about anew; the others stay.

        Raises Conflict if another run of its interval is open, or if it does not stand still any more.
        """
        is_queued = reopening.reset(connection, run_id, plan, steps, now)
        store.record(connection, run_id, kind, now, reason=reason)
        if is_queued:
            store.record(connection, run_id, "run.queued", now)
        moving = self._moving(connection, run_id, plan, now)
        for node in reopening.waits_on_nothing(plan, steps):
            moving.settle(node)
        moving.advance()
        if all(step.action == "keep" for step in steps):
            moving.end_run()

    def _stop(self, connection: sa.Connection, run_id: str, kind: str, reason: str, now: datetime) -> None:
        locked = store.lock_run(connection, run_id)
        if store.request_stop(connection, run_id, kind, reason, now):
            moving = self._moving(connection, run_id, plans.load(connection, locked.plan_digest), now)
            moving.cancel_rest(reason, also_always=locked.state == "queued")
            moving.advance()

    def _ended(self, connection: sa.Connection, run_id: str, plan: Plan, step: str, now: datetime) -> None:
        moving = self._moving(connection, run_id, plan, now)
        moving.ended.append(step)
        moving.advance()

    def _end_attempt(
        self, connection: sa.Connection, attempt: queries.AttemptRow, end: AttemptEnd, now: datetime
    ) -> bool:
        """End an attempt, post it and record it; False, and nothing written, if its worker no longer holds it."""
        if not attempt_store.end_attempt(connection, attempt.attempt_id, attempt.worker_id, end, now):
            return False
        self.ledger.post(connection, _usage_of(attempt, end))
        reason = end.error.message if end.error else None
        store.record(
            connection,
            attempt.run_id,
            f"attempt.{end.state}",
            now,
            step=attempt.label,
            number=attempt.number,
            reason=reason,
        )
        return True

    def _moving(self, connection: sa.Connection, run_id: str, plan: Plan, now: datetime) -> Moving:
        return Moving(connection, run_id, plan, now, self.outcome_of, self.ledger)


def _usage_of(attempt: queries.AttemptRow, end: AttemptEnd) -> AttemptUsage:
    return AttemptUsage(
        attempt_id=attempt.attempt_id,
        run_id=attempt.run_id,
        step=attempt.step,
        number=attempt.number,
        team=attempt.team,
        model=attempt.model,
        environment=attempt.environment,
        state=end.state,
        started_at=attempt.started_at,
        ended_at=attempt.started_at + timedelta(seconds=end.usage.wall_seconds),
        cpu=attempt.reserved_cpu,
        memory_bytes=attempt.reserved_memory_bytes,
        gpu=attempt.reserved_gpu,
        usage=end.usage,
    )
