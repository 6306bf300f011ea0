"""A project's scheduler: everything that goes on by itself, in one loop."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from podium.errors import PodiumError, ServiceUnavailable
from podium.execution import deadlines
from podium.execution.entities import Happening
from podium.execution.liveness import host_name
from podium.execution.rescuer import rescue
from podium.execution.setbacks import Setbacks
from podium.scheduling.loop import Loop, Part
from podium.scheduling.presence import Presence
from podium.scheduling.scheduler import Fired, Scheduler
from podium.scheduling.schedules import Schedules
from podium.scheduling.trigger_watch import TriggerWatch
from podium.scheduling.triggers import Triggers
from podium.wiring.admission import ExecutorAdmission
from podium.wiring.code_watch import CodeWatch
from podium.wiring.project import Project

_CARE_SECONDS = 5.0


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
        """Take note of a run that cannot be cared for."""
        self.say(f"run {happening.run_id} {happening.reason or happening.kind}")

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


@contextmanager
def scheduling(project: Project, say: Callable[[str], None]) -> Iterator[Loop]:
    """Open the scheduler of a project; ConfigurationError where cores and memory have no price."""
    project.require_prices()
    observer = Observer(say)
    presence = Presence(project.database, project.clock, host_name(), os.getpid())
    try:
        yield Loop(_parts(project, observer, presence), project.clock, observer)
    finally:
        with suppress(ServiceUnavailable):
            presence.end()


def _parts(project: Project, observer: Observer, presence: Presence) -> dict[str, Part]:
    database, clock = project.database, project.clock
    schedules = Schedules(database, clock)
    admission = ExecutorAdmission(project.execution)
    triggers = triggers_of(project, observer.fired)
    return {
        "presence": presence,
        "pipelines": CodeWatch(project, (schedules.take_up, triggers.take_up), observer.fired),
        "schedules": Scheduler(database, admission, clock, observer.fired),
        "triggers": TriggerWatch(triggers, project.settings.root),
        "care": Care(project, observer.happened),
    }


def triggers_of(project: Project, observe: Callable[[Fired], None] = lambda _: None) -> Triggers:
    """Return the triggers of a project."""
    return Triggers(project.database, ExecutorAdmission(project.execution), project.clock, observe)
