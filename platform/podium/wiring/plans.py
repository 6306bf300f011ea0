"""A project's plans: stored ones where the code is as it was, traced anew where it changed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from podium.dag.catalogue import Loaded, pipeline_files, read_parameters, trace_project
from podium.dag.loading import plan_is_current
from podium.dag.parameters import Validate
from podium.dag.plan import Plan
from podium.execution import plans as stored_plans
from podium.wiring.environments import environment_path, in_their_place
from podium.wiring.project import Project


def validator(project: Project) -> Validate:
    """Return what reads the texts that only a pipeline's code can read: a child process that loads it."""

    def validate(plan: Plan, texts: Mapping[str, str]) -> dict[str, Any]:
        return read_parameters(project.settings.root, plan, texts, project.settings.trace_timeout_seconds)

    return validate


def load_plans(project: Project, *, before_tracing: Callable[[Sequence[Path]], object] | None = None) -> Loaded:
    """Return every pipeline's plan, and why others have none; only files that changed are traced.

    Traced plans are stored, so that the next reader imports no pipeline code. `before_tracing` is told the files that
    are about to be traced, if there are any: what it starts goes on meanwhile.
    """
    root, folder = project.settings.root, project.settings.pipelines_folder
    with project.database.read() as connection:
        stored = stored_plans.newest_of_files(connection)
    present = {file.relative_to(root).as_posix(): file for file in pipeline_files(folder)}
    current = [
        plan for file, plans in stored.items() if file in present for plan in plans if plan_is_current(root, plan)
    ]
    settled = {plan.file for plan in current}
    changed = [path for file, path in present.items() if file not in settled]
    if changed and before_tracing is not None:
        before_tracing(changed)
    loaded = trace_project(root, folder, project.settings.trace_timeout_seconds, known=current)
    traced = [plan for plan in loaded.plans.values() if plan not in current]
    if traced:
        with project.database.write() as connection:
            for plan in traced:
                stored_plans.store(connection, plan, project.clock.now())
    return in_their_place(loaded, environment_path(project.settings))
