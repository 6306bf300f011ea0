"""A slot: a warm child process that executes one attempt after another for its supervisor.

The main thread runs the step; a second thread reads the channel, so that the supervisor's end is noticed while
user code runs. A slot never sees Podium's database: what a stage needs of it, it asks over the channel.
"""

import contextlib
import importlib
import io
import os
import queue
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import podium.errors
from podium import faults
from podium.dag import loading, values
from podium.dag.authoring import Step
from podium.errors import InternalError, PodiumError
from podium.execution import attempt, meter, wire
from podium.execution.artifacts import ArtifactStore, open_blobs
from podium.execution.channel import Channel, ChannelClosed, Message
from podium.execution.codecs import Codecs
from podium.execution.context import Cancelled, Snooze
from podium.execution.processes import adopt_orphans, descendants, end_descendants, reap

_INTERRUPT = signal.SIGUSR2
"""Not SIGTERM: processes that the step forks inherit the handler, and `terminate()` must go on ending them."""
_GROWTH_BYTES = 512 * 1024 * 1024
"""A slot that grew by more since it started is replaced after its attempt."""


def main(connection: socket.socket, configuration: Message) -> None:
    """Execute attempts until the supervisor is gone."""
    adopt_orphans()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # each line at once: a log is complete when its step is killed
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    Slot(Channel(connection), configuration).serve()


class Slot:
    """Executes attempts; `ask` carries a stage's question to the supervisor."""

    def __init__(self, channel: Channel, configuration: Message) -> None:
        self._channel = channel
        self._process_id = os.getpid()
        self._root = Path(configuration["root"])
        blobs = open_blobs(configuration["artifacts"], Path(configuration["home"]))
        self._store = ArtifactStore(blobs, Codecs(tuple(configuration["trusted_types"])))
        self._configuration = configuration
        self._work: queue.Queue[Message] = queue.Queue()
        self._answers: queue.Queue[Message] = queue.Queue()
        self._interruptible: str | None = None  # the attempt whose step runs now
        self._interrupted: str | None = None  # the attempt that was last asked to end
        self._worth_retrying: Callable[[BaseException], bool] | None = None
        self._thread_pools = _ThreadPools()
        self._first_memory_bytes = meter.own_memory_bytes()
        faults.configure(Path(configuration["home"]))

    def serve(self) -> None:
        """Take attempts off the channel, one at a time."""
        signal.signal(_INTERRUPT, self._raise_cancelled)
        threading.Thread(target=self._read, name="channel", daemon=True).start()
        while True:
            work = self._work.get()
            self._channel.send(self._execute(work))

    def ask(self, service: str, arguments: dict[str, Any]) -> Any:
        """Ask the supervisor for a service and wait for its answer; its PodiumError is raised here."""
        self._channel.send({"type": "service", "service": service, "arguments": values.encode(arguments)})
        answer = self._answers.get()
        if "error" in answer:
            raise _error_of(answer["error"])
        return values.decode(answer["value"])

    def _read(self) -> None:
        try:
            while True:
                message = self._channel.receive()
                if message["type"] == "interrupt":
                    self._interrupted = message["attempt_id"]
                    signal.pthread_kill(threading.main_thread().ident or 0, _INTERRUPT)
                else:
                    (self._work if message["type"] == "execute" else self._answers).put(message)
        except (ChannelClosed, OSError):
            end_descendants(os.getpid())
            os._exit(1)

    def _raise_cancelled(self, *_: object) -> None:
        """Raise Cancelled in the step that was asked to end; between steps, or in another one, do nothing.

        The signal that brings us here wakes a step that waits in a system call; whom it is meant for, the message said.
        """
        if self._interruptible is not None and self._interruptible == self._interrupted:
            self._interruptible = None
            raise Cancelled("the run is being stopped; there are a few seconds to tidy up")

    @contextmanager
    def _interrupts(self, attempt_id: str) -> Iterator[None]:
        """Let the attempt be interrupted in this block."""
        signal.signal(_INTERRUPT, self._raise_cancelled)  # each time: a step may have set a handler of its own
        self._interruptible = attempt_id
        try:
            self._raise_cancelled()  # if it was asked before it began
            yield
        finally:
            self._interruptible = None

    def _execute(self, work: Message) -> Message:
        faults.reach("slot.before_execute")
        self._worth_retrying = None
        with _log_to(Path(work["log"])):
            measured, threads, imported = meter.Meter(), set(threading.enumerate()), set(sys.modules)
            try:
                result: Message = {"state": "succeeded", "outputs": self._run(work)}
            except Snooze as snooze:
                result = {"state": "snoozed", "seconds": snooze.seconds, "reason": attempt.storable(snooze.reason)}
                sys.stderr.write(f"podium: the step {snooze}\n")
            except BaseException as error:  # noqa: BLE001 - whatever user code raises, SystemExit too, ends the attempt
                result = {"state": "failed", "error": attempt.describe(error, self._root, self._worth_retrying)}
                traceback.print_exception(type(error), error, _below_podium(error.__traceback__))
            if os.getpid() != self._process_id:  # a child that the step forked and let return: not an attempt's end
                os._exit(0 if result["state"] == "succeeded" else 1)
            leftovers = descendants(os.getpid())
            if leftovers:
                sys.stderr.write(f"podium: {len(leftovers)} processes were left when the step ended; they end now.\n")
                reap(end_descendants(os.getpid()))
            running_on = set(threading.enumerate()) - threads
            if running_on:
                sys.stderr.write(
                    f"podium: {len(running_on)} threads were left when the step ended; its slot ends too.\n"
                )
            usage = measured.stop()
        faults.reach("slot.before_result")
        return {
            **result,
            "type": "result",
            "attempt_id": work["attempt_id"],
            "usage": wire.usage_to_document(usage),
            "slot_cpu_seconds": meter.own_cpu_seconds(),
            "recycle": bool(leftovers or running_on or work.get("gpus"))
            or self._interrupted == work["attempt_id"]  # in the middle of an import, maybe
            or self._imported_beyond(work["modules"], sys.modules.keys() - imported)
            or meter.own_memory_bytes() - self._first_memory_bytes > _GROWTH_BYTES,
        }

    def _imported_beyond(self, known: Collection[str], names: Collection[str]) -> bool:
        """Tell whether modules are the project's own but not among the files of a plan.

        Whether such a file changes nobody looks at, so a slot that has imported it is not used for another attempt.
        """
        files = [Path(file) for name in names if (file := getattr(sys.modules.get(name), "__file__", None))]
        own = [file for file in files if loading.is_own_code(file, self._root)]
        return any(file.relative_to(self._root).as_posix() not in known for file in own)

    def _run(self, work: Message) -> Message:
        if "gpus" in work:  # before the first use of CUDA; a process that has used it is not used for another attempt
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(work["gpus"])
        os.chdir(self._root)  # wherever the worker was started, and whereto the attempt before went
        with self._interrupts(work["attempt_id"]):
            step = self._load_step(work)
            self._worth_retrying = step.definition.options.worth_retrying

            def limited(**arguments: Any) -> Any:
                # Not before: what the arguments are read from may import numpy.
                with self._thread_pools.limited(work["cpu"]):
                    return step.function(**arguments)

            result = attempt.call(limited, work, self._store, self.ask, self._services)
        return attempt.store_outputs(work, result, self._store)

    def _services(self) -> Any:
        module, _, attribute = self._configuration["services"].partition(":")
        return getattr(importlib.import_module(module), attribute)(self._configuration, self.ask)

    def _load_step(self, work: Message) -> Step[..., Any]:
        loading.check_unchanged(self._root, work["modules"])
        return loading.load_step(self._root, work["file"], work["module"], work["qualname"])


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Send what this process and its children print to `path`, native code included."""
    log = _opened(path)
    saved = [os.dup(1), os.dup(2)]
    try:
        _flush()
        os.dup2(log, 1)
        os.dup2(log, 2)
        yield
    finally:
        _flush()
        for number, descriptor in enumerate(saved, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.close(log)


def _opened(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        return os.open(path, flags, 0o644)
    except FileNotFoundError:  # of each run's logs only the first
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o644)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):  # closed by the step
            stream.flush()


class _ThreadPools:
    """Holds OpenMP and BLAS to the cores that a step reserved and pays for.

    Finding their libraries takes a millisecond, so they are looked for again only after something was imported.
    """

    def __init__(self) -> None:
        self._controller: Any = None
        self._modules = 0

    def limited(self, cpu: float) -> AbstractContextManager[object]:
        """Hold them in a block to so many cores, rounded, but at least one."""
        if "numpy" not in sys.modules:
            return contextlib.nullcontext()
        if self._modules != len(sys.modules):
            import threadpoolctl

            self._controller = threadpoolctl.ThreadpoolController()
            self._modules = len(sys.modules)
        limited: AbstractContextManager[object] = self._controller.limit(limits=max(1, round(cpu)))
        return limited


def _below_podium(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames that every one begins with: those between here and the step."""
    files = (__file__, attempt.__file__)
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename in files:
        trace = trace.tb_next
    return trace


def _error_of(document: Message) -> PodiumError:
    known = getattr(podium.errors, document["type"], PodiumError)
    return known(document["message"]) if issubclass(known, PodiumError) else InternalError(document["message"])
