"""Who is told of what: the section `[alerts]`."""

import difflib
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

AlertEvent = Literal["run_failed", "deadline_missed", "not_run", "held", "promotion", "rollback", "champion_moved"]
ALERT_EVENTS: tuple[AlertEvent, ...] = get_args(AlertEvent)

_CHANNEL_URL = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*|[A-Za-z][A-Za-z0-9+.-]*://\S+")


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_list)]


def _is_span(text: str) -> str:
    if not re.fullmatch(r"[0-9]{1,5}[smhd]", text):
        raise ValueError("give a whole number of seconds, minutes, hours or days, as 30s, 10m, 6h or 1d")
    return text


def _is_rate(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,4}/[mhd]", text):
        raise ValueError("give how many messages per minute, hour or day, as 5/m, 10/h or 50/d")
    return text


Span = Annotated[str, AfterValidator(_is_span)]


class AlertRule(BaseModel):
    """Who is told of what: a filter that names nothing lets everything through, one that does takes shell patterns.

    `within` is how long after it was due a tick's run must have succeeded, for `not_run` alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: Annotated[tuple[AlertEvent, ...], BeforeValidator(_as_list), Field(min_length=1)]
    channels: Annotated[Texts, Field(min_length=1)]
    pipelines: Texts = ()
    models: Texts = ()
    teams: Texts = ()
    environments: Texts = ()
    within: Span | None = None
    at_most: Annotated[str, AfterValidator(_is_rate)] | None = None

    @field_validator("on", mode="before")
    @classmethod
    def _are_events(cls, names: Any) -> Any:
        for name in _as_list(names) if isinstance(names, str | list | tuple) else ():
            if name not in ALERT_EVENTS:
                raise ValueError(f"{name!r} is no event{_guess(str(name), ALERT_EVENTS)} They are {_and(ALERT_EVENTS)}")
        return names

    @model_validator(mode="after")
    def _says_within_what_time(self) -> Self:
        if ("not_run" in self.on) != (self.within is not None):
            raise ValueError("`within` is for not_run, which needs it: say within what time a run must have succeeded")
        return self


class AlertSettings(BaseModel):
    """Channels by name, each an Apprise URL or several, or `$NAME` of a variable that holds it; and the rules.

    The same failure of the same step is told once in `repeat_after`, and then with the number of its repetitions.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: dict[
        Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,49}$")],
        Annotated[tuple[SecretStr, ...], BeforeValidator(_as_list), Field(min_length=1, max_length=99)],
    ] = Field(default_factory=dict)
    rules: tuple[AlertRule, ...] = ()
    repeat_after: Span = "1h"

    @field_validator("channels")
    @classmethod
    def _are_urls(cls, channels: dict[str, tuple[SecretStr, ...]]) -> dict[str, tuple[SecretStr, ...]]:
        for name, urls in channels.items():
            if not all(_CHANNEL_URL.fullmatch(url.get_secret_value()) for url in urls):
                raise ValueError(
                    f"channel {name} is no Apprise URL; give one, as slack://…, or $NAME for the variable that holds it"
                )
        return channels

    @model_validator(mode="after")
    def _rules_name_channels(self) -> Self:
        for number, rule in enumerate(self.rules, start=1):
            for name in rule.channels:
                if name not in self.channels:
                    shown = f"{name.partition('://')[0]}://…" if "://" in name else name  # a URL holds secrets
                    raise ValueError(
                        f"rule {number} tells the channel {shown}, which is none{_guess(name, self.channels)} "
                        f"The channels are {_and(self.channels) or 'yet to be named in [alerts.channels]'}"
                    )
        return self


def explain(problem: dict[str, Any], source: str) -> str:
    """Say what is wrong with a rule or a channel, and never what was given: a channel's URL holds secrets."""
    place = [str(part) for part in problem["loc"][1:] if part != "[key]"]
    of_rule = place[:1] == ["rules"] and len(place) > 1
    whole = f"alert rule {int(place[1]) + 1}" if of_rule else "alerts"
    rest = place[2:] if of_rule else place
    if problem["type"] == "extra_forbidden":
        known = (AlertRule if of_rule else AlertSettings).model_fields
        return f"{source}, {whole}: {rest[-1]} is no setting{_guess(rest[-1], known)} They are {_and(known)}."
    shown = [f"{part.partition('://')[0]}://…" if "://" in part else part for part in rest[:2]]  # a URL holds secrets
    where = ", ".join([whole, *shown])
    if problem["type"] == "value_error":
        return f"{source}, {where}: {problem['msg'].removeprefix('Value error, ').rstrip('.')}. Correct or remove it."
    if problem["type"] == "string_pattern_mismatch":  # only of a channel's name
        return f"{source}, {where} is no name; take a letter, then up to 49 letters, digits, - or _, as in hook-1."
    fact = {"missing": "is missing", "too_short": "is empty", "too_long": "has too many items"}
    told = fact.get(problem["type"], "is of the wrong kind")
    return f"{source}, {where} {told}; {_remedy(shown, of_rule=of_rule)}."


def _remedy(place: list[str], *, of_rule: bool) -> str:
    """Say what to write in that place of a rule, or of the alerts."""
    if of_rule and place:
        return _RULE_REMEDIES.get(place[0], f'give one shell pattern or a list of them, as {place[0]} = ["flight_*"]')
    if of_rule or place == ["rules"]:
        return "begin each rule with a line [[alerts.rules]], and write its settings below that"
    if place == ["repeat_after"]:
        return 'give a time in quotes, as repeat_after = "1h"'
    if len(place) > 1:  # a channel
        name = place[1]
        return (
            f'give a URL in quotes, or a list of at most 99, as {name} = "slack://…" or {name} = ["slack://…", "$NAME"]'
        )
    return 'name channels below a line [alerts.channels], as oncall = "slack://…", and rules below [[alerts.rules]]'


def _guess(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else "."


def _and(names: Iterable[str]) -> str:
    return ", ".join(names)


_RULE_REMEDIES = {
    "on": f'give one event or a list of them, as on = ["run_failed"]; they are {_and(ALERT_EVENTS)}',
    "channels": 'give the name of a channel or a list of them, as channels = ["oncall"]',
    "within": 'give a time in quotes, as within = "6h"',
    "at_most": 'give how many messages per minute, hour or day in quotes, as at_most = "10/h"',
}
