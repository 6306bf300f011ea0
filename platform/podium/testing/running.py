"""The executor of tests: what a worker does with a run, in one process, one step at a time, on a clock that jumps.

What it decides it decides with the executor's own pure functions: which step run may start, where an attempt's end
leads. `tests/contract/test_in_process_runs.py` holds it against the real thing.
"""

import heapq
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from podium import settings
from podium.dag.plan import Plan, Reference, StepNode
from podium.dag.recording import StepDefinition
from podium.errors import InternalError, UsageError
from podium.execution import approvals, assignments, attempt, wire
from podium.execution.approvals import Choice
from podium.execution.artifacts import Artifact
from podium.execution.context import Snooze
from podium.execution.entities import Assignment, AttemptEnd, AttemptError, Run, Wait
from podium.execution.items import WHOLE, item_name, parse_item
from podium.execution.meter import Usage
from podium.execution.readiness import decide, waiting_counts
from podium.execution.reads import Read, Stored, digest_of, digests_of, items_of, maker_of, on_the_way_to, read_by
from podium.execution.transitions import after_attempt, within_its_wait
from podium.registry.policy import GatePolicy
from podium.registry.policy_file import policy_for
from podium.stages.asking import AskingServices
from podium.testing.registry import FakeRegistry
from podium.testing.result import AttemptResult, RunEvent, RunResult, StepResult

_ATTEMPT_LIMIT = 1_000
"""How often a step run may be tried, but for a sensor: one that needs more waits for what nobody fakes."""
_NOT_METERED = Usage(0.0, None, None, source="none", quality="missing")


@dataclass
class _StepRun:
    node: StepNode
    position: int
    map_index: int = WHOLE
    state: str = "waiting"
    reason: str | None = None
    failures: int = 0
    attempts: list[AttemptResult] = field(default_factory=list)
    outputs: dict[str, Artifact] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return item_name(self.node.name, self.map_index)


class Running:
    """One run that goes on; `root` is the folder of the project's code."""

    def __init__(
        self,
        plan: Plan,
        run: Run,
        definitions: Mapping[str, StepDefinition],
        choices: Mapping[str, bool | None],
        registry: FakeRegistry,
        artifacts: attempt.Artifacts,
        root: Path,
    ) -> None:
        self._plan = plan
        self._run = run
        self._definitions = definitions
        self._choices = choices
        self._registry = registry
        self._clock = registry.clock
        self._artifacts = artifacts
        self._root = root
        self._started_at = self._clock.now()
        self._wholes = {node.name: _StepRun(node, position) for position, node in enumerate(plan.steps)}
        self._items: dict[str, list[_StepRun]] = {}
        self._waiting_on = waiting_counts(plan, {})
        self._open_items: dict[str, int] = {}
        self._ended: deque[str] = deque()  # steps whose dependents have not been told yet
        self._ready: list[tuple[int, int]] = []  # a heap: position, index
        self._later: list[tuple[datetime, int, int]] = []  # a heap: not before, position, index
        self._events: list[RunEvent] = []
        self._has_begun = False

    def to_its_end(self) -> RunResult:
        """Execute everything that may be executed, and return what the run came to."""
        self._record("run.created")
        with self._registry.run_open(self._run.run_id, self._read_for):
            for node in self._plan.steps:
                if not node.dependencies:
                    self._settle(node)
            self._advance()
            while (step_run := self._next()) is not None:
                if step_run.node.kind == "approval":
                    self._decide(step_run)
                else:
                    self._attempt(step_run)
                self._advance()
            return self._result()

    def _next(self) -> _StepRun | None:
        """Return what a worker with one slot would claim next; if all that is left waits, when the time has come."""
        if not self._ready and self._later:
            self._clock.advance(max(0.0, (self._later[0][0] - self._clock.now()).total_seconds()))
        while self._later and self._later[0][0] <= self._clock.now():
            heapq.heappush(self._ready, heapq.heappop(self._later)[1:])
        if not self._ready:
            return None
        position, index = heapq.heappop(self._ready)
        name = self._plan.steps[position].name
        return self._wholes[name] if index == WHOLE else self._items[name][index]

    def _advance(self) -> None:
        """Tell the dependents of each ended step; one that is skipped thereby has ended too."""
        while self._ended:
            name = self._ended.popleft()
            for node in map(self._plan.step, self._plan.dependents(name)):
                self._waiting_on[node.name] -= 1
                if self._waiting_on[node.name] == 0:
                    self._settle(node)

    def _settle(self, node: StepNode) -> None:
        """Decide about a step that waits on nothing any more."""
        step_run = self._wholes[node.name]
        decision = decide(node, {name: self._wholes[name].state for name in node.dependencies}, self._condition)
        if decision.state == "skipped":
            self._end_step(step_run, "skipped", decision.reason)
        elif node.kind == "approval":
            self._hold(step_run)
        elif node.over is not None:
            self._open(node)
        else:
            self._make_ready(step_run)
            self._record("step.ready", step_run)

    def _open(self, node: StepNode) -> None:
        """Make a mapped step's items."""
        whole = self._wholes[node.name]
        reads = self._stored(read_by(self._plan, node, None).values())
        count = len(items_of(node, self._run.parameters, reads))
        self._items[node.name] = [_StepRun(node, whole.position, index) for index in range(count)]
        self._open_items[node.name] = count
        for item in self._items[node.name]:
            self._make_ready(item)
        self._record("step.mapped", whole, reason=f"over {count:,} items")
        if not count:
            self._close(whole)

    def _hold(self, step_run: _StepRun) -> None:
        """Ask; the answer comes at once, or from nobody when the time for it has run out."""
        node = step_run.node
        if node.name not in self._choices:
            raise UsageError(
                f"The run of {self._plan.pipeline} is held by {node.name}: {node.message} Say what is decided, as "
                f"approvals={{{node.name!r}: True}}; None is what becomes of it when nobody decides."
            )
        step_run.state, step_run.reason = "held", node.message
        self._record("step.held", step_run, reason=approvals.question(node, self._shown(node)))
        seconds = (node.timeout_seconds or 0.0) if self._choices[node.name] is None else 0.0
        at = self._clock.now() + timedelta(seconds=seconds)
        heapq.heappush(self._later, (at, step_run.position, step_run.map_index))

    def _decide(self, step_run: _StepRun) -> None:
        node, approved = step_run.node, self._choices[step_run.node.name]
        choice = approvals.by_default(node)
        if approved is not None:
            choice = Choice(approved, "decided by the test", self._run.actor)
        step_run.outputs = approvals.outputs_of(node, choice)
        step_run.state, step_run.reason = "succeeded", choice.reason
        self._record(choice.event, step_run, reason=approvals.answer(choice, self._shown(node)))
        self._ended.append(node.name)

    def _shown(self, node: StepNode) -> dict[str, str]:
        """Return the digest of each output that an approval shows."""
        reads = read_by(self._plan, node, WHOLE)
        stored = self._stored(reads.values())
        return {name: digest_of(stored[read]) for name, read in reads.items()}

    def _close(self, whole: _StepRun) -> None:
        """End a mapped step whose items have all ended: it failed if one of them did."""
        items = self._items[whole.node.name]
        failed = [item for item in items if item.state != "succeeded"]
        if not failed:
            self._end_step(whole, "succeeded", None)
            return
        first = f"[{failed[0].map_index}]: {failed[0].reason}"
        self._end_step(whole, "failed", f"{len(failed):,} of {len(items):,} items failed: {first}")

    def _make_ready(self, step_run: _StepRun) -> None:
        step_run.state = "ready"
        heapq.heappush(self._ready, (step_run.position, step_run.map_index))

    def _end_step(self, whole: _StepRun, state: str, reason: str | None) -> None:
        whole.state, whole.reason = state, reason
        self._record(f"step.{state}", whole, reason=reason)
        self._ended.append(whole.node.name)

    def _attempt(self, step_run: _StepRun) -> None:
        """Make one attempt, and move its step run to where its end leads."""
        node, number, now = step_run.node, len(step_run.attempts) + 1, self._clock.now()
        if number > _ATTEMPT_LIMIT and node.every_seconds is None:
            raise UsageError(
                f"The step {step_run.label} of {self._plan.pipeline} was tried {_ATTEMPT_LIMIT:,} times and waits on "
                f"({step_run.reason}); fake it, or what it waits for."
            )
        step_run.state, step_run.reason = "running", None
        self._record("attempt.started", step_run, number=number)
        if not self._has_begun:
            self._has_begun = True
            self._record("run.started")
        assignment = self._assignment(step_run, number)
        end, exception = self._execute(assignment)
        first_at = step_run.attempts[0].started_at if step_run.attempts else now
        end = within_its_wait(end, node, (now - first_at).total_seconds())
        step_run.attempts.append(AttemptResult(number, end.state, now, end.error, exception))
        self._record(f"attempt.{end.state}", step_run, number=number, reason=end.error.message if end.error else None)
        move = after_attempt(
            end,
            attempt_id=assignment.attempt_id,
            failures=step_run.failures,
            retries=node.retries,
            now=now,
            retry=node.retry,
        )
        step_run.state, step_run.failures, step_run.reason = move.state, move.failures, move.reason
        self._record(move.event, step_run, reason=move.told)
        if move.not_before is not None:
            heapq.heappush(self._later, (move.not_before, step_run.position, step_run.map_index))
        if move.state == "succeeded":
            step_run.outputs = dict(end.outputs)
        if move.state in ("succeeded", "failed"):
            self._take_note_of_end(step_run)

    def _take_note_of_end(self, step_run: _StepRun) -> None:
        name = step_run.node.name
        if step_run.map_index == WHOLE:
            self._ended.append(name)
            return
        self._open_items[name] -= 1
        if self._open_items[name] == 0:
            self._close(self._wholes[name])

    def _execute(self, assignment: Assignment) -> tuple[AttemptEnd, BaseException | None]:
        """Call a step's function as a slot does; return how the attempt ended and what was raised, if it failed.

        What no step raises on its own account, an interrupt or the failure of the test itself, goes through.
        """
        ask = partial(self._answer, assignment)
        definition = self._definitions[assignment.node.name]
        work = assignments.to_message(assignment, self._root)
        try:
            result = attempt.call(
                definition.function,
                work,
                self._artifacts,
                ask,
                lambda: AskingServices(self._registry.registry, ask, self._gate_of),
            )
            outputs = attempt.store_outputs(work, result, self._artifacts)
        except Snooze as snooze:
            wait = Wait(snooze.seconds, attempt.storable(snooze.reason))
            return AttemptEnd("snoozed", _NOT_METERED, wait=wait), None
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a step raises ends its attempt
            told = AttemptError(**attempt.describe(error, self._root, definition.options.worth_retrying))
            return AttemptEnd("failed", _NOT_METERED, error=told), error
        made = {name: wire.artifact_from_document(document) for name, document in outputs.items()}
        return AttemptEnd("succeeded", _NOT_METERED, made), None

    def _gate_of(self, model: str) -> GatePolicy | None:
        """Return the policy that podium.toml sets for a model, where there is one beside the pipeline's code."""
        if not (self._root / settings.PROJECT_FILE).is_file():
            return None
        return policy_for(model, settings.load(self._root).gates, self._root)

    def _assignment(self, step_run: _StepRun, number: int) -> Assignment:
        node, now = step_run.node, self._clock.now()
        return Assignment(
            attempt_id=f"{step_run.label}-{number}",  # the same each time, and so is the jitter drawn from it
            number=number,
            run=self._run,
            plan=self._plan,
            step_run_id=f"{self._run.run_id}/{step_run.label}",
            node=node,
            map_index=step_run.map_index,
            failures=step_run.failures,
            started_at=now,
            stored=self._stored(read_by(self._plan, node, step_run.map_index).values()),
            log="",
        )

    def _answer(self, assignment: Assignment, service: str, arguments: dict[str, Any]) -> Any:
        """Answer what a stage asks, as its supervisor does."""
        if service == "artifact":
            return wire.artifact_to_document(self._artifact(arguments["digest"]))
        if service == "read_before":
            read = read_by(self._plan, assignment.node, assignment.map_index)[arguments["parameter"]]
            return self._digests_on_the_way_to([maker_of(self._plan, read)])
        return self._registry.answers[service](assignment, arguments)

    def _artifact(self, digest: str) -> Artifact:
        for step_run in self._step_runs():
            for artifact in step_run.outputs.values():
                if artifact.digest == digest:
                    return artifact
        raise InternalError(f"The run stored nothing under {digest}.")

    def _read_for(self, digest: str) -> list[str]:
        """Return the digests of all that was read on the way to what has a digest."""
        makers = [
            (step_run.node.name, step_run.map_index)
            for step_run in self._step_runs()
            if any(artifact.digest == digest for artifact in step_run.outputs.values())
        ]
        return self._digests_on_the_way_to(makers)

    def _digests_on_the_way_to(self, makers: Collection[tuple[str, int | None]]) -> list[str]:
        reads = {read for name, index in makers for read in on_the_way_to(self._plan, name, index)}
        return digests_of(self._stored(reads).values())

    def _stored(self, reads: Collection[Read]) -> Stored:
        """Return what reads find; nothing of a step that did not succeed."""
        return {read: self._found(read) for read in reads if self._wholes[read.step].state == "succeeded"}

    def _found(self, read: Read) -> Artifact | tuple[Artifact, ...]:
        whole = self._wholes[read.step]
        if whole.node.over is not None:
            items = self._items[read.step]
            if read.index is None:
                return tuple(item.outputs[read.output] for item in items)
            return items[read.index].outputs[read.output]
        if read.index is None:
            count = sum(1 for name in whole.outputs if parse_item(name)[0] == read.output)
            return tuple(whole.outputs[item_name(read.output, index)] for index in range(count))
        return whole.outputs[item_name(read.output, read.index)]

    def _condition(self, reference: Reference) -> Any:
        return self._artifacts.get(self._wholes[reference.step].outputs[reference.output])

    def _value(self, label: str, output: str) -> Any:
        name, index = parse_item(label)
        is_list = index == WHOLE and self._plan.is_list(Reference(name, output))
        found = self._found(Read(name, output, None if is_list else index))
        if isinstance(found, Artifact):
            return self._artifacts.get(found)
        return [self._artifacts.get(item) for item in found]

    def _step_runs(self) -> list[_StepRun]:
        return [each for name, whole in self._wholes.items() for each in (whole, *self._items.get(name, ()))]

    def _record(
        self, kind: str, step_run: _StepRun | None = None, *, number: int | None = None, reason: str | None = None
    ) -> None:
        step = step_run.label if step_run is not None else None
        self._events.append(RunEvent(kind, self._clock.now(), step, number, reason))

    def _result(self) -> RunResult:
        failed = next((whole for whole in self._wholes.values() if whole.state == "failed"), None)
        outcome = None if failed else self._registry.outcome(self._run.run_id)
        reason = f"{failed.node.name}: {failed.reason}" if failed else None
        self._record("run.failed" if failed else "run.succeeded", reason=reason or outcome)
        return RunResult(
            run_id=self._run.run_id,
            state="failed" if failed else "succeeded",
            outcome=outcome,
            reason=reason,
            parameters=self._run.parameters,
            steps={
                each.label: StepResult(each.label, each.state, each.reason, tuple(each.attempts), each.node.outputs)
                for each in self._step_runs()
            },
            events=tuple(self._events),
            started_at=self._started_at,
            ended_at=self._clock.now(),
            read=self._value,
        )
