"""The guard of a project's champions, as a part of its scheduler."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from podium.registry.guard import Guard, Sight
from podium.settings import Settings
from podium.wiring.model_scan import trust_of
from podium.wiring.project import Project


def guard_of(project: Project) -> Guard:
    """Return the guard of a project; MLflow is imported when there is a model to look at, not before."""
    options = project.settings
    return Guard(
        project.database,
        project.registry,
        project.clock,
        options.guard.champion_moved,
        reconcile=project.promotions.reconcile,
        trust=trust_of(project),
        obstacle=lambda: missing_store(options),
    )


def missing_store(options: Settings) -> str | None:
    """Say that MLflow's SQLite file is not there, None where it is, or where MLflow is a server.

    Asked, MLflow would make an empty one, in which no model has a champion.
    """
    uri = options.effective_tracking_uri
    if not uri.startswith("sqlite:"):
        return None
    name = sa.make_url(uri).database or ":memory:"
    if name == ":memory:" or name.startswith("file:") or Path(name).exists():
        return None
    return (
        f"MLflow's file {name} is not there, so nobody knows which versions are champion. Restore it from a backup, or "
        "correct mlflow_tracking_uri."
    )


@dataclass
class Watch:
    """Looks once in `poll`, the first time one `poll` after the start; what it sees is told once until it changes."""

    guard: Guard
    poll_seconds: float
    tell: Callable[[Sight], None]
    _began: bool = False
    _told: dict[str, str] = field(default_factory=dict)

    def advance(self) -> float:
        """Look if it is time; return after how many seconds to look again."""
        if not self._began:
            self._began = True  # importing MLflow takes seconds, which what begins with the scheduler needs
            return self.poll_seconds
        unknown: dict[str, str] = {}
        for sight in self.guard.look():
            if sight.kind == "unknown":
                unknown[sight.model] = sight.text
            if sight.kind != "unknown" or self._told.get(sight.model) != sight.text:
                self.tell(sight)
        self._told = unknown
        return self.poll_seconds
