"""What must be true of a run, whatever happened to it: its rows, its events and its plan against each other; pure.

Nothing here knows how a run came to where it is. What a step waits on and which steps may run is asked of the plan by
`readiness`, as the executor asks it. The ledger is checked by finops, which knows what an attempt is billed.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from podium.dag.plan import Plan, StepNode
from podium.db.schema.execution import ATTEMPT_STATES, RUN_TAKEN_UP, STEP_ENDED
from podium.db.violations import Invariant, Violation
from podium.execution import readiness
from podium.execution.items import WHOLE, item_name, parse_item

Row = sa.Row[Any]

_COUNTED = ("failed", "timed_out", "lost")
"""The ends of an attempt that count as a failure of its step run."""

_ATTEMPT_EVENTS = {"attempt.started", *(f"attempt.{state}" for state in ATTEMPT_STATES if state != "running")}
_RUN_STATE_AFTER = {
    "run.created": "queued",
    "run.queued": "queued",
    "run.started": "running",
    "run.resumed": "running",
    "run.retried": "running",
    "run.succeeded": "succeeded",
    "run.failed": "failed",
    "run.cancelled": "cancelled",
}
_RUN_STATE_STAYS = ("run.cancel_requested", "run.deadline_passed", "run.code_changed", "run.rerun")
_DECIDED = ("step.approved", "step.rejected")

_BY_HAND = "Podium never writes this: restore a backup if somebody changed the database, else report it as a bug."


@dataclass(frozen=True)
class StepFacts:
    """A step run with what is on record of it, each in order; an output's row knows its maker's state and step run."""

    row: Row
    attempts: list[Row] = field(default_factory=list)
    outputs: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)

    @cached_property
    def label(self) -> str:
        """The step run's name; of an item `fit[2]`."""
        return item_name(self.row.name, self.row.map_index)

    @property
    def ended(self) -> bool:
        """Whether it stands in a final state."""
        return self.row.state in STEP_ENDED


@dataclass(frozen=True)
class RunFacts:
    """A run with its step runs and its own events; `plan` is None where this version cannot read the stored one."""

    row: Row
    plan: Plan | None
    steps: Sequence[StepFacts]
    events: Sequence[Row]

    @property
    def is_open(self) -> bool:
        """Whether it may still move."""
        return self.row.state in ("queued", "running")

    @cached_property
    def wholes(self) -> dict[str, StepFacts]:
        """The step runs that stand for a whole step, by name."""
        return {step.row.name: step for step in self.steps if step.row.map_index == WHOLE}

    @cached_property
    def items(self) -> dict[str, list[StepFacts]]:
        """The items of each mapped step that has some, in order."""
        found: dict[str, list[StepFacts]] = {}
        for step in self.steps:
            if step.row.map_index != WHOLE:
                found.setdefault(step.row.name, []).append(step)
        return found

    def node(self, step: StepFacts) -> StepNode | None:
        """Return what the plan says of a step run; None where the plan cannot be read or does not know it."""
        nodes = self.plan.steps if self.plan is not None else ()
        return next((node for node in nodes if node.name == step.row.name), None)

    def ends_with_its_items(self, step: StepFacts) -> bool:
        """Whether a step run is the whole of a mapped step, or may be as far as anybody can tell without its plan."""
        if step.row.map_index != WHOLE:
            return False
        node = self.node(step)
        return not (step.attempts or step.outputs) if node is None else node.over is not None


def violations(run: RunFacts) -> Iterator[Violation]:
    """Yield everything about a run that must not be."""
    yield from _of_run(run)
    yield from _of_plan(run)
    for step in run.steps:
        yield from _of_attempts(run, step)
        yield from _of_moves(run, step)
        yield from _of_answer(run, step) if _is_approval(run, step) else _of_outputs(run, step)
        for attempt in step.attempts:
            yield from _of_meter(run, step, attempt)


def _of_run(run: RunFacts) -> Iterator[Violation]:
    row, open_steps = run.row, [step for step in run.wholes.values() if not step.ended]
    if row.state != "refused" and row.open_steps != len(open_steps):
        fact = f"it counts {row.open_steps} open steps, and {len(open_steps)} are open"
        right = f"open_steps = {len(open_steps)} WHERE run_id = '{row.run_id}'"
        yield _about(run, "", "transactions", fact, f"With no worker at work, `UPDATE run SET {right}`.")  # noqa: S608
    told = None
    for event in run.events:
        if event.step is not None:
            fact = f"its event {event.event_id}, {event.kind}, is about {event.step}, which it does not have"
            yield _about(run, "", "transactions", fact, _BY_HAND)
        elif event.kind not in _RUN_STATE_STAYS:
            told = _RUN_STATE_AFTER.get(event.kind)
    if told != row.state and row.state != "refused":
        yield _about(run, "", "transactions", f"it is {row.state}, and its events say {told or 'nothing'}", _BY_HAND)
    if run.is_open:
        yield from _of_standstill(run)
        return
    for step in run.steps:
        if not step.ended and row.state != "refused":
            yield _about(run, step.label, "transactions", f"it is {step.row.state} in a run that {row.state}", _BY_HAND)
    failed = [step.label for step in run.wholes.values() if step.row.state == "failed"]
    if row.state == "succeeded" and failed:
        yield _about(run, "", "transactions", f"it succeeded, and its step {failed[0]} failed", _BY_HAND)
    late = any(event.kind == "run.deadline_passed" for event in run.events)
    if row.state == "failed" and not failed and not late:
        yield _about(run, "", "transactions", "it failed, and no step of it did", _BY_HAND)


def _of_standstill(run: RunFacts) -> Iterator[Violation]:
    """An open run has something that will move it: else it would stay open for ever."""
    if not any(_will_move(step) for step in run.steps):
        states = ", ".join(f"{count} {state}" for state, count in sorted(_states(run).items()))
        yield _about_counts(run, "", f"it is {run.row.state} and nothing will move it: its step runs are {states}")


def _will_move(step: StepFacts) -> bool:
    return step.row.state in ("ready", "running", "held") or (step.row.state == "waiting" and _is_put_off(step))


def _is_put_off(step: StepFacts) -> bool:
    """Whether a waiting step run waits for its time, or snoozes until somebody makes it ready."""
    moves = [event.kind for event in step.events if event.kind.startswith("step.")]
    return step.row.not_before is not None or moves[-1:] == ["step.snoozed"]


def _states(run: RunFacts) -> Counter[str]:
    return Counter(step.row.state for step in run.steps)


def _of_plan(run: RunFacts) -> Iterator[Violation]:
    """Step runs against the plan: the same steps, each waiting on what the plan says and run only if it may."""
    if run.plan is None:
        fact = f"its plan {run.row.plan_digest[:12]} cannot be read by this version of Podium, so it was not held to it"
        yield _about(run, "", "recovery", fact, "Check it with the version that stored it.", warning=True)
        return
    names = [node.name for node in run.plan.steps]
    if sorted(names) != sorted(run.wholes):
        fact = f"its plan has the steps {', '.join(names)}, on record are {', '.join(sorted(run.wholes))}"
        yield _about(run, "", "transactions", fact, _BY_HAND)
        return
    final = {name: step.row.state for name, step in run.wholes.items() if step.ended}
    waits = readiness.waiting_counts(run.plan, final)
    for node in run.plan.steps:
        whole, items = run.wholes[node.name], run.items.get(node.name, [])
        if node.over is not None:
            yield from _of_items(run, whole, items)
        elif items:
            yield _about(run, node.name, "transactions", f"it has {len(items)} items and is not mapped", _BY_HAND)
        if run.is_open and run.row.cancel_requested_at is None:
            yield from _of_waiting(run, whole, items, waits[node.name])
        may = whole.row.state in ("ready", "running", "held", "succeeded")
        if may and waits[node.name] == 0:
            upstream = {name: final[name] for name in node.dependencies if name in final}
            decision = readiness.decide(node, upstream, lambda _: True)
            if decision.state == "skipped":
                fact = f"it is {whole.row.state}, and its plan skips it: {decision.reason}"
                yield _about(run, node.name, "transactions", fact, _BY_HAND)


def _of_waiting(run: RunFacts, whole: StepFacts, items: list[StepFacts], waits: int) -> Iterator[Violation]:
    """What an open step waits on is what the plan says is unfinished; a mapped one then waits on its open items."""
    row = whole.row
    if row.state == "waiting":
        expected = waits or sum(not item.ended for item in items)
        if row.waiting_on != expected:
            yield _about_counts(run, whole.label, f"it waits on {row.waiting_on}, and {expected} have not ended")
        elif expected == 0 and not _is_put_off(whole):
            yield _about_counts(run, whole.label, "it waits on nothing and is not ready")
    elif row.state in ("ready", "running", "held") and waits:
        yield _about_counts(run, whole.label, f"it is {row.state}, and {waits} that it waits on have not ended")


def _of_items(run: RunFacts, whole: StepFacts, items: list[StepFacts]) -> Iterator[Violation]:
    indexes = [item.row.map_index for item in items]
    if indexes != list(range(len(indexes))):
        yield _about(run, whole.label, "transactions", f"its items are numbered {indexes}", _BY_HAND)
    if whole.attempts:
        yield _about(run, whole.label, "attempts", f"it is mapped and has {len(whole.attempts)} attempts", _BY_HAND)
    # Of a list that was made anew and is shorter, the items behind its end were skipped.
    left = [item.label for item in items if item.row.state not in ("succeeded", "skipped")]
    if whole.row.state == "succeeded" and left:
        yield _about(run, whole.label, "transactions", f"it succeeded, and its item {left[0]} did not", _BY_HAND)
    if whole.row.state == "failed" and not left:
        yield _about(run, whole.label, "transactions", "it failed, and all its items succeeded", _BY_HAND)


def _of_attempts(run: RunFacts, step: StepFacts) -> Iterator[Violation]:
    """Attempts are numbered from 1, follow each other, and run exactly while their step run does."""
    numbers = [attempt.number for attempt in step.attempts]
    if numbers != list(range(1, len(numbers) + 1)):
        yield _about(run, step.label, "attempts", f"its attempts are numbered {numbers}", _BY_HAND)
    running = [attempt.number for attempt in step.attempts if attempt.state == "running"]
    if running != numbers[-1:] and running:
        yield _about(run, step.label, "attempts", f"attempts {running} of {numbers} are running", _BY_HAND)
    if bool(running) != (step.row.state == "running"):
        which = f"attempt {running[0]} of it is running" if running else "no attempt of it is"
        invariant: Invariant = "waiting" if step.row.state in ("waiting", "held") else "attempts"
        yield _about_counts(run, step.label, f"it is {step.row.state}, and {which}", invariant)
    for attempt in step.attempts:
        if attempt.state == "running" and attempt.worker_ended_at is not None:
            fact = f"attempt {attempt.number} is running, and its worker {attempt.worker_id} ended"
            yield _about_counts(run, step.label, fact, "writers")
    failures = sum(attempt.state in _COUNTED for attempt in step.attempts)
    resumed = any(event.kind in RUN_TAKEN_UP for event in run.events)  # which starts the count anew
    if step.row.failures > failures or (step.row.failures < failures and not resumed):
        yield _about_counts(run, step.label, f"it counts {step.row.failures} failures, and {failures} attempts failed")


def _of_moves(run: RunFacts, step: StepFacts) -> Iterator[Violation]:
    """Every move is told by an event of its transaction."""
    rows = [
        (kind, attempt.number)
        for attempt in step.attempts
        for kind in ("attempt.started", f"attempt.{attempt.state}")
        if kind != "attempt.running"
    ]
    told = [(event.kind, event.attempt) for event in step.events if event.kind in _ATTEMPT_EVENTS]
    if rows != told:
        fact = f"its events tell of {_words(told)}, its attempts of {_words(rows)}"
        yield _about(run, step.label, "transactions", fact, _BY_HAND)
    moves = [event.kind for event in step.events if event.kind.startswith("step.")]
    surplus = step.row.state == "skipped" and step.row.map_index != WHOLE  # of a list that has become shorter
    if step.row.state in ("succeeded", "failed", "skipped") and not surplus:
        expected = ["step.cached" if step.row.cached else f"step.{step.row.state}"]
        if _is_approval(run, step) and step.row.state == "succeeded":
            expected = list(_DECIDED)
        if moves[-1:] not in [[kind] for kind in expected]:
            fact = f"it {'was ' if step.row.state == 'skipped' else ''}{step.row.state}, and its last event is "
            yield _about(run, step.label, "transactions", fact + (moves[-1] if moves else "missing"), _BY_HAND)


def _is_approval(run: RunFacts, step: StepFacts) -> bool:
    node = run.node(step)
    return node is not None and node.kind == "approval"


def _words(told: list[tuple[str, int]]) -> str:
    return ", ".join(f"{kind.removeprefix('attempt.')} {number}" for kind, number in told) or "nothing"


def _of_outputs(run: RunFacts, step: StepFacts) -> Iterator[Violation]:
    """Outputs are of the one attempt that succeeded, or of the step run that a cached one was taken over from."""
    state, makers = step.row.state, {row.attempt_id for row in step.outputs}
    if state != "succeeded":
        if step.outputs:
            yield _about(run, step.label, "transactions", f"it is {state} and has outputs", _BY_HAND)
        return
    if run.ends_with_its_items(step):
        if step.outputs:
            yield _about(run, step.label, "transactions", "it is mapped and has outputs itself", _BY_HAND)
        return
    succeeded = [attempt.attempt_id for attempt in step.attempts if attempt.state == "succeeded"]
    if step.row.cached:
        if any(row.maker_state != "succeeded" or row.maker_step_run_id == step.row.step_run_id for row in step.outputs):
            yield _about(run, step.label, "transactions", "it is cached, and no other step made its outputs", _BY_HAND)
    elif [attempt.attempt_id for attempt in step.attempts][-1:] != succeeded[-1:] or not succeeded:
        ends = ", ".join(attempt.state for attempt in step.attempts) or "none"
        yield _about(run, step.label, "transactions", f"it succeeded after the attempts: {ends}", _BY_HAND)
    if len(makers) > 1 or (not step.row.cached and makers - set(succeeded[-1:])):
        yield _about(run, step.label, "transactions", "another attempt made its outputs than succeeded", _BY_HAND)
    node = run.node(step)
    if run.plan is not None and node is not None:
        lists = run.plan.split_outputs(node.name)  # one without items has no rows
        missing = set(node.outputs) - lists - {parse_item(row.name)[0] for row in step.outputs}
        if missing:
            repair = f"`podium run {run.row.pipeline} --for … --again` makes it anew."
            yield _about(run, step.label, "recovery", f"it succeeded and its output {min(missing)} is gone", repair)


def _of_answer(run: RunFacts, step: StepFacts) -> Iterator[Violation]:
    """What was decided about an approval is an output that no attempt made."""
    if any(row.attempt_id is not None for row in step.outputs) or step.attempts:
        yield _about(run, step.label, "attempts", "it is an approval, and an attempt made its answer", _BY_HAND)
    if bool(step.outputs) != (step.row.state == "succeeded"):
        fact = f"it is {step.row.state}, and {len(step.outputs)} answers to it are on record"
        yield _about(run, step.label, "transactions", fact, _BY_HAND)


def _of_meter(run: RunFacts, step: StepFacts, attempt: Row) -> Iterator[Violation]:
    """What no meter saw is NULL, not zero; an end that is an error says which."""
    of = f"attempt {attempt.number}, {attempt.state},"
    measures = (attempt.wall_seconds, attempt.cpu_seconds, attempt.peak_memory_bytes)
    if any(value is not None and not (math.isfinite(value) and value >= 0) for value in measures):
        yield _about(run, step.label, "unknowns", f"{of} used {measures}, which is no amount", _BY_HAND)
    if attempt.state == "running":
        if any(value is not None for value in (*measures, attempt.meter_quality)):
            yield _about(run, step.label, "unknowns", f"{of} has its use on record already", _BY_HAND)
        return
    if attempt.meter_quality is None or attempt.meter_source is None:
        yield _about(run, step.label, "unknowns", f"{of} does not say how well its use is known", _BY_HAND)
    elif attempt.meter_quality == "missing" and (attempt.cpu_seconds, attempt.peak_memory_bytes) != (None, None):
        yield _about(run, step.label, "unknowns", f"{of} has a use on record that no meter saw", _BY_HAND)
    elif attempt.meter_quality == "measured" and attempt.cpu_seconds is None:
        yield _about(run, step.label, "unknowns", f"{of} was measured, and its CPU time is not on record", _BY_HAND)
    if attempt.state == "lost" and attempt.meter_quality == "measured":
        yield _about(run, step.label, "unknowns", f"{of} was measured, and nobody saw its end", _BY_HAND)
    if attempt.state in _COUNTED and attempt.error is None:
        yield _about(run, step.label, "unknowns", f"{of} does not say why", _BY_HAND)
    if attempt.state == "succeeded" and attempt.error is not None:
        yield _about(run, step.label, "unknowns", f"{of} has an error: {attempt.error}", _BY_HAND)


def _about(
    run: RunFacts, label: str, invariant: Invariant, fact: str, repair: str, *, warning: bool = False
) -> Violation:
    what = f"step {label} of run {run.row.run_id}" if label else f"run {run.row.run_id}"
    return Violation(invariant, what, fact, repair, "warning" if warning else "broken")


def _about_counts(run: RunFacts, label: str, fact: str, invariant: Invariant = "transactions") -> Violation:
    """Return what the run itself is put right by, where it is open: to resume it makes its counts anew."""
    repair = _BY_HAND
    if run.is_open:
        reason = "--reason repair"
        repair = f"`podium runs cancel {run.row.run_id} {reason}`, then `podium runs resume {run.row.run_id} {reason}`."
    return _about(run, label, invariant, fact, repair)
