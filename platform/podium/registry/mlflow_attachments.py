"""What is kept with the MLflow run of an uploaded model, beside the model itself."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podium.registry.entities import LoggedModel


def attach(
    client: Any,
    entities: Any,
    logged: LoggedModel,
    files: Mapping[str, bytes],
    metrics: Mapping[str, float],
    parameters: Mapping[str, str],
    note: str,
) -> None:
    """Write numbers and texts, then the files, with a client of MLflow and its `mlflow.entities`."""
    run_id = logged.mlflow_run_id
    begun = client.get_run(run_id).info.start_time  # always the same instant: MLflow knows the numbers that it has
    client.log_batch(
        run_id,
        metrics=[
            entities.Metric(name, number, begun, 0, model_id=logged.mlflow_model_id) for name, number in metrics.items()
        ],
        params=[entities.Param(name, text) for name, text in parameters.items()],
        tags=[entities.RunTag("mlflow.note.content", note)],
    )
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in files.items():
            path = Path(scratch) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        client.log_artifacts(run_id, scratch)
