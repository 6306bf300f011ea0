"""Models that plain MLflow code registered are adopted as they are: whatever its flavor, its format, and its server."""

import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from podium.clock import FakeClock
from podium.db import migrate
from podium.db.engine import Database
from podium.errors import ArtifactError, NotFound
from podium.registry.adoption import Adoption, AdoptionService, Choice
from podium.registry.entities import CHAMPION
from podium.registry.mlflow_registry import MlflowRegistry
from podium.registry.trust import Trust
from podium.settings import REVIEWED_TYPES
from tests.mlflow_over_http import mlflow_server
from tests.promotion_world import World

ROWS = pd.DataFrame({"distance": np.arange(40.0), "hour": np.arange(40.0) % 24})
LATE = (ROWS["distance"] > 19).astype(int)
MODEL = "arrivals"


class Constant(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """A model that is none of scikit-learn's."""

    def predict(self, context: object, model_input: pd.DataFrame) -> list[int]:  # noqa: ARG002 - MLflow calls it so
        return [0] * len(model_input)


@contextmanager
def plain_mlflow(uri: str, folder: Path | None) -> Iterator[mlflow.MlflowClient]:
    """MLflow's own functions, pointed at a server as its users do."""
    mlflow.set_tracking_uri(uri)
    if folder is not None:
        mlflow.create_experiment("team", artifact_location=folder.as_uri())
    mlflow.set_experiment("team")
    try:
        yield mlflow.MlflowClient()
    finally:
        mlflow.sklearn.autolog(disable=True)
        mlflow.set_tracking_uri(None)


def fill(uri: str, folder: Path | None) -> None:
    """Register four versions: skops with an example, cloudpickle, by autolog, and one of another flavor."""
    with plain_mlflow(uri, folder) as client:
        fitted = LogisticRegression().fit(ROWS, LATE)
        for serialization, example in (("skops", ROWS.head(2)), ("cloudpickle", None)):
            with mlflow.start_run():
                mlflow.sklearn.log_model(
                    fitted,
                    name="model",
                    serialization_format=serialization,
                    input_example=example,
                    pip_requirements=["scikit-learn", "skops", "cloudpickle"],
                    registered_model_name=MODEL,
                )
        mlflow.sklearn.autolog(registered_model_name=MODEL, log_post_training_metrics=False)
        with mlflow.start_run():
            LogisticRegression(C=2).fit(ROWS, LATE)
        mlflow.sklearn.autolog(disable=True)
        with mlflow.start_run():
            mlflow.pyfunc.log_model(
                name="model", python_model=Constant(), pip_requirements=["mlflow"], registered_model_name=MODEL
            )
        client.set_registered_model_alias(MODEL, "production", "2")


@pytest.fixture(params=["sqlite", "http"], scope="module")
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """An MLflow that a team filled: its URI, and the folder where the files lie."""
    folder = tmp_path_factory.mktemp("team")
    if request.param == "sqlite":
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        fill(uri, folder / "artifacts")
        yield uri, folder / "artifacts"
        return
    with mlflow_server(folder) as uri:
        fill(uri, None)
        yield uri, folder / "artifacts"


def test_a_team_s_models_become_podium_s_and_stay_the_team_s(served: tuple[str, Path], tmp_path: Path) -> None:
    uri, folder = served
    database = Database(f"sqlite:///{tmp_path / 'podium.db'}", tmp_path / "locks")
    migrate.ensure(database)
    registry = MlflowRegistry(uri, (tmp_path / "models").as_uri(), trusted_types=REVIEWED_TYPES)
    world = World(database, registry, FakeClock(), MODEL)

    def adopt(choice: Choice, model: str = MODEL) -> Adoption:
        service = AdoptionService(database, registry, world.clock, world.service, trust=Trust(REVIEWED_TYPES))
        return service.adopt(model, choice, actor="grace", actor_verified=False, reason="served before Podium")

    try:
        adoption = adopt(Choice(everything=True, champion_alias="production"))
        assert [(each.version, each.outcome) for each in adoption.versions] == [
            (str(n), "adopted") for n in range(1, 5)
        ]
        notes = [" ".join(each.notes) for each in adoption.versions]
        assert notes[0] == notes[2] == ""  # an example given, and one by autolog: both have a signature
        assert "no signature" in notes[1]
        assert "Its flavor is python_function" in notes[3]
        assert (adoption.champion, adoption.alias_set) == ("2", True)
        assert registry.aliases(MODEL) == {"production": "2", CHAMPION: "2"}
        assert world.told == [("adopt", "adopted", "2")]

        found = {each.version: each for each in registry.versions(MODEL)}
        described = registry.describe(found["1"].source)
        assert (described.serialization, described.python) == ("skops", platform.python_version())
        assert [column.name for column in described.inputs or ()] == ["distance", "hour"]
        assert registry.columns_of(found["1"].source) == described.inputs
        assert registry.columns_of(found["2"].source) is None
        for version, serialization in (("1", "skops"), ("2", "cloudpickle"), ("3", "cloudpickle")):
            described = registry.describe(found[version].source)
            assert described.serialization == serialization
            loaded = registry.load_model(found[version].source, digest=described.digest)
            assert loaded.predict(ROWS).shape == (40,)

        # A candidate replaces it, and a rollback leads back: the adopted files are loaded for it.
        candidate = world.candidate(champion="2")
        assert world.promote(candidate).raise_unless_applied().from_version == "2"
        assert world.rollback().raise_unless_applied().to_version == "2"

        described = registry.describe(found["4"].source)
        assert described.flavors == ("python_function",)
        with pytest.raises(ArtifactError, match=r"does not load|no flavor sklearn"):
            registry.load_model(found["4"].source, digest=described.digest)
        with pytest.raises(ArtifactError, match="names nothing in MLflow"):
            registry.describe(f"models:/m-{'0' * 32}")
        with pytest.raises(NotFound, match="no version of a model 'nobody'; its models are: arrivals"):
            adopt(Choice(), "nobody")

        # Files that are gone are named, and whoever comes again finds them when they are back.
        fresh = Database(f"sqlite:///{tmp_path / 'fresh.db'}", tmp_path / "locks")
        migrate.ensure(fresh)
        database, world = fresh, World(fresh, registry, FakeClock(), MODEL)
        away = tmp_path / "away"
        shutil.move(folder, away)
        folder.mkdir()
        lost = adopt(Choice(versions=("1",), champion_version="2")).versions[0]
        assert lost.outcome == "refused"
        assert "No model files are stored" in lost.notes[0]
        folder.rmdir()
        shutil.move(away, folder)
        assert adopt(Choice(versions=("1",))).complete
    finally:
        database.close()
