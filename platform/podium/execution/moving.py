"""One run moved along in one transaction: steps decided about, dependents told, the rest cancelled, the run ended."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from podium.dag.plan import Plan, Reference, StepNode
from podium.db.engine import wake_workers
from podium.db.schema import step_run
from podium.errors import InternalError
from podium.execution import approvals, caching, fan_out, outputs, queries, readiness, stops, store
from podium.execution.artifacts import Artifact
from podium.execution.codecs import decode_json
from podium.execution.entities import AttemptUsage
from podium.execution.items import WHOLE
from podium.execution.reads import Read, read_by


class _Whole(NamedTuple):
    """A step's own row."""

    step_run_id: str
    map_index: int = WHOLE


class LedgerPort(caching.SavingsPort, Protocol):
    """Where each attempt's usage is posted, inside the transaction that ends it, and what was taken over."""

    def post(self, connection: sa.Connection, usage: AttemptUsage) -> None:
        """Post the cost of one attempt; posting the same attempt again adds nothing."""

    def close(self, connection: sa.Connection, run_id: str, now: datetime) -> None:
        """Take note that a run ended, all its attempts posted; one that is resumed ends again."""

    def close_all(self, connection: sa.Connection, run_ids: Sequence[str], now: datetime) -> None:
        """Take note that several runs ended, which were cancelled before they began."""


@dataclass(frozen=True)
class Moving:
    """One run in one transaction: `ended` holds the steps whose dependents have not been told yet."""

    connection: sa.Connection
    run_id: str
    plan: Plan
    now: datetime
    outcome_of: Callable[[sa.Connection, str], str]
    ledger: LedgerPort
    ended: deque[str] = field(default_factory=deque)

    def advance(self) -> None:
        """Tell the dependents of each ended step; one that is skipped thereby has ended too. End the run with the last.

        One that has ended already, cancelled or skipped by a person, is told and stays as it is. Of what becomes ready
        the worker that ended the step takes one; if there is more, others are told.
        """
        told = ready = 0
        while self.ended:
            name = self.ended.popleft()
            told += 1
            for node in map(self.plan.step, self.plan.dependents(name)):
                if store.count_down(self.connection, self.run_id, node.name).are_over:
                    ready += self.settle(node)
        if ready > 1:
            wake_workers(self.connection)
        if told:
            self._close_steps(told)

    def end(self, node: StepNode, map_index: int) -> None:
        """Take note that a step run ended; a mapped step has ended when its last item has."""
        if map_index == WHOLE:
            self.ended.append(node.name)
        elif store.count_down(self.connection, self.run_id, node.name).are_over:
            self._close_items(node)

    def settle(self, node: StepNode) -> bool:
        """Decide about a step that waits on nothing any more; True if it is ready now."""
        states = queries.step_states(self.connection, self.run_id, node.dependencies)
        decision = readiness.decide(node, states, self._value)
        if decision.state == "ready" and not node.backfill and (backfill := self._backfill()) is not None:
            decision = readiness.Decision("skipped", f"it is not for backfilled runs, and this one is of {backfill}")
        if decision.state == "skipped":
            self._skip(node, decision.reason)
        elif node.kind == "approval":
            approvals.hold(self.connection, self.run_id, self.plan, node, self.now)
        elif node.over is not None:
            if fan_out.open_items(self.connection, self.ledger, self.run_id, self.plan, node, self.now) == 0:
                self._close_items(node)
        elif not (node.cache and self._take_over(node, states)):
            store.settle_step(self.connection, self.run_id, node.name, "ready", None, self.now)
            return True
        return False

    def cancel_rest(self, reason: str, *, also_always: bool = False) -> None:
        """Cancel every step run that has not begun, but those that are for clean-up, unless they are meant too."""
        always = [node.name for node in self.plan.steps if node.run_if == "always" and not also_always]
        mapped = [node.name for node in self.plan.steps if node.over is not None]
        rest = step_run.update().where(
            step_run.c.run_id == self.run_id,
            step_run.c.state.in_(("waiting", "ready", "held")),
            step_run.c.name.not_in(always),
        )
        cancelled = rest.values(state="cancelled", reason=reason, not_before=None, decide_by=None, ended_at=self.now)
        has_open_items = sa.and_(step_run.c.name.in_(mapped), step_run.c.ready_at.is_not(None))
        whole = cancelled.where(step_run.c.map_index == WHOLE, ~has_open_items).returning(step_run.c.name)
        ended = list(self.connection.execute(whole).scalars())
        self.ended.extend(ended)
        items = cancelled.where(step_run.c.map_index > WHOLE).returning(step_run.c.name)
        for name in self.connection.execute(items).scalars().all():
            if name not in ended and store.count_down(self.connection, self.run_id, name).are_over:
                self._close_items(self.plan.step(name))

    def end_run(self) -> None:
        """End a run of which no step is open any more."""
        bad = queries.bad_steps(self.connection, self.run_id)
        failures = [f"{row.name}: {row.reason}" for row in bad if row.state == "failed"]
        stop = stops.stops_of(self.connection, [self.run_id]).get(self.run_id) if len(failures) < len(bad) else None
        if stop is not None:
            unclean = [f"{row.name}: {row.reason}" for row in bad if self._failed_to_clean_up(row)]
            state = "failed" if stop.past_deadline else "cancelled"
            store.end_run(self.connection, self.run_id, state, self.now, reason="; ".join((stop.reason, *unclean)))
        elif failures:
            store.end_run(self.connection, self.run_id, "failed", self.now, reason=failures[0])
        else:  # without the reason of a cancel that came too late
            outcome = self.outcome_of(self.connection, self.run_id)
            store.end_run(self.connection, self.run_id, "succeeded", self.now, outcome=outcome)
        self.ledger.close(self.connection, self.run_id, self.now)

    def _backfill(self) -> str | None:
        return queries.get_run(self.connection, self.run_id).backfill_id

    def _failed_to_clean_up(self, row: queries.BadStep) -> bool:
        return row.state == "failed" and self.plan.step(row.name).run_if == "always"

    def _skip(self, node: StepNode, reason: str | None) -> None:
        store.settle_step(self.connection, self.run_id, node.name, "skipped", reason, self.now)
        if node.over is not None:  # of a run that is done again, items may be there from before
            gone = {"state": "skipped", "reason": reason, "ended_at": self.now}
            fan_out.end_items(self.connection, self.run_id, node.name, gone)
        self.ended.append(node.name)

    def _take_over(self, node: StepNode, states: Mapping[str, str]) -> bool:
        read = set(read_by(self.plan, node, WHOLE).values())
        if any(states[each.step] != "succeeded" for each in read):
            return False  # with None for what is missing, it is like no other
        found = outputs.stored(self.connection, self.run_id, self.plan, read)
        run = queries.get_run(self.connection, self.run_id)
        (key,) = caching.keys_of(run, self.plan, node, found)
        mine = {_Whole(queries.step_run_id(self.connection, self.run_id, node.name)): key.digest}
        if not caching.settle_ready(self.connection, self.ledger, run, node, mine, self.now):
            return False
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

    def _close_steps(self, count: int) -> None:
        """Count so many open steps less; end the run with the last."""
        left = store.close_steps(self.connection, self.run_id, count)
        if left == 0:
            self.end_run()
