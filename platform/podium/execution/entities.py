"""The nouns of execution: what is claimed, what an attempt ended with, what is told while it goes on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from podium.dag.interval import Interval
from podium.dag.plan import Plan, StepNode
from podium.execution.artifacts import Artifact
from podium.execution.items import item_name
from podium.execution.meter import Usage
from podium.execution.reads import Stored

RunState = Literal["queued", "running", "succeeded", "failed", "cancelled", "refused"]
AttemptEndState = Literal["succeeded", "failed", "timed_out", "cancelled", "lost", "snoozed"]


@dataclass(frozen=True)
class Actor:
    """Who asks for an act; `verified` is False until a server checks identities."""

    name: str
    verified: bool = False

    @property
    def told(self) -> str:
        """The name as records tell it."""
        return self.name if self.verified else f"{self.name} (not verified)"


@dataclass(frozen=True)
class Run:
    """One execution of a pipeline for one interval."""

    run_id: str
    pipeline: str
    plan_digest: str
    interval: Interval
    parameters: Mapping[str, Any]
    idempotency_key: str
    state: RunState
    outcome: str | None
    reason: str | None
    actor: Actor
    team: str
    model: str
    environment: str
    uses_cache: bool = True
    backfill_id: str | None = None


@dataclass(frozen=True)
class Assignment:
    """A claimed attempt: everything its slot needs, and what its end is written under."""

    attempt_id: str
    number: int
    run: Run
    plan: Plan
    step_run_id: str
    node: StepNode
    map_index: int
    failures: int
    started_at: datetime
    stored: Stored  # its inputs, and those of the others claimed with it
    log: str
    generation: int = 0

    @property
    def step_key(self) -> str:
        """The step run's name for the world outside: what is done under it is done once.

        A step run that is done anew, with other inputs maybe, has another name then.
        """
        return step_key_of(self.run.run_id, self.label, self.generation)

    @property
    def label(self) -> str:
        """The step run's name: its step's, and for an item its number."""
        return item_name(self.node.name, self.map_index)


def step_key_of(run_id: str, label: str, generation: int) -> str:
    """Return the key of a step run.

    >>> step_key_of("01k", "train[3]", 0), step_key_of("01k", "train[3]", 2)
    ('01k/train[3]', '01k/train[3]~2')
    """
    again = f"~{generation}" if generation else ""
    return f"{run_id}/{label}{again}"


@dataclass(frozen=True)
class AttemptError:
    """Why an attempt ended badly: the error's type, a paragraph, and whether trying again can help."""

    type: str
    message: str
    retryable: bool = True


@dataclass(frozen=True)
class Wait:
    """For how long a snoozed attempt lets its step run be, and what it waits for."""

    seconds: float
    reason: str


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ended, with what it produced and used; one that `snoozed` says how long it waits."""

    state: AttemptEndState
    usage: Usage
    outputs: Mapping[str, Artifact] = field(default_factory=dict)
    error: AttemptError | None = None
    wait: Wait | None = None


@dataclass(frozen=True)
class AttemptUsage:
    """What the ledger is told at an attempt's end, inside the transaction that ends it."""

    attempt_id: str
    run_id: str
    step: str
    number: int
    team: str
    model: str
    environment: str
    state: AttemptEndState
    started_at: datetime
    ended_at: datetime
    cpu: float
    memory_bytes: int
    gpu: int
    usage: Usage


@dataclass(frozen=True)
class Happening:
    """Something an observer may show while a run goes on."""

    kind: str
    run_id: str
    at: datetime
    step: str | None = None
    attempt: int | None = None
    reason: str | None = None
