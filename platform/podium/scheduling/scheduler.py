"""The scheduler: turns ticks that are due into runs, each into exactly one, however many schedulers there are.

A tick's fate, its run and the schedule's next tick commit in one transaction that holds the schedule's row: whoever is
first decides, a scheduler that dies before the commit has done nothing, and after it everything.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa

from podium import faults
from podium.clock import Clock
from podium.dag.parameters import bind_parameters
from podium.dag.plan import Plan
from podium.dag.schedule import Tick, Ticks
from podium.db.engine import Database, try_lock
from podium.errors import Conflict, PodiumError, ServiceUnavailable
from podium.scheduling import store
from podium.scheduling.admission import Admission, RunRequest
from podium.scheduling.missed import LATE, Decision, decide, undecided_after
from podium.scheduling.store import DueSchedule

POLL_SECONDS = 1.0
"""So soon a scheduler sees what others changed: a schedule that was resumed, or edited."""
CAUGHT_UP_PER_MINUTE = 600
"""So many late ticks of all schedules together become runs within a minute; those that are not late do not count."""

_BATCH = 20
_AT_ONCE = 50
"""So many late ticks become runs in one transaction: workers wait for its end."""
_PUT_OFF_SECONDS = 60.0
_REMEMBERED = 10_000
_MINUTE = timedelta(minutes=1)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Fired:
    """What a scheduler did with a schedule: a tick that became a run or joined one, ticks missed, or a problem."""

    pipeline: str
    kind: str  # run, joined, missed, problem
    text: str
    run_id: str | None = None
    is_late: bool = False


@dataclass
class Scheduler:
    """Makes the runs of schedules, a pass at a time; `observe` is told what it did, behind the commit."""

    database: Database
    admission: Admission
    clock: Clock
    observe: Callable[[Fired], None]
    _known: dict[str, tuple[Plan, Ticks]] = field(default_factory=dict)
    _put_off: dict[str, float] = field(default_factory=dict)

    def advance(self) -> float:
        """Make one pass over what is due; return after how many seconds the next one is useful, at most a second.

        What is not late goes first, also before what is left of a backlog.
        """
        give_up_at = self.clock.monotonic() + POLL_SECONDS
        while self.clock.monotonic() <= give_up_at:
            now = self.clock.now()
            with self.database.read() as connection:
                next_due_at, is_due = store.next_due_at(connection, now), store.is_any_due(connection, now)
            if not (is_due and (self._fire_some(now, behind=now - LATE) or self._fire_some(now, behind=None))):
                if next_due_at is None:
                    return POLL_SECONDS
                left = (next_due_at - self.clock.now()).total_seconds()
                return min(max(left, 0.0), POLL_SECONDS)
        return 0.0

    def _fire_some(self, now: datetime, *, behind: datetime | None) -> bool:
        """Act on a batch of schedules in one transaction, those due by `behind` left out; True if that did anything."""
        found: list[DueSchedule] = []
        fired: list[Fired] = []
        try:
            with self.database.write() as connection:
                budget = None if behind is not None else self._budget(connection, now)
                if budget is None or budget > 0:
                    found = self._due(connection, now, behind)
                for each in found:
                    done = self._fire(connection, each, now, budget)
                    fired += done
                    if budget is not None:
                        budget -= sum(one.is_late for one in done)
                faults.reach("tick.before_commit")
        except ServiceUnavailable:
            raise
        except Exception:  # one of them is in the way: each by itself, and the others go on
            if not found:
                raise
            acted = [self._fire_alone(each, now, behind) for each in found]
            return any(acted)
        faults.reach("tick.after_commit")
        for one in fired:
            self.observe(one)
        return bool(fired)

    def _fire_alone(self, found: DueSchedule, now: datetime, behind: datetime | None) -> bool:
        fired: list[Fired] = []
        try:
            with self.database.write() as connection:
                budget = None if behind is not None else self._budget(connection, now)
                if budget is None or budget > 0:
                    fired = self._fire(connection, found, now, budget)
        except ServiceUnavailable:
            raise
        except Conflict:  # somebody makes a run of the interval right now: it will stand for the tick
            self._put_off[found.pipeline] = self.clock.monotonic() + POLL_SECONDS
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told and tried again
            self._tell_problem(found.pipeline, error)
        for one in fired:
            self.observe(one)
        return bool(fired)

    def _due(self, connection: sa.Connection, now: datetime, behind: datetime | None) -> list[DueSchedule]:
        monotonic = self.clock.monotonic()
        self._put_off = {pipeline: until for pipeline, until in self._put_off.items() if until > monotonic}
        found = store.due(connection, now, _BATCH + len(self._put_off), behind=behind)
        return [each for each in found if each.pipeline not in self._put_off]

    def _budget(self, connection: sa.Connection, now: datetime) -> int:
        """Return how many late ticks may become runs in this transaction; 0 where another scheduler catches up."""
        if not try_lock(connection, "catch-up"):
            return 0
        return min(_AT_ONCE, CAUGHT_UP_PER_MINUTE - store.caught_up_since(connection, now - _MINUTE))

    def _fire(self, connection: sa.Connection, found: DueSchedule, now: datetime, budget: int | None) -> list[Fired]:
        """Decide about the due ticks of one schedule, whose row this transaction holds; [] if somebody else did."""
        plan, ticks = self._plan(connection, found.plan_digest)
        timing = plan.timing
        decision = decide(ticks, found.next_tick_at, now, timing.missed, timing.missed_limit)
        if decision.last is None:  # the clocks of its zone are changed by other rules now: a new tz database
            store.move_on(connection, found, ticks.after(found.next_tick_at - _MICROSECOND))
            return []
        run = decision.run
        if budget is not None and sum(tick.due_at <= now - LATE for tick in run) > budget:
            run = run[:budget]  # in order: what is not late waits for what is
        last = Decision(decision.missed, run).last
        if last is None or not store.move_on(
            connection, found, undecided_after(connection, plan.pipeline, ticks, last.at)
        ):
            return []
        fired = []
        if decision.missed is not None:
            stretch, why = decision.missed, f"nobody was there for them (missed={timing.missed!r})"
            store.record_missed(connection, plan.pipeline, stretch, now, why)
            count = "more than 1,000" if stretch.count is None else f"{stretch.count:,}"
            span = f"{stretch.first.at.isoformat()} to {stretch.last.at.isoformat()}"
            fired.append(Fired(plan.pipeline, "missed", f"{count} ticks missed, {span}: {why}"))
        parameters = bind_parameters(plan, {})
        for place, tick in enumerate(run):
            request = RunRequest(
                interval=tick.interval,
                trigger="schedule",
                key=f"schedule:{plan.pipeline}:{tick.at.timestamp():.6f}",
                cause=f"tick of {tick.at.isoformat()}",
                asked_by="schedule",
                parameters=parameters,
                place=place,
            )
            fired.append(self._run(connection, plan, tick, request, now))
        if found.problem is not None:
            store.note_problem(connection, plan.pipeline, None)
        return fired

    def _run(self, connection: sa.Connection, plan: Plan, tick: Tick, request: RunRequest, now: datetime) -> Fired:
        run_id, created = self.admission.admit(connection, plan, request)
        late = tick.due_at <= now - LATE
        store.record_run(connection, plan.pipeline, tick, run_id, now, created=created, late=late)
        behind = f", {round((now - tick.due_at).total_seconds()):,} s late" if late else ""
        name = tick.interval.name
        if created:
            text = f"{request.cause} is run {run_id} for {name}{behind}"
            return Fired(plan.pipeline, "run", text, run_id, is_late=late)
        text = f"{request.cause} joins run {run_id}, which is open for {name}{behind}"
        return Fired(plan.pipeline, "joined", text, run_id)

    def _plan(self, connection: sa.Connection, digest: str) -> tuple[Plan, Ticks]:
        if digest not in self._known:
            while len(self._known) >= _REMEMBERED:
                del self._known[next(iter(self._known))]
            plan = store.plan_of(connection, digest)
            ticks = plan.ticks
            if ticks is None:
                raise PodiumError(f"The plan {digest[:12]} of {plan.pipeline} has no schedule any more.")
            self._known[digest] = plan, ticks
        return self._known[digest]

    def _tell_problem(self, pipeline: str, error: Exception) -> None:
        """Keep and tell what stands in a schedule's way; it is tried again a minute later, and late by then."""
        self._put_off[pipeline] = self.clock.monotonic() + _PUT_OFF_SECONDS
        text = str(error) if isinstance(error, PodiumError) else f"{type(error).__name__}: {error}"
        with self.database.write() as connection:
            is_news = store.note_problem(connection, pipeline, text)
        if is_news:
            self.observe(Fired(pipeline, "problem", text))
