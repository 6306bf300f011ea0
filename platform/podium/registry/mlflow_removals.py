"""What a version in MLflow rests on and somebody deleted there: its run, its logged model."""

import shlex
from typing import Any

from podium.registry.entities import Removal

_NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")


def removals_of(session: Any, model: str, version: str, shown: str) -> list[Removal]:
    """Return what was deleted; `session` has MLflow and a client of it, `shown` is its URI without a password."""
    client = session.client
    found = client.get_model_version(model, version)
    run = _found(session, client.get_run, found.run_id) if found.run_id else None
    told = _of_run(found.run_id, run, shown) if found.run_id else []
    outputs = [] if run is None or run.outputs is None else run.outputs.model_outputs
    # A store in a database forgets a version's own `model_id`; what the run logged is kept.
    named = {found.model_id, *(output.model_id for output in outputs if found.model_id is None)}
    for model_id in sorted(filter(None, named)):
        if _found(session, client.get_logged_model, model_id) is None:
            text = f"its logged model {model_id} is deleted in MLflow, and the next `mlflow gc` removes its files"
            told.append(Removal(text, None))
    return told


def _of_run(run_id: str, run: Any, shown: str) -> list[Removal]:
    if run is None:
        return [Removal(f"its MLflow run {run_id} is gone, with what it logged there", None)]
    if run.info.lifecycle_stage == "active":
        return []
    command = f"MLFLOW_TRACKING_URI={shlex.quote(shown)} mlflow runs restore --run-id {run_id}"
    return [
        Removal(
            f"its MLflow run {run_id} is deleted, and the next `mlflow gc` removes it with what it logged",
            f"`{command}` brings it back.",
        )
    ]


def _found(session: Any, read: Any, identifier: str) -> Any:
    """Return what MLflow has under an identifier, None where it has nothing."""
    try:
        return read(identifier)
    except session.mlflow.exceptions.MlflowException as error:
        if error.error_code in _NOT_THERE:
            return None
        raise
