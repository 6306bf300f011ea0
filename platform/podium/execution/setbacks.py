"""Runs with which something goes wrong: told, and left alone for a while, so that the others go on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from podium.clock import Clock
from podium.errors import PodiumError, ServiceUnavailable
from podium.execution.entities import Happening

_PUT_OFF_SECONDS = 60.0

Setback = Literal["claim.failed", "rescue.failed", "deadline.failed"]
_TOLD: dict[Setback, str] = {
    "claim.failed": "cannot be executed by this worker",
    "rescue.failed": "has an attempt of a dead worker that cannot be ended here",
    "deadline.failed": "has passed a deadline, which cannot be enforced here",
}


@dataclass
class Setbacks:
    """What could not be done with which run; it is tried again a minute later, by this worker or another.

    Without it, one run that this version of Podium cannot handle would end one worker after another.
    """

    clock: Clock
    observe: Callable[[Happening], None]
    _until: dict[tuple[Setback, str], float] = field(default_factory=dict)

    def put_off(self, kind: Setback, run_id: str) -> bool:
        """Tell whether it failed so lately that it is not to be tried now."""
        return self._until.get((kind, run_id), 0.0) > self.clock.monotonic()

    def tell(self, kind: Setback, run_id: str, error: BaseException | None) -> None:
        """Tell the observer what is wrong, as an event of this kind, and put it off."""
        now = self.clock.monotonic()
        self._until = {each: until for each, until in self._until.items() if until > now}
        self._until[kind, run_id] = now + _PUT_OFF_SECONDS
        why = str(error) if isinstance(error, PodiumError) else f"{type(error).__name__}: {error}"
        self.observe(Happening(kind, run_id, self.clock.now(), reason=f"{_TOLD[kind]}: {why}"))

    @contextmanager
    def contained(self, kind: Setback, run_id: str) -> Iterator[None]:
        """Tell what goes wrong in the block, and put it off; only a database that is away is raised."""
        try:
            yield
        except ServiceUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is
            self.tell(kind, run_id, error)
