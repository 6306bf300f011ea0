"""What stages may ask, on this project's adapters: answered in the slot where that is enough, else by the supervisor.

The slot loads and uploads models. Whatever touches Podium's database, makes a version or moves an alias is asked over
the slot's channel and done by the supervisor, idempotent under the attempt's step key.
"""

from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any

from podium.db.engine import file_lock
from podium.execution import queries
from podium.execution.attempt import Ask
from podium.execution.entities import Assignment
from podium.execution.questions import Service
from podium.finops.costs import cost_of_runs
from podium.registry.entities import ModelVersion
from podium.registry.policy_file import policy_for
from podium.settings import Settings
from podium.stages.answers import answers_about_models
from podium.stages.asking import AskingServices
from podium.wiring.project import Project, build_registry
from podium.wiring.training import trained_on


def slot_services(configuration: Mapping[str, Any], ask: Ask) -> AskingServices:
    """Return the stage services inside a slot."""
    options = Settings.model_validate(configuration["settings"])
    registry = build_registry(options, partial(file_lock, options.home / "locks", "mlflow-store", 120.0))
    return AskingServices(registry, ask, partial(policy_for, gates=options.gates, root=options.root))


def supervisor_services(project: Project) -> dict[str, Service]:
    """Return the services a supervisor answers, by name."""
    answers = answers_about_models(project)
    return {
        **answers,
        "register": partial(_register, project, answers["register"]),
        "trained_on": partial(_trained_on, project),
        "cost_so_far": partial(_cost_so_far, project),
    }


def _register(
    project: Project, register: Service, assignment: Assignment, arguments: Mapping[str, Any]
) -> ModelVersion:
    """Register, and record which attempts made the version: what they cost is what it cost."""
    version: ModelVersion = register(assignment, arguments)
    with project.database.write() as connection:
        attempt_ids = [row.attempt_id for row in queries.attempt_rows(connection, assignment.run.run_id)]
        project.ledger.record_lineage(connection, version.model, version.version, attempt_ids)
    return version


def _trained_on(project: Project, _: Assignment, arguments: Mapping[str, Any]) -> list[str]:
    return trained_on(project, arguments["version"])


def _cost_so_far(project: Project, assignment: Assignment, _: Mapping[str, Any]) -> Decimal | None:
    run_id = assignment.run.run_id
    with project.database.read() as connection:
        return cost_of_runs(connection, [run_id])[run_id].complete


def slot_configuration(project: Project) -> dict[str, Any]:
    """Return what every slot is told once; ConfigurationError where no slot could store anything."""
    options = project.settings
    _ = project.blobs  # opened here as well, so that a wrong URL is told before a step has failed of it
    return {
        "root": str(options.root),
        "home": str(options.home),
        "artifacts": options.artifact_location,
        "trusted_types": list(options.trusted_types),
        # Not what a slot has no use for: secrets of the database, and of alert channels.
        "settings": options.model_dump(mode="json", exclude={"database_url", "alerts"}),
        "services": f"{slot_services.__module__}:{slot_services.__qualname__}",
    }


STAGE_PRELOADS = (
    "podium.registry.evaluation",
    "podium.registry.requests",
    "podium.canary.replay",
    __name__,
    "podium.registry.mlflow_registry:preload",
    "skops.io",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
)
"""What stages will import, in parts of half a second: between them the slot host looks after its slots."""
