"""Triggers taken up, looked at and fired: what was new is used up in the transaction that makes the run for it."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from podium import faults
from podium.clock import Clock
from podium.dag.parameters import bind_parameters
from podium.dag.plan import Plan
from podium.dag.triggers import PlannedSource, PlannedTrigger, PromotionSource, RunSource
from podium.db.engine import Database
from podium.errors import Conflict, NotFound, PodiumError, ServiceUnavailable
from podium.scheduling import store, trigger_store
from podium.scheduling.admission import Admission, RunRequest
from podium.scheduling.inner_looks import look_at_promotions, look_at_runs
from podium.scheduling.looks import Found, SourceUnknown
from podium.scheduling.scheduler import Fired
from podium.scheduling.trigger_rules import SourceState, cause_of, interval_of, standing
from podium.scheduling.trigger_store import Look

_BUSY = timedelta(seconds=2)
_AFTER_A_PROBLEM = timedelta(seconds=60)
_LONGEST_BACK_OFF_SECONDS = 900.0


@dataclass(frozen=True)
class Triggers:
    """The triggers of a database."""

    database: Database
    admission: Admission
    clock: Clock
    observe: Callable[[Fired], None]

    def take_up(self, plans: Iterable[Plan], broken_files: Collection[str] = ()) -> list[Fired]:
        """Add, change and remove triggers so that they are what `plans` say; return what that changed. Idempotent.

        What a trigger that is new, or looks at something else now, finds at its first look is not news. A pipeline
        whose file is broken keeps its triggers.
        """
        wanted = {f"{plan.pipeline}.{each.name}": (plan, each) for plan in plans for each in plan.triggers}
        with self.database.read() as connection:
            known = trigger_store.known(connection)
        changed = [
            trigger_id
            for trigger_id, (plan, _) in wanted.items()
            if trigger_id not in known
            or known[trigger_id].plan_digest != plan.digest
            or known[trigger_id].removed_at is not None
        ]
        gone = [
            trigger_id
            for trigger_id, row in known.items()
            if trigger_id not in wanted and row.removed_at is None and row.file not in broken_files
        ]
        if not changed and not gone:
            return []
        now = self.clock.now()
        with self.database.write() as connection:
            done = [self._change(connection, trigger_id, *wanted[trigger_id], now) for trigger_id in sorted(changed)]
            done += [self._remove(connection, trigger_id, now) for trigger_id in sorted(gone)]
        return [each for each in done if each is not None]

    def look_inside(self, connection: sa.Connection, look: Look, trigger: PlannedTrigger) -> Found | None:
        """Look at what Podium has on record itself; None if the source is something outside."""
        source = trigger.sources[look.position]
        if isinstance(source, RunSource):
            # What ended before the others had news is no news of the next time.
            all_ = trigger.debounce_seconds > 0 or trigger.needs == "all"
            return look_at_runs(connection, source, look.used, self.clock.now(), all_=all_)
        if isinstance(source, PromotionSource):
            return look_at_promotions(connection, source, look.used)
        return None

    def record(self, look: Look, source: PlannedSource, found: Found | SourceUnknown) -> None:
        """Keep what a look found, and fire if that is all that was waited for; what comes too late is dropped."""
        with self._contained(look.trigger_id):
            self._record(look, source, found)

    def tell_problem(self, trigger_id: str, error: Exception) -> None:
        """Keep and tell what is in the way of one trigger; it is tried again a minute later."""
        with self._contained(trigger_id):
            raise error

    def _record(self, look: Look, source: PlannedSource, found: Found | SourceUnknown) -> None:
        now = self.clock.now()
        fired: list[Fired] = []
        with self.database.write() as connection:
            row = trigger_store.lock(connection, look.trigger_id)
            if row is None or row.removed_at is not None:
                return
            plan = store.plan_of(connection, row.plan_digest)
            if trigger_store.trigger_of(plan, look.trigger_id).sources[look.position : look.position + 1] != (source,):
                return  # it looks at something else by now
            state = trigger_store.sources(connection, look.trigger_id)[look.position]
            if state.used != look.used:
                return  # it fired meanwhile
            every = timedelta(seconds=source.every_seconds)
            values: dict[str, Any] = {"looked_at": now, "detail": str(found)}
            if isinstance(found, SourceUnknown):
                back_off = min(every.total_seconds() * 2 ** min(state.failures, 10), _LONGEST_BACK_OFF_SECONDS)
                wait = max(every, timedelta(seconds=back_off))
                values |= {"result": "unknown", "failures": state.failures + 1, "next_look_at": now + wait}
                if state.failures == 0:
                    fired.append(Fired(look.trigger_id, "unknown", str(found)))
            else:
                values |= {
                    "result": "news" if found.is_news else "nothing",
                    "detail": found.detail,
                    "failures": 0,
                    "seen": found.seen,
                    "next_look_at": now + every,
                }
                if not found.is_news:
                    values |= {"used": found.seen, "changed_at": None}
                elif found.seen != state.seen or state.changed_at is None:
                    values["changed_at"] = now
            trigger_store.change_source(connection, look.trigger_id, look.position, **values)
            fired += self._settle(connection, look.trigger_id, plan, row.firings, now)
            faults.reach("trigger.before_commit")
        faults.reach("trigger.after_commit")
        for each in fired:
            self.observe(each)

    def fire_due(self) -> None:
        """Fire what has waited for as long as it was to."""
        now = self.clock.now()
        with self.database.read() as connection:
            due = trigger_store.due_firings(connection, now)
        for trigger_id in due:
            with self._contained(trigger_id):
                self._fire(trigger_id, now)

    def _fire(self, trigger_id: str, now: datetime) -> None:
        with self.database.write() as connection:
            row = trigger_store.lock(connection, trigger_id)
            if row is None or row.removed_at is not None:
                return
            plan = store.plan_of(connection, row.plan_digest)
            fired = self._settle(connection, trigger_id, plan, row.firings, now)
            faults.reach("trigger.before_commit")
        faults.reach("trigger.after_commit")
        for each in fired:
            self.observe(each)

    @contextmanager
    def _contained(self, trigger_id: str) -> Iterator[None]:
        """Keep and tell what is in the way of one trigger, while the others go on; it is tried again in a minute."""
        try:
            yield
        except (ServiceUnavailable, faults.FaultRaised):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is
            text = str(error) if isinstance(error, PodiumError) else f"{type(error).__name__}: {error}"
            with self.database.write() as connection:
                row = trigger_store.lock(connection, trigger_id)
                later = self.clock.now() + _AFTER_A_PROBLEM
                trigger_store.put_off(connection, trigger_id, later, text)
            if row is not None and row.problem != text:
                self.observe(Fired(trigger_id, "problem", text))

    def fire_by_hand(self, trigger_id: str, *, reason: str, actor: str) -> str:
        """Make the run that a trigger would make now, whatever its sources show, and return its id.

        What they have shown is used up. Raises Conflict while a run of the interval is open.
        """
        with self.database.write() as connection:
            trigger_store.get(connection, trigger_id)
            row = trigger_store.lock(connection, trigger_id)
            if row is None or row.removed_at is not None:
                raise NotFound(
                    f"The trigger {trigger_id} was removed just now; `podium triggers list` shows those left."
                )
            plan = store.plan_of(connection, row.plan_digest)
            cause = f"trigger {trigger_id.partition('.')[2]}, fired by {actor}: {reason}"
            run_id, created = self._admit(connection, trigger_id, plan, row.firings, cause, self.clock.now(), actor)
            if not created:
                raise Conflict(
                    f"The trigger {trigger_id} cannot fire: run {run_id} of the same interval is open, and may have "
                    f"read its data already. Let it end; `podium runs show {run_id}` tells how far it is."
                )
        return run_id

    def _settle(
        self, connection: sa.Connection, trigger_id: str, plan: Plan, firings: int, now: datetime
    ) -> list[Fired]:
        """Fire a locked trigger if its time has come, else keep when it does."""
        trigger = trigger_store.trigger_of(plan, trigger_id)
        sources = trigger_store.sources(connection, trigger_id)
        stands = standing(trigger, sources)
        trigger_store.change(
            connection, trigger_id, news_since=stands.news_since, fires_at=stands.fires_at, problem=None
        )
        if stands.fires_at is None or stands.fires_at > now:
            return []
        cause = cause_of(trigger, sources)
        run_id, created = self._admit(connection, trigger_id, plan, firings, cause, now, "trigger")
        if created:
            return [Fired(trigger_id, "run", f"run {run_id}: {cause}", run_id)]
        # It may have read its data before these came: what is new waits for its end.
        problem = f"waits for run {run_id} of the same interval, which is open"
        trigger_store.change(connection, trigger_id, problem=problem, fires_at=now + _BUSY)
        return []

    def _admit(
        self,
        connection: sa.Connection,
        trigger_id: str,
        plan: Plan,
        firings: int,
        cause: str,
        now: datetime,
        asked_by: str,
    ) -> tuple[str, bool]:
        sources = trigger_store.sources(connection, trigger_id)
        request = RunRequest(
            interval=interval_of(plan, sources, now),
            trigger="data",
            key=f"trigger:{trigger_id}:{firings + 1}",
            cause=cause,
            asked_by=asked_by,
            parameters=bind_parameters(plan, {}),
        )
        run_id, created = self.admission.admit(connection, plan, request)
        if created:
            trigger_store.use_up(connection, trigger_id, sources, now)
            trigger_store.change(
                connection,
                trigger_id,
                news_since=None,
                fires_at=None,
                fired_at=now,
                fired_run_id=run_id,
                firings=firings + 1,
                problem=None,
            )
        return run_id, created

    def _change(
        self, connection: sa.Connection, trigger_id: str, plan: Plan, trigger: PlannedTrigger, now: datetime
    ) -> Fired | None:
        row, definition = trigger_store.lock(connection, trigger_id), _definition(trigger)
        described = [each.described for each in trigger.sources]
        if row is None:
            added: dict[str, Any] = {"trigger_id": trigger_id, "pipeline": plan.pipeline, "plan_digest": plan.digest}
            added |= {"definition": definition, "next_look_at": now, "seen_at": now, "firings": 0}
            if not trigger_store.add(connection, added):
                return None
            trigger_store.replace_sources(connection, trigger_id, described, now)
            return Fired(trigger_id, "added", f"looks at {', '.join(described)}")
        trigger_store.change(
            connection, trigger_id, plan_digest=plan.digest, definition=definition, removed_at=None, next_look_at=now
        )
        if row.definition == definition and row.removed_at is None:
            return None
        if row.definition["sources"] != definition["sources"] or row.removed_at is not None:
            kept = {} if row.removed_at is not None else self._kept(connection, trigger_id, row.definition, definition)
            trigger_store.replace_sources(connection, trigger_id, described, now, kept)
            trigger_store.change(connection, trigger_id, news_since=None, fires_at=None, problem=None, seen_at=now)
        return Fired(trigger_id, "changed", f"looks at {', '.join(described)}")

    @staticmethod
    def _kept(
        connection: sa.Connection, trigger_id: str, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> dict[int, SourceState]:
        """Return what is known of the sources that stay, by their new positions, however often they are looked at."""
        left = list(zip(map(_looked_at, before["sources"]), trigger_store.sources(connection, trigger_id), strict=True))
        kept = {}
        for position, source in enumerate(map(_looked_at, after["sources"])):
            found = next((each for each in left if each[0] == source), None)
            if found is not None:
                left.remove(found)
                kept[position] = found[1]
        return kept

    def _remove(self, connection: sa.Connection, trigger_id: str, now: datetime) -> Fired | None:
        row = trigger_store.lock(connection, trigger_id)
        if row is None or row.removed_at is not None:
            return None
        trigger_store.change(connection, trigger_id, removed_at=now, next_look_at=None, fires_at=None, news_since=None)
        return Fired(trigger_id, "removed", "is no trigger any more")


def _definition(trigger: PlannedTrigger) -> Mapping[str, Any]:
    return {
        "needs": trigger.needs,
        "debounce_seconds": trigger.debounce_seconds,
        "sources": [dict(vars(each)) for each in trigger.sources],
    }


def _looked_at(source: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in source.items() if name != "every_seconds"}
