"""What a step run reads, and what was read on the way to it; pure.

A value that judges a model must not have trained it, so the way is followed through every step before, conditions and
plain order included. A list that is stored item by item counts with each of its items and as the list they are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podium import ids
from podium.dag.plan import Constant, ParameterInput, Plan, Reference, StepNode
from podium.errors import InternalError
from podium.execution.artifacts import Artifact
from podium.execution.items import WHOLE

Index = int | None
"""Which item of a list: None for all of them, WHOLE where there is no list."""


@dataclass(frozen=True)
class Read:
    """An output of a step, one item of it, or the list of all its items."""

    step: str
    output: str
    index: Index = WHOLE


Stored = Mapping[Read, Artifact | tuple[Artifact, ...]]
"""What was read: an artifact, or those of a list in order."""


def read_by(plan: Plan, node: StepNode, index: Index) -> dict[str, Read]:
    """Return what a step run reads by parameter, or of a mapped step (`index` None) all of its step runs together."""
    return {
        name: Read(source.step, source.output, _index(plan, source, index if name == node.over else None))
        for name, source in node.inputs.items()
        if isinstance(source, Reference)
    }


def on_the_way_to(plan: Plan, step: str, index: Index) -> set[Read]:
    """Return all that a step run and every step run before it read.

    Item by item where one mapped step is mapped over another: what another item read did not reach this one.
    """
    found: set[Read] = set()
    seen: set[tuple[str, Index]] = set()
    ahead = [(step, index)]
    while ahead:
        here = ahead.pop()
        if here in seen:
            continue
        seen.add(here)
        node = plan.step(here[0])
        reads = read_by(plan, node, here[1])
        found.update(reads.values())
        ahead.extend(maker_of(plan, read) for read in reads.values())
        waits = (*(condition.step for condition in node.conditions), *node.after)
        ahead.extend((name, _all_of(plan.step(name))) for name in waits)
    return found


def maker_of(plan: Plan, read: Read) -> tuple[str, Index]:
    """Return the step that made what was read, and the item of it if that is mapped."""
    return read.step, read.index if plan.step(read.step).over is not None else WHOLE


def items_of(node: StepNode, parameters: Mapping[str, Any], stored: Stored) -> Sequence[Any]:
    """Return the list that a mapped step is mapped over: artifacts out of `stored`, or values as JSON."""
    source = node.inputs[node.over] if node.over is not None else None
    if isinstance(source, Constant):
        items = source.value
    elif isinstance(source, ParameterInput):
        items = parameters[source.name]
    elif isinstance(source, Reference):
        items = stored[Read(source.step, source.output, None)]
    else:
        items = None
    if not isinstance(items, list | tuple):
        raise InternalError(f"The step {node.name} is mapped over what is no list.")
    return items


def digest_of(stored: Artifact | tuple[Artifact, ...]) -> str:
    """Return the digest of an artifact, or of a list's digests in order."""
    return stored.digest if isinstance(stored, Artifact) else ids.digest_json([item.digest for item in stored])


def digests_of(stored: Iterable[Artifact | tuple[Artifact, ...]]) -> list[str]:
    """Return every digest that something read may be recognised by, a list's items and the list itself; sorted."""
    found: set[str] = set()
    for each in stored:
        found.add(digest_of(each))
        if isinstance(each, tuple):
            found.update(item.digest for item in each)
    return sorted(found)


def _index(plan: Plan, source: Reference, index: Index) -> Index:
    return index if plan.is_list(source) else WHOLE


def _all_of(node: StepNode) -> Index:
    return WHOLE if node.over is None else None
