"""Workers of a project: one for a run in the foreground, or one for every run; the same engine."""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from podium.dag.catalogue import pipeline_files
from podium.dag.loading import imported_names
from podium.dag.plan import Plan
from podium.errors import ConfigurationError, PodiumError
from podium.execution import queries
from podium.execution.backend import Backend
from podium.execution.capacity import Capacity, this_machine
from podium.execution.entities import Happening
from podium.execution.ray_backend import RayBackend
from podium.execution.slots import Slots
from podium.execution.worker import Worker
from podium.execution.workers import WorkerOptions
from podium.wiring.awaiting import awaited_promotions, steps_behind
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

    Raises ConfigurationError where something that the plan reserves has no price, or is more than there is: open it
    before a run is on record that could not be paid for, or would wait for ever.
    """
    prepared = prepared or Preparation(project)
    project.require_runnable(plan)
    backend = prepared.backend(project.settings.root / file for file in plan.modules)
    _require_capacity(plan, backend.capacity, project.settings.labels)
    with _worker(project, observe, backend, for_any_run=False) as worker:
        yield worker


def _require_capacity(plan: Plan, capacity: Capacity, labels: Collection[str]) -> None:
    for node in plan.steps:
        lacking = capacity.lacks(node.resources)
        missing = sorted(set(node.labels) - set(labels))
        if lacking or missing:
            what = lacking or f"wants a worker with the label {missing[0]}, which this one has not"
            raise ConfigurationError(
                f"The step {node.name} of {plan.pipeline} {what}. Leave the run to a `podium worker` that can do it, "
                "with --detach, or change what the step reserves; podium.toml can say what this machine has (cpu, "
                "memory_gib, gpu, labels)."
            )


@contextmanager
def serving(project: Project, observe: Observer) -> Iterator[Worker]:
    """Open a worker for every run of the project; nothing of it outlives the block.

    What any pipeline file imports now is imported ahead. Raises ConfigurationError where cores and memory have no
    price: every attempt uses both.
    """
    project.require_prices()
    with preparation(project) as prepared:
        backend = prepared.backend(pipeline_files(project.settings.pipelines_folder))
        with _worker(project, observe, backend, for_any_run=True) as worker:
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
        machine=this_machine(options.cpu, _bytes(options.memory_gib), options.gpu),
    )


def _bytes(gib: float | None) -> int | None:
    return None if gib is None else int(gib * 2**30)


def _worker(project: Project, observe: Observer, backend: Backend, *, for_any_run: bool) -> Worker:
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
            cancel_grace_seconds=options.cancel_grace_seconds,
            drain_seconds=options.drain_seconds,
            limits=project.limits,
            labels=frozenset(options.labels),
            for_any_run=for_any_run,
        ),
        clock=project.clock,
        observe=observe,
        asks_elsewhere=partial(_awaiting_approval, project),
    )


def _awaiting_approval(project: Project, connection: sa.Connection, run_id: str) -> list[str]:
    """Return the keys of a run's steps that wait until people have approved a promotion."""
    run = queries.get_run(connection, run_id)
    found = awaited_promotions(connection, run_id, run.model, run.plan_digest)
    open_ones = [each for each in found if not each.is_due(project.clock.now())]
    return steps_behind(connection, open_ones, run_id, run.plan_digest)


def _open_registry(project: Project) -> None:
    """Import MLflow and open its store while the first steps run."""
    with suppress(PodiumError):  # the stage that needs the registry meets the same, and reports it
        project.registry.models()
