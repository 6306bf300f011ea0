"""What a project and its environment set: one class, read once, handed down.

Order: environment (`PODIUM_…`) over `podium.toml` over the defaults below. `podium.toml` holds the same
names at its top level.
"""

import getpass
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from podium.errors import ConfigurationError

PROJECT_FILE = "podium.toml"

# What skops asks about for scikit-learn's common estimators: the arrays that a fitted tree consists of, and array
# types. None runs code of the file when it is built or its state is set. skops refuses every type not named.
REVIEWED_TYPES = (
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)


class Settings(BaseSettings):
    """Everything that can be set; unknown names in `podium.toml` are refused."""

    model_config = SettingsConfigDict(env_prefix="PODIUM_", extra="forbid", frozen=True)

    project: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")] = "podium"
    root: Path
    home: Path
    pipelines: str = "pipelines"
    database_url: str = ""
    mlflow_tracking_uri: str = ""
    artifact_url: str = ""
    user: str = Field(default_factory=getpass.getuser)
    slots: Annotated[int, Field(ge=1, le=256)] = Field(default_factory=lambda: len(os.sched_getaffinity(0)))
    lease_seconds: Annotated[float, Field(gt=0)] = 30.0
    trace_timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    trusted_types: tuple[str, ...] = REVIEWED_TYPES
    debug: bool = False

    @property
    def effective_database_url(self) -> str:
        """The database's URL; without one, SQLite in the state folder."""
        return self.database_url or f"sqlite:///{self.home / 'podium.db'}"

    @property
    def effective_tracking_uri(self) -> str:
        """MLflow's tracking URI; without one, MLflow's own SQLite file in the state folder."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.home / 'mlflow.db'}"

    @property
    def artifact_folder(self) -> Path:
        """The folder of artifacts; without `artifact_url`, in the state folder."""
        if not self.artifact_url:
            return self.home / "artifacts"
        if "://" in self.artifact_url and not self.artifact_url.startswith("file://"):
            raise ConfigurationError(
                f"artifact_url is {self.artifact_url!r}, but this version stores artifacts in a folder only; "
                "give a path or a file:// URL."
            )
        return Path(self.artifact_url.removeprefix("file://"))

    @property
    def pipelines_folder(self) -> Path:
        """The folder whose `*.py` files define pipelines."""
        return self.root / self.pipelines

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
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


def load(start: Path | None = None) -> Settings:
    """Return the settings of the project that `start` (default: the current folder) lies in.

    Raises ConfigurationError where no `podium.toml` is found or something in it, or in the environment, is wrong.
    """
    root = _find_root((start or Path.cwd()).resolve())
    document = _read(root / PROJECT_FILE)
    for name in ("root", "home"):
        if name in document:
            raise ConfigurationError(
                f"{root / PROJECT_FILE} sets {name!r}, which is no setting; remove it "
                "(the environment's PODIUM_HOME moves the state folder)."
            )
    try:
        return Settings(
            **{
                **document,
                "root": root,
                "home": Path(os.environ.get("PODIUM_HOME") or root / ".podium").resolve(),
            }
        )
    except ValidationError as error:
        raise ConfigurationError(_explain(error, root / PROJECT_FILE)) from None


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
    parts = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        source = f"PODIUM_{name.upper()}" if f"PODIUM_{name.upper()}" in os.environ else str(path)
        if problem["type"] == "extra_forbidden":
            parts.append(f"{source} sets {name!r}, which is no setting; the settings are {', '.join(_names())}.")
        else:
            parts.append(f"{source} sets {name!r} to {problem['input']!r}: {problem['msg']}.")
    return " ".join(parts)


def _names() -> list[str]:
    return sorted(name for name in Settings.model_fields if name not in ("root", "home"))
