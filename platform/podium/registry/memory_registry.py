"""The registry in memory: the twin of MLflow's adapter, for tests and dry runs."""

import io
import json
import threading
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from podium.errors import ArtifactError, NotFound
from podium.ids import digest_bytes
from podium.registry import model_files, packaging
from podium.registry.entities import LoggedModel, RegisteredVersion, Removal
from podium.registry.file_sums import SUMS, sums_of, what_changed
from podium.registry.load_once import tried
from podium.registry.load_report import Limits, LoadMemory, LoadReport, environment_digest
from podium.registry.model_scan import ModelScan, scan_model
from podium.registry.port import DIGEST_TAG, KEY_TAG, SERIALIZATION_TAG
from podium.registry.serialization import serialization_of
from podium.registry.stored_model import InputColumn, StoredModel
from podium.registry.trust import PicklePolicy, Trust

if TYPE_CHECKING:  # heavy, and not needed to import this module
    import pandas as pd


class MemoryRegistry:
    """Keeps serialised models, versions and aliases in dictionaries, behind one lock.

    `stored` maps each source to its files, so that a test may damage one; `attached` holds the files beside them.
    """

    def __init__(
        self,
        *,
        trusted_types: Sequence[str] = (),
        pickle: PicklePolicy = "scan",
        reviewed_packages: Sequence[str] = (),
    ) -> None:
        self._trust = Trust(tuple(trusted_types), pickle, tuple(reviewed_packages))
        self._loads = LoadMemory()
        self._lock = threading.RLock()
        self._logged: dict[str, LoggedModel] = {}
        self._versions: dict[str, list[RegisteredVersion]] = {}
        self._aliases: dict[tuple[str, str], str] = {}
        self.stored: dict[str, dict[str, bytes]] = {}
        self.attached: dict[str, dict[str, bytes]] = {}

    def log_model(
        self,
        estimator: Any,
        sample: "pd.DataFrame",
        *,
        model: str,
        key: str,
        requirements: Sequence[str],
        tags: Mapping[str, str],
    ) -> LoggedModel:
        """Store the serialised estimator; the same `key` stores once."""
        del tags  # they describe the MLflow run, which has no twin
        packaging.check_loggable(estimator, sample, requirements, model=model)
        estimator.predict(sample)  # as a signature needs it
        serialization = serialization_of(estimator, self._trust, model=model)
        files = {
            f"model.{serialization}": _serialize(estimator, serialization),
            "requirements.txt": "\n".join(requirements).encode(),
            "signature.json": json.dumps({name: str(kind) for name, kind in sample.dtypes.items()}).encode(),
        }
        example = model_files.example_text(sample, estimator)
        if example is not None:
            files[model_files.EXAMPLE] = example.encode()
        files[SUMS] = sums_of(_digests(files))
        with self._lock:
            if key not in self._logged:
                source = f"memory:/{model}/{len(self._logged) + 1}"
                self.stored[source] = files
                self._logged[key] = LoggedModel(source, self.digest_of(source), serialization, "", "")
            logged = self._logged[key]
        if serialization == packaging.SKOPS:  # of reviewed types alone: that it loads is known from here on
            report = self.check_loads(logged.source, digest=logged.digest)
            self._loads.keep(logged.digest, environment_digest(self._trust, Limits(), own_code=True), report)
        return logged

    def attach(
        self,
        logged: LoggedModel,
        files: Mapping[str, bytes],
        *,
        metrics: Mapping[str, float],
        parameters: Mapping[str, str],
        note: str,
    ) -> None:
        """Keep files beside a stored model."""
        del metrics, parameters, note  # they describe the MLflow run, which has no twin
        with self._lock:
            self.attached.setdefault(logged.source, {}).update(files)

    def link(self, logged: LoggedModel, name: str) -> str:
        """Return a name for an attached file."""
        return f"{logged.source}/{name}"

    def create_version(
        self, model: str, logged: LoggedModel, *, key: str, tags: Mapping[str, str], description: str = ""
    ) -> str:
        """Number a stored model; the same `key` numbers once."""
        with self._lock:
            versions = self._versions.setdefault(model, [])
            for known in versions:
                if known.tags[KEY_TAG] == key:
                    return known.version
            everything = {
                **tags,
                KEY_TAG: key,
                DIGEST_TAG: logged.digest,
                SERIALIZATION_TAG: logged.serialization,
            }
            number = str(len(versions) + 1)
            version = RegisteredVersion(model, number, logged.source, MappingProxyType(everything), description)
            versions.append(version)
            return version.version

    def get_version(self, model: str, version: str) -> RegisteredVersion:
        """Return a version; raises NotFound."""
        for known in self.versions(model):
            if known.version == version:
                return known
        raise NotFound(f"The registry has no version {version} of model {model}.")

    def versions(self, model: str) -> list[RegisteredVersion]:
        """Return every version, oldest first."""
        with self._lock:
            return list(self._versions.get(model, ()))

    def removals(self, model: str, version: str) -> list[Removal]:
        """Return nothing: what a version rests on here cannot be deleted by itself."""
        self.get_version(model, version)
        return []

    def models(self) -> list[str]:
        """Return the names of the models that have versions, sorted."""
        with self._lock:
            return sorted(self._versions)

    def alias(self, model: str, alias: str) -> str | None:
        """Return the version `alias` points at."""
        with self._lock:
            return self._aliases.get((model, alias))

    def aliases(self, model: str) -> Mapping[str, str]:
        """Return every alias with the version it points at."""
        with self._lock:
            return {alias: version for (of, alias), version in self._aliases.items() if of == model}

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Point `alias` at `version`; raises NotFound."""
        with self._lock:
            self._aliases[model, alias] = self.get_version(model, version).version

    def delete_alias(self, model: str, alias: str) -> None:
        """Let `alias` point at nothing."""
        with self._lock:
            self._aliases.pop((model, alias), None)

    def digest_of(self, source: str) -> str:
        """Return the digest of the files stored at `source`."""
        with self._lock:
            return packaging.digest_of_files(_digests(self.stored.get(source, {})), source)

    def describe(self, source: str) -> StoredModel:
        """Return what the files stored at `source` are and say."""
        digest = self.digest_of(source)
        with self._lock:
            files = dict(self.stored[source])
        types: Mapping[str, str] = json.loads(files.get("signature.json", b"{}"))
        requirements = files.get("requirements.txt")
        return StoredModel(
            digest=digest,
            files={name: digest_bytes(data) for name, data in files.items()},
            flavors=("sklearn",) if any(name.startswith("model.") for name in files) else (),
            serialization=next((name.partition(".")[2] for name in files if name.startswith("model.")), None),
            requirements=None if requirements is None else tuple(requirements.decode().splitlines()),
            inputs=tuple(InputColumn(name, kind) for name, kind in types.items()) or None,
        )

    def columns_of(self, source: str) -> tuple[InputColumn, ...] | None:
        """Return the columns that the model stored at `source` takes."""
        return self.describe(source).inputs

    def check_files(self, source: str, *, digest: str) -> None:
        """Raise ArtifactError unless the files at `source` have `digest`."""
        self._checked(source, digest)

    def load_model(self, source: str, *, digest: str, own_code: bool = False) -> Any:
        """Return the estimator stored at `source`, its digest checked first, then what it is made of."""
        data, serialization = _model_of(self._checked(source, digest))
        return model_files.load_bytes(data, serialization, source=source, trust=self._trust, own_code=own_code)

    def check_loads(self, source: str, *, digest: str, own_code: bool = False) -> LoadReport:
        """Load the estimator stored at `source` here, unless these bytes loaded before."""
        files = self._checked(source, digest)
        environment = environment_digest(self._trust, Limits(), own_code=own_code)
        known = self._loads.find(digest, environment)
        if known is not None:
            return known
        started = time.perf_counter()
        estimator = self.load_model(source, digest=digest, own_code=own_code)
        example = files.get(model_files.EXAMPLE)
        report = tried(
            estimator,
            None if example is None else model_files.read_example(example.decode()),
            source,
            columns=tuple(json.loads(files["signature.json"])),
            certain=True,
            started=started,
        )
        self._loads.keep(digest, environment, report)
        return report

    def scan(self, source: str) -> ModelScan:
        """Say what loading the model at `source` would import or rebuild."""
        with self._lock:
            files = dict(self.stored.get(source, {}))
        packaging.digest_of_files(_digests(files), source)
        data, serialization = _model_of(files)
        return scan_model(data, serialization, types=self._trust.types, packages=self._trust.packages)

    def _checked(self, source: str, digest: str) -> dict[str, bytes]:
        with self._lock:
            files = dict(self.stored.get(source, {}))
        found = _digests(files)
        if packaging.digest_of_files(found, source) != digest:
            changed = what_changed(found, files.get(SUMS), digest)
            packaging.check_digest(packaging.digest_of_files(found, source), digest, source, changed=changed)
        return files


def _digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: digest_bytes(data) for name, data in files.items()}


def _model_of(files: Mapping[str, bytes]) -> tuple[bytes, str]:
    """Return the bytes of the model among its files, and how they are written."""
    for serialization in (packaging.SKOPS, packaging.CLOUDPICKLE):
        if f"model.{serialization}" in files:
            return files[f"model.{serialization}"], serialization
    raise ArtifactError("None of the files is a model. Register it again.")


def _serialize(estimator: Any, serialization: str) -> bytes:
    import cloudpickle
    import skops.io

    if serialization == packaging.SKOPS:
        data: bytes = skops.io.dumps(estimator)
        return data
    buffer = io.BytesIO()
    cloudpickle.dump(estimator, buffer)
    return buffer.getvalue()
