"""What a backfill would do, decided purely: a range into grains, each grain into an action, history into a bill."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

from podium.dag.interval import Grain, Interval
from podium.dag.plan import Plan
from podium.errors import InvalidInterval, UsageError

INTERVAL_LIMIT = 10_000
"""So many intervals has a backfill at most: they are admitted in one transaction."""

MAX_PARALLEL = 4
"""So many runs of a backfill go on at once unless somebody says otherwise."""

HISTORY_RUNS = 20
"""An estimate rests on so many runs of a step at most, the newest."""

_SCALE = 12  # decimals of estimated money: as prices per unit have, so that a cheap step does not cost 0

Order = Literal["oldest", "newest"]
Action = Literal["run", "rerun", "keep", "join"]


@dataclass(frozen=True)
class KnownRun:
    """A run of an interval that is on record."""

    run_id: str
    interval: Interval
    parameters: Mapping[str, Any]
    state: str
    outcome: str | None
    ended_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state in ("queued", "running")


@dataclass(frozen=True)
class Planned:
    """What becomes of one interval, and the run on record that it is decided by: the one that is kept or joined."""

    interval: Interval
    action: Action
    known: KnownRun | None = None

    @property
    def makes_a_run(self) -> bool:
        """Whether a run is made for it."""
        return self.action in ("run", "rerun")


@dataclass(frozen=True)
class StepHistory:
    """What a step took in the newest runs that say something about it: seconds and cost, added up over `runs` of them.

    The cost is None where a part of it has no price.
    """

    runs: int
    wall_seconds: float
    cost: Fraction | None


@dataclass(frozen=True)
class StepEstimate:
    """What a step is expected to take in one run: None where there is no history, or none with a price."""

    name: str
    runs: int
    wall_seconds: float | None
    cost: Decimal | None


@dataclass(frozen=True)
class Estimate:
    """What so many runs are expected to take and cost; None where a step of them is not known."""

    runs: int
    seconds: float | None
    cost: Decimal | None
    steps: tuple[StepEstimate, ...]

    @property
    def unknown(self) -> list[str]:
        """The steps that have no history."""
        return [step.name for step in self.steps if step.runs == 0]


def intervals_of(start: str, end: str, plan: Plan, now: datetime) -> list[Interval]:
    """Return every whole grain of a pipeline's calendar from where `start` begins until where `end` begins, in order.

    Both are texts as `Interval.parse` reads them. InvalidInterval where they are none, the range is empty, no whole
    number of grains, not over by `now`, or of more than INTERVAL_LIMIT.
    """
    first, last = _moment("--from", start, plan), _moment("--to", end, plan)
    if first >= last:
        raise InvalidInterval(
            f"The range from {start} to {end} is empty: --to is exclusive, and must be later than --from."
        )
    for option, text, moment in (("--from", start, first), ("--to", end, last)):
        _check_whole(option, text, moment, plan)
    if last > now:
        over = Interval.around(now.astimezone(first.tzinfo), plan.grain).start
        raise InvalidInterval(
            f"The range from {start} to {end} has {plan.grain}s of {plan.pipeline} that are not over yet, and there is "
            f"nothing to be filled in of them; give --to {_text(over, plan.grain)} at most."
        )
    found = list(grains(first, last, plan.grain, INTERVAL_LIMIT + 1))
    if len(found) > INTERVAL_LIMIT:
        until = _text(found[-1].start, plan.grain)
        raise InvalidInterval(
            f"The range from {start} to {end} has more than {INTERVAL_LIMIT:,} {plan.grain}s, and a backfill is "
            f"admitted whole; make several, the first of them with --to {until}."
        )
    return found


def grains(start: datetime, end: datetime, grain: Grain, limit: int) -> Iterator[Interval]:
    """Yield the whole grains from `start`, at which one begins, until `end`, at which one does, at most `limit`.

    InvalidInterval where the zone's clocks change by a part of a grain, so that no whole one follows another.
    """
    moment = start.astimezone(UTC)
    for _ in range(limit):
        if moment >= end.astimezone(UTC):
            return
        interval = Interval.around(moment.astimezone(start.tzinfo), grain)
        if interval.start.astimezone(UTC) != moment:
            raise InvalidInterval(
                f"At {moment.astimezone(start.tzinfo).isoformat()} the clocks of {start.tzinfo} change by a part of an "
                f"{grain}, so no whole one begins there; fill in the time before and after it apart."
            )
        yield interval
        moment = interval.end.astimezone(UTC)


def decide(
    intervals: Sequence[Interval],
    known: Mapping[Interval, Sequence[KnownRun]],
    parameters: Mapping[str, Any],
    *,
    failed_only: bool,
    reprocess: bool,
) -> list[Planned]:
    """Return what becomes of each interval; `known` holds its runs, the newest first.

    An open run is joined, whatever its parameters: there is never a second one. Else the newest run with the same
    parameters decides: one that succeeded is kept, or with `reprocess` made again; any other, and none, is a new run.
    With `failed_only` an interval takes part only if its newest run failed or was cancelled; the others are left out.
    """
    found = []
    for interval in intervals:
        runs = known.get(interval, ())
        open_ = next((each for each in runs if each.is_open), None)
        newest = next((each for each in runs if each.parameters == dict(parameters)), None)
        if failed_only and (open_ is not None or newest is None or newest.state not in ("failed", "cancelled")):
            continue
        if open_ is not None:
            found.append(Planned(interval, "join", open_))
        elif newest is None or newest.state != "succeeded":
            found.append(Planned(interval, "run", newest))
        else:
            found.append(Planned(interval, "rerun" if reprocess else "keep", newest))
    return found


def in_order(planned: Sequence[Planned], order: Order) -> list[Planned]:
    """Return the intervals in the order in which they have their turn."""
    return sorted(planned, key=lambda each: each.interval.start.astimezone(UTC), reverse=order == "newest")


def estimate(plan: Plan, runs: int, lanes: int, history: Mapping[str, StepHistory]) -> Estimate:
    """Return what so many backfilled runs of a plan are expected to take and cost.

    Cost is runs × Σ over steps of the step's mean cost. Time is ⌈runs ÷ lanes⌉ × Σ over steps of the step's mean
    seconds: as if `lanes` runs went on at all times and the steps of a run one after the other. Where workers have less
    room it takes longer, where steps of a run go side by side less. A step without history makes the sums unknown, not
    smaller. Steps that backfilled runs skip are left out.
    """
    steps = tuple(_of_step(node.name, history.get(node.name)) for node in plan.steps if node.backfill)
    seconds = [step.wall_seconds for step in steps]
    costs = [history.get(step.name) for step in steps]
    known_seconds = [each for each in seconds if each is not None]
    rounds = math.ceil(runs / lanes)
    return Estimate(
        runs=runs,
        seconds=rounds * sum(known_seconds) if len(known_seconds) == len(seconds) else None,
        cost=_rounded(runs * sum(map(_mean_cost, filter(None, costs)), Fraction(0)))
        if all(each is not None and each.cost is not None for each in costs)
        else None,
        steps=steps,
    )


def _of_step(name: str, history: StepHistory | None) -> StepEstimate:
    if history is None or history.runs == 0:
        return StepEstimate(name, 0, None, None)
    cost = None if history.cost is None else _rounded(_mean_cost(history))
    return StepEstimate(name, history.runs, history.wall_seconds / history.runs, cost)


def _mean_cost(history: StepHistory) -> Fraction:
    return (history.cost or Fraction(0)) / history.runs


def _rounded(amount: Fraction) -> Decimal:
    return Decimal(round(amount * 10**_SCALE)).scaleb(-_SCALE)


def _moment(option: str, text: str, plan: Plan) -> datetime:
    if ".." in text:
        raise UsageError(f"{option} {text} names two moments; give one, as {option} {text.partition('..')[0]}.")
    return Interval.parse(text, plan.timezone).start


def _check_whole(option: str, text: str, moment: datetime, plan: Plan) -> None:
    around = Interval.around(moment, plan.grain)
    if around.start.astimezone(UTC) != moment.astimezone(UTC):
        before, after = (_text(each, plan.grain) for each in (around.start, around.end))
        raise InvalidInterval(
            f"{plan.pipeline} retrains by {plan.grain}, and no {plan.grain} begins at {option} {text} in "
            f"{plan.timezone}; the nearest ones begin at {before} and {after}."
        )


def _text(moment: datetime, grain: Grain) -> str:
    """Return a moment at which a grain begins as one would give it."""
    form = {"year": "%Y", "month": "%Y-%m", "week": "%Y-%m-%d", "day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H"}[grain]
    return moment.strftime(form)
