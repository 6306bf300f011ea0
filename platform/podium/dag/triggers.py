"""Triggers: what beside a schedule makes a pipeline retrain, as its file says it and as its plan keeps it; pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from podium.dag.options import OptionError, seconds

Ended = Literal["succeeded", "failed", "cancelled"]
ENDED: tuple[Ended, ...] = ("succeeded", "failed", "cancelled")
OUTCOMES = ("promoted", "rejected", "rolled_back", "inconclusive", "none")

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
_PASSWORD = re.compile(r"://[^/@]*:[^/@]+@|password=", re.IGNORECASE)
_VARIABLE = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OWN_RECORDS_SECONDS = 30.0
"""How often it is written down that Podium's own records show nothing new; they are looked at every second."""


@dataclass(frozen=True)
class NewFiles:
    """Files that are new or changed: `NewFiles("s3://bucket/flights-*.csv", every="5m")`.

    `pattern` is a URL of fsspec with `*`, `?` or `**`, or a path from the project's root.
    """

    pattern: str
    every: str | float = "5m"


@dataclass(frozen=True)
class NewRows:
    """A watermark that moved: `NewRows("SELECT max(updated_at) FROM flights", url="$WAREHOUSE_URL")`.

    `query` answers with one value; `url` is SQLAlchemy's, or `$NAME` of the environment variable that holds it.
    """

    query: str
    url: str
    every: str | float = "5m"


@dataclass(frozen=True)
class RunEnded:
    """A run of another pipeline that ended, of a backfill not: `RunEnded("ingest")`, by its state or its outcome."""

    pipeline: str
    state: Ended = "succeeded"
    outcome: str | None = None


@dataclass(frozen=True)
class Promoted:
    """A version of a model that became champion; a rollback is none."""

    model: str


Source = NewFiles | NewRows | RunEnded | Promoted


@dataclass(frozen=True)
class Trigger:
    """What makes a run: news of `any_of` its sources, or of `all_of` them since it fired last.

    With `debounce` it waits until nothing new has come for so long. `@pipeline(triggers=[Trigger("new_month",
    any_of=[NewFiles("data/*.csv")], debounce="10m")], …)`.
    """

    name: str
    any_of: Sequence[Source] = ()
    all_of: Sequence[Source] = ()
    debounce: str | float | None = None


@dataclass(frozen=True)
class FilesSource:
    """New files, as a plan keeps them."""

    pattern: str
    every_seconds: float
    kind: Literal["files"] = "files"

    @property
    def described(self) -> str:
        """What it looks at, for people."""
        return f"files {self.pattern}"


@dataclass(frozen=True)
class RowsSource:
    """A watermark, as a plan keeps it."""

    query: str
    url: str
    every_seconds: float
    kind: Literal["rows"] = "rows"

    @property
    def described(self) -> str:
        """What it looks at, for people."""
        return f"watermark {' '.join(self.query.split())}"


@dataclass(frozen=True)
class RunSource:
    """Ended runs of a pipeline, as a plan keeps them."""

    pipeline: str
    state: Ended
    outcome: str | None
    kind: Literal["run"] = "run"
    every_seconds: float = _OWN_RECORDS_SECONDS

    @property
    def described(self) -> str:
        """What it looks at, for people."""
        return f"runs of {self.pipeline} that {self.outcome or self.state}"


@dataclass(frozen=True)
class PromotionSource:
    """Promotions of a model, as a plan keeps them."""

    model: str
    kind: Literal["promotion"] = "promotion"
    every_seconds: float = _OWN_RECORDS_SECONDS

    @property
    def described(self) -> str:
        """What it looks at, for people."""
        return f"promotions of {self.model}"


PlannedSource = FilesSource | RowsSource | RunSource | PromotionSource


@dataclass(frozen=True)
class PlannedTrigger:
    """A trigger, as a plan keeps it."""

    name: str
    needs: Literal["any", "all"]
    sources: tuple[PlannedSource, ...]
    debounce_seconds: float = 0.0


def read_triggers(given: Any, *, pipeline: str) -> tuple[PlannedTrigger, ...]:
    """Return a `triggers` option as plans say it; OptionError where one is unusable."""
    if not isinstance(given, list | tuple) or not all(isinstance(each, Trigger) for each in given):
        raise OptionError(
            f"triggers={given!r} is no list of triggers; write triggers=[Trigger('new_data', any_of=[…])]."
        )
    names = [each.name for each in given]
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise OptionError(f"{name!r} cannot name a trigger; use a letter first, then letters, digits and '_'.")
        if names.count(name) > 1:
            raise OptionError(f"two triggers are called {name!r}; give one of them another name.")
    return tuple(_planned(each, pipeline) for each in given)


def _planned(trigger: Trigger, pipeline: str) -> PlannedTrigger:
    sources = [*trigger.any_of, *trigger.all_of]
    if not sources or (trigger.any_of and trigger.all_of):
        raise OptionError(f"trigger {trigger.name} takes either any_of=[…] or all_of=[…], with at least one source.")
    return PlannedTrigger(
        name=trigger.name,
        needs="all" if trigger.all_of else "any",
        sources=tuple(_source(each, trigger.name, pipeline) for each in sources),
        debounce_seconds=0.0 if trigger.debounce is None else seconds("debounce", trigger.debounce),
    )


def _source(source: Any, trigger: str, pipeline: str) -> PlannedSource:
    match source:
        case NewFiles():
            _require_text(trigger, "pattern", source.pattern, "data/*.csv")
            if _PASSWORD.search(source.pattern):
                raise OptionError(
                    f"the pattern of trigger {trigger} holds a password, which would be kept and shown with the plan; "
                    "give it to the scheduler by the store's own configuration, its environment variables for instance."
                )
            return FilesSource(source.pattern, seconds("every", source.every))
        case NewRows():
            _require_text(trigger, "query", source.query, "SELECT max(updated_at) FROM flights")
            _require_text(trigger, "url", source.url, "$WAREHOUSE_URL")
            if not _VARIABLE.fullmatch(source.url) and "://" not in source.url:
                raise OptionError(f"the url of trigger {trigger} is neither a URL nor a variable as $WAREHOUSE_URL.")
            if _PASSWORD.search(source.url):
                raise OptionError(
                    f"the url of trigger {trigger} holds a password, which would be kept and shown with the plan; put "
                    "the URL into an environment variable of the scheduler, and write url='$WAREHOUSE_URL'."
                )
            return RowsSource(source.query, source.url, seconds("every", source.every))
        case RunEnded():
            if source.state not in ENDED:
                raise OptionError(f"state={source.state!r} of trigger {trigger} is not one of {', '.join(ENDED)}.")
            if source.outcome not in (None, *OUTCOMES):
                raise OptionError(
                    f"outcome={source.outcome!r} of trigger {trigger} is not one of {', '.join(OUTCOMES)}."
                )
            if source.outcome is not None and source.state != "succeeded":
                raise OptionError(f"outcome={source.outcome!r} of trigger {trigger} goes with state='succeeded' alone.")
            if source.pipeline == pipeline:
                raise OptionError(f"trigger {trigger} waits for runs of its own pipeline, and would never end.")
            _require_text(trigger, "pipeline", source.pipeline, "ingest")
            return RunSource(source.pipeline, source.state, source.outcome)
        case Promoted():
            _require_text(trigger, "model", source.model, "flight_delay")
            return PromotionSource(source.model)
    raise OptionError(f"trigger {trigger} looks at {source!r}, which is no NewFiles, NewRows, RunEnded or Promoted.")


def _require_text(trigger: str, name: str, value: Any, example: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise OptionError(f"{name}={value!r} of trigger {trigger} is no text; write {name}={example!r}.")
