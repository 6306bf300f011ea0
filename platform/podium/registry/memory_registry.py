"""The registry in memory: the twin of MLflow's adapter, for tests and dry runs."""

import io
import json
import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from podium.errors import ArtifactError, NotFound
from podium.ids import digest_bytes
from podium.registry import packaging
from podium.registry.entities import LoggedModel, RegisteredVersion, Removal
from podium.registry.port import DIGEST_TAG, KEY_TAG, SERIALIZATION_TAG

if TYPE_CHECKING:  # heavy, and not needed to import this module
    import pandas as pd


class MemoryRegistry:
    """Keeps serialised models, versions and aliases in dictionaries, behind one lock.

    `stored` maps each source to its files, so that a test may damage one; `attached` holds the files beside them.
    """

    def __init__(self, *, trusted_types: Sequence[str] = ()) -> None:
        self._trusted_types = tuple(trusted_types)
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
        serialization = packaging.serialization_of(estimator, self._trusted_types, model=model)
        files = {
            f"model.{serialization}": _serialize(estimator, serialization),
            "requirements.txt": "\n".join(requirements).encode(),
            "signature.json": json.dumps({name: str(kind) for name, kind in sample.dtypes.items()}).encode(),
        }
        with self._lock:
            if key not in self._logged:
                source = f"memory:/{model}/{len(self._logged) + 1}"
                self.stored[source] = files
                self._logged[key] = LoggedModel(source, self.digest_of(source), serialization, "", "")
            return self._logged[key]

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
            files = self.stored.get(source, {})
            return packaging.digest_of_files({name: digest_bytes(data) for name, data in files.items()}, source)

    def load_model(self, source: str, *, digest: str) -> Any:
        """Return the estimator stored at `source`, its digest checked first."""
        with self._lock:
            packaging.check_digest(self.digest_of(source), digest, source)
            files = dict(self.stored[source])
        try:
            return _deserialize(files, self._trusted_types)
        except Exception as error:  # whatever the model's own code raises
            raise ArtifactError(f"The model at {source} does not load: {error}.") from error


def _serialize(estimator: Any, serialization: str) -> bytes:
    import cloudpickle
    import skops.io

    if serialization == packaging.SKOPS:
        data: bytes = skops.io.dumps(estimator)
        return data
    buffer = io.BytesIO()
    cloudpickle.dump(estimator, buffer)
    return buffer.getvalue()


def _deserialize(files: Mapping[str, bytes], trusted_types: Sequence[str]) -> Any:
    import cloudpickle
    import skops.io

    if data := files.get(f"model.{packaging.SKOPS}"):
        return skops.io.loads(data, trusted=list(trusted_types))
    return cloudpickle.loads(files[f"model.{packaging.CLOUDPICKLE}"])
