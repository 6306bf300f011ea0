"""The process through which a supervisor uses a Ray cluster: it places attempts and passes on what their nodes say.

A process of its own, because whoever drives Ray gives it the process: it prints to standard output, takes the signals,
and ends the process when the cluster does. When its supervisor is gone it ends every attempt, and itself.

Messages: `connect` first, answered by `connected` or `refused`; then `place`, `answer`, `end` and `release` of a seat.
News: `capacity`, and of seats `seen`, `said`, `waits`, `ended`, `lost`.
"""

import contextlib
import os
import queue
import selectors
import socket
import sys
import time
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.exceptions

from podium.dag.plan import Resources
from podium.errors import ConfigurationError, PodiumError, ServiceUnavailable
from podium.execution.channel import Channel, ChannelClosed, Message
from podium.execution.processes import die_with_parent, outlive_parent
from podium.execution.ray_node import NodeSlot, Report

_TICK_SECONDS = 0.5
_CAPACITY_SECONDS = 5.0
_PATIENCE_SECONDS = 2.0
"""How long an attempt may wait for a node before it is said why."""
_CONNECT_SECONDS = 5.0
_CLOSE_SECONDS = 5.0
_STORE_BYTES = 80 * 1024 * 1024
"""Of shared memory, for a node started here: artifacts do not travel through Ray."""
_REASON_CHARACTERS = 300


@dataclass(eq=False)
class Placed:
    """An attempt that Ray was given, and what is known of it."""

    number: int
    attempt_id: str
    actor: Any
    resources: Resources
    log: Path
    placed: float
    heard: float
    last: Report | None = None
    waits: str | None = None
    ending: bool = False


@dataclass
class RayDriver:
    """Drives Ray for the supervisor at the other end of `channel`."""

    channel: Channel
    _placed: dict[int, Placed] = field(default_factory=dict)
    _reports: "queue.SimpleQueue[tuple[Placed, Future[Report]]]" = field(default_factory=queue.SimpleQueue)
    _configuration: Message = field(default_factory=dict)
    _silence_seconds: float = 0.0
    _capacity: Message = field(default_factory=dict)
    _next_tick: float = 0.0
    _next_capacity: float = 0.0

    def serve(self) -> None:
        """Obey the supervisor until it is gone, then leave nothing behind."""
        self._wakeup, self._woken = socket.socketpair()
        for end in (self._wakeup, self._woken):
            end.settimeout(0.0)
        try:
            if self._connect(self.channel.receive()):
                outlive_parent()
                self._loop()
        except ChannelClosed:
            self._close()

    def _connect(self, message: Message) -> bool:
        self._configuration, self._silence_seconds = message["configuration"], message["silence_seconds"]
        try:
            connect(message["address"])
        except PodiumError as error:
            self.channel.send({"type": "refused", "error": type(error).__name__, "message": str(error)})
            return False
        self.channel.send({"type": "connected"})
        self._tell_capacity()
        return True

    def _loop(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self.channel, selectors.EVENT_READ)
        selector.register(self._woken, selectors.EVENT_READ)
        while True:
            timeout = _TICK_SECONDS if self._placed else _CAPACITY_SECONDS
            for key, _ in selector.select(timeout):
                if key.fileobj is self.channel:
                    for message in self.channel.arrived():
                        self._obey(message)
                else:
                    self._woken.recv(4096)
                    self._take_reports()
            now = time.monotonic()
            if now >= self._next_tick:
                self._next_tick = now + _TICK_SECONDS
                self._tell_samples()
                self._tell_waits(now)
            if now >= self._next_capacity:
                self._tell_capacity()

    def _obey(self, message: Message) -> None:
        if message["type"] == "place":
            self._place(message)
            return
        placed = self._placed.get(message["seat"])
        if placed is None:
            return  # an answer to an attempt that was released meanwhile
        if message["type"] == "answer":
            placed.actor.answer.remote(message["message"])
        elif message["type"] == "end":
            placed.ending = True
            if placed.last is None:
                ray.kill(placed.actor)  # it waits for a node; its end comes as that of the call to `hear`
            else:
                placed.actor.end.remote()
        elif message["type"] == "release":
            del self._placed[placed.number]
            placed.actor.close.remote()
        else:
            raise ValueError(f"unknown message {message['type']!r}")

    def _place(self, message: Message) -> None:
        work, resources, now = message["message"], Resources(**message["resources"]), time.monotonic()
        actor = (
            ray.remote(NodeSlot)
            .options(
                num_cpus=resources.cpu,
                num_gpus=resources.gpu,
                memory=resources.memory_bytes,
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=2,  # `hear` waits in one thread while the other takes what is to be done
            )
            .remote(self._configuration, work, resources, message["code_digest"], self._silence_seconds)
        )
        placed = Placed(message["seat"], work["attempt_id"], actor, resources, Path(work["log"]), placed=now, heard=now)
        self._placed[placed.number] = placed
        self._listen(placed)

    def _listen(self, placed: Placed) -> None:
        placed.actor.hear.remote().future().add_done_callback(partial(self._heard, placed))

    def _heard(self, placed: Placed, report: "Future[Report]") -> None:
        """Take a report, in a thread of Ray's."""
        self._reports.put((placed, report))
        with contextlib.suppress(BlockingIOError):  # it is awake already
            self._wakeup.send(b"w")

    def _take_reports(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                placed, report = self._reports.get_nowait()
                if placed.number in self._placed:
                    self._take(placed, report)

    def _take(self, placed: Placed, future: "Future[Report]") -> None:
        error = future.exception()
        if error is not None:
            self._tell_lost(placed, error)
            return
        report = future.result()
        placed.last, placed.heard = report, time.monotonic()
        if report.log:
            placed.log.parent.mkdir(parents=True, exist_ok=True)
            with placed.log.open("ab") as log:
                log.write(report.log)
        told = False
        for message in report.messages:
            told = told or message.get("attempt_id") == placed.attempt_id  # its result, after which comes nothing
            self.channel.send({"type": "said", "seat": placed.number, "message": message})
        if report.status is not None:
            self.channel.send({"type": "ended", "seat": placed.number, "status": report.status})
        elif not told:
            self._listen(placed)

    def _tell_lost(self, placed: Placed, error: BaseException) -> None:
        if placed.ending and placed.last is None:
            self.channel.send({"type": "ended", "seat": placed.number, "status": -9})
            return
        self._tell_samples()
        ray.kill(placed.actor)  # if it is alive, it is out of reach; it ends itself then, hearing nothing
        where = f"on {placed.last.host} " if placed.last else ""
        reason = f"the Ray worker that executed it {where}was lost: {last_line(str(error))}"
        silent_seconds = time.monotonic() - placed.heard
        lost = {"type": "lost", "seat": placed.number, "reason": reason, "silent_seconds": silent_seconds}
        self.channel.send(lost)

    def _tell_samples(self) -> None:
        seen = {
            placed.number: None if placed.last.sample is None else asdict(placed.last.sample)
            for placed in self._placed.values()
            if placed.last is not None and placed.last.begun
        }
        if seen:
            self.channel.send({"type": "seen", "samples": list(seen.items())})

    def _tell_waits(self, now: float) -> None:
        """Say of each attempt that no node has taken what it waits for, once and again when that changes."""
        waiting = [
            placed
            for placed in self._placed.values()
            if placed.last is None and not placed.ending and now - placed.placed > _PATIENCE_SECONDS
        ]
        if not waiting:
            return
        nodes = [resources_of(node["Resources"]) for node in ray.nodes() if node["Alive"]]
        for placed in waiting:
            waits = waits_for(placed.resources, nodes)
            if waits != placed.waits:
                placed.waits = waits
                self.channel.send({"type": "waits", "seat": placed.number, "reason": waits})

    def _tell_capacity(self) -> None:
        self._next_capacity = time.monotonic() + _CAPACITY_SECONDS
        capacity = asdict(resources_of(ray.cluster_resources()))
        if capacity != self._capacity:
            self._capacity = capacity
            self.channel.send({"type": "capacity", **capacity})

    def _close(self) -> None:
        ending = []
        for placed in self._placed.values():
            if placed.last is None:
                ray.kill(placed.actor)
            else:
                ending.append(placed.actor.close.remote())
        if ending:
            ray.wait(ending, num_returns=len(ending), timeout=_CLOSE_SECONDS)
        ray.shutdown()


def connect(address: str) -> None:
    """Connect this process to the cluster at `address`, HOST:PORT or `auto`; without one, start a cluster of one node.

    Raises ServiceUnavailable where nobody listens and ConfigurationError where the cluster cannot be used from here.
    """
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
    if not address:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(address="local", include_dashboard=False, object_store_memory=_STORE_BYTES, **options)
        return
    host, _, port = address.rpartition(":")
    if host:
        try:  # Ray itself tries for minutes
            socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
        except OSError as error:
            raise ServiceUnavailable(
                f"The Ray cluster at {address} does not answer: {error}. Start it (`ray start --head`) or correct "
                "ray_address."
            ) from None
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ConfigurationError(
            f"The Ray cluster at {address} cannot be used from here: {last_line(str(error))}. The worker has to run on "
            "a node of it, with the same versions of Ray and Python."
        ) from None


def resources_of(amounts: dict[str, float]) -> Resources:
    """Return the cores, bytes and GPUs among what Ray says that a node or a cluster has."""
    return Resources(
        cpu=float(amounts.get("CPU", 0.0)), memory_bytes=int(amounts.get("memory", 0)), gpu=int(amounts.get("GPU", 0))
    )


def waits_for(asked: Resources, nodes: list[Resources]) -> str:
    """Return what an attempt that no node has taken waits for."""
    fits = any(
        node.cpu >= asked.cpu and node.memory_bytes >= asked.memory_bytes and node.gpu >= asked.gpu for node in nodes
    )
    if fits:
        return f"waits until a node of the Ray cluster has {shown(asked)} free"
    most = Resources(
        cpu=max((node.cpu for node in nodes), default=0.0),
        memory_bytes=max((node.memory_bytes for node in nodes), default=0),
        gpu=max((node.gpu for node in nodes), default=0),
    )
    return (
        f"no node of the Ray cluster has {shown(asked)}, the most that one has is {shown(most)}; it waits for a larger "
        "node, so add one, or cancel the run and reserve less"
    )


def shown(resources: Resources) -> str:
    """Return resources as a person reads them."""
    return f"cpu={resources.cpu:g}, memory={resources.memory_bytes / 2**30:.1f}GiB, gpu={resources.gpu}"


def last_line(text: str) -> str:
    """Return the last line of a text, which in Ray's errors is the cause, without its advice."""
    lines = text.strip().splitlines()
    return (lines[-1].strip() if lines else "no reason is known").partition(" Some common causes")[0][
        :_REASON_CHARACTERS
    ]


def main() -> None:
    """Serve the supervisor at the descriptor given on the command line."""
    die_with_parent()
    RayDriver(Channel(socket.socket(fileno=int(sys.argv[1])))).serve()


if __name__ == "__main__":
    main()
