"""A project's scheduler: everything that goes on by itself, in one loop."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from podium.errors import PodiumError, ServiceUnavailable
from podium.execution import deadlines
from podium.execution.entities import Happening
from podium.execution.liveness import host_name
from podium.execution.rescuer import rescue
from podium.execution.setbacks import Setbacks
from podium.registry.guard import Sight
from podium.scheduling.loop import Loop, Part, Wait
from podium.scheduling.presence import Presence
from podium.scheduling.scheduler import Fired, Scheduler
from podium.scheduling.schedules import Schedules
from podium.scheduling.trigger_watch import TriggerWatch
from podium.scheduling.triggers import Triggers
from podium.wiring.admission import ExecutorAdmission
from podium.wiring.code_watch import CodeWatch
from podium.wiring.guard import Watch, guard_of
from podium.wiring.notify import notifier
from podium.wiring.project import Project
from podium.wiring.promotions import PromotionCare

_CARE_SECONDS = 5.0
_END_SECONDS = 5.0


@dataclass
class Care:
    """Ends the attempts of dead workers and enforces deadlines, also while no worker is there to do it."""

    project: Project
    observe: Callable[[Happening], None]
    _setbacks: Setbacks = field(init=False)

    def __post_init__(self) -> None:
        self._setbacks = Setbacks(self.project.clock, self.observe)

    def advance(self) -> float:
        """Do what is due; return after how many seconds to look again."""
        of_project = self.project.database, self.project.progress, self.project.clock, self._setbacks
        rescue(*of_project, besides="")
        deadlines.enforce(*of_project)
        return _CARE_SECONDS


@dataclass(frozen=True)
class Observer:
    """Who is told what a scheduler does, and what goes wrong."""

    say: Callable[[str], None]

    def fired(self, fired: Fired) -> None:
        """Take note of what became of a schedule or a trigger."""
        self.say(f"{fired.pipeline} {fired.kind}: {fired.text}".lstrip())

    def happened(self, happening: Happening) -> None:
        """Take note of a run that cannot be cared for, or of a message."""
        what = f"run {happening.run_id}" if happening.run_id else happening.kind.replace(".", " ")
        self.say(f"{what} {happening.reason or ''}".rstrip())

    def saw(self, sight: Sight) -> None:
        """Take note of a champion that somebody moved outside Podium, and of what became of that."""
        self.say(f"guard: {sight.text}")

    def failed(self, part: str, error: BaseException) -> None:
        """Take note of a part that failed; it is tried again a minute later."""
        text = str(error) if isinstance(error, PodiumError) else f"{type(error).__name__}: {error}"
        self.say(f"{part} failed, and is tried again in a minute: {text}")

    def away(self, error: ServiceUnavailable) -> None:
        """Take note that the database is away."""
        self.say(f"waits for the database: {error}")

    def back(self) -> None:
        """Take note that it is back."""
        self.say("the database answers again")


class ProjectScheduler:
    """The loops of a project: one for what must be on time, and beside it some for what may take a while."""

    def __init__(self, punctual: Loop, *beside: Loop) -> None:
        self._punctual = punctual
        self._beside = beside
        self._error: BaseException | None = None

    def run(self, wait: Wait) -> None:
        """Go on until `wait` says to end; what is being done beside is given a few seconds to come to its end.

        What ends one loop, as a log that cannot be written, ends all: none of them is missed unnoticed.
        """
        ended = threading.Event()

        def go_on_beside(loop: Loop) -> None:
            try:
                loop.run(ended.wait)
            except BaseException as error:  # noqa: BLE001 - raised by the punctual loop
                self._error = error

        def wait_for_all(seconds: float) -> bool:
            if self._error is not None:
                raise self._error
            return wait(seconds)

        threads = [
            threading.Thread(target=go_on_beside, args=(loop,), name=", ".join(loop.parts), daemon=True)
            for loop in self._beside
        ]
        for thread in threads:
            thread.start()
        try:
            self._punctual.run(wait_for_all)
        finally:
            ended.set()
            deadline = time.monotonic() + _END_SECONDS
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))


@contextmanager
def scheduling(project: Project, say: Callable[[str], None]) -> Iterator[ProjectScheduler]:
    """Open the scheduler of a project; nothing of it outlives the block.

    ConfigurationError where cores and memory have no price, or an alert channel cannot be used.
    """
    project.require_prices()
    observer = Observer(say)
    database, clock = project.database, project.clock
    presence = Presence(database, clock, host_name(), os.getpid())
    schedules, triggers = Schedules(database, clock), triggers_of(project, observer.fired)
    alerts = notifier(project, observer.happened)
    admission = ExecutorAdmission(project.execution)
    punctual: dict[str, Part] = {
        "presence": presence,
        "schedules": Scheduler(database, admission, clock, observer.fired),
        "triggers": TriggerWatch(triggers, project.settings.root),
    }
    patient: dict[str, Part] = {
        "pipelines": CodeWatch(project, (schedules.take_up, triggers.take_up), observer.fired),
        "alerts": alerts,
        "care": Care(project, observer.happened),
    }
    # In a loop of their own: a registry that does not answer is waited for, for minutes.
    watch: dict[str, Part] = {
        "promotions": PromotionCare(project, say),
        "guard": Watch(guard_of(project), project.settings.guard.pause.total_seconds(), observer.saw),
    }
    try:
        yield ProjectScheduler(
            Loop(punctual, clock, observer), Loop(patient, clock, observer), Loop(watch, clock, observer)
        )
    finally:
        alerts.close()
        with suppress(ServiceUnavailable):
            presence.end()


def triggers_of(project: Project, observe: Callable[[Fired], None] = lambda _: None) -> Triggers:
    """Return the triggers of a project."""
    return Triggers(project.database, ExecutorAdmission(project.execution), project.clock, observe)
