"""What a run in process came to: states, values, attempts and events, in the words of a real run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from podium.dag.plan import RESULT
from podium.errors import NotFound, UsageError
from podium.execution.entities import AttemptEndState, AttemptError


@dataclass(frozen=True)
class AttemptResult:
    """How an attempt ended: `error` as it would be on record, `exception` as it was raised."""

    number: int
    state: AttemptEndState
    started_at: datetime
    error: AttemptError | None = None
    exception: BaseException | None = None


@dataclass(frozen=True)
class StepResult:
    """What became of a step run: a step, or under `fit[2]` an item of a mapped one."""

    name: str
    state: str
    reason: str | None
    attempts: tuple[AttemptResult, ...]
    outputs: tuple[str, ...]

    @property
    def error(self) -> AttemptError | None:
        """The error of its last attempt; None if that had none, or there was no attempt."""
        return self.attempts[-1].error if self.attempts else None

    @property
    def exception(self) -> BaseException | None:
        """The exception of its last attempt with its traceback: `raise` it to see where it came from."""
        return self.attempts[-1].exception if self.attempts else None


@dataclass(frozen=True)
class RunEvent:
    """Something that happened, in the order it did."""

    kind: str
    at: datetime
    step: str | None = None
    attempt: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class RunResult:
    """A run that ended.

    `steps` are by name, those of a mapped step's items as `fit[2]`. `outcome` is what a run that succeeded came to, as
    `promoted`, `rejected` or `none`. Times are those of the run's clock, `waited_seconds` what back-off and snoozes
    took of it.
    """

    run_id: str
    state: Literal["succeeded", "failed"]
    outcome: str | None
    reason: str | None
    parameters: Mapping[str, Any]
    steps: Mapping[str, StepResult]
    events: tuple[RunEvent, ...]
    started_at: datetime
    ended_at: datetime
    read: Callable[[str, str], Any] = field(repr=False)

    @property
    def states(self) -> dict[str, str]:
        """The state of each step, and of each item of a mapped one."""
        return {name: step.state for name, step in self.steps.items()}

    @property
    def waited_seconds(self) -> float:
        """How far the clock moved while the run went on."""
        return (self.ended_at - self.started_at).total_seconds()

    def value(self, step: str, output: str = RESULT) -> Any:
        """Return what a step that succeeded returned, or one of its named outputs; of a mapped step, the list.

        Raises NotFound for a step or an output that there is not, UsageError for a step that did not succeed.
        """
        found = self.steps.get(step)
        if found is None:
            raise NotFound(f"The run has no step {step!r}; its steps are {', '.join(self.steps)}.")
        if found.state != "succeeded":
            raise UsageError(f"The step {step} returned nothing: it {_ended(found.state)}: {found.reason}.")
        if output not in found.outputs:
            raise NotFound(f"The step {step} stores no {output!r}; its outputs are {', '.join(found.outputs)}.")
        return self.read(step, output)


def _ended(state: str) -> str:
    return f"was {state}" if state in ("skipped", "cancelled") else state
