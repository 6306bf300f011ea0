"""What the faces ask of execution: start a run, resume one."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from podium import faults, ids
from podium.clock import Clock
from podium.dag.interval import Interval, check_grain
from podium.dag.plan import Plan
from podium.db.engine import Database
from podium.errors import ConfigurationError, Refused, UsageError
from podium.execution import plans, queries, store
from podium.execution.entities import Actor, Run
from podium.execution.progress import Progress
from podium.execution.rescuer import rescue


class ExecutionService:
    """Starts and resumes runs; a worker executes them."""

    def __init__(self, database: Database, progress: Progress, clock: Clock) -> None:
        self._database = database
        self._progress = progress
        self._clock = clock

    def start(
        self,
        plan: Plan,
        interval: Interval,
        *,
        parameters: Mapping[str, Any],
        actor: Actor,
        again: bool = False,
    ) -> Run:
        """Return the run of a pipeline for an interval, made now if there is none; `parameters` are bound ones.

        The newest run with the same parameters is the answer, finished or not; `again` asks for another one. A run
        that has not ended goes on with the code of today if its graph is the same, else Refused says what to do.
        """
        check_grain(interval, plan.grain, plan.pipeline)
        _refuse_gpus(plan)
        now = self._clock.now()
        key = f"person:{ids.digest_json([plan.pipeline, interval.to_document(), parameters])}"
        with self._database.write() as connection:
            plans.store(connection, plan, now)
            existing = None if again else queries.find_run(connection, plan.pipeline, interval, parameters)
            if existing is not None:
                found = _locked(connection, existing.run_id)
                if found.state in ("queued", "running"):
                    self._adopt(connection, found, plan)
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
            )
            if created:
                self._progress.begin(connection, run_id, plan, now)
            run = queries.get_run(connection, run_id)
        faults.reach("run.after_create")
        return run

    def resume(self, run_id: str, plan: Plan, *, reason: str) -> Run:
        """Make a failed or cancelled run run again where it stopped; one that is open is returned as it is."""
        with self._database.write() as connection:
            run = _locked(connection, run_id)
            if run.state in ("succeeded", "refused"):
                raise UsageError(
                    f"The run {run.run_id} {run.state}; start another with "
                    f"`podium run {run.pipeline} --for {run.interval.name} --again`."
                )
            plans.store(connection, plan, self._clock.now())
            self._adopt(connection, run, plan)
            if run.state in ("failed", "cancelled"):
                self._progress.reopen(connection, run.run_id, plan, self._clock.now(), reason)
            run = queries.get_run(connection, run.run_id)
            faults.reach("resume.before_commit")
        faults.reach("resume.after_commit")
        return run

    def cancel(self, run_id: str, *, reason: str) -> Run:
        """Cancel a run that has not ended, and return it: one that living workers execute is still open then.

        They notice within a second and end what runs; the last of these ends ends the run.
        """
        rescue(self._database, self._progress, self._clock, besides="")
        with self._database.write() as connection:
            run = _locked(connection, run_id)
            if run.state not in ("queued", "running", "cancelled"):
                raise UsageError(f"The run {run.run_id} {run.state} already; there is nothing to cancel.")
            self._progress.cancel(connection, run.run_id, reason, self._clock.now())
            run = queries.get_run(connection, run.run_id)
            faults.reach("cancel.before_commit")
        faults.reach("cancel.after_commit")
        return run

    def _adopt(self, connection: sa.Connection, run: Run, plan: Plan) -> None:
        """Let an unfinished run go on with today's code: the graph must be the same; both digests are recorded."""
        if run.plan_digest == plan.digest:
            return
        before = plans.load(connection, run.plan_digest)
        if _shape(before) != _shape(plan):
            open_ = run.state in ("queued", "running")
            give_up = f"give it up with `podium runs cancel {run.run_id} --reason …` and " if open_ else ""
            raise Refused(
                f"The graph of {plan.pipeline} changed since run {run.run_id} began (plan {run.plan_digest[:12]} → "
                f"{plan.digest[:12]}), so it cannot go on. Bring the old graph back and resume it, or {give_up}start "
                f"anew with `podium run {plan.pipeline} --for {run.interval.name} --again`."
            )
        store.change_plan(connection, run.run_id, before, plan, self._clock.now())


def _locked(connection: sa.Connection, run_id: str) -> Run:
    """Return a run that nobody else moves until the transaction ends."""
    found = queries.get_run(connection, run_id).run_id  # `run_id` may be a part of it
    store.lock_run(connection, found)
    return queries.get_run(connection, found)


def _refuse_gpus(plan: Plan) -> None:
    for node in plan.steps:
        if node.resources.gpu:
            raise ConfigurationError(
                f"The step {node.name} of {plan.pipeline} reserves {node.resources.gpu} GPU, but this version of "
                "Podium hands out none, so it would bill what nobody holds; remove gpu=… from the step."
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
            }
            for node in plan.steps
        },
    }
