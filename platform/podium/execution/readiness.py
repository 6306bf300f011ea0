"""Which step runs may start, and which never will; pure.

A step run waits on the steps it reads from, is ordered after, or whose output its `when` looks at. When the
last of them ends it becomes ready, or is skipped: because a condition is false, or because a step it needs did
not succeed.
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

    `value_of` reads a condition's value; it is asked only when every step upstream succeeded.
    """
    for name, state in upstream.items():
        if state != "succeeded":
            return Decision("skipped", f"{name} {'was ' if state in ('skipped', 'cancelled') else ''}{state}")
    for condition in node.conditions:
        value = value_of(condition)
        if not value:
            return Decision("skipped", f"{condition.step}.{condition.output} is {value!r}")
    return Decision("ready")


def waiting_counts(plan: Plan, states: Mapping[str, str]) -> dict[str, int]:
    """Return, for each step, on how many steps upstream it still waits; `states` are the final states so far."""
    return {node.name: sum(1 for name in node.dependencies if name not in states) for node in plan.steps}
