"""The first use of a local MLflow store, killed at any moment, costs nothing."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import sqlalchemy as sa
from sklearn.linear_model import LogisticRegression

from podium.registry.mlflow_registry import MlflowRegistry
from podium.registry.packaging import requirements_of

# After which SQL statement a process is killed: in the migrations, then at the two rows that come after them.
MOMENTS = (
    "ALTER TABLE model_versions ADD COLUMN run_link",
    "CREATE TABLE _alembic_tmp_model_versions",
    "CREATE TABLE _alembic_tmp_experiments",
    "INSERT INTO experiments (experiment_id",
    "INSERT INTO experiments (name",
)

# One program imports MLflow and forks a process for each moment, all on the same store.
OPENED_AND_KILLED = """
import json, os, signal, sys
import sqlalchemy as sa
import mlflow.store.model_registry.sqlalchemy_store, mlflow.store.tracking.sqlalchemy_store
from podium.registry.mlflow_registry import MlflowRegistry, preload

preload()
for moment in json.loads(sys.argv[2]):
    child = os.fork()
    if child == 0:
        @sa.event.listens_for(sa.Engine, "after_cursor_execute")
        def kill(connection, cursor, statement, *rest):
            if statement.lstrip().startswith(moment):
                os.kill(os.getpid(), signal.SIGKILL)

        MlflowRegistry(sys.argv[1], None, trusted_types=()).prepare()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_store_whose_making_was_killed_five_times_opens_logs_and_registers(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'new folder' / 'mlflow.db'}"
    done = subprocess.run(
        [sys.executable, "-c", OPENED_AND_KILLED, uri, json.dumps(MOMENTS)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    # Each process got past where those before it were killed.
    assert [int(code) for code in done.stdout.split()] == [-signal.SIGKILL] * len(MOMENTS), done.stderr

    registry = MlflowRegistry(uri, (tmp_path / "models").as_uri(), trusted_types=())
    assert _register(registry) == "1"
    assert [found.version for found in registry.versions("flight_delay")] == ["1"]
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["mlflow.db"]


def test_every_table_is_made_before_the_file_has_its_name_and_no_remains_are_played_back(tmp_path: Path) -> None:
    for name in ("mlflow.db-journal", "mlflow.db-wal", "mlflow.db.new", "mlflow.db.new-journal"):
        (tmp_path / name).write_bytes(b"of a store that was removed")
    changed: set[str | None] = set()

    def note(connection: sa.Connection, cursor: object, statement: str, *rest: object) -> None:
        if statement.lstrip().upper().startswith(("CREATE", "ALTER", "DROP")):
            changed.add(connection.engine.url.database)

    sa.event.listen(sa.Engine, "after_cursor_execute", note)
    try:
        MlflowRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}", None, trusted_types=()).prepare()
    finally:
        sa.event.remove(sa.Engine, "after_cursor_execute", note)
    assert changed == {str(tmp_path / "mlflow.db.new")}
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def _register(registry: MlflowRegistry) -> str:
    rows = pd.DataFrame({"hour": np.arange(8.0)})
    estimator = LogisticRegression().fit(rows, rows["hour"] > 3)
    logged = registry.log_model(
        estimator,
        rows.head(3),
        model="flight_delay",
        key="train",
        requirements=requirements_of(estimator),
        tags={},
    )
    return registry.create_version("flight_delay", logged, key="train", tags={})
