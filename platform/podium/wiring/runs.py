"""Workers of a project: one for a run in the foreground, or one for every run; the same engine."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from podium.dag.catalogue import pipeline_files
from podium.dag.loading import imported_names
from podium.dag.plan import Plan
from podium.errors import PodiumError
from podium.execution.backend import Backend
from podium.execution.claims import Limits
from podium.execution.entities import Happening
from podium.execution.ray_backend import RayBackend
from podium.execution.slots import Slots
from podium.execution.worker import Worker, WorkerOptions
from podium.wiring.project import Project
from podium.wiring.stage_services import STAGE_PRELOADS, slot_configuration, supervisor_services

Observer = Callable[[Happening], None]


class Preparation:
    """The backend of runs to come: started as soon as it is known which files the runs are about, plans or not."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._backend: Backend | None = None

    def backend(self, files: Iterable[Path]) -> Backend:
        """Return the backend, started now if it is not: local slots import ahead what `files` import.

        Where they import stages, MLflow is opened meanwhile.
        """
        if self._backend is None:
            names = imported_names(files)
            has_stages = any(name.startswith("podium.stages") for name in names)
            self._backend = _backend(self._project, names, has_stages=has_stages)
            self._backend.start()
            if has_stages:
                threading.Thread(target=_open_registry, args=(self._project,), name="registry", daemon=True).start()
        return self._backend

    def close(self) -> None:
        """End the backend, if there is one."""
        if self._backend is not None:
            self._backend.stop()


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
    """Open a worker for runs of `plan`, with the backend that was prepared; nothing of it outlives the block.

    Raises ConfigurationError where something that the plan reserves has no price: open it before a run is on
    record that could not be paid for.
    """
    prepared = prepared or Preparation(project)
    project.require_prices(plan)
    with _worker(project, observe, prepared.backend(project.settings.root / file for file in plan.modules)) as worker:
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
        _worker(project, observe, prepared.backend(pipeline_files(project.settings.pipelines_folder))) as worker,
    ):
        yield worker


def _backend(project: Project, names: Iterable[str], *, has_stages: bool) -> Backend:
    options, configuration = project.settings, slot_configuration(project)
    if options.backend == "ray":
        driver_log = project.log_folder / "ray-driver.log"
        return RayBackend(configuration, options.ray_address, options.slots, options.lease_seconds, driver_log)
    return Slots(
        configuration,
        preload=tuple(name for name in names if name.partition(".")[0] != "podium"),
        host_log=project.log_folder / "slot-host.log",
        preload_later=STAGE_PRELOADS if has_stages else (),
        count=options.slots,
    )


def _worker(project: Project, observe: Observer, backend: Backend) -> Worker:
    options = project.settings
    return Worker(
        database=project.database,
        progress=project.progress,
        backend=backend,
        services=supervisor_services(project),
        options=WorkerOptions(
            lease_seconds=options.lease_seconds,
            log_folder=project.log_folder,
            lock_folder=options.home / "locks",
            limits=Limits(options.pools, options.pipeline_limits, options.model_limits),
            labels=frozenset(options.labels),
        ),
        clock=project.clock,
        observe=observe,
    )


def _open_registry(project: Project) -> None:
    """Import MLflow and open its store while the first steps run."""
    with suppress(PodiumError):  # the stage that needs the registry meets the same, and reports it
        project.registry.models()
