"""Run a pipeline in the foreground: the same engine as everywhere, with one run of one's own."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from podium.dag.plan import Plan
from podium.errors import PodiumError
from podium.execution.entities import Happening, Run
from podium.execution.slots import Slots
from podium.execution.worker import Worker, WorkerOptions
from podium.wiring.project import Project
from podium.wiring.stage_services import STAGE_PRELOADS, has_stages, preloads, slot_configuration, supervisor_services

Observer = Callable[[Happening], None]


@dataclass(frozen=True)
class Foreground:
    """Executes runs in this process' worker, one after another."""

    worker: Worker

    def execute(self, run: Run) -> Run:
        """Execute a run until it has ended."""
        return self.worker.execute(run.run_id)


@contextmanager
def foreground(project: Project, plans: Sequence[Plan], observe: Observer) -> Iterator[Foreground]:
    """Open a worker for runs of `plans`; nothing of it outlives the block."""
    for plan in plans:
        project.require_prices(plan)
    options = project.settings
    needs_registry = any(has_stages(plan) for plan in plans)
    worker = Worker(
        database=project.database,
        progress=project.progress,
        slots=Slots(
            slot_configuration(project),
            preload=preloads(plans),
            host_log=options.home / "logs" / "slot-host.log",
            preload_later=STAGE_PRELOADS if needs_registry else (),
        ),
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
    if needs_registry:
        threading.Thread(target=_warm_up, args=(project,), name="registry", daemon=True).start()
    with worker:
        yield Foreground(worker)


def _warm_up(project: Project) -> None:
    """Import MLflow and open its store while the first steps run."""
    with suppress(PodiumError):  # the stage that needs the registry meets the same, and reports it
        project.registry.models()
