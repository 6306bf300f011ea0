"""One attempt from the inside: the arguments a step gets, what is stored of its result, what is told of its error.

A slot executes attempts with it for a worker, and `podium.testing` in the process of a test.
"""

import math
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import podium.errors
from podium.dag import complaints, loading, values
from podium.dag.references import ITEM_LIMIT
from podium.errors import DefinitionError, NoCodec, PodiumError
from podium.execution import wire
from podium.execution.artifacts import Artifact
from podium.execution.channel import Message
from podium.execution.context import AttemptContext, Snooze, entered
from podium.execution.items import item_name

Ask = Callable[[str, dict[str, Any]], Any]
"""Asks a service by name, with arguments; its PodiumError is raised."""

WorthRetrying = Callable[[BaseException], bool]
"""Tells of an error whether another attempt could end otherwise."""

_CONDITION_CHARACTERS = 500
"""A condition travels in its row; even if each character takes 4 bytes and is escaped, it fits."""
_ERROR_CHARACTERS = 4000
_ERROR_TYPE_CHARACTERS = 200
_PODIUM_FOLDER = Path(podium.errors.__file__).parent


class Artifacts(Protocol):
    """Where an attempt's values come from and go to."""

    def put(self, value: Any) -> Artifact:
        """Store a value; NoCodec for one that cannot be."""

    def get(self, artifact: Artifact) -> Any:
        """Read a value that was stored; ArtifactError where that is not possible."""


def call(
    function: Callable[..., Any], work: Message, artifacts: Artifacts, ask: Ask, build_services: Callable[[], Any]
) -> Any:
    """Call a step's function with the inputs that an `execute` message names, in its context.

    Raises Snooze for a sensor to which nothing has come yet.
    """
    arguments = {name: _argument(source, artifacts) for name, source in work["inputs"].items()}
    context = AttemptContext(
        **{**work["context"], "interval": values.decode(work["context"]["interval"])},
        build_services=build_services,
        read_before=lambda parameter: ask("read_before", {"parameter": parameter}),
        artifact=lambda digest: artifacts.get(wire.artifact_from_document(ask("artifact", {"digest": digest}))),
    )
    with entered(context):
        result = function(**arguments)
    if result is None and work["every"] is not None:
        raise Snooze(work["every"], "nothing has come yet")
    return result


def store_outputs(work: Message, result: Any, artifacts: Artifacts) -> dict[str, Message]:
    """Store what later steps read of a result, and the result itself; return it by the names it is stored under.

    Raises DefinitionError for a result that is not what its step's annotations say, NoCodec for one that cannot be
    stored.
    """
    step = work["step"]
    outputs = {name: _output(step, name, result) for name in work["outputs"]}
    for name in work["conditions"]:
        outputs[name] = _plain(step, name, outputs[name])
    for name in work["split"]:
        outputs |= _items(step, name, outputs.pop(name))
    return {name: _stored(f"{step}.{name}", value, artifacts) for name, value in outputs.items()}


def describe(error: BaseException, root: Path, worth_retrying: WorthRetrying | None) -> Message:
    """Return type, one paragraph and whether trying again can help, of what a step raised.

    The step itself may know more of the latter. `root` is the project's: in its files is where an error is placed.
    """
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
        "message": storable(text or kind) + place,
        "retryable": (not isinstance(error, PodiumError) or error.retryable) and _is_worth(worth_retrying, error),
    }


def storable(text: str) -> str:
    """Return `text` as every database takes it: no NUL, no half surrogate pairs, no novel."""
    if len(text) > _ERROR_CHARACTERS:
        text = f"{text[:_ERROR_CHARACTERS]} … ({len(text):,} characters; the log has all)"
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _is_worth(retrying: WorthRetrying | None, error: BaseException) -> bool:
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


def _argument(source: Message, artifacts: Artifacts) -> Any:
    if "value" in source:
        return values.decode(source["value"])
    if "artifacts" in source:
        return [artifacts.get(wire.artifact_from_document(item)) for item in source["artifacts"]]
    return artifacts.get(wire.artifact_from_document(source["artifact"]))


def _stored(output: str, value: Any, artifacts: Artifacts) -> Message:
    try:
        return wire.artifact_to_document(artifacts.put(value))
    except NoCodec as error:
        raise NoCodec(f"The output {output} cannot be stored. {error}") from None


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
