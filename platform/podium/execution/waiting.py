"""What an open run waits for, step run by step run, in words; pure: facts in, sentences out.

A step run that has not ended waits for steps before it, for a time, for a person, for a worker, or for the attempt
that is being made. Whoever adds a way of waiting adds its rule here.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from podium.dag.plan import Plan, Resources
from podium.execution.items import WHOLE, item_name

_OPEN = ("waiting", "ready", "running", "held")
_NAMED = 3
"""So many of a list are named; the others are counted."""


@dataclass(frozen=True)
class OpenStep:
    """A step run that has not ended, and its newest attempt: its number (0 for none), start, and worker if it runs."""

    name: str
    map_index: int
    state: str
    reason: str | None = None
    ready_at: datetime | None = None
    not_before: datetime | None = None
    decide_by: datetime | None = None
    failures: int = 0
    attempt: int = 0
    snoozed: bool = False
    attempt_started_at: datetime | None = None
    worker_id: str | None = None


@dataclass(frozen=True)
class SeenWorker:
    """A worker that has not ended; what it never told is None. `busy` are the runs of the steps it executes.

    One that is not `for_any_run` executes runs of its own command only, so it takes this one if it has a part in it.
    """

    worker_id: str
    host: str
    process_id: int
    alive: bool = True
    draining: bool = False
    for_any_run: bool = True
    slots: int | None = None
    cpu: float | None = None
    memory_bytes: int | None = None
    gpu: int | None = None
    labels: Collection[str] = ()
    busy: Sequence[tuple[str, str]] = ()  # (run, step run)

    @property
    def named(self) -> str:
        """How a person finds it."""
        return f"process {self.process_id} on {self.host}"


@dataclass(frozen=True)
class Full:
    """A limit that is reached: so many may go on at once, and these do."""

    limit: int
    busy: Sequence[str]


@dataclass(frozen=True)
class Situation:
    """An open run with all that may keep it waiting; `states` are those of its steps, of a mapped one the whole's.

    `behind` are the limits of its pipeline and its model that keep it queued, and `full_pools` the pools without room,
    by their names.
    """

    run_id: str
    plan: Plan
    cancel_reason: str | None
    states: dict[str, str]
    steps: Sequence[OpenStep]
    workers: Sequence[SeenWorker]
    now: datetime
    behind: Mapping[str, Full] = field(default_factory=dict)
    full_pools: Mapping[str, Full] = field(default_factory=dict)


@dataclass(frozen=True)
class Waiting:
    """What one step run waits for, since when and until when at the latest, where either is known."""

    step: str
    map_index: int
    state: str
    reason: str
    until: datetime | None = None
    since: datetime | None = None


def waits_of(situation: Situation) -> list[Waiting]:
    """Return what each open step run waits for, in the order given; of a mapped step, first the whole."""
    return [_wait_of(situation, step) for step in situation.steps]


def _wait_of(situation: Situation, step: OpenStep) -> Waiting:
    def waiting(reason: str, *, until: datetime | None = None, since: datetime | None = None) -> Waiting:
        return Waiting(step.name, step.map_index, step.state, reason, until, since)

    if step.state == "running":
        return waiting(_for_its_attempt(situation, step), since=step.attempt_started_at)
    # What begins after a cancel is clean-up.
    if situation.cancel_reason is not None and situation.plan.step(step.name).run_if != "always":
        return waiting(f"does not begin: the run is being cancelled ({situation.cancel_reason})")
    if step.state == "held":
        return waiting(_for_a_person(situation, step), until=step.decide_by, since=step.ready_at)
    if step.not_before is not None and step.not_before > situation.now:
        return waiting(_for_a_time(situation, step), until=step.not_before)
    if step.state == "ready" or step.not_before is not None:
        return waiting(_for_a_worker(situation, step), since=step.not_before or step.ready_at)
    return waiting(_for_steps(situation, step), since=step.ready_at)


def _for_its_attempt(situation: Situation, step: OpenStep) -> str:
    worker = next((each for each in situation.workers if each.worker_id == step.worker_id), None)
    where = "" if worker is None else f" by {worker.named}"
    if worker is not None and not worker.alive:
        return f"attempt {step.attempt} is lost: its worker, {worker.named}, died; the next worker tries it again"
    if situation.cancel_reason is not None and situation.plan.step(step.name).run_if != "always":
        return f"attempt {step.attempt} is being ended{where}: the run is being cancelled ({situation.cancel_reason})"
    return f"attempt {step.attempt} is executed{where}"


def _for_a_person(situation: Situation, step: OpenStep) -> str:
    label = item_name(step.name, step.map_index)
    until = ""
    if step.decide_by is not None:
        then = {"approve": "approved", "reject": "rejected"}[situation.plan.step(step.name).default]
        until = f" until {_time(step.decide_by)}, then {then}"
    return f"held for approval{until}: `podium runs approve {situation.run_id} --step {label}`, or `reject`"


def _for_a_time(situation: Situation, step: OpenStep) -> str:
    assert step.not_before is not None  # noqa: S101 - the caller's condition
    if step.snoozed:
        return f"snoozed until {_time(step.not_before)}: {step.reason}"
    left = max(0, situation.plan.step(step.name).retries - step.failures)
    tries = f"attempt {step.attempt + 1} of {step.attempt + 1 + left}"
    return f"waits until {_time(step.not_before)}, then is tried again ({tries})"


def _for_steps(situation: Situation, step: OpenStep) -> str:
    items = [each for each in situation.steps if each.name == step.name and each.map_index != WHOLE]
    if step.map_index == WHOLE and items:
        return f"waits for {_items(len(items))} of it"
    before = situation.plan.step(step.name).dependencies
    open_ = [f"{name} ({situation.states[name]})" for name in before if situation.states[name] in _OPEN]
    return f"waits for {_listed(open_)}" if open_ else "waits to be decided about"


def _for_a_worker(situation: Situation, step: OpenStep) -> str:
    node = situation.plan.step(step.name)
    serving = [
        worker
        for worker in situation.workers
        if worker.alive and (worker.for_any_run or any(run_id == situation.run_id for run_id, _ in worker.busy))
    ]
    if not serving:
        return "no worker is running; `podium worker` starts one"
    taking = [worker for worker in serving if not worker.draining]
    if not taking:
        ending = _listed([worker.named for worker in serving])
        return f"{ending} {'is' if len(serving) == 1 else 'are'} ending; `podium worker` starts another"
    labelled = [worker for worker in taking if set(node.labels) <= set(worker.labels)]
    if not labelled:
        return f"needs a worker with the {'label' if len(node.labels) == 1 else 'labels'} {_listed(node.labels)}"
    for what, full in situation.behind.items():
        return (
            f"its run is queued behind {_listed([f'run {each}' for each in full.busy])} (limit {full.limit} of {what})"
        )
    if node.pool is not None and node.pool in situation.full_pools:
        full = situation.full_pools[node.pool]
        return f"the pool {node.pool} is full: {_listed(full.busy)} ({full.limit} at once)"
    able = [worker for worker in labelled if _fits(node.resources, worker)]
    if not able:
        return _too_much(node.resources, labelled)
    if all(worker.slots is not None and len(worker.busy) >= worker.slots for worker in able):
        slots = sum(worker.slots or 0 for worker in able)
        busy = [
            label if run_id == situation.run_id else f"{label} of run {run_id}"
            for worker in able
            for run_id, label in worker.busy
        ]
        return f"{'the one slot is' if slots == 1 else f'all {slots} slots are'} busy with {_listed(busy)}"
    return "a worker takes it next"


def _fits(needed: Resources, worker: SeenWorker) -> bool:
    """Tell whether a worker could ever execute it; what a worker never told of itself is no obstacle."""
    return all(
        has is None or has >= amount
        for has, amount in (
            (worker.cpu, needed.cpu),
            (worker.memory_bytes, needed.memory_bytes),
            (worker.gpu, needed.gpu),
        )
    )


def _too_much(needed: Resources, workers: Sequence[SeenWorker]) -> str:
    """Return what none of the workers has."""
    of_each: tuple[tuple[float, list[float | None], Callable[[float], str]], ...] = (
        (needed.cpu, [worker.cpu for worker in workers], _cores),
        (needed.memory_bytes, [worker.memory_bytes for worker in workers], _memory),
        (needed.gpu, [worker.gpu for worker in workers], _gpus),
    )
    for amount, has, shown in of_each:
        largest = max((amount if each is None else each) for each in has)
        if largest < amount:
            return f"needs {shown(amount)}; the largest worker has {shown(largest)}"
    everything = _listed([shown(amount) for amount, _, shown in of_each if amount])
    return f"needs {everything} at once, and no worker has them all"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    shown = [*names[:_NAMED], f"{more:,} more"] if more > 0 else list(names)
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _items(count: int) -> str:
    return "1 item" if count == 1 else f"{count:,} items"


def _cores(count: float) -> str:
    return "1 core" if count == 1 else f"{count:g} cores"


def _memory(count: float) -> str:
    return f"{count / 2**30:.3g} GiB"


def _gpus(count: float) -> str:
    return "1 GPU" if count == 1 else f"{count:g} GPUs"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
