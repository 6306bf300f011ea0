"""A slot: a warm child process that executes one attempt after another for its supervisor.

The main thread runs the step; a second thread reads the channel, so that the supervisor's end is noticed while
user code runs. A slot never sees Podium's database: what a stage needs of it, it asks over the channel.
"""

import contextlib
import importlib
import io
import math
import os
import queue
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import podium.errors
from podium import faults
from podium.dag import complaints, loading, values
from podium.dag.authoring import Step
from podium.dag.references import ITEM_LIMIT
from podium.errors import DefinitionError, InternalError, NoCodec, PodiumError
from podium.execution import meter, wire
from podium.execution.artifacts import ArtifactStore, open_blobs
from podium.execution.channel import Channel, ChannelClosed, Message
from podium.execution.codecs import Codecs
from podium.execution.context import AttemptContext, Cancelled, Snooze, entered
from podium.execution.items import item_name
from podium.execution.processes import adopt_orphans, descendants, end_descendants, reap

_INTERRUPT = signal.SIGUSR2
"""Not SIGTERM: processes that the step forks inherit the handler, and `terminate()` must go on ending them."""
_GROWTH_BYTES = 512 * 1024 * 1024
"""A slot that grew by more since it started is replaced after its attempt."""
_CONDITION_CHARACTERS = 500
"""A condition travels in its row; even if each character takes 4 bytes and is escaped, it fits."""
_ERROR_CHARACTERS = 4000
_ERROR_TYPE_CHARACTERS = 200
_PODIUM_FOLDER = Path(podium.errors.__file__).parent


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
        self._first_memory_bytes = _own_memory_bytes()
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
            measured, threads = meter.Meter(), set(threading.enumerate())
            try:
                result: Message = {"state": "succeeded", "outputs": self._run(work)}
            except Snooze as snooze:
                result = {"state": "snoozed", "seconds": snooze.seconds, "reason": _storable(snooze.reason)}
                sys.stderr.write(f"podium: the step {snooze}\n")
            except BaseException as error:  # noqa: BLE001 - whatever user code raises, SystemExit too, ends the attempt
                result = {"state": "failed", "error": _describe(error, self._root, self._worth_retrying)}
                traceback.print_exception(error)
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
            "recycle": bool(leftovers or running_on or work.get("gpus"))
            or self._interrupted == work["attempt_id"]  # in the middle of an import, maybe
            or _own_memory_bytes() - self._first_memory_bytes > _GROWTH_BYTES,
        }

    def _run(self, work: Message) -> Message:
        if "gpus" in work:  # before the first use of CUDA; a process that has used it is not used for another attempt
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(work["gpus"])
        os.chdir(self._root)  # wherever the worker was started, and whereto the attempt before went
        with self._interrupts(work["attempt_id"]):
            result = self._call(work)
        outputs = {name: self._output(work["step"], name, result) for name in work["outputs"]}
        for name in work["conditions"]:
            outputs[name] = _plain(work["step"], name, outputs[name])
        for name in work["split"]:
            outputs |= _items(work["step"], name, outputs.pop(name))
        return {name: self._put(f"{work['step']}.{name}", value) for name, value in outputs.items()}

    def _call(self, work: Message) -> Any:
        """Call the step's function; Snooze for a sensor to which nothing has come yet."""
        step = self._load_step(work)
        self._worth_retrying = step.definition.options.worth_retrying
        arguments = {name: self._argument(source) for name, source in work["inputs"].items()}
        context = AttemptContext(
            **{**work["context"], "interval": values.decode(work["context"]["interval"])},
            build_services=self._services,
            read_before=lambda parameter: self.ask("read_before", {"parameter": parameter}),
            artifact=self._artifact,
        )
        with entered(context), _thread_limit(work["cpu"]):
            result = step.function(**arguments)
        if result is None and work["every"] is not None:
            raise Snooze(work["every"], "nothing has come yet")
        return result

    def _put(self, output: str, value: Any) -> Message:
        try:
            return wire.artifact_to_document(self._store.put(value))
        except NoCodec as error:
            raise NoCodec(f"The output {output} cannot be stored. {error}") from None

    def _services(self) -> Any:
        module, _, attribute = self._configuration["services"].partition(":")
        return getattr(importlib.import_module(module), attribute)(self._configuration, self.ask)

    def _load_step(self, work: Message) -> Step[..., Any]:
        loading.check_unchanged(self._root, work["modules"])
        return loading.load_step(self._root, work["file"], work["module"], work["qualname"])

    def _argument(self, source: Message) -> Any:
        if "value" in source:
            return values.decode(source["value"])
        if "artifacts" in source:
            return [self._store.get(wire.artifact_from_document(item)) for item in source["artifacts"]]
        return self._store.get(wire.artifact_from_document(source["artifact"]))

    def _artifact(self, digest: str) -> Any:
        return self._store.get(wire.artifact_from_document(self.ask("artifact", {"digest": digest})))

    @staticmethod
    def _output(step: str, name: str, result: Any) -> Any:
        if name == "result":
            return result
        try:
            return getattr(result, name)
        except AttributeError:
            raise DefinitionError(
                f"The step {step} returned a {type(result).__name__}, which has no {name!r}; a later step needs it. "
                "Return what the step's annotation says."
            ) from None


def _plain(step: str, name: str, value: Any) -> Any:
    """Return the value of a condition, which must be a small plain one: the supervisor decides on it."""
    plain = value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value
    if type(plain) not in (bool, int, float, str, type(None)):
        raise DefinitionError(
            f"The condition {step}.{name} of a `when` is a {type(value).__name__}; return a bool, a number or a text "
            "to decide on."
        )
    if isinstance(plain, float) and math.isnan(plain):
        raise DefinitionError(
            f"The condition {step}.{name} of a `when` is NaN, which is neither true nor false; return what is known, "
            "or None where nothing is."
        )
    if isinstance(plain, str) and len(plain) > _CONDITION_CHARACTERS:
        raise DefinitionError(
            f"The condition {step}.{name} of a `when` is a text of {len(plain):,} > {_CONDITION_CHARACTERS:,} "
            "characters; return a bool, a number or a short text to decide on."
        )
    return plain


def _items(step: str, name: str, value: Any) -> dict[str, Any]:
    """Return the items of a list that others are mapped over, by the names they are stored under."""
    if type(value) is not list:
        raise DefinitionError(
            f"The output {step}.{name}, which a later step is mapped over, is a {type(value).__name__}; return a list."
        )
    if len(value) > ITEM_LIMIT:
        raise DefinitionError(
            f"The output {step}.{name} has {len(value):,} items > {ITEM_LIMIT:,} that a later step may be mapped over; "
            "return fewer, each of them more."
        )
    return {item_name(name, index): item for index, item in enumerate(value)}


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Send what this process and its children print to `path`, native code included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
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


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):  # closed by the step
            stream.flush()


@contextmanager
def _thread_limit(cpu: float) -> Iterator[None]:
    """Hold OpenMP and BLAS to the cores that the step reserved and pays for."""
    if "numpy" not in sys.modules:
        yield
        return
    import threadpoolctl

    with threadpoolctl.threadpool_limits(max(1, round(cpu))):
        yield


def _describe(
    error: BaseException, root: Path, worth_retrying: Callable[[BaseException], bool] | None = None
) -> Message:
    """Type, one paragraph and whether trying again can help, of what a step raised; the step may know more of that."""
    kind = type(error).__name__
    try:
        about_a_model = complaints.about_a_model(error)
        text = about_a_model or str(error)
    except Exception:  # noqa: BLE001 - a class of the user's, whose text may be broken as well
        about_a_model, text = None, "its text cannot be shown"
    if not isinstance(error, PodiumError) and about_a_model is None:
        text = f"{kind}: {text}" if text else kind
    place = "" if isinstance(error, PodiumError) else _place(error, root)
    return {
        "type": kind[:_ERROR_TYPE_CHARACTERS],
        "message": _storable(text or kind) + place,
        "retryable": (not isinstance(error, PodiumError) or error.retryable) and _is_worth(worth_retrying, error),
    }


def _is_worth(retrying: Callable[[BaseException], bool] | None, error: BaseException) -> bool:
    """Ask the step's own predicate whether an error is worth another attempt; one that raises has not said no."""
    if retrying is None:
        return True
    try:
        return retrying(error)
    except Exception as broken:  # noqa: BLE001 - code of the user's
        sys.stderr.write(
            f"podium: `on` of the step's Retry raised {type(broken).__name__}: {broken}; the step is tried again.\n"
        )
        return True


def _storable(text: str) -> str:
    """Return `text` as every database takes it: no NUL, no half surrogate pairs, no novel."""
    if len(text) > _ERROR_CHARACTERS:
        text = f"{text[:_ERROR_CHARACTERS]} … ({len(text):,} characters; the log has all)"
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _place(error: BaseException, root: Path) -> str:
    """Return where in the project's own code an error passed last; without any, where outside Podium."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not Path(frame.filename).is_relative_to(_PODIUM_FOLDER)
    ]
    own = [frame for frame in frames if loading.is_own_code(Path(frame.filename), root)]
    if not frames:
        return ""
    last = (own or frames)[-1]
    file = Path(last.filename)
    return f" ({file.relative_to(root) if own else file.name}:{last.lineno})"


def _error_of(document: Message) -> PodiumError:
    known = getattr(podium.errors, document["type"], PodiumError)
    return known(document["message"]) if issubclass(known, PodiumError) else InternalError(document["message"])


def _own_memory_bytes() -> int:
    usage = meter.sample(os.getpid())
    return usage.memory_bytes if usage else 0
