"""What there is to tell: alerts, what they are about, and what of one channel waits to be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from podium.settings import AlertEvent

REPEATED: tuple[AlertEvent, ...] = ("run_failed", "deadline_missed", "not_run")
"""The events that a broken pipeline repeats. Of the others each asks for an act, or is one, and is told at once."""


@dataclass(frozen=True)
class Subject:
    """Whom an alert is about; None is unknown."""

    pipeline: str | None = None
    model: str | None = None
    team: str | None = None
    environment: str | None = None


@dataclass(frozen=True)
class Alert:
    """Something to tell, once per `key`, to the channels called `targets`; `facts` are for programs."""

    key: str
    event: AlertEvent
    subject: Subject
    title: str
    body: str
    happened_at: datetime
    targets: tuple[str, ...]
    run_id: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Untold:
    """Something on record that no alert can be made of, told once per `key`; `fact` is why not."""

    key: str
    what: str
    remedy: str
    run_id: str = ""
    fact: str = ""

    @property
    def why(self) -> str:
        """The whole of it in a line."""
        return f"{self.what}: {self.fact}; {self.remedy}"


Group = tuple[str, str | None, str | None]
"""Event, pipeline and step: what of these three alike is told again only after a while."""


@dataclass(frozen=True)
class Pending:
    """A delivery that waits; `error` is why its last try failed, None while it is tried or was not."""

    alert_id: str
    group: Group
    created_at: datetime
    next_try_at: datetime
    tries: int
    error: str | None

    @property
    def repeats(self) -> bool:
        """Whether another of its group may be told instead."""
        return self.group[0] in REPEATED


@dataclass(frozen=True)
class Told:
    """A message that a channel took."""

    group: Group
    at: datetime


@dataclass(frozen=True)
class Message:
    """What one channel is sent now, in the delivery's try number `tries`."""

    alert_id: str
    channel: str
    tries: int
    title: str
    body: str


@dataclass(frozen=True)
class Notice:
    """What became of a message, for an observer: `alert.sent`, `alert.failed`, `alert.given_up`; or `alerts.failed`.

    The last is of the alerts themselves: they could not be looked for, or none could be made of something on record.
    """

    kind: str
    channel: str
    at: datetime
    reason: str
    run_id: str = ""
