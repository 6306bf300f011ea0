"""What the pipelines say of their schedules, taken up, and what people do with them: pause, resume."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from podium.clock import Clock
from podium.dag.plan import Plan
from podium.dag.schedule import Tick, Ticks
from podium.db.engine import Database
from podium.errors import Conflict, NotFound
from podium.ids import digest_json
from podium.scheduling import store
from podium.scheduling.missed import last_decided, undecided_after
from podium.scheduling.scheduler import Fired


class Schedules:
    """Keeps the schedules of the database as the pipelines say, and lets people pause and resume them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def take_up(self, plans: Iterable[Plan], broken_files: Collection[str] = ()) -> list[Fired]:
        """Add, change and remove schedules so that they are what `plans` say; return what that changed. Idempotent.

        The plans must be stored. A schedule that is new or changed begins with what is due from now on: it never fires
        for the past. Ticks that are due by the rule before are decided by that rule first; then, at the next call, the
        change is taken up. A pipeline whose file is broken keeps its schedule.
        """
        wanted = {plan.pipeline: plan for plan in plans if plan.schedule is not None}
        with self._database.read() as connection:
            known = {row.pipeline: row for row in store.known(connection)}
        changed = [
            pipeline
            for pipeline, plan in wanted.items()
            if pipeline not in known
            or known[pipeline].plan_digest != plan.digest
            or known[pipeline].removed_at is not None
        ]
        gone = [
            pipeline
            for pipeline, row in known.items()
            if pipeline not in wanted and row.removed_at is None and row.file not in broken_files
        ]
        if not changed and not gone:
            return []
        now = self._clock.now()
        with self._database.write() as connection:
            done = [self._change(connection, wanted[pipeline], now) for pipeline in sorted(changed)]
            done += [self._remove(connection, pipeline, now) for pipeline in sorted(gone)]
        return [each for each in done if each is not None]

    def pause(self, pipeline: str, *, reason: str, actor: str) -> None:
        """Stop a schedule: none of its ticks runs until it is resumed, and none of them counts as missed."""
        with self._database.write() as connection:
            row = self._locked(connection, pipeline)
            if row.paused_at is not None:
                raise Conflict(
                    f"The schedule of {pipeline} is paused already, since {row.paused_at:%Y-%m-%d %H:%M} UTC by "
                    f"{row.paused_by}: {row.paused_reason}."
                )
            now = self._clock.now()
            store.change(
                connection,
                pipeline,
                paused_at=now,
                paused_by=actor,
                paused_reason=reason,
                next_tick_at=None,
                next_due_at=None,
            )

    def resume(self, pipeline: str, *, reason: str, actor: str) -> Tick | None:
        """Let a paused schedule go on with what is due from now on, and return its next tick."""
        with self._database.write() as connection:
            row = self._locked(connection, pipeline)
            if row.paused_at is None:
                raise Conflict(f"The schedule of {pipeline} is not paused; `podium schedule list` shows its next run.")
            now = self._clock.now()
            plan = store.plan_of(connection, row.plan_digest)
            tick = self._next(connection, plan, now)
            store.change(
                connection,
                pipeline,
                paused_at=None,
                paused_by=None,
                paused_reason=None,
                resumed_at=now,
                resumed_by=actor,
                resumed_reason=reason,
                problem=None,  # it was of the ticks before
                **_of_next(tick),
            )
        return tick

    def _change(self, connection: sa.Connection, plan: Plan, now: datetime) -> Fired | None:
        """Take up what a plan says; None where that must wait, or says nothing new of when."""
        row, rule = store.lock(connection, plan.pipeline), _rule_digest(plan)
        if row is None:
            tick = self._next(connection, plan, now)
            added = {"pipeline": plan.pipeline, "plan_digest": plan.digest, "rule_digest": rule, "seen_at": now}
            if not store.add(connection, {**added, **_of_next(tick)}):
                return None
            return Fired(plan.pipeline, "added", f"schedule {plan.schedule} taken up{_told(tick)}")
        same_rule = row.rule_digest == rule and row.removed_at is None
        if same_rule or row.paused_at is not None:
            values: dict[str, Any] = {"plan_digest": plan.digest, "rule_digest": rule, "removed_at": None}
            if row.paused_at is not None:
                values["problem"] = None  # one that is active is tried again, and says itself whether it can fire now
            store.change(connection, plan.pipeline, **values)
            return (
                None if same_rule else Fired(plan.pipeline, "changed", f"schedule is {plan.schedule} now, and paused")
            )
        if _is_to_be_decided(row, now):
            return None
        tick = self._next(connection, plan, now)
        store.change(
            connection,
            plan.pipeline,
            plan_digest=plan.digest,
            rule_digest=rule,
            removed_at=None,
            seen_at=now,
            problem=None,
            **_of_next(tick),
        )
        return Fired(plan.pipeline, "changed", f"schedule is {plan.schedule} now{_left(row, now)}{_told(tick)}")

    def _remove(self, connection: sa.Connection, pipeline: str, now: datetime) -> Fired | None:
        row = store.lock(connection, pipeline)
        if row is None or row.removed_at is not None or _is_to_be_decided(row, now):
            return None
        store.change(connection, pipeline, removed_at=now, next_tick_at=None, next_due_at=None, problem=None)
        return Fired(pipeline, "removed", f"has no schedule any more{_left(row, now)}")

    def _next(self, connection: sa.Connection, plan: Plan, now: datetime) -> Tick | None:
        """Return the first tick that is due behind `now`, and was not decided about before.

        A tick with a fate on record is never fired again. But a clock that was ahead and was set right keeps nothing
        else out: neither what lies before the ticks that it decided about, nor what it passed over as missed.
        """
        ticks = _ticks(plan)
        begin = now - ticks.offset
        decided = last_decided(connection, plan.pipeline, now)
        return undecided_after(connection, plan.pipeline, ticks, max(begin, decided or begin))

    def _locked(self, connection: sa.Connection, pipeline: str) -> sa.Row[Any]:
        store.get(connection, pipeline)
        row = store.lock(connection, pipeline)
        if row is None or row.removed_at is not None:
            raise NotFound(
                f"The pipeline {pipeline} has no schedule any more; `podium schedule list` shows those there are."
            )
        return row


def _ticks(plan: Plan) -> Ticks:
    ticks = plan.ticks
    if ticks is None:
        raise NotFound(f"The pipeline {plan.pipeline} has no schedule.")
    return ticks


def _is_to_be_decided(row: sa.Row[Any], now: datetime) -> bool:
    """Tell whether ticks are due that the rule so far decides about; one that cannot fire would keep its remedy out."""
    return row.next_due_at is not None and row.next_due_at <= now and row.problem is None


def _left(row: sa.Row[Any], now: datetime) -> str:
    if row.next_due_at is None or row.next_due_at > now:
        return ""
    return f"; its ticks from {row.next_tick_at:%Y-%m-%d %H:%M:%S} UTC on could not fire, and do not run"


def _rule_digest(plan: Plan) -> str:
    document = plan.to_document()
    return digest_json([document.get(name) for name in ("schedule", "timezone", "grain", "timing")])


def _of_next(tick: Tick | None) -> dict[str, datetime | None]:
    return {
        "next_tick_at": None if tick is None else tick.at,
        "next_due_at": None if tick is None else tick.due_at,
    }


def _told(tick: Tick | None) -> str:
    return "; it has no tick to come" if tick is None else f"; next at {tick.due_at:%Y-%m-%d %H:%M:%S} UTC"
