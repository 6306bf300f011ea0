"""The backend on this host: start slots, hand them attempts, hear from them, end them."""

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from podium.dag.plan import Resources
from podium.errors import InternalError
from podium.execution import meter
from podium.execution.backend import SeatEnded, SeatMessage
from podium.execution.capacity import Capacity, Machine, this_machine
from podium.execution.channel import Channel, ChannelClosed, Message
from podium.execution.processes import end_tree

_STOP_SECONDS = 5.0


@dataclass
class SlotHandle:
    """One slot: its channel, its process, and the attempt it executes, if any.

    A `complete` one was forked when the host had imported everything.
    """

    number: int
    channel: Channel
    code_digest: str
    tell_host: Callable[[Message], None]
    complete: bool = False
    process_id: int | None = None
    attempt_id: str | None = None
    first_cpu_seconds: float = 0.0  # of the attempts before, as it told
    gpus: list[str] = field(default_factory=list)
    ending: bool = False

    @property
    def begun(self) -> bool:
        """Whether it is forked; before, the host still imports."""
        return self.process_id is not None

    def answer(self, message: Message) -> None:
        """Send the answer to what a stage asked, from any thread; nothing happens if the slot is gone."""
        with contextlib.suppress(ChannelClosed, OSError):
            self.channel.send(message)

    def sample(self) -> meter.Sample | None:
        """Return what its attempt has used: CPU seconds since it was placed, bytes now."""
        seen = None if self.process_id is None else meter.sample(self.process_id)
        return seen and meter.Sample(max(0.0, seen.cpu_seconds - self.first_cpu_seconds), seen.memory_bytes)

    def interrupt(self) -> None:
        """Have Cancelled raised in the step that it executes."""
        self.answer({"type": "interrupt", "attempt_id": self.attempt_id})

    def end(self) -> None:
        """Have the host kill it with everything it started; its end is reported like any other."""
        if not self.ending:
            self.ending = True
            self.tell_host({"type": "end_slot", "slot": self.number})

    def release(self) -> None:
        """Take note that its attempt is over."""
        self.attempt_id = None


@dataclass
class Slots:
    """The slots of one supervisor, and the host process that forks them.

    `configuration` goes to every slot; `preload` names the modules that the host imports before it forks, or
    functions in them (`module:function`) that it calls; `preload_later` names what only complete slots need.
    `count` is how many attempts they are to execute at once, `machine` what these may reserve: by default, all of it.
    """

    configuration: Message
    preload: tuple[str, ...]
    host_log: Path
    preload_later: tuple[str, ...] = ()
    count: int = 1
    machine: Machine | None = None
    _slots: dict[int, SlotHandle] = field(default_factory=dict)
    _numbers: int = 0
    _host: subprocess.Popen[bytes] | None = None
    _control: Channel | None = None
    _descriptors: socket.socket | None = None
    selector: selectors.DefaultSelector = field(default_factory=selectors.DefaultSelector)

    def start(self) -> None:
        """Start the host, once; it imports what is to be preloaded while the caller goes on."""
        if self._host is not None:
            return
        control, control_child = socket.socketpair()
        self._descriptors, descriptors_child = socket.socketpair()
        self.host_log.parent.mkdir(parents=True, exist_ok=True)
        children = (control_child.fileno(), descriptors_child.fileno())
        with self.host_log.open("ab") as log:
            self._host = subprocess.Popen(
                [sys.executable, "-P", "-m", "podium.execution.slot_host", *map(str, children)],
                pass_fds=children,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Several slots share the cores: OpenMP threads that spin while they wait starve each other.
                env={"OMP_WAIT_POLICY": "PASSIVE", **without_secrets(os.environ)},
                start_new_session=True,  # an interrupt at the terminal is the supervisor's to act on
            )
        control_child.close()
        descriptors_child.close()
        self._control = Channel(control)
        self.selector.register(self._control, selectors.EVENT_READ, None)
        preload = {"preload": list(self.preload), "preload_later": list(self.preload_later)}
        self._tell_host({**self.configuration, "type": "configure", **preload})

    @cached_property
    def capacity(self) -> Capacity:
        """What attempts may reserve together."""
        return self._machine.capacity(self.count)

    def place(self, message: Message, resources: Resources, code_digest: str, *, complete: bool) -> SlotHandle:
        """Have an idle slot execute an attempt; who places no more than `capacity` may hold, has what it reserved."""
        slot = self.idle(code_digest, complete=complete)
        if self._machine.gpus:  # else what a step sees is nobody's business
            slot.gpus = self._free_gpus()[: resources.gpu]
            message = {**message, "gpus": slot.gpus}
        slot.attempt_id = message["attempt_id"]
        with contextlib.suppress(ChannelClosed):  # it died idle; its end is reported and ends the attempt
            slot.channel.send(message)
        return slot

    @cached_property
    def _machine(self) -> Machine:
        return self.machine or this_machine()

    def _free_gpus(self) -> list[str]:
        """Return the GPUs that no attempt has; last those of slots that are being killed, for a moment yet."""
        taken = {gpu for slot in self._slots.values() if slot.attempt_id is not None for gpu in slot.gpus}
        released = {gpu for slot in self._slots.values() for gpu in slot.gpus} - taken
        return sorted((gpu for gpu in self._machine.gpus if gpu not in taken), key=lambda gpu: gpu in released)

    def idle(self, code_digest: str, *, complete: bool = False) -> SlotHandle:
        """Return a slot that executes nothing and holds no other code, `complete` if asked; a new one if need be.

        A new one takes the place of an idle one, if there is any: of the one that was started first.
        """
        unused = [slot for slot in self._slots.values() if slot.attempt_id is None and not slot.ending]
        for slot in unused:
            if slot.code_digest == code_digest and (slot.complete or not complete):
                return slot
        if unused:
            unused[0].end()
        return self._fork(code_digest, complete=complete)

    def fileno(self) -> int:
        """Return a descriptor that is readable when `wait` has something to yield."""
        return self.selector.fileno()

    def wait(self, timeout_seconds: float) -> Iterator[SeatMessage | SeatEnded]:
        """Wait until something happens, at most so long, and yield what slots said and which ended."""
        for key, _ in self.selector.select(max(0.0, timeout_seconds)):
            if key.fileobj not in self._registered():
                continue  # closed while we heard of its slot's end
            if isinstance(key.data, SlotHandle):
                yield from self._hear(key.data)
            else:
                yield from self._hear_host()

    def stop(self) -> None:
        """End the host and with it every slot."""
        if self._host is None:
            return
        for slot in self._slots.values():
            slot.channel.close()
        self._require_control().close()
        if self._descriptors is not None:
            self._descriptors.close()
        try:
            self._host.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._host.send_signal(signal.SIGKILL)
            self._host.wait()
        if self._host.returncode != 0:  # only after the wait: its sockets close a moment before it can be reaped
            self._end_orphans()
        self.selector.close()
        self._host = None

    def _end_orphans(self) -> None:
        """End the slots of a host that was killed: one that is busy in native code cannot notice that itself."""
        for slot in self._slots.values():
            if slot.process_id is not None:
                end_tree(slot.process_id)

    def _fork(self, code_digest: str, *, complete: bool) -> SlotHandle:
        ours, theirs = socket.socketpair()
        self._numbers += 1
        slot = SlotHandle(self._numbers, Channel(ours), code_digest, self._tell_host, complete)
        self._slots[slot.number] = slot
        self.selector.register(slot.channel, selectors.EVENT_READ, slot)
        self._tell_host({"type": "start_slot", "slot": slot.number, "complete": complete})
        if self._descriptors is None:
            raise InternalError("A slot was asked for before the slot host was started.")
        try:
            socket.send_fds(self._descriptors, [b"s"], [theirs.fileno()])
        except (BrokenPipeError, ConnectionResetError):
            raise self._host_gone() from None
        finally:
            theirs.close()
        return slot

    def _hear(self, slot: SlotHandle) -> Iterator[SeatMessage]:
        try:
            for message in slot.channel.arrived():
                slot.first_cpu_seconds = message.get("slot_cpu_seconds", slot.first_cpu_seconds)
                yield SeatMessage(slot, message)
        except ChannelClosed:
            self.selector.unregister(slot.channel)  # the host reports how it ended

    def _hear_host(self) -> Iterator[SeatMessage | SeatEnded]:
        try:
            for message in self._require_control().arrived():
                slot = self._slots[message["slot"]]
                if message["type"] == "slot_started":
                    slot.process_id, slot.complete = message["process_id"], message["complete"]
                else:
                    del self._slots[slot.number]
                    yield from self._rest_of(slot)
                    yield SeatEnded(slot, message["status"])
        except ChannelClosed:
            raise self._host_gone() from None

    def _tell_host(self, message: Message) -> None:
        try:
            self._require_control().send(message)
        except ChannelClosed:
            raise self._host_gone() from None

    def _host_gone(self) -> InternalError:
        return InternalError(
            f"The process that forks slots ended by itself; its last words are in {self.host_log}. Run again: what "
            "was finished is kept."
        )

    def _rest_of(self, slot: SlotHandle) -> Iterator[SeatMessage]:
        """Yield what an ended slot had still said, and forget it."""
        while slot.channel in self._registered():
            yield from self._hear(slot)  # until the end of the channel, which a dead process cannot delay
        slot.channel.close()

    def _registered(self) -> set[object]:
        return {key.fileobj for key in self.selector.get_map().values()}

    def _require_control(self) -> Channel:
        if self._control is None:
            raise InternalError("The slots were used before they were started.")
        return self._control


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Code in a slot never sees the database, nor who its user is to a server."""
    return {name: value for name, value in environment.items() if name not in ("PODIUM_DATABASE_URL", "PODIUM_TOKEN")}
