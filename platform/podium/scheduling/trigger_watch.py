"""The loop's part that looks at what triggers wait for: at Podium's own records itself, outside in threads."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from podium.dag.plan import Plan
from podium.dag.triggers import FilesSource, PlannedSource, PlannedTrigger, RowsSource
from podium.errors import DefinitionError, ServiceUnavailable
from podium.scheduling import store, trigger_store
from podium.scheduling.looks import Found, SourceUnknown, look_at_files, look_at_rows
from podium.scheduling.scheduler import POLL_SECONDS, Fired
from podium.scheduling.trigger_store import Look
from podium.scheduling.triggers import Triggers

LOOK_SECONDS = 60.0
"""So long a look outside may take; then the source counts as unknown."""

_AT_ONCE = 16
_SOON_SECONDS = 0.05

Start = Callable[[Callable[[], Found]], "Future[Found]"]
"""Begins a look, and returns what it will have found."""


@dataclass
class _Looking:
    """A look outside that goes on."""

    look: Look
    source: PlannedSource
    since: float
    future: "Future[Found]"
    is_overdue: bool = False


def in_a_thread(look: Callable[[], Found]) -> "Future[Found]":
    """Look in a thread of its own, which nobody waits for when the process ends: it may hang."""
    future: Future[Found] = Future()

    def run() -> None:
        try:
            future.set_result(look())
        except SourceUnknown as unknown:
            future.set_exception(unknown)
        except BaseException as error:  # noqa: BLE001 - whatever a library raises, nothing is known then
            future.set_exception(SourceUnknown(f"{type(error).__name__}: {error}"))

    threading.Thread(target=run, name="look", daemon=True).start()
    return future


@dataclass
class TriggerWatch:
    """Looks at what is due, outside one scheduler at a time; a look that hangs holds up nothing else."""

    triggers: Triggers
    root: Path
    start: Start = in_a_thread
    _looking: dict[tuple[str, PlannedSource], _Looking] = field(default_factory=dict)
    _plans: dict[str, Plan | None] = field(default_factory=dict)

    def advance(self) -> float:
        """Take in what looks found, begin those that are due, fire; return after how many seconds to come back."""
        clock, database = self.triggers.clock, self.triggers.database
        self._take_in()
        now = clock.now()
        inside: list[tuple[Look, PlannedSource, Found | Exception]] = []
        outside: list[tuple[Look, PlannedSource]] = []
        with database.read() as connection:
            looks = trigger_store.looks(connection)
            for look in looks:
                is_due = look.next_look_at <= now
                trigger = self._trigger(connection, look)
                if trigger is None or (look.problem is not None and not is_due):
                    continue
                source = trigger.sources[look.position]
                found = self._look_inside(connection, look, trigger)
                if found is None and is_due:
                    outside.append((look, source))
                elif found is not None and (is_due or _is_more(found, look)):
                    inside.append((look, source, found))
        for look, source, found in inside:
            if isinstance(found, Found):
                self.triggers.record(look, source, found)
            else:
                self.triggers.tell_problem(look.trigger_id, found)
        for look, source in outside:
            self._begin(look, source)
        self._take_in()
        self.triggers.fire_due()
        return self._pause(looks)

    def _look_inside(self, connection: sa.Connection, look: Look, trigger: PlannedTrigger) -> Found | Exception | None:
        """Look at what Podium has on record; what is wrong with one trigger is returned, and the others go on."""
        try:
            return self.triggers.look_inside(connection, look, trigger)
        except (ServiceUnavailable, sa.exc.SQLAlchemyError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is
            return error

    def _begin(self, look: Look, source: PlannedSource) -> None:
        """Look outside, unless that goes on already, or another scheduler does it; if that dies, it is due again."""
        key = look.trigger_id, source
        if key in self._looking or len(self._awaited) >= _AT_ONCE:
            return
        clock, database = self.triggers.clock, self.triggers.database
        with database.write() as connection:
            taken = trigger_store.take_look(connection, look, clock.now() + timedelta(seconds=2 * LOOK_SECONDS))
        if taken:
            future = self.start(lambda: _look_outside(source, self.root, look.used))
            self._looking[key] = _Looking(look, source, clock.monotonic(), future)

    def _take_in(self) -> None:
        """Keep what looks found that have come to their end; of one that takes too long, that nothing is known."""
        for key, each in list(self._looking.items()):
            if each.future.done():
                del self._looking[key]
                error = each.future.exception()
                if not each.is_overdue:
                    found = error if isinstance(error, SourceUnknown) else each.future.result()
                    self.triggers.record(each.look, each.source, found)
            elif not each.is_overdue and self.triggers.clock.monotonic() - each.since > LOOK_SECONDS:
                each.is_overdue = True  # its thread cannot be ended: until it ends by itself, nobody here looks again
                silent = SourceUnknown(f"there was no answer within {LOOK_SECONDS:g} s")
                self.triggers.record(each.look, each.source, silent)

    @property
    def _awaited(self) -> list[_Looking]:
        """The looks whose answer counts; those that hang are left to themselves."""
        return [each for each in self._looking.values() if not each.is_overdue]

    def _pause(self, looks: Sequence[Look]) -> float:
        """Return after how many seconds to come back."""
        if not looks:
            return POLL_SECONDS
        if self._awaited:
            return _SOON_SECONDS
        now = self.triggers.clock.now()
        with self.triggers.database.read() as connection:
            next_firing_at = trigger_store.next_firing_at(connection)
        left = POLL_SECONDS if next_firing_at is None else (next_firing_at - now).total_seconds()
        return min(max(0.0, left), POLL_SECONDS)

    def _trigger(self, connection: sa.Connection, look: Look) -> PlannedTrigger | None:
        """Return what is looked at; None, told once, where the plan is of another version of Podium."""
        if look.plan_digest not in self._plans:
            try:
                self._plans[look.plan_digest] = store.plan_of(connection, look.plan_digest)
            except DefinitionError as error:
                self._plans[look.plan_digest] = None
                self.triggers.observe(Fired(look.trigger_id, "problem", str(error)))
        plan = self._plans[look.plan_digest]
        return None if plan is None else trigger_store.trigger_of(plan, look.trigger_id)


def _is_more(found: Found | Exception, look: Look) -> bool:
    """Tell whether a look has news that is not written down yet, or went wrong."""
    return not isinstance(found, Found) or (found.is_news and found.seen != look.seen)


def _look_outside(source: PlannedSource, root: Path, used: Any) -> Found:
    if isinstance(source, FilesSource):
        return look_at_files(source, root, used)
    if isinstance(source, RowsSource):
        return look_at_rows(source, root, used)
    raise SourceUnknown(f"{source!r} is no source outside that this version of Podium knows")
