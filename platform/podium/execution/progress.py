"""What the end of an attempt sets in motion, in one transaction: the step run's move, the ledger, what becomes
ready or is skipped downstream, and the run's own end."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa

from podium.dag.plan import Plan, Reference, StepNode
from podium.db.schema import run, step_run
from podium.errors import Conflict, InternalError
from podium.execution import caching, fan_out, outputs, plans, queries, readiness, store
from podium.execution.artifacts import Artifact
from podium.execution.codecs import decode_json
from podium.execution.entities import AttemptEnd, AttemptUsage
from podium.execution.items import WHOLE
from podium.execution.reads import Read, read_by
from podium.execution.transitions import StepMove, after_attempt


class LedgerPort(Protocol):
    """Where each attempt's usage is posted, inside the transaction that ends the attempt."""

    def post(self, connection: sa.Connection, usage: AttemptUsage) -> None:
        """Post the cost of one attempt; posting the same attempt again adds nothing."""

    def close(self, connection: sa.Connection, run_id: str, now: datetime) -> None:
        """Take note that a run ended, all its attempts posted; one that is resumed ends again."""


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
        if not store.end_attempt(connection, attempt.attempt_id, attempt.worker_id, end, now):
            return None
        if locked.plan_digest != plan.digest:
            plan = plans.load(connection, locked.plan_digest)
        node = plan.step(attempt.step)
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
        move = after_attempt(end, failures=attempt.failures, retries=node.retries, now=now)
        if move.state == "succeeded":
            store.store_outputs(connection, attempt.step_run_id, attempt.attempt_id, end.outputs, now)
        store.move_step(connection, attempt.run_id, attempt.step_run_id, attempt.label, move, now)
        if move.state in ("succeeded", "failed"):
            moving = self._moving(connection, attempt.run_id, plan, now)
            moving.end(node, attempt.map_index)
            moving.advance(tell=locked.cancel_reason is None)
        if locked.cancel_reason is not None:
            self.cancel(connection, attempt.run_id, locked.cancel_reason, now)
        return move

    def cancel(self, connection: sa.Connection, run_id: str, reason: str, now: datetime) -> None:
        """Cancel an open run: now, or while attempts of it run, with the end of the last of them.

        If nothing is left to be done by then, the run ends as it would have. Asked again, the first reason stays.
        """
        if store.cancel_run(connection, run_id, reason, now):
            self.ledger.close(connection, run_id, now)
        else:
            store.request_cancel(connection, run_id, reason, now)

    def reopen(self, connection: sa.Connection, run_id: str, plan: Plan, now: datetime, reason: str) -> None:
        """Make a failed or cancelled run run again from where it stopped: what succeeded stays.

        Raises Conflict if another run of its interval is open, or if it does not stand still any more.
        """
        store.lock_run(connection, run_id)
        states = queries.final_step_states(connection, run_id)
        kept = {name: state for name, state in states.items() if state == "succeeded"}
        waits = readiness.waiting_counts(plan, kept)
        try:
            reopened = connection.execute(
                run.update()
                .where(run.c.run_id == run_id, run.c.state.in_(("failed", "cancelled")))
                .values(
                    state="running",
                    started_at=sa.func.coalesce(run.c.started_at, now, type_=run.c.started_at.type),
                    ended_at=None,
                    cancel_requested_at=None,
                    reason=None,
                    open_steps=len(plan.steps) - len(kept),
                )
            )
        except sa.exc.IntegrityError:
            raise Conflict(
                f"The run {run_id} cannot go on: another run of its interval is open; let that one end first."
            ) from None
        if not reopened.rowcount:
            raise Conflict(
                f"The run {run_id} is not failed or cancelled any more; look at it with `podium runs show {run_id}`."
            )
        store.record(connection, run_id, "run.resumed", now, reason=reason)
        for node in plan.steps:
            if node.name not in kept:
                connection.execute(
                    step_run.update()
                    .where(
                        step_run.c.run_id == run_id,
                        step_run.c.name == node.name,
                        step_run.c.state != "succeeded",  # of a mapped step's items, these stay
                    )
                    .values(
                        state="waiting",
                        waiting_on=waits[node.name],
                        failures=0,
                        cache_key=None,
                        reason=None,
                        not_before=None,
                        ended_at=None,
                    )
                )
        moving = self._moving(connection, run_id, plan, now)
        for node in plan.steps:
            if node.name not in kept and waits[node.name] == 0:
                moving.settle(node)
        moving.advance()

    def _moving(self, connection: sa.Connection, run_id: str, plan: Plan, now: datetime) -> "_Moving":
        return _Moving(connection, run_id, plan, now, self.outcome_of, self.ledger)


@dataclass(frozen=True)
class _Moving:
    """One run in one transaction: `ended` holds the steps whose dependents have not been told yet."""

    connection: sa.Connection
    run_id: str
    plan: Plan
    now: datetime
    outcome_of: Callable[[sa.Connection, str], str]
    ledger: LedgerPort
    ended: deque[str] = field(default_factory=deque)

    def advance(self, *, tell: bool = True) -> None:
        """Tell the dependents of each ended step; one that is skipped thereby has ended too.

        Without `tell`, in a run that is to be cancelled, they stay as they are.
        """
        while self.ended:
            name = self.ended.popleft()
            for node in map(self.plan.step, self.plan.dependents(name) if tell else ()):
                if store.count_down(self.connection, self.run_id, node.name) == 0:
                    self.settle(node)
            self._close_step()

    def end(self, node: StepNode, map_index: int) -> None:
        """Take note that a step run ended; a mapped step has ended when its last item has."""
        if map_index == WHOLE:
            self.ended.append(node.name)
        elif store.count_down(self.connection, self.run_id, node.name) == 0:
            self._close_items(node)

    def settle(self, node: StepNode) -> None:
        """Decide about a step that waits on nothing any more."""
        upstream = queries.step_states(self.connection, self.run_id, node.dependencies)
        decision = readiness.decide(node, upstream, self._value)
        if decision.state == "ready" and node.over is not None:
            if fan_out.open_items(self.connection, self.run_id, self.plan, node, self.now) == 0:
                self._close_items(node)
            return
        if decision.state == "ready" and node.cache and self._take_over(node):
            return
        if decision.state == "skipped":
            self.ended.append(node.name)
        store.settle_step(self.connection, self.run_id, node.name, decision.state, decision.reason, self.now)

    def _take_over(self, node: StepNode) -> bool:
        run = queries.get_run(self.connection, self.run_id)
        reads = set(read_by(self.plan, node, WHOLE).values())
        found = outputs.stored(self.connection, self.run_id, self.plan, reads)
        (key,) = caching.keys_of(run, self.plan, node, found)
        step_run_id = queries.step_run_id(self.connection, self.run_id, node.name)
        source = caching.take_over(self.connection, {step_run_id: key}, self.now).get(step_run_id)
        if source is None:
            return False
        store.record_cached(self.connection, self.run_id, {node.name: source}, self.now)
        self.ended.append(node.name)
        return True

    def _close_items(self, node: StepNode) -> None:
        fan_out.close(self.connection, self.run_id, node.name, self.now)
        self.ended.append(node.name)

    def _value(self, reference: Reference) -> Any:
        """Read a condition's value: a small JSON output, stored inline."""
        read = Read(reference.step, reference.output)
        found = outputs.stored(self.connection, self.run_id, self.plan, [read])[read]
        if not isinstance(found, Artifact) or found.codec != "json" or found.inline is None:
            raise InternalError(
                f"The condition {reference.step}.{reference.output} of run {self.run_id} has no small plain value to "
                "decide on."
            )
        return decode_json(found.inline)

    def _close_step(self) -> None:
        """Count one open step less; end the run with the last."""
        left = store.close_step(self.connection, self.run_id)
        if left:
            return
        failed = self.connection.execute(
            sa.select(step_run.c.name, step_run.c.reason)
            .where(step_run.c.run_id == self.run_id, step_run.c.map_index == WHOLE, step_run.c.state == "failed")
            .order_by(step_run.c.position)
        ).first()
        values: dict[str, str | None]
        if failed:
            values = {"state": "failed", "reason": f"{failed.name}: {failed.reason}"}
        else:  # without the reason of a cancel that came too late
            outcome = self.outcome_of(self.connection, self.run_id)
            values = {"state": "succeeded", "outcome": outcome, "reason": None}
        self.connection.execute(
            run.update()
            .where(run.c.run_id == self.run_id)
            .values(ended_at=self.now, started_at=sa.func.coalesce(run.c.started_at, self.now), **values)
        )
        reason = values.get("reason") or values.get("outcome")
        store.record(self.connection, self.run_id, f"run.{values['state']}", self.now, reason=reason)
        self.ledger.close(self.connection, self.run_id, self.now)


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
