"""What a rerun keeps and what it runs again, and why; pure, so that it can be shown before anybody decides."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from podium.dag.plan import Plan
from podium.errors import NotFound

_WAS = {"failed": "it failed", "cancelled": "it was cancelled", "skipped": "it was skipped, which is decided anew"}


@dataclass(frozen=True)
class RerunStep:
    """What becomes of one step of a run that is taken up again; the reason is for a person.

    One that runs `afresh` may read something else than before: nothing that it did counts any more, of a mapped
    step no item.
    """

    name: str
    action: Literal["keep", "run"]
    reason: str
    afresh: bool = False


def rerun_of(
    plan: Plan, states: Mapping[str, str], *, from_step: str | None, skipped_by_hand: Collection[str] = ()
) -> list[RerunStep]:
    """Return what becomes of each step, in the plan's order, of a run that goes on, or is done again from a step.

    `states` are those of the steps, of a mapped one that of the whole. What succeeded is kept unless it is
    `from_step` or something that it needs runs again: what an `always` step did after a failure is not what it does
    after a success. What was skipped is decided anew only if something before it runs again or was skipped by a person
    since. What a person skipped is kept: a decision stands until another is made. With `from_step` None the run
    goes on where it stopped. NotFound for a step that the plan does not have.
    """
    names = [node.name for node in plan.steps]
    if from_step is not None and from_step not in names:
        raise NotFound(f"The pipeline {plan.pipeline} has no step {from_step!r}; its steps are {', '.join(names)}.")
    found: list[RerunStep] = []
    again: set[str] = set()
    for node in plan.steps:
        state = states.get(node.name)
        before = [name for name in node.dependencies if name in again]
        if node.name == from_step:
            step = RerunStep(node.name, "run", "it is where the rerun begins", afresh=True)
        elif node.name in skipped_by_hand:
            step = RerunStep(node.name, "keep", "a person skipped it")
        elif state == "succeeded" and not before:
            step = RerunStep(node.name, "keep", "it succeeded")
        elif state == "skipped" and not before and not any(name in skipped_by_hand for name in node.dependencies):
            step = RerunStep(node.name, "keep", "it was skipped, and nothing before it runs again")
        else:
            step = RerunStep(node.name, "run", _reason(state, before), afresh=bool(before) and state != "skipped")
        if step.action == "run":
            again.add(node.name)
        found.append(step)
    return found


def _reason(state: str | None, before: Collection[str]) -> str:
    if state in _WAS:
        return _WAS[state]
    if state == "succeeded":
        return f"it comes after {' and '.join(before)}, which {'runs' if len(before) == 1 else 'run'} again"
    return "it has not ended"
