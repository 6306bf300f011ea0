"""What executes a worker's attempts: the port that local slots and a cluster have in common."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from podium.dag.plan import Resources
from podium.execution.capacity import Capacity
from podium.execution.channel import Message
from podium.execution.meter import Sample


class Seat(Protocol):
    """Where one attempt is executed: a process with all that it starts, on this host or another."""

    @property
    def attempt_id(self) -> str | None:
        """The attempt that it was given to; None once that is released."""

    @property
    def begun(self) -> bool:
        """Whether its process is there; until then the attempt's own time has not begun."""

    def answer(self, message: Message) -> None:
        """Send the answer to what a stage asked, from any thread; nothing happens if nobody is there any more."""

    def sample(self) -> Sample | None:
        """Return what its attempt has used: CPU seconds since it was placed, bytes now. None where that is unknown."""

    def interrupt(self) -> None:
        """Ask its attempt to end: Cancelled is raised in the step. Nothing happens if nobody is there any more."""

    def end(self) -> None:
        """Kill its process with everything that started; its end is reported like any other."""

    def release(self) -> None:
        """Take note that the attempt's end is written: the seat may be given to another."""


@dataclass(frozen=True)
class SeatMessage:
    """What the attempt on a seat said: its result, or a question to a service."""

    seat: Seat
    message: Message


@dataclass(frozen=True)
class SeatEnded:
    """A seat's process ended with this exit status (negative: the signal)."""

    seat: Seat
    status: int


@dataclass(frozen=True)
class SeatLost:
    """A seat is gone with its host, or out of reach; nothing was heard from it for so many seconds before."""

    seat: Seat
    reason: str
    silent_seconds: float


@dataclass(frozen=True)
class SeatWaits:
    """What the attempt on a seat waits for, longer than a moment, before it can begin."""

    seat: Seat
    reason: str


SeatNews = SeatMessage | SeatEnded | SeatLost | SeatWaits


class Backend(Protocol):
    """Executes attempts for one supervisor, and for one thread of it; nothing of it outlives `stop`."""

    @property
    def capacity(self) -> Capacity:
        """What attempts may reserve of it together."""

    def start(self) -> None:
        """Get ready to place attempts; again: nothing. Raises a PodiumError that says why it cannot."""

    def place(self, message: Message, resources: Resources, code_digest: str, *, complete: bool) -> Seat:
        """Put an attempt on a seat: `message` is what executes it (`assignments.to_message`).

        No seat holds the project's code of two digests. A `complete` one can execute stages without importing much.
        """

    def fileno(self) -> int:
        """Return a descriptor that is readable when `wait` has something to yield; once it is started."""

    def wait(self, timeout_seconds: float) -> Iterator[SeatNews]:
        """Wait until something happens, at most so long, and yield what is new of the seats."""

    def stop(self) -> None:
        """End every seat with everything it started; none is reported."""
