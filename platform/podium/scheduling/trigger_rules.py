"""When a trigger fires, by what its sources showed; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from podium.dag.interval import Interval, time_zone
from podium.dag.plan import Plan
from podium.dag.schedule import interval_before
from podium.dag.triggers import PlannedTrigger
from podium.errors import InvalidInterval

Result = Literal["news", "nothing", "unknown"]
TriggerState = Literal["waits", "fires", "unknown", "blocked"]
TRIGGER_STATES: tuple[TriggerState, ...] = get_args(TriggerState)


@dataclass(frozen=True)
class SourceState:
    """What is known of one source: `changed_at` is when news of it came last, None without any since it fired."""

    position: int
    described: str
    seen: Any
    used: Any
    changed_at: datetime | None
    looked_at: datetime | None
    result: Result | None
    detail: str | None
    failures: int
    next_look_at: datetime

    @property
    def has_news(self) -> bool:
        """Whether there is something that the trigger has not fired for."""
        return self.changed_at is not None


@dataclass(frozen=True)
class Standing:
    """Since when a trigger has what it needs, and when it fires; both None if it lacks something."""

    news_since: datetime | None
    fires_at: datetime | None


def standing(trigger: PlannedTrigger, sources: Sequence[SourceState]) -> Standing:
    """Return how a trigger stands: it fires `debounce` after its last news, once any or all of its sources have some.

    A source that gives no answer has neither news nor none: what it showed before stands.
    """
    changes = [each.changed_at for each in sources if each.changed_at is not None]
    wanted = len(trigger.sources) if trigger.needs == "all" else 1
    if len(changes) < wanted:
        return Standing(None, None)
    since = max(changes) if trigger.needs == "all" else min(changes)
    return Standing(since, max(changes) + timedelta(seconds=trigger.debounce_seconds))


def state_of(problem: str | None, fires_at: datetime | None, results: Iterable[Result | None]) -> TriggerState:
    """Return in a word how a trigger stands, by the `results` of its sources' last looks.

    What is unknown outweighs that nothing is known to be new.
    """
    if problem is not None:
        return "blocked"
    if fires_at is not None:
        return "fires"
    return "unknown" if "unknown" in results else "waits"


def interval_of(plan: Plan, sources: Sequence[SourceState], now: datetime) -> Interval:
    """Return what a run is about: the interval of an upstream run that ended, else the last grain that has ended.

    An upstream run counts if its interval is one whole grain of this pipeline; of several sources, the latest.
    """
    zone = plan.timezone
    upstream = []
    for each in sources:
        if each.has_news and isinstance(each.seen, dict) and "interval" in each.seen:
            try:
                found = Interval.from_document(each.seen["interval"], zone)
            except InvalidInterval:
                continue
            if found == Interval.around(found.start, plan.grain):
                upstream.append(found)
    if upstream:
        return max(upstream, key=lambda found: found.start)
    return interval_before(now.astimezone(time_zone(zone)), plan.grain)


def cause_of(trigger: PlannedTrigger, sources: Sequence[SourceState]) -> str:
    """Return in words what made a trigger fire."""
    news = [f"{each.described}: {each.detail}" for each in sources if each.has_news]
    return f"trigger {trigger.name}: {'; '.join(news)}"
