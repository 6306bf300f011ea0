"""The path of environments as this project declares it, and the pipelines that do not fit it."""

from dataclasses import replace

from podium.dag.catalogue import FileProblem, Loaded
from podium.dag.plan import Plan
from podium.registry.environments import EnvironmentPath, misplaced
from podium.settings import Settings

_REGISTERING = ("podium.stages.registration", "register_version")


def environment_path(options: Settings) -> EnvironmentPath:
    """Return the path that `[environments]` of podium.toml declares; without one it is empty."""
    return EnvironmentPath(options.environments.path, options.environments.model_name)


def in_their_place(loaded: Loaded, path: EnvironmentPath) -> Loaded:
    """Return what was loaded without the pipelines whose model or environment does not fit the path: problems."""
    problems = {plan.pipeline: text for plan in loaded.plans.values() if (text := _problem(plan, path)) is not None}
    if not problems:
        return loaded
    return replace(
        loaded,
        plans={name: plan for name, plan in loaded.plans.items() if name not in problems},
        problems=(
            *loaded.problems,
            *(FileProblem(loaded.plans[name].file, text, pipelines=(name,)) for name, text in problems.items()),
        ),
    )


def _problem(plan: Plan, path: EnvironmentPath) -> str | None:
    return misplaced(
        path,
        pipeline=plan.pipeline,
        model=plan.model,
        environment=plan.environment,
        registers=any((node.module, node.qualname) == _REGISTERING for node in plan.steps),
    )
