"""The options of `@pipeline`: what may be said, in which units, and what is refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from podium.dag.interval import GRAINS, Grain, time_zone
from podium.dag.options import OWNER, OptionError, check_known, seconds
from podium.dag.schedule import Timing, read_schedule
from podium.dag.triggers import PlannedTrigger, read_triggers
from podium.errors import InvalidInterval

PRIORITY_LIMIT = 1_000


@dataclass(frozen=True)
class PipelineOptions:
    """Who owns a pipeline's model, which intervals it retrains for, when, and upon what."""

    model: str
    team: str
    environment: str
    grain: Grain
    schedule: str | None
    timezone: str
    priority: int = 0
    deadline_seconds: float | None = None
    timing: Timing = field(default_factory=Timing)
    triggers: tuple[PlannedTrigger, ...] = ()


def pipeline_options(name: str, given: Mapping[str, Any]) -> PipelineOptions:
    """Return the options of the pipeline `name`, defaults filled in; OptionError on an unknown or unusable one."""
    owners = ("model", "team", "environment")
    defaults: dict[str, Any] = {
        "grain": "day",
        "schedule": None,
        "timezone": "UTC",
        "priority": 0,
        "deadline": None,
        "triggers": (),
    }
    check_known(given, (*owners, *defaults))
    missing = [owner for owner in owners if not given.get(owner)]
    if missing:
        raise OptionError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not given, so its cost would "
            f"have no owner; write @pipeline({', '.join(f'{owner}=…' for owner in owners)})."
        )
    for owner in owners:
        if not isinstance(given[owner], str) or not OWNER.fullmatch(given[owner]):
            raise OptionError(f"{owner}={given[owner]!r} is no name; use at most 64 letters, digits, '_', '-' and '.'.")
    option = {**defaults, **given}
    if option["grain"] not in GRAINS:
        raise OptionError(f"grain={option['grain']!r} is not one of {', '.join(GRAINS)}.")
    try:
        time_zone(option["timezone"])
    except (InvalidInterval, TypeError):
        raise OptionError(
            f"timezone={option['timezone']!r} is no time zone; use an IANA name, as America/New_York or UTC."
        ) from None
    priority, deadline = option["priority"], option.pop("deadline")
    if not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > PRIORITY_LIMIT:
        raise OptionError(
            f"priority={priority!r} is no whole number from -{PRIORITY_LIMIT} to {PRIORITY_LIMIT}; 0 is the default, "
            "and more goes first."
        )
    option["schedule"], timing = read_schedule(
        option["schedule"], pipeline=name, timezone=option["timezone"], grain=option["grain"]
    )
    option["triggers"] = read_triggers(option["triggers"], pipeline=name)
    deadline_seconds = None if deadline is None else seconds("deadline", deadline)
    return PipelineOptions(**option, deadline_seconds=deadline_seconds, timing=timing)
