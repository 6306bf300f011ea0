"""What a project and its environment set: one class, read once, handed down.

Order: environment (`PODIUM_…`) over `podium.toml` over the defaults below. `podium.toml` holds the same
names at its top level.
"""

import difflib
import getpass
import os
import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from podium.errors import ConfigurationError
from podium.settings.alerts import AlertSettings
from podium.settings.alerts import explain as explain_alerts
from podium.settings.approvals import ApprovalSettings
from podium.settings.environments import EnvironmentSettings
from podium.settings.environments import explain as explain_environments
from podium.settings.gates import Gates
from podium.settings.guard import GuardSettings
from podium.settings.guard import explain as explain_guard
from podium.settings.models import ModelSettings
from podium.settings.models import explain as explain_models

PROJECT_FILE = "podium.toml"

_PLACES = ("root", "home")  # found, not set by name

# What skops asks about for scikit-learn's common estimators: the arrays that a fitted tree consists of, and array
# types. None runs code of the file when it is built or its state is set. skops refuses every type not named.
REVIEWED_TYPES = (
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid-{os.getuid()}"


class _Environment(EnvSettingsSource):
    """What `PODIUM_…` sets. The root is where `podium.toml` lies, and `load` resolves the state folder."""

    def __call__(self) -> dict[str, Any]:
        """Return the settings by name."""
        return {name: value for name, value in super().__call__().items() if name not in _PLACES}


class Settings(BaseSettings):
    """Everything that can be set; unknown names in `podium.toml` are refused."""

    model_config = SettingsConfigDict(env_prefix="PODIUM_", env_ignore_empty=True, extra="forbid", frozen=True)

    project: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")] = "podium"
    root: Path
    home: Path
    pipelines: str = "pipelines"
    database_url: str = ""
    mlflow_tracking_uri: str = ""
    artifact_url: str = ""
    artifact_retention: str = "90d"
    user: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(default_factory=_system_user)
    backend: Literal["local", "ray"] = "local"
    ray_address: str = ""
    slots: Annotated[int, Field(ge=1, le=256)] = Field(default_factory=lambda: len(os.sched_getaffinity(0)))
    cpu: Annotated[float | None, Field(gt=0)] = None
    memory_gib: Annotated[float | None, Field(gt=0)] = None
    gpu: Annotated[int | None, Field(ge=0)] = None
    labels: Annotated[tuple[str, ...], NoDecode] = ()
    pools: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    pipeline_limits: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    model_limits: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    lease_seconds: Annotated[float, Field(gt=0)] = 30.0
    drain_seconds: Annotated[float, Field(ge=0)] = 0.0
    cancel_grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 10.0
    on_code_change: Literal["continue", "refuse"] = "continue"
    trace_timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    trusted_types: Annotated[tuple[str, ...], NoDecode] = REVIEWED_TYPES
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    approvals: dict[str, ApprovalSettings] = Field(default_factory=dict)
    environments: EnvironmentSettings = Field(default_factory=EnvironmentSettings)
    gates: Gates = Field(default_factory=dict)
    guard: GuardSettings = Field(default_factory=GuardSettings)
    models: ModelSettings = Field(default_factory=ModelSettings)

    @field_validator("trusted_types", "labels", mode="before")
    @classmethod
    def _separated_by_commas(cls, names: Any) -> Any:
        return names.split(",") if isinstance(names, str) else names

    @field_validator("mlflow_tracking_uri")
    @classmethod
    def _names_a_server_or_a_database(cls, uri: str) -> str:
        if uri and (uri.startswith("file:") or not ("://" in uri or uri.startswith("databricks"))):
            raise ValueError("MLflow no longer keeps models in a plain folder; give http(s)://HOST or sqlite:///FILE")
        return uri

    @field_validator("ray_address")
    @classmethod
    def _names_a_cluster(cls, address: str) -> str:
        host, _, port = address.rpartition(":")
        if address not in ("", "auto") and not (host and port.isdecimal() and "/" not in address):
            raise ValueError(
                "give HOST:PORT of the cluster's head, or auto on a node of it; Ray Client is not supported"
            )
        return address

    @field_validator("artifact_retention")
    @classmethod
    def _is_a_number_of_days(cls, text: str) -> str:
        if not re.fullmatch(r"[1-9][0-9]{0,4}d", text):
            raise ValueError("give a whole number of days, as 90d; what nothing needs is kept for a day at least")
        return text

    @property
    def effective_database_url(self) -> str:
        """The database's URL; without one, SQLite in the state folder. A relative path starts at the root."""
        return self._from_root(self.database_url) or f"sqlite:///{self.home / 'podium.db'}"

    @property
    def effective_tracking_uri(self) -> str:
        """MLflow's tracking URI; without one, MLflow's own SQLite file in the state folder."""
        return self._from_root(self.mlflow_tracking_uri) or f"sqlite:///{self.home / 'mlflow.db'}"

    @property
    def artifact_location(self) -> str:
        """Where artifacts lie: a URL of fsspec, or a folder; without `artifact_url`, in the state folder."""
        url = self.artifact_url.removeprefix("file://")
        return url if "://" in url else str(self.root / (url or self.home / "artifacts"))

    @property
    def artifact_folder(self) -> Path:
        """The folder of artifacts; ConfigurationError where they lie at a URL."""
        if "://" in self.artifact_location:
            raise ConfigurationError("artifact_url (PODIUM_ARTIFACT_URL) names no folder of this host; give a path.")
        return Path(self.artifact_location)

    @property
    def retention(self) -> timedelta:
        """How long what a run stored is kept after its end."""
        return timedelta(days=int(self.artifact_retention.removesuffix("d")))

    @property
    def pipelines_folder(self) -> Path:
        """The folder whose `*.py` files define pipelines."""
        return self.root / self.pipelines

    def _from_root(self, url: str) -> str:
        """Return a SQLite URL with its path made absolute, so that it means the same file from every folder."""
        scheme, _, path = url.partition(":///")
        if not scheme.startswith("sqlite") or path in ("", ":memory:"):
            return url
        return f"{scheme}:///{self.root / path}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over what `load` read from `podium.toml`."""
        del env_settings, dotenv_settings, file_secret_settings
        return _Environment(settings_cls), init_settings


def load(start: Path | None = None) -> Settings:
    """Return the settings of the project that `start` (default: the current folder) lies in.

    Raises ConfigurationError where no `podium.toml` is found or something in it, or in the environment, is wrong.
    """
    root = _find_root((start or Path.cwd()).resolve())
    document = _read(root / PROJECT_FILE)
    for name in _PLACES:
        if name in document:
            raise ConfigurationError(
                f"{root / PROJECT_FILE} sets {name!r}, which is no setting; remove it "
                "(the environment's PODIUM_HOME moves the state folder)."
            )
    home = Path(os.environ.get("PODIUM_HOME") or root / ".podium").resolve()
    try:
        return Settings(**{**document, "root": root, "home": home})
    except ValidationError as error:
        raise ConfigurationError(_explain(error, root / PROJECT_FILE)) from None
    except SettingsError as error:  # a variable that holds a table, and no JSON; without its value, maybe a secret
        field = re.search(r'field "(\w+)"', str(error))
        variable = f"PODIUM_{field[1].upper()}" if field else "A PODIUM_ variable"
        raise ConfigurationError(f"{variable} is no JSON; write it like this setting's table in JSON.") from None


def _find_root(start: Path) -> Path:
    for folder in (start, *start.parents):
        if (folder / PROJECT_FILE).is_file():
            return folder
    raise ConfigurationError(
        f"No {PROJECT_FILE} in {start} or any folder above it; `podium init` makes a project, or change to one."
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}. Correct that line.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from None


def _explain(error: ValidationError, path: Path) -> str:
    return " ".join(_explain_one(dict(problem), path) for problem in error.errors())


def _explain_one(problem: dict[str, Any], path: Path) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    explain = _EXPLAINED.get(name.partition(".")[0])
    if explain is not None:
        variable = f"PODIUM_{name.partition('.')[0].upper()}"
        return explain(problem, variable if os.environ.get(variable) else str(path))
    if problem["type"] == "extra_forbidden":
        known = sorted(ApprovalSettings.model_fields) if name.startswith("approvals.") else _names()
        close = difflib.get_close_matches(name.rpartition(".")[2], known, n=1)
        guess = f"; did you mean {close[0]}?" if close else "."
        return f"{path} sets {name!r}, which is no setting{guess} The settings are {', '.join(known)}."
    variable = f"PODIUM_{name.partition('.')[0].upper()}"
    source = variable if os.environ.get(variable) else f"{name} in {path}"
    return f"{source} is {problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}. Correct or remove it."


def _names() -> list[str]:
    return sorted(name for name in Settings.model_fields if name not in _PLACES)


_EXPLAINED = {
    "alerts": explain_alerts,
    "environments": explain_environments,
    "guard": explain_guard,
    "models": explain_models,
}
"""What says what is wrong in a section, and what to write there."""
