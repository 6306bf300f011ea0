"""Workers of a project: one for a run in the foreground, or one for every run; the same engine."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from podium.dag.catalogue import pipeline_files
from podium.dag.loading import imported_names
from podium.dag.plan import Plan
from podium.errors import PodiumError
from podium.execution.entities import Happening
from podium.execution.slots import Slots
from podium.execution.worker import Worker, WorkerOptions
from podium.wiring.project import Project
from podium.wiring.stage_services import STAGE_PRELOADS, slot_configuration, supervisor_services

Observer = Callable[[Happening], None]


class Preparation:
    """The slots of runs to come: started as soon as it is known which files the runs are about, plans or not."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._slots: Slots | None = None

    def slots(self, files: Iterable[Path]) -> Slots:
        """Return the slots, started now if they are not: what `files` import is imported ahead.

        Where they import stages, MLflow is opened meanwhile.
        """
        if self._slots is None:
            names = imported_names(files)
            has_stages = any(name.startswith("podium.stages") for name in names)
            self._slots = Slots(
                slot_configuration(self._project),
                preload=tuple(name for name in names if name.partition(".")[0] != "podium"),
                host_log=self._project.log_folder / "slot-host.log",
                preload_later=STAGE_PRELOADS if has_stages else (),
                count=self._project.settings.slots,
            )
            self._slots.start()
            if has_stages:
                threading.Thread(target=_open_registry, args=(self._project,), name="registry", daemon=True).start()
        return self._slots

    def close(self) -> None:
        """End the slots, if there are any."""
        if self._slots is not None:
            self._slots.stop()


@contextmanager
def preparation(project: Project) -> Iterator[Preparation]:
    """Open a preparation; nothing of it outlives the block."""
    prepared = Preparation(project)
    try:
        yield prepared
    finally:
        prepared.close()


@contextmanager
def foreground(
    project: Project, plan: Plan, observe: Observer, prepared: Preparation | None = None
) -> Iterator[Worker]:
    """Open a worker for runs of `plan`, with the slots that were prepared; nothing of it outlives the block.

    Raises ConfigurationError where something that the plan reserves has no price: open it before a run is on
    record that could not be paid for.
    """
    prepared = prepared or Preparation(project)
    project.require_prices(plan)
    with _worker(project, observe, prepared.slots(project.settings.root / file for file in plan.modules)) as worker:
        yield worker


@contextmanager
def serving(project: Project, observe: Observer) -> Iterator[Worker]:
    """Open a worker for every run of the project; nothing of it outlives the block.

    What any pipeline file imports now is imported ahead. Raises ConfigurationError where cores and memory have no
    price: every attempt uses both.
    """
    project.require_prices()
    with (
        preparation(project) as prepared,
        _worker(project, observe, prepared.slots(pipeline_files(project.settings.pipelines_folder))) as worker,
    ):
        yield worker


def _worker(project: Project, observe: Observer, slots: Slots) -> Worker:
    options = project.settings
    return Worker(
        database=project.database,
        progress=project.progress,
        backend=slots,
        services=supervisor_services(project),
        options=WorkerOptions(
            slots=options.slots,
            lease_seconds=options.lease_seconds,
            log_folder=project.log_folder,
            lock_folder=options.home / "locks",
        ),
        clock=project.clock,
        observe=observe,
    )


def _open_registry(project: Project) -> None:
    """Import MLflow and open its store while the first steps run."""
    with suppress(PodiumError):  # the stage that needs the registry meets the same, and reports it
        project.registry.models()
