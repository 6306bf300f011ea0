"""The floors: what it costs to execute steps durably, written by hand with nothing that could be left out.

A supervisor hands steps to warm workers, over socket pairs to forked processes or over queues to threads. In one
transaction (SQLite in WAL mode, `synchronous = FULL`) it writes down what has ended since the last one and what
starts next, and only then sends it: one fsync per step of a lone chain, fewer where several steps end at once. No
retries, leases, logs, meters, ledger, digests or time limits.
"""

import json
import os
import queue
import selectors
import socket
import sqlite3
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

Message = dict[str, Any]
_HEADER = struct.Struct("!I")
_SCHEMA = """
CREATE TABLE run (run_id INTEGER PRIMARY KEY, state TEXT NOT NULL, created_at REAL NOT NULL, ended_at REAL);
CREATE TABLE step (
    run_id INTEGER NOT NULL REFERENCES run, name TEXT NOT NULL, state TEXT NOT NULL, result TEXT,
    started_at REAL NOT NULL, ended_at REAL, PRIMARY KEY (run_id, name)
) WITHOUT ROWID;
"""


def add_one(value: int) -> int:
    """Do what a step of the chain does, here, at Podium and at each peer."""
    return value + 1


def numbers(count: int) -> list[int]:
    """Return the list that is fanned out."""
    return list(range(count))


STEPS: dict[str, Callable[[Any], Any]] = {"add_one": add_one, "numbers": numbers, "collect": sum}


@dataclass(frozen=True)
class Step:
    """One step of a run: which function it calls, and with what."""

    run_id: int
    name: str
    function: str
    argument: Any


class Run(Protocol):
    """What a run is made of."""

    @property
    def run_id(self) -> int:
        """Its number."""

    def first(self) -> Step:
        """Return the step it begins with."""

    def next(self, ended: Step, result: Any) -> list[Step] | None:
        """Return what is ready now that a step has ended; None if that was the last."""


@dataclass(frozen=True)
class Chain:
    """A run of so many steps, each of which takes the result of the one before."""

    run_id: int
    length: int

    def first(self) -> Step:
        """Return the step it begins with."""
        return Step(self.run_id, "0", "add_one", 0)

    def next(self, ended: Step, result: Any) -> list[Step] | None:
        """Return the next step."""
        number = int(ended.name) + 1
        return None if number == self.length else [Step(self.run_id, str(number), "add_one", result)]


@dataclass
class FanOut:
    """A run of one step that returns a list, one for each of its items, and one that takes their results."""

    run_id: int
    width: int
    _results: dict[int, Any] = field(default_factory=dict)

    def first(self) -> Step:
        """Return the step it begins with."""
        return Step(self.run_id, "numbers", "numbers", self.width)

    def next(self, ended: Step, result: Any) -> list[Step] | None:
        """Return the items; behind the last of them, the step that takes their results."""
        if ended.function == "numbers":
            return [Step(self.run_id, f"item[{n}]", "add_one", item) for n, item in enumerate(result)]
        if ended.function == "collect":
            return None
        self._results[ended.argument] = result
        if len(self._results) < self.width:
            return []
        return [Step(self.run_id, "collect", "collect", [self._results[n] for n in range(self.width)])]


class Workers(Protocol):
    """Warm workers, numbered from 0."""

    def send(self, number: int, message: Message) -> None:
        """Give one something to execute."""

    def results(self) -> list[tuple[int, Message]]:
        """Wait, then return everything that has arrived, each with its worker."""


class Supervisor:
    """Executes runs on its workers and journals every step before it is sent and after it has ended."""

    def __init__(self, path: Path, workers: Workers, count: int) -> None:
        self._workers = workers
        self._idle = list(range(count))
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; {_SCHEMA}")

    def record(self, runs: Sequence[Run]) -> None:
        """Write down that these runs are to be executed."""
        rows = [(run.run_id, "queued", time.time()) for run in runs]
        with self._transaction():
            self._database.executemany("INSERT INTO run (run_id, state, created_at) VALUES (?, ?, ?)", rows)

    def execute(self, runs: Sequence[Run]) -> None:
        """Execute recorded runs to their ends, the oldest first."""
        by_id = {run.run_id: run for run in runs}
        ready = deque(run.first() for run in runs)
        running: dict[int, Step] = {}
        results: list[tuple[int, Message]] = []
        while ready or running or results:
            with self._transaction():
                for worker, message in results:
                    ended = running.pop(worker)
                    self._idle.append(worker)
                    following = self._end(by_id[ended.run_id], ended, message["result"])
                    ready.extendleft(reversed(following))  # a run that has begun goes on before another begins
                started = []
                while ready and self._idle:
                    worker = self._idle.pop()
                    running[worker] = ready.popleft()
                    self._start(running[worker])
                    started.append(worker)
            for worker in started:
                step = running[worker]
                self._workers.send(
                    worker,
                    {"run_id": step.run_id, "step": step.name, "function": step.function, "argument": step.argument},
                )
            results = self._workers.results() if running else []

    def close(self) -> None:
        """Close the journal."""
        self._database.close()

    def _start(self, step: Step) -> None:
        self._database.execute(
            "INSERT INTO step (run_id, name, state, started_at) VALUES (?, ?, 'running', ?)",
            (step.run_id, step.name, time.time()),
        )

    def _end(self, run: Run, step: Step, result: Any) -> list[Step]:
        self._database.execute(
            "UPDATE step SET state = 'succeeded', result = ?, ended_at = ? WHERE run_id = ? AND name = ?",
            (json.dumps(result), time.time(), step.run_id, step.name),
        )
        following = run.next(step, result)
        if following is None:
            self._database.execute(
                "UPDATE run SET state = 'succeeded', ended_at = ? WHERE run_id = ?", (time.time(), step.run_id)
            )
        return following or []

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        yield
        self._database.execute("COMMIT")


class Processes:
    """Forked workers, each at the other end of a socket pair; messages are JSON behind their length, as Podium's."""

    def __init__(self, count: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._ends: list[socket.socket] = []
        self._children: list[int] = []
        for number in range(count):
            own, other = socket.socketpair()
            child = os.fork()
            if child == 0:
                for each in (own, *self._ends):
                    each.close()
                _serve(other)
            other.close()
            self._ends.append(own)
            self._children.append(child)
            self._selector.register(own, selectors.EVENT_READ, number)

    def send(self, number: int, message: Message) -> None:
        """Give one something to execute."""
        _send(self._ends[number], message)

    def results(self) -> list[tuple[int, Message]]:
        """Wait, then return everything that has arrived, each with its worker."""
        return [(key.data, _receive(self._ends[key.data])) for key, _ in self._selector.select()]

    def close(self) -> None:
        """End the workers."""
        for end in self._ends:
            end.close()
        for child in self._children:
            os.waitpid(child, 0)


class Threads:
    """Workers in threads of this process."""

    def __init__(self, count: int) -> None:
        self._results: queue.SimpleQueue[tuple[int, Message]] = queue.SimpleQueue()
        self._work: list[queue.SimpleQueue[Message | None]] = [queue.SimpleQueue() for _ in range(count)]
        self._threads = [threading.Thread(target=self._serve, args=(number,)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def send(self, number: int, message: Message) -> None:
        """Give one something to execute."""
        self._work[number].put(message)

    def results(self) -> list[tuple[int, Message]]:
        """Wait, then return everything that has arrived, each with its worker."""
        arrived = [self._results.get()]
        while not self._results.empty():
            arrived.append(self._results.get())
        return arrived

    def close(self) -> None:
        """End the workers."""
        for work in self._work:
            work.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self, number: int) -> None:
        while (work := self._work[number].get()) is not None:
            self._results.put((number, _execute(work)))


@contextmanager
def floor(folder: Path, workers: type[Processes] | type[Threads], count: int = 2) -> Iterator[Supervisor]:
    """Open a supervisor with `count` warm workers and a journal in `folder`; nothing of it outlives the block."""
    opened = workers(count)
    supervisor = Supervisor(folder / f"{workers.__name__.lower()}.db", opened, count)
    try:
        yield supervisor
    finally:
        supervisor.close()
        opened.close()


def _serve(end: socket.socket) -> None:
    """Execute what comes until the other end is closed; never returns."""
    try:
        while True:
            _send(end, _execute(_receive(end)))
    except (EOFError, OSError):
        os._exit(0)
    finally:
        os._exit(1)


def _execute(work: Message) -> Message:
    result = STEPS[work["function"]](work["argument"])
    return {"run_id": work["run_id"], "step": work["step"], "state": "succeeded", "result": result}


def _send(end: socket.socket, message: Message) -> None:
    body = json.dumps(message).encode()
    end.sendall(_HEADER.pack(len(body)) + body)


def _receive(end: socket.socket) -> Message:
    (length,) = _HEADER.unpack(_exactly(end, _HEADER.size))
    message: Message = json.loads(_exactly(end, length))
    return message


def _exactly(end: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = end.recv(length - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
