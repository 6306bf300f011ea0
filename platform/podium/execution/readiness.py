"""Which step runs may start, and which never will; pure.

A step run waits on the steps it reads from, is ordered after, or whose output its `when` looks at. When the
last of them has ended it becomes ready, or is skipped. Whether the ends of the steps it reads from or is ordered
after let it run, its `run_if` says. A condition must be known and true in any case, for an `always` step too: if the
step that it is an output of did not succeed, nobody knows. And a list to be mapped over must be there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from podium.dag.plan import Plan, Reference, StepNode


@dataclass(frozen=True)
class Decision:
    """What becomes of a step run that waits on nothing any more."""

    state: Literal["ready", "skipped"]
    reason: str | None = None


def decide(node: StepNode, upstream: Mapping[str, str], value_of: Callable[[Reference], Any]) -> Decision:
    """Return the decision for `node`, given the final states of the steps upstream.

    `value_of` reads a condition's value; it is asked only when the condition's step succeeded.
    """
    reason = _objection(node, {name: upstream[name] for name in node.feeders})
    if reason is not None:
        return Decision("skipped", reason)
    items = node.inputs[node.over] if node.over is not None else None
    needed = [*([items] if isinstance(items, Reference) else []), *node.conditions]
    for reference in needed:
        if upstream[reference.step] != "succeeded":
            return Decision("skipped", _ended(reference.step, upstream[reference.step]))
    for condition in node.conditions:
        value = value_of(condition)
        if not value:
            return Decision("skipped", f"{condition.step}.{condition.output} is {value!r}")
    return Decision("ready")


def _objection(node: StepNode, ends: Mapping[str, str]) -> str | None:
    """Return why the ends of the steps before do not let a step run; None if they do."""
    if node.run_if == "always" or not ends:
        return None
    if node.run_if == "any_succeeded":
        none_did = "succeeded" not in ends.values()
        return f"none of {', '.join(ends)} succeeded" if none_did else None
    bad = ("failed", "cancelled") if node.run_if == "none_failed" else ("failed", "cancelled", "skipped")
    return next((_ended(name, state) for name, state in ends.items() if state in bad), None)


def _ended(name: str, state: str) -> str:
    return f"{name} {'was ' if state in ('skipped', 'cancelled') else ''}{state}"


def waiting_counts(plan: Plan, states: Mapping[str, str]) -> dict[str, int]:
    """Return, for each step, on how many steps upstream it still waits; `states` are the final states so far."""
    return {node.name: sum(1 for name in node.dependencies if name not in states) for node in plan.steps}
