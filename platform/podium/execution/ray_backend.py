"""The backend on a Ray cluster, as its supervisor sees it: attempts go to the process that drives Ray, news come back.

Nothing of Ray is imported here; see `ray_driver`.
"""

import contextlib
import importlib.util
import os
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import podium.errors
from podium.dag.plan import Resources
from podium.errors import ConfigurationError, InternalError, ServiceUnavailable
from podium.execution.backend import SeatEnded, SeatLost, SeatMessage, SeatNews, SeatWaits
from podium.execution.capacity import Capacity
from podium.execution.channel import Channel, ChannelClosed, Message
from podium.execution.meter import Sample
from podium.execution.slots import without_secrets

_STOP_SECONDS = 15.0


@dataclass(eq=False)
class RaySeat:
    """One attempt on the cluster, waiting for a node or in a slot of one."""

    number: int
    attempt_id: str | None
    tell_driver: Callable[[Message], None]
    forget: Callable[[int], object]
    begun: bool = False
    last: Sample | None = None
    ending: bool = False

    def answer(self, message: Message) -> None:
        """Send the answer to what a stage asked, from any thread; nothing happens if the attempt has ended."""
        with contextlib.suppress(ServiceUnavailable, OSError):
            self.tell_driver({"type": "answer", "seat": self.number, "message": message})

    def interrupt(self) -> None:
        """Have Cancelled raised in the step that it executes, through the channel that answers take."""
        self.answer({"type": "interrupt", "attempt_id": self.attempt_id})

    def sample(self) -> Sample | None:
        """Return what its attempt had used when its node reported last."""
        return self.last

    def see(self, sample: Sample | None) -> None:
        """Take note of what its node reports: its process is there, and has used so much."""
        self.begun = True
        self.last = sample or self.last

    def end(self) -> None:
        """Have its node kill it with everything it started, or nobody begin it; its end is reported."""
        if not self.ending:
            self.ending = True
            self.tell_driver({"type": "end", "seat": self.number})

    def release(self) -> None:
        """Give back what it had of the cluster."""
        self.attempt_id = None
        self.forget(self.number)
        self.tell_driver({"type": "release", "seat": self.number})


@dataclass
class RayBackend:
    """The attempts of one supervisor on the Ray cluster at `address`, HOST:PORT; without one, on a cluster of its own.

    `configuration` goes to every slot; `slots` is how many attempts it is to execute at once. A node that hears nothing
    for `silence_seconds` ends its attempts.
    """

    configuration: Message
    address: str
    slots: int
    silence_seconds: float
    driver_log: Path
    _seats: dict[int, RaySeat] = field(default_factory=dict)
    _numbers: int = 0
    _driver: "subprocess.Popen[bytes] | None" = None
    _channel: Channel | None = None
    _capacity: Capacity | None = None
    _sending: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Connect to the cluster, once; ConfigurationError or ServiceUnavailable where that cannot be."""
        if self._driver is not None:
            return
        if importlib.util.find_spec("ray") is None:
            raise ConfigurationError(
                'The backend "ray" needs Ray, which is not installed; `pip install "podium[ray]"` installs it.'
            )
        ours, theirs = socket.socketpair()
        self.driver_log.parent.mkdir(parents=True, exist_ok=True)
        with self.driver_log.open("ab") as log:
            self._driver = subprocess.Popen(
                [sys.executable, "-P", "-m", "podium.execution.ray_driver", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=without_secrets(os.environ),
                start_new_session=True,  # an interrupt at the terminal is the supervisor's to act on
            )
        theirs.close()
        self._channel = Channel(ours)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._channel, selectors.EVENT_READ)
        try:
            self._connect(self._channel)
        except BaseException:
            self.stop()
            raise

    @property
    def capacity(self) -> Capacity:
        """What the cluster's nodes have together; a step has to fit one of them."""
        if self._capacity is None:
            raise InternalError("The Ray cluster was asked for its capacity before it was connected.")
        return self._capacity

    def place(self, message: Message, resources: Resources, code_digest: str, *, complete: bool) -> RaySeat:
        """Have the cluster execute an attempt on a node that has the resources free, once there is one."""
        del complete  # each slot is new, and imports what its attempt needs
        self._numbers += 1
        seat = RaySeat(self._numbers, message["attempt_id"], self._tell, self._seats.pop)
        self._seats[seat.number] = seat
        self._tell(
            {
                "type": "place",
                "seat": seat.number,
                "message": message,
                "resources": asdict(resources),
                "code_digest": code_digest,
            }
        )
        return seat

    def fileno(self) -> int:
        """Return a descriptor that is readable when `wait` has something to yield."""
        return self._selector.fileno()

    def wait(self, timeout_seconds: float) -> Iterator[SeatNews]:
        """Wait until something happens, at most so long, and yield what became of seats."""
        if not self._selector.select(max(0.0, timeout_seconds)):
            return
        try:
            for message in self._require_channel().arrived():
                yield from self._hear(message)
        except ChannelClosed:
            raise self._driver_gone() from None

    def stop(self) -> None:
        """End every attempt on the cluster, and a cluster that was started for it."""
        if self._driver is None:
            return
        self._require_channel().close()
        self._selector.close()
        try:
            self._driver.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._driver.kill()  # Ray ends what a driver that is gone had begun
            self._driver.wait()
        self._driver = None

    def _connect(self, channel: Channel) -> None:
        self._tell(
            {
                "type": "connect",
                "address": self.address,
                "configuration": self.configuration,
                "silence_seconds": self.silence_seconds,
            }
        )
        try:
            answer = channel.receive()
            if answer["type"] == "refused":
                raise getattr(podium.errors, answer["error"])(answer["message"])
            while self._capacity is None:
                list(self._hear(channel.receive()))
        except ChannelClosed:
            raise self._driver_gone() from None

    def _hear(self, message: Message) -> Iterator[SeatNews]:
        if message["type"] == "capacity":
            self._capacity = Capacity(message["cpu"], message["memory_bytes"], message["gpu"], self.slots)
            return
        if message["type"] == "seen":
            for number, sample in message["samples"]:
                if number in self._seats:
                    self._seats[number].see(None if sample is None else Sample(**sample))
            return
        seat = self._seats.get(message["seat"])
        if seat is None:
            return  # it was released meanwhile
        if message["type"] == "said":
            yield SeatMessage(seat, message["message"])
        elif message["type"] == "waits":
            yield SeatWaits(seat, message["reason"])
        elif message["type"] == "ended":
            yield SeatEnded(seat, message["status"])
        elif message["type"] == "lost":
            yield SeatLost(seat, message["reason"], message["silent_seconds"])
        else:
            raise ValueError(f"unknown message {message['type']!r}")

    def _tell(self, message: Message) -> None:
        try:
            with self._sending:  # answers come from threads
                self._require_channel().send(message)
        except ChannelClosed:
            raise self._driver_gone() from None

    def _driver_gone(self) -> ServiceUnavailable:
        cluster = f"The Ray cluster {self.address}" if self.address else "This worker's own Ray cluster"
        return ServiceUnavailable(
            f"{cluster} is gone, or the process that drives it; the last words of that are in {self.driver_log}. Start "
            "again: what was finished is kept."
        )

    def _require_channel(self) -> Channel:
        if self._channel is None:
            raise InternalError("The Ray cluster was used before it was connected.")
        return self._channel
