"""What the faces ask of execution: start runs, take them up again, stop them, decide in them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import sqlalchemy as sa

from podium import faults, ids
from podium.clock import Clock
from podium.dag.interval import Interval, check_grain
from podium.dag.plan import Plan
from podium.db.engine import Database, wake_workers
from podium.errors import Conflict, NotFound, Refused, UsageError
from podium.execution import caching, deadlines, plans, queries, skipping, store
from podium.execution.approvals import Choice
from podium.execution.entities import Actor, Run
from podium.execution.items import WHOLE, parse_item
from podium.execution.progress import Progress
from podium.execution.rerun import RerunStep, rerun_of
from podium.execution.rescuer import rescue
from podium.execution.setbacks import Setbacks

ChangedCode = Literal["continue", "refuse"]
"""What becomes of a run that is taken up again when the code is not what it began with."""


class ExecutionService:
    """What people do with runs: start them, take them up again, stop them, decide in them; a worker executes them.

    `on_code_change` is what holds where an act does not say otherwise.
    """

    def __init__(
        self, database: Database, progress: Progress, clock: Clock, on_code_change: ChangedCode = "continue"
    ) -> None:
        self._database = database
        self._progress = progress
        self._clock = clock
        self._on_code_change = on_code_change

    def start(
        self,
        plan: Plan,
        interval: Interval,
        *,
        parameters: Mapping[str, Any],
        actor: Actor,
        again: bool = False,
        uses_cache: bool = True,
    ) -> Run:
        """Return the run of a pipeline for an interval, made now if there is none; `parameters` are bound ones.

        The newest run with the same parameters is the answer, finished or not; `again` asks for another one. A run
        that has not ended goes on with the code of today if its graph is the same, else Refused says what to do.
        Without `uses_cache` it computes what others computed before it; they may take over what it computes.
        """
        check_grain(interval, plan.grain, plan.pipeline)
        now = self._clock.now()
        key = f"person:{ids.digest_json([plan.pipeline, interval.to_document(), parameters])}"
        with self._database.write() as connection:
            plans.store(connection, plan, now)
            existing = None if again else queries.find_run(connection, plan.pipeline, interval, parameters)
            if existing is not None:
                found = _locked(connection, existing.run_id)
                if found.state in ("queued", "running"):
                    self._adopt(connection, found, plan, self._on_code_change, uses_cache=uses_cache)
                return queries.get_run(connection, found.run_id)
            faults.reach("run.before_create")
            run_id, created = store.create_run(
                connection,
                plan,
                interval,
                parameters=parameters,
                trigger="person",
                idempotency_key=f"{key}:{ids.new_id(now)}" if again else key,
                actor=actor,
                now=now,
                uses_cache=uses_cache,
            )
            if created:
                self._progress.begin(connection, run_id, plan, now)
            run = queries.get_run(connection, run_id)
        faults.reach("run.after_create")
        return run

    def admit(
        self,
        connection: sa.Connection,
        plan: Plan,
        interval: Interval,
        *,
        parameters: Mapping[str, Any],
        trigger: str,
        idempotency_key: str,
        actor: Actor,
        cause: str,
        backfill_id: str | None = None,
        place: int = 0,
        uses_cache: bool = True,
    ) -> tuple[str, bool]:
        """Make the run that a schedule, a trigger or a backfill asks for, in the caller's transaction.

        Return its id, and False if it was there: the same key is the same run, and where another run of the interval is
        open, that one stands for what was asked for. Of runs that are asked for at once, each has its turn by its
        `place`. The plan must be stored.
        """
        check_grain(interval, plan.grain, plan.pipeline)
        open_ = store.open_run(connection, plan.pipeline, interval)
        if open_ is not None:
            return open_, False
        now = self._clock.now()
        try:
            run_id, created = store.create_run(
                connection,
                plan,
                interval,
                parameters=parameters,
                trigger=trigger,
                idempotency_key=idempotency_key,
                actor=actor,
                now=now,
                uses_cache=uses_cache,
                cause=cause,
                backfill_id=backfill_id,
                place=place,
            )
        except Conflict:
            open_ = store.open_run(connection, plan.pipeline, interval)
            if open_ is None:
                raise
            return open_, False  # somebody was first, in a transaction that was not committed when this one looked
        if created:
            self._progress.begin(connection, run_id, plan, now)
        return run_id, created

    def rerun(
        self,
        run_id: str,
        plan: Plan,
        *,
        parameters: Mapping[str, Any],
        reason: str,
        actor: Actor,
        uses_cache: bool = True,
    ) -> Run:
        """Make a new run of an earlier one's interval, linked to it; `parameters` are bound ones."""
        now = self._clock.now()
        with self._database.write() as connection:
            before = queries.get_run(connection, run_id)
            plans.store(connection, plan, now)
            faults.reach("run.before_create")
            made, _ = store.create_run(
                connection,
                plan,
                before.interval,
                parameters=parameters,
                trigger="person",
                idempotency_key=f"rerun:{before.run_id}:{ids.new_id(now)}",
                actor=actor,
                now=now,
                rerun_of=before.run_id,
                uses_cache=uses_cache,
            )
            store.record(connection, before.run_id, "run.rerun", now, reason=f"as run {made}: {reason}")
            self._progress.begin(connection, made, plan, now)
            run = queries.get_run(connection, made)
        faults.reach("run.after_create")
        return run

    def preview(self, run_id: str, plan: Plan, *, from_step: str | None = None) -> list[RerunStep]:
        """Return what `resume`, or `retry` from a step, would keep and what it would run again; writes nothing."""
        with self._database.read() as connection:
            run = queries.get_run(connection, run_id)
            _refuse_open(run, from_step)
            _check_graph(run, plans.load(connection, run.plan_digest), plan)
            return self._steps(connection, run, plan, from_step)

    def resume(
        self,
        run_id: str,
        plan: Plan,
        *,
        reason: str,
        changed_code: ChangedCode | None = None,
        uses_cache: bool = True,
    ) -> Run:
        """Make a failed or cancelled run run again where it stopped; one that is open is returned as it is.

        Without `uses_cache` it computes from now on what others computed before it.
        """
        with self._act(run_id) as (connection, run):
            if run.state in ("succeeded", "refused"):
                raise UsageError(
                    f"The run {run.run_id} {run.state}; do a part of it again with `podium runs retry {run.run_id} "
                    f"--from STEP`, or start another with `podium runs rerun {run.run_id}`."
                )
            self._take_up(connection, run, plan, changed_code, uses_cache=uses_cache)
            if run.state in ("failed", "cancelled"):
                steps = self._steps(connection, run, plan, None)
                self._reopen(connection, run, plan, steps, "run.resumed", reason)
        return self._now(run)

    def retry(
        self,
        run_id: str,
        plan: Plan,
        *,
        from_step: str,
        reason: str,
        changed_code: ChangedCode | None = None,
        uses_cache: bool = True,
    ) -> Run:
        """Do a step of a run that has ended, and all that comes after it, again; what it did before stays on record.

        Without `uses_cache` it computes from now on what others computed before it.
        """
        with self._act(run_id) as (connection, run):
            _refuse_open(run, from_step)
            self._take_up(connection, run, plan, changed_code, uses_cache=uses_cache)
            steps = self._steps(connection, run, plan, from_step)
            self._reopen(connection, run, plan, steps, "run.retried", f"from {from_step}: {reason}")
        return self._now(run)

    def cancel(self, run_id: str, *, reason: str, now: bool = False) -> Run:
        """Cancel a run that has not ended, and return it: it is still open while workers end it or clean up.

        They notice within a second; what runs may tidy up for a few seconds, and then steps for clean-up run. With
        `now` nothing is waited for: the run ends here.
        """
        self.take_stock()
        with self._act(run_id) as (connection, run):
            if run.state not in ("queued", "running", "cancelled"):
                raise UsageError(f"The run {run.run_id} {run.state} already; there is nothing to cancel.")
            stop = self._progress.cancel_now if now else self._progress.cancel
            stop(connection, run.run_id, reason, self._clock.now())
        return self._now(run)

    def take_stock(self) -> None:
        """End attempts of dead workers and enforce deadlines; else what is done next would seem to be the reason."""
        of_others = Setbacks(self._clock, lambda _: None)  # workers tell what is wrong with other runs
        rescue(self._database, self._progress, self._clock, of_others, besides="")
        deadlines.enforce(self._database, self._progress, self._clock, of_others)

    def cancel_queued(self, connection: sa.Connection, backfill_id: str, *, reason: str) -> list[str]:
        """Cancel what a backfill has queued in the caller's transaction, and return the runs' ids."""
        return self._progress.cancel_queued(connection, backfill_id, reason, self._clock.now())

    def decide(self, run_id: str, step: str, *, approved: bool, reason: str, actor: Actor) -> Run:
        """Decide about a held step; Conflict if it is not held (any more), NotFound if there is no such step."""
        with self._act(run_id) as (connection, run):
            plan = _plan_with(connection, run, step)
            node = plan.step(step)
            choice = Choice(approved, reason, actor)
            if node.kind != "approval":
                named = ", ".join(each.name for each in plan.steps if each.kind == "approval")
                raise UsageError(
                    f"The step {step} of run {run.run_id} is no approval; "
                    + (f"its approvals are {named}." if named else "the run has none.")
                )
            if not self._progress.decide(connection, run.run_id, plan, step, choice, self._clock.now()):
                state = queries.step_states(connection, run.run_id, [step])[step]
                raise Conflict(
                    f"The approval {step} of run {run.run_id} is {state}, so there is nothing to decide; "
                    f"`podium runs show {run.run_id}` tells who decided."
                )
        return self._now(run)

    def skip(self, run_id: str, step: str, *, reason: str, actor: Actor) -> Run:
        """Skip a step that has not begun, or that failed or was cancelled; an ended run is then to be resumed."""
        with self._act(run_id) as (connection, run):
            plan = _plan_with(connection, run, step)
            self._progress.skip(connection, run, plan, step, reason, actor, self._clock.now())
        return self._now(run)

    @contextmanager
    def _act(self, run_id: str) -> Iterator[tuple[sa.Connection, Run]]:
        """Open the transaction of an act on a run, which nobody else moves meanwhile."""
        with self._database.write() as connection:
            yield connection, _locked(connection, run_id)
            wake_workers(connection)
            faults.reach("act.before_commit")
        faults.reach("act.after_commit")

    def _now(self, run: Run) -> Run:
        with self._database.read() as connection:
            return queries.get_run(connection, run.run_id)

    def _steps(self, connection: sa.Connection, run: Run, plan: Plan, from_step: str | None) -> list[RerunStep]:
        states = queries.step_states(connection, run.run_id, [node.name for node in plan.steps])
        by_hand = skipping.by_hand(connection, run.run_id)
        return rerun_of(plan, states, from_step=from_step, skipped_by_hand=by_hand)

    def _reopen(
        self, connection: sa.Connection, run: Run, plan: Plan, steps: list[RerunStep], kind: str, reason: str
    ) -> None:
        now = self._clock.now()
        self._progress.reopen(connection, run.run_id, plan, steps, now, kind=kind, reason=reason)

    def _take_up(
        self, connection: sa.Connection, run: Run, plan: Plan, changed_code: ChangedCode | None, *, uses_cache: bool
    ) -> None:
        plans.store(connection, plan, self._clock.now())
        self._adopt(connection, run, plan, changed_code or self._on_code_change, uses_cache=uses_cache)

    def _adopt(
        self, connection: sa.Connection, run: Run, plan: Plan, changed_code: ChangedCode, *, uses_cache: bool
    ) -> None:
        """Let a run go on with today's code, if it may: the graph must be the same; both digests are recorded."""
        if not uses_cache:
            caching.leave(connection, run.run_id)
        if run.plan_digest == plan.digest:
            return
        before = plans.load(connection, run.plan_digest)
        if changed_code == "refuse" and before.code_digest != plan.code_digest:
            raise Refused(
                f"The code of {plan.pipeline} changed since run {run.run_id} was planned ({before.code_digest[:12]} → "
                f"{plan.code_digest[:12]}), and on_code_change is 'refuse'. Bring the old code back, say "
                f"--allow-changed-code, or start anew with `podium runs rerun {run.run_id}`."
            )
        _check_graph(run, before, plan)
        store.change_plan(connection, run.run_id, before, plan, self._clock.now())


def _locked(connection: sa.Connection, run_id: str) -> Run:
    """Return a run that nobody else moves until the transaction ends."""
    found = queries.get_run(connection, run_id).run_id  # `run_id` may be a part of it
    store.lock_run(connection, found)
    return queries.get_run(connection, found)


def _plan_with(connection: sa.Connection, run: Run, step: str) -> Plan:
    """Return a run's plan; NotFound unless it has the step."""
    plan = plans.load(connection, run.plan_digest)
    names = [node.name for node in plan.steps]
    if step not in names:
        name, index = parse_item(step)
        of_item = f"; {step} is an item of {name}, and only whole steps are acted on" if index != WHOLE else ""
        raise NotFound(f"The run {run.run_id} has no step {step!r}{of_item}. Its steps are {', '.join(names)}.")
    return plan


def _check_graph(run: Run, before: Plan, plan: Plan) -> None:
    """Raise Refused unless what a run has done may stand under another plan."""
    if _shape(before) != _shape(plan):
        open_ = run.state in ("queued", "running")
        give_up = f"give it up with `podium runs cancel {run.run_id} --reason …` and " if open_ else ""
        raise Refused(
            f"The graph of {plan.pipeline} changed since run {run.run_id} began (plan {run.plan_digest[:12]} → "
            f"{plan.digest[:12]}), so it cannot go on. Bring the old graph back and resume it, or {give_up}start "
            f"anew with `podium run {plan.pipeline} --for {run.interval.name} --again`."
        )


def _refuse_open(run: Run, from_step: str | None) -> None:
    if run.state in ("queued", "running") and from_step is not None:
        raise Conflict(
            f"The run {run.run_id} is {run.state}; let it end, or cancel it, before a part of it is done again."
        )


def _shape(plan: Plan) -> dict[str, Any]:
    """What must be the same for finished steps to stand: the steps, what each reads, and the run's parameters.

    What a step does and reserves may change.
    """
    return {
        "parameters": {name: each.annotation for name, each in plan.parameters.items()},
        "steps": {
            node.name: {
                "inputs": dict(node.inputs),
                "conditions": node.conditions,
                "after": sorted(node.after),
                "outputs": sorted(node.outputs),
                "function": (node.module, node.qualname),
                "over": node.over,
                "run_if": node.run_if,
                "kind": node.kind,
            }
            for node in plan.steps
        },
    }
