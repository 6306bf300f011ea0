"""What every model registry does: the twin in memory, MLflow with its SQLite store, and its server on PostgreSQL."""

import errno
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from mlflow import MlflowClient
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from podium.clock import FakeClock
from podium.db.engine import Database
from podium.errors import ArtifactError, ConfigurationError, NoCodec, NotFound, Refused, ServiceUnavailable, StorageFull
from podium.ids import digest_json
from podium.registry.entities import CHALLENGER, CHAMPION, LoggedModel
from podium.registry.memory_registry import MemoryRegistry
from podium.registry.mlflow_registry import MlflowRegistry
from podium.registry.packaging import requirements_of
from podium.registry.port import DIGEST_TAG, KEY_TAG, ModelRegistry
from podium.settings import REVIEWED_TYPES
from tests.faulty_registry import FaultyRegistry, When
from tests.mlflow_over_http import mlflow_server
from tests.postgresql_on_tcp import TcpServer
from tests.promotion_world import World


@dataclass(frozen=True)
class Subject:
    """A registry, and a way to damage what it stores."""

    registry: ModelRegistry
    folder: Path

    def flip_a_byte(self, source: str) -> None:
        """Change one byte of the stored model."""
        if isinstance(self.registry, MemoryRegistry):
            files = self.registry.stored[source]
            name = next(name for name in files if name.startswith("model."))
            files[name] = _flipped(files[name])
        else:
            path = self._stored(source) / "model.skops"
            path.write_bytes(_flipped(path.read_bytes()))

    def remove(self, source: str) -> None:
        """Remove every stored file."""
        if isinstance(self.registry, MemoryRegistry):
            self.registry.stored.pop(source)
        else:
            folder = self._stored(source)
            folder.rename(folder.with_name("elsewhere"))

    def attached(self, logged: LoggedModel) -> dict[str, bytes]:
        """Return the files that lie beside a model, by name."""
        if isinstance(self.registry, MemoryRegistry):
            return self.registry.attached[logged.source]
        import mlflow

        uri = self.registry.tracking_uri  # type: ignore[attr-defined]  # MLflow's has one
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(
                mlflow.artifacts.download_artifacts(
                    run_id=logged.mlflow_run_id, artifact_path="", dst_path=scratch, tracking_uri=uri
                )
            )
            return {
                path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
            }

    def _stored(self, source: str) -> Path:
        """Return the folder of a source: itself, or where the server keeps what it hands on."""
        parsed = urlparse(source)
        if parsed.scheme == "mlflow-artifacts":
            return self.folder / "artifacts" / parsed.path.lstrip("/")
        return Path(parsed.path)


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.fixture(scope="module")
def mlflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One MLflow store for the module: making its tables takes seconds. Tests use models of their own."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def http_registry(
    tmp_path_factory: pytest.TempPathFactory, password_server: TcpServer
) -> Iterator[tuple[MlflowRegistry, Path]]:
    """The registry on MLflow's server, which starts in ten seconds, and the folder it keeps its files in."""
    folder = tmp_path_factory.mktemp("mlflow-server")
    tables = sa.make_url(password_server.create(folder.name)).set(drivername="postgresql+psycopg")
    with mlflow_server(folder, tables.render_as_string(hide_password=False)) as uri:
        yield MlflowRegistry(uri, None, trusted_types=REVIEWED_TYPES), folder


@pytest.fixture(params=["memory", "mlflow", "mlflow over http"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "memory":
        yield Subject(MemoryRegistry(trusted_types=REVIEWED_TYPES), tmp_path)
        return
    if request.param == "mlflow over http":
        yield Subject(*request.getfixturevalue("http_registry"))
        return
    folder = request.getfixturevalue("mlflow_folder")
    yield Subject(_mlflow_registry(folder), folder)


def _mlflow_registry(folder: Path) -> MlflowRegistry:
    return MlflowRegistry(
        f"sqlite:///{folder / 'mlflow.db'}", (folder / "models").as_uri(), trusted_types=REVIEWED_TYPES
    )


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    """A model name that no other test uses."""
    name: str = request.node.name
    return "flight_delay." + name.partition("[")[0][-60:]


FEATURES = pd.DataFrame(
    {
        "distance": np.arange(60.0) % 9,
        "hour": np.arange(60) % 24,
        "carrier": ["AA", "UA", "B6"] * 20,
        "weekend": [True, False] * 30,
    }
)
LATE = (FEATURES["distance"] > 4).astype(int)
NUMBERS = FEATURES[["distance", "hour"]]


@cache
def fitted(iterations: int = 5) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(max_iter=iterations).fit(NUMBERS, LATE)


def log(registry: ModelRegistry, model: str, *, key: str = "train", estimator: Any = None) -> LoggedModel:
    estimator = fitted() if estimator is None else estimator
    return registry.log_model(
        estimator,
        NUMBERS.head(5),
        model=model,
        key=f"{model}/{key}",
        requirements=requirements_of(estimator),
        tags={"podium.run_id": "r1"},
    )


def register(registry: ModelRegistry, model: str, *, key: str = "train") -> str:
    return registry.create_version(model, log(registry, model, key=key), key=f"{model}/{key}", tags={})


def test_a_logged_model_comes_back_and_predicts_the_same(subject: Subject, model: str) -> None:
    estimator = fitted()
    logged = log(subject.registry, model, estimator=estimator)
    loaded = subject.registry.load_model(logged.source, digest=logged.digest)
    np.testing.assert_array_equal(loaded.predict_proba(NUMBERS), estimator.predict_proba(NUMBERS))
    assert logged.serialization == "skops"
    assert subject.registry.digest_of(logged.source) == logged.digest


def test_the_same_key_uploads_once(subject: Subject, model: str) -> None:
    assert log(subject.registry, model) == log(subject.registry, model, estimator=fitted(9))
    assert log(subject.registry, model, key="other").source != log(subject.registry, model).source


def test_the_same_key_makes_one_version(subject: Subject, model: str) -> None:
    assert register(subject.registry, model) == "1"
    assert register(subject.registry, model) == "1"
    assert register(subject.registry, model, key="next") == "2"
    assert [version.version for version in subject.registry.versions(model)] == ["1", "2"]


def test_a_version_carries_its_tags_and_source(subject: Subject, model: str) -> None:
    logged = log(subject.registry, model)
    tags = {"podium.run_id": "r1", "podium.interval": "2013-03"}
    version = subject.registry.create_version(model, logged, key=f"{model}/train", tags=tags)
    found = subject.registry.get_version(model, version)
    assert (found.model, found.version, found.source) == (model, version, logged.source)
    assert tags.items() <= found.tags.items()
    assert (found.tags[DIGEST_TAG], found.tags[KEY_TAG]) == (logged.digest, f"{model}/train")


def attach(registry: ModelRegistry, logged: LoggedModel, files: dict[str, bytes], **changes: Any) -> None:
    facts: dict[str, Any] = {
        "metrics": {"candidate_auc": 0.61, "gain_auc": -0.0125},
        "parameters": {"gate_mode": "refresh"},
        "note": "**passed**: it may replace version 3.",
    }
    registry.attach(logged, files, **(facts | changes))


def test_files_lie_beside_a_model_and_change_nothing_of_it(subject: Subject, model: str) -> None:
    logged = log(subject.registry, model)
    attach(subject.registry, logged, {"podium/gate/report.md": b"# one", "podium/gate/evidence.json": b"{}"})
    assert subject.attached(logged) == {"podium/gate/report.md": b"# one", "podium/gate/evidence.json": b"{}"}
    assert subject.registry.digest_of(logged.source) == logged.digest
    assert log(subject.registry, model) == logged, "the upload under the same key is found as before"


def test_files_that_are_attached_again_are_replaced(subject: Subject, model: str) -> None:
    logged = log(subject.registry, model)
    for text in (b"# one", b"# one", b"# two"):
        attach(subject.registry, logged, {"podium/gate/report.md": text})
        assert subject.attached(logged) == {"podium/gate/report.md": text}
    assert subject.registry.digest_of(logged.source) == logged.digest


def test_a_version_carries_its_description(subject: Subject, model: str) -> None:
    logged = log(subject.registry, model)
    text = "**passed**: see [the report](#/x) — or **ask**"
    version = subject.registry.create_version(model, logged, key=f"{model}/train", tags={}, description=text)
    assert subject.registry.get_version(model, version).description == text
    assert subject.registry.link(logged, "podium/gate/a report.html").endswith(
        "podium/gate/a report.html" if isinstance(subject.registry, MemoryRegistry) else "podium/gate/a%20report.html"
    )


def test_an_alias_points_where_it_was_last_set(subject: Subject, model: str) -> None:
    assert subject.registry.alias(model, CHAMPION) is None
    first, second = register(subject.registry, model), register(subject.registry, model, key="next")
    assert subject.registry.alias(model, CHAMPION) is None
    for version in (first, second, first):
        subject.registry.set_alias(model, CHAMPION, version)
        assert subject.registry.alias(model, CHAMPION) == version


def test_a_removed_alias_points_at_nothing_and_leaves_the_others(subject: Subject, model: str) -> None:
    subject.registry.delete_alias(model, CHALLENGER)  # of a model that is not there
    version = register(subject.registry, model)
    subject.registry.set_alias(model, CHAMPION, version)
    subject.registry.set_alias(model, CHALLENGER, version)
    for _ in range(2):
        subject.registry.delete_alias(model, CHALLENGER)
        assert subject.registry.alias(model, CHALLENGER) is None
    assert subject.registry.alias(model, CHAMPION) == version


def test_every_alias_is_listed_whatever_its_name(subject: Subject, model: str) -> None:
    assert subject.registry.aliases(model) == {}
    first, second = register(subject.registry, model), register(subject.registry, model, key="next")
    subject.registry.set_alias(model, CHAMPION, second)
    subject.registry.set_alias(model, "production", first)
    assert subject.registry.aliases(model) == {CHAMPION: second, "production": first}


def test_stored_files_say_what_they_are_and_need(subject: Subject, model: str) -> None:
    logged = log(subject.registry, model)
    stored = subject.registry.describe(logged.source)
    assert stored.digest == logged.digest == digest_json(sorted(stored.files.items()))
    assert (stored.flavors, stored.serialization) == (("sklearn",), "skops")
    assert stored.inputs is not None
    assert [(column.name, column.required) for column in stored.inputs] == [("distance", True), ("hour", True)]
    assert subject.registry.columns_of(logged.source) == stored.inputs
    assert set(requirements_of(fitted())) <= set(stored.requirements or ())
    subject.remove(logged.source)
    with pytest.raises(ArtifactError, match="No model files are stored"):
        subject.registry.describe(logged.source)
    with pytest.raises(ArtifactError, match="No model files are stored"):
        subject.registry.columns_of(logged.source)


def test_what_does_not_exist_is_not_found(subject: Subject, model: str) -> None:
    assert subject.registry.versions(model) == []
    assert model not in subject.registry.models()
    with pytest.raises(NotFound, match=f"version 1 of model {model}"):
        subject.registry.get_version(model, "1")
    register(subject.registry, model)
    assert model in subject.registry.models()
    for version in ("2", "latest"):
        with pytest.raises(NotFound, match=f"version {version} of model {model}"):
            subject.registry.set_alias(model, CHAMPION, version)


def test_what_a_version_rests_on_was_not_deleted(subject: Subject, model: str) -> None:
    version = register(subject.registry, model)
    assert subject.registry.removals(model, version) == []
    with pytest.raises(NotFound, match=f"version 2 of model {model}"):
        subject.registry.removals(model, "2")


def test_a_flipped_byte_is_caught_before_loading(subject: Subject, model: str) -> None:
    logged = log(subject.registry, model)
    subject.flip_a_byte(logged.source)
    assert subject.registry.digest_of(logged.source) != logged.digest
    for act in (subject.registry.load_model, subject.registry.check_loads, subject.registry.check_files):
        with pytest.raises(ArtifactError, match=r"changed after they were stored \(model\.skops was changed\)"):
            act(logged.source, digest=logged.digest)


def test_a_file_that_changed_together_with_its_digest_does_not_load(subject: Subject, model: str) -> None:
    logged = log(subject.registry, model)
    subject.flip_a_byte(logged.source)
    with pytest.raises(ArtifactError, match="does not load"):
        subject.registry.load_model(logged.source, digest=subject.registry.digest_of(logged.source))


def test_removed_files_are_missed(subject: Subject, model: str) -> None:
    logged = log(subject.registry, model)
    subject.remove(logged.source)
    with pytest.raises(ArtifactError, match="No model files are stored"):
        subject.registry.digest_of(logged.source)
    with pytest.raises(ArtifactError, match="No model files are stored"):
        subject.registry.check_loads(logged.source, digest=logged.digest)
    with pytest.raises(ArtifactError, match="No model files are stored"):
        subject.registry.scan(logged.source)


def test_a_model_of_reviewed_types_is_known_to_load_as_soon_as_it_is_logged(subject: Subject, model: str) -> None:
    logged = log(subject.registry, model)
    assert subject.registry.scan(logged.source).verdict == "clean"
    report = subject.registry.check_loads(logged.source, digest=logged.digest)
    assert (report.columns, report.classes, report.rows_predicted) == (("distance", "hour"), (0, 1), 3)
    assert subject.registry.check_loads(logged.source, digest=logged.digest, own_code=True).remembered


def test_a_model_without_signature_or_requirements_is_refused(subject: Subject, model: str) -> None:
    def attempt(estimator: object, sample: pd.DataFrame, requirements: tuple[str, ...]) -> None:
        subject.registry.log_model(
            estimator, sample, model=model, key=f"{model}/train", requirements=requirements, tags={}
        )

    with pytest.raises(Refused, match="no signature"):
        attempt(fitted(), NUMBERS.head(0), ("scikit-learn==1.9.1",))
    with pytest.raises(Refused, match="no signature"):
        attempt(fitted(), pd.DataFrame(index=[0]), ("scikit-learn==1.9.1",))
    with pytest.raises(Refused, match="no requirements"):
        attempt(fitted(), NUMBERS.head(3), ())
    with pytest.raises(Refused, match="pin each"):
        attempt(fitted(), NUMBERS.head(3), ("scikit-learn",))
    with pytest.raises(Refused, match="no predict"):
        attempt("a model", NUMBERS.head(3), ("scikit-learn==1.9.1",))


def doubled(rows: pd.DataFrame) -> pd.DataFrame:
    return rows * 2


class Threshold:
    """An estimator of this file, which no package holds and skops does not trust."""

    def __init__(self, at: float, extra: object = None) -> None:
        self.at = at
        self.extra = extra

    def predict(self, rows: pd.DataFrame) -> Any:
        return (rows["distance"] > self.at).to_numpy()


def test_what_skops_does_not_trust_is_pickled_and_says_so(subject: Subject, model: str) -> None:
    logged = log(subject.registry, model, estimator=Threshold(4.0))
    assert logged.serialization == "cloudpickle"
    loaded = subject.registry.load_model(logged.source, digest=logged.digest, own_code=True)
    np.testing.assert_array_equal(loaded.predict(NUMBERS), LATE.to_numpy() == 1)


def test_a_pickle_with_code_of_its_own_is_loaded_only_where_a_run_made_it(subject: Subject, model: str) -> None:
    logged = log(subject.registry, model, estimator=Threshold(4.0))
    assert subject.registry.scan(logged.source).verdict == "own_code"
    for act in (subject.registry.load_model, subject.registry.check_loads):
        with pytest.raises(Refused, match="holds code of its own"):
            act(logged.source, digest=logged.digest)
    report = subject.registry.check_loads(logged.source, digest=logged.digest, own_code=True)
    assert (report.columns, report.classes, report.rows_predicted) == (("distance", "hour"), None, 3)
    assert not report.remembered
    again = subject.registry.check_loads(logged.source, digest=logged.digest, own_code=True)
    assert again == replace(report, remembered=True)


def test_what_a_project_takes_no_pickle_of_is_not_logged_and_not_loaded(mlflow_folder: Path, model: str) -> None:
    logged = log(_mlflow_registry(mlflow_folder), model, estimator=Threshold(4.0))
    uri, files = f"sqlite:///{mlflow_folder / 'mlflow.db'}", (mlflow_folder / "models").as_uri()
    strict = MlflowRegistry(uri, files, trusted_types=REVIEWED_TYPES, pickle="refuse")
    for act in (strict.load_model, strict.check_loads):
        with pytest.raises(Refused, match="it is a pickle, and this project loads none"):
            act(logged.source, digest=logged.digest, own_code=True)
    for registry in (strict, MemoryRegistry(trusted_types=REVIEWED_TYPES, pickle="refuse")):
        with pytest.raises(Refused, match=r"add them to trusted_types.*test_model_registry\.Threshold\."):
            log(registry, model, key="again", estimator=Threshold(4.0))
        nested = make_pipeline(FunctionTransformer(doubled), HistGradientBoostingClassifier(max_iter=1))
        with pytest.raises(Refused, match=r"add them to trusted_types.*: [\w.]*test_model_registry\.doubled\."):
            log(registry, model, key="nested", estimator=nested.fit(NUMBERS, LATE))


def test_a_pickle_that_imports_what_no_model_needs_is_not_logged(subject: Subject, model: str) -> None:
    with pytest.raises(Refused, match=r"its pickle is dangerous: it imports \w+\.system"):
        log(subject.registry, model, estimator=Threshold(4.0, os.system))
    assert subject.registry.versions(model) == []


def test_what_nothing_can_serialise_is_said(subject: Subject, model: str) -> None:
    with pytest.raises(NoCodec, match="neither as skops nor by cloudpickle"):
        log(subject.registry, model, estimator=Threshold(4.0, threading.Lock()))


def test_threads_may_share_it(subject: Subject, model: str) -> None:
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda key=key: made.append(register(subject.registry, model, key=str(key))))
        for key in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == ["1", "2", "3", "4", "5", "6"]


def test_requirements_name_what_the_estimator_is_made_of() -> None:
    named = requirements_of(FunctionTransformer(np.log1p))
    assert {requirement.partition("==")[0] for requirement in named} >= {"numpy", "scikit-learn", "skops"}
    assert all("==" in requirement for requirement in named)


# MLflow's own promises, which the twin cannot make.


def test_a_plain_mlflow_user_loads_the_champion(mlflow_folder: Path, model: str) -> None:
    import mlflow

    registry = _mlflow_registry(mlflow_folder)
    estimator = fitted()
    logged = log(registry, model, estimator=estimator)
    version = registry.create_version(model, logged, key=f"{model}/train", tags={})
    registry.set_alias(model, CHAMPION, version)

    mlflow.set_tracking_uri(registry.tracking_uri)
    champion = mlflow.pyfunc.load_model(f"models:/{model}@champion")
    np.testing.assert_array_equal(champion.predict(NUMBERS), estimator.predict(NUMBERS))
    holed = NUMBERS.assign(hour=NUMBERS["hour"].where(NUMBERS["hour"] != 3))
    assert holed["hour"].dtype == float
    np.testing.assert_array_equal(champion.predict(holed), estimator.predict(holed))
    with pytest.raises(mlflow.exceptions.MlflowException, match="missing inputs"):
        champion.predict(NUMBERS[["hour"]])
    assert champion.metadata.signature.inputs.input_names() == ["distance", "hour"]
    assert registry.digest_of(logged.source) == logged.digest, "loading by name left a trace in the digest"


def test_numbers_and_a_note_are_the_runs_and_the_models_once(mlflow_folder: Path, model: str) -> None:
    import mlflow

    registry = _mlflow_registry(mlflow_folder)
    logged = log(registry, model)
    for note in ("first", "second"):
        attach(registry, logged, {"a.txt": b"a"}, note=note)
    client = mlflow.MlflowClient(registry.tracking_uri)
    run = client.get_run(logged.mlflow_run_id)
    assert run.data.metrics == {"candidate_auc": 0.61, "gain_auc": -0.0125}
    assert run.data.params == {"gate_mode": "refresh"}
    assert run.data.tags["mlflow.note.content"] == "second"
    assert len(client.get_metric_history(logged.mlflow_run_id, "gain_auc")) == 1
    of_model = client.get_logged_model(logged.mlflow_model_id).metrics
    assert {metric.key: metric.value for metric in of_model} == run.data.metrics
    assert registry.link(logged, "a.txt") == (
        f"#/experiments/{run.info.experiment_id}/runs/{logged.mlflow_run_id}/artifacts/a.txt"
    )


def test_an_attachment_that_fails_is_said(mlflow_folder: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    registry = _mlflow_registry(mlflow_folder)
    logged = log(registry, model)

    def full(*arguments: object, **_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_artifacts", full)
        with pytest.raises(StorageFull, match=f"attach 1 files to the run {logged.mlflow_run_id}"):
            attach(registry, logged, {"a.txt": b"a"})
    attach(registry, logged, {"a.txt": b"a"})
    assert Subject(registry, mlflow_folder).attached(logged) == {"a.txt": b"a"}
    attach_nowhere = replace(logged, mlflow_run_id="0" * 32)
    with pytest.raises(ServiceUnavailable, match=r"did not attach 1 files .* not found"):
        attach(registry, attach_nowhere, {"a.txt": b"a"})


def test_a_model_made_of_local_code_loads_where_that_code_is_not(mlflow_folder: Path, model: str) -> None:
    registry = _mlflow_registry(mlflow_folder)
    logged = log(registry, model, estimator=Threshold(4.0))
    program = (
        "import sys, mlflow, pandas as pd;"
        "rows = pd.DataFrame({'distance': [3.0, 5.0], 'hour': [1, 2]});"
        "print(mlflow.pyfunc.load_model(sys.argv[1]).predict(rows))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, logged.source],
        capture_output=True,
        text=True,
        check=False,
        cwd=mlflow_folder,
    )
    assert "[False  True]" in done.stdout, done.stderr


def test_what_a_dead_process_left_incomplete_is_uploaded_again(
    mlflow_folder: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    registry = _mlflow_registry(mlflow_folder)
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "finalize_logged_model", _die)
        with pytest.raises(KeyboardInterrupt):
            log(registry, model)
    logged = log(registry, model)
    client = mlflow.MlflowClient(registry.tracking_uri)
    experiment = client.get_experiment_by_name("podium")
    uploads = client.search_logged_models(
        [experiment.experiment_id], filter_string=f"tags.`{KEY_TAG}` = '{model}/train'"
    )
    assert sorted(str(upload.status) for upload in uploads) == ["FAILED", "READY"]
    assert registry.digest_of(logged.source) == logged.digest


def _die(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_what_was_deleted_on_mlflow_s_server_is_told(http_registry: tuple[MlflowRegistry, Path], model: str) -> None:
    import mlflow

    registry, _ = http_registry
    version = register(registry, model)
    client = mlflow.MlflowClient(registry.tracking_uri)
    run_id = client.get_model_version(model, version).run_id
    client.delete_run(run_id)
    (removal,) = registry.removals(model, version)
    assert run_id in removal.problem
    command = f"MLFLOW_TRACKING_URI={registry.tracking_uri} mlflow runs restore --run-id {run_id}"
    assert removal.repair == f"`{command}` brings it back."
    client.restore_run(run_id)
    (output,) = client.get_run(run_id).outputs.model_outputs
    client.delete_logged_model(output.model_id)
    (removal,) = registry.removals(model, version)
    assert f"its logged model {output.model_id} is deleted in MLflow" in removal.problem


def test_a_registration_starts_no_process(mlflow_folder: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []

    def refuse(self: object, arguments: object, *_: object, **__: object) -> None:
        del self
        started.append(arguments)
        raise OSError("no process may be started here")

    registry = _mlflow_registry(mlflow_folder)
    register(registry, model, key="warm")
    monkeypatch.setattr("subprocess.Popen.__init__", refuse)
    register(registry, model, key="a")
    assert started == []  # MLflow infers requirements in one that imports everything, which takes 18 s


def test_nothing_lands_in_the_current_folder(
    mlflow_folder: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    registry = _mlflow_registry(mlflow_folder)
    register(registry, model)
    logged = log(registry, model)
    registry.load_model(logged.source, digest=logged.digest)
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_mlflow_is_one_clear_paragraph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry = MlflowRegistry("http://127.0.0.1:9", None, trusted_types=())
    with pytest.raises(ServiceUnavailable, match=r"MLflow at http://127.0.0.1:9 did not list the models"):
        registry.models()


def test_a_password_in_the_tracking_uri_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry = MlflowRegistry("http://ada:secret@127.0.0.1:9", None, trusted_types=())
    with pytest.raises(ServiceUnavailable) as caught:
        registry.models()
    assert "secret" not in str(caught.value)


def test_a_tracking_uri_mlflow_does_not_know_is_a_configuration_error() -> None:
    registry = MlflowRegistry("gopher://somewhere", None, trusted_types=())
    with pytest.raises(ConfigurationError, match="tracking URI gopher://somewhere"):
        registry.models()


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("when", ["before", "after", "late"])
def test_a_promotion_that_the_registry_failed_halfway_is_completed(
    subject: Subject, model: str, database: Database, clock: FakeClock, when: When
) -> None:
    faulty = FaultyRegistry(subject.registry)
    world = World(database, faulty.port, clock, f"{model}.{when}")
    version = world.candidate()
    faulty.fail(1, when, only="set_alias")
    with pytest.raises(ServiceUnavailable, match="did not answer set_alias"):
        world.promote(version, key="act")
    faulty.fail(0, when)
    assert world.promote(version, key="act").applied
    assert (world.champion, faulty.moves) == (version, [version])
    assert world.told == [("promote", "applied", version)]
    assert world.verify().ok


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
def test_a_version_deleted_while_it_is_on_its_way_does_not_become_champion(
    http_registry: tuple[MlflowRegistry, Path], database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, _ = http_registry
    world = World(database, registry, clock, "deleted")
    (first,) = world.champions(1)
    second = world.candidate(champion=first)
    moving = registry.set_alias

    def delete_first(model: str, alias: str, version: str) -> None:
        MlflowClient(registry.tracking_uri, registry.tracking_uri).delete_model_version(model, version)
        moving(model, alias, version)

    monkeypatch.setattr(registry, "set_alias", delete_first)
    promotion = world.promote(second)
    assert (promotion.state, world.champion) == ("void", first)
    assert f"Version {second} of deleted, the target version, is gone from the registry" in promotion.reasons[0]
    assert world.verify().ok
