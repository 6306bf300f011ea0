"""Rules: who is told of what, how often at most, and how soon again; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Self

from podium.notify.entities import Subject
from podium.settings import AlertEvent, AlertSettings
from podium.settings.spans import PERIODS, span


@dataclass(frozen=True)
class Limit:
    """At most so many messages in any stretch of this length."""

    count: int
    per: timedelta

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the limit that a checked setting writes.

        >>> Limit.parse("10/h")
        Limit(count=10, per=datetime.timedelta(seconds=3600))
        """
        count, _, unit = text.partition("/")
        return cls(int(count), PERIODS[unit])


@dataclass(frozen=True)
class Rule:
    """Tells `targets` of the events `on`, of what its patterns let through; `within` is for not_run."""

    on: tuple[AlertEvent, ...]
    targets: tuple[str, ...]
    pipelines: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    within: timedelta | None = None

    def tells(self, event: AlertEvent, subject: Subject) -> bool:
        """Say whether it is about an event; what nobody knows passes a filter, so that it is told rather than not.

        >>> rule = Rule(("promotion",), ("oncall",), models=("flight_*",))
        >>> [rule.tells("promotion", Subject(model=name)) for name in ("flight_delay", "weather", None)]
        [True, False, True]
        """
        return event in self.on and all(
            not patterns or value is None or any(fnmatchcase(value, pattern) for pattern in patterns)
            for patterns, value in (
                (self.pipelines, subject.pipeline),
                (self.models, subject.model),
                (self.teams, subject.team),
                (self.environments, subject.environment),
            )
        )


@dataclass(frozen=True)
class Rules:
    """All rules of a project, the limits of each target, and how soon a repetition is told."""

    rules: tuple[Rule, ...] = ()
    limits: Mapping[str, tuple[Limit, ...]] = field(default_factory=dict)
    repeat_after: timedelta = timedelta(hours=1)

    def targets(self, event: AlertEvent, subject: Subject) -> tuple[str, ...]:
        """Return who is told of an event, each once."""
        told = (target for rule in self.rules if rule.tells(event, subject) for target in rule.targets)
        return tuple(dict.fromkeys(told))

    @classmethod
    def of(cls, settings: AlertSettings) -> Self:
        """Return the rules that settings hold; they were checked when they were read."""
        targets = {name: target_names(name, len(urls)) for name, urls in settings.channels.items()}
        rules, limits = [], dict[str, dict[Limit, None]]()
        for rule in settings.rules:
            told = tuple(target for name in rule.channels for target in targets[name])
            within = None if rule.within is None else span(rule.within)
            rules.append(Rule(rule.on, told, rule.pipelines, rule.models, rule.teams, rule.environments, within))
            for target in told if rule.at_most else ():
                limits.setdefault(target, {})[Limit.parse(str(rule.at_most))] = None
        return cls(tuple(rules), {target: tuple(each) for target, each in limits.items()}, span(settings.repeat_after))


def target_names(channel: str, urls: int) -> tuple[str, ...]:
    """Return what deliveries call the URLs of a channel: each is sent to, and tried again, on its own.

    >>> target_names("oncall", 1), target_names("oncall", 2)
    (('oncall',), ('oncall.1', 'oncall.2'))
    """
    return (channel,) if urls == 1 else tuple(f"{channel}.{number}" for number in range(1, urls + 1))
