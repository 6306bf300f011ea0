"""What settings make of channels and rules, and what they refuse."""

from datetime import timedelta
from pathlib import Path

import pytest

from podium import settings
from podium.errors import ConfigurationError
from podium.notify.entities import Subject
from podium.notify.rules import Limit, Rules

SECRET = "T0kenOfMine"  # noqa: S105 - of nobody
CHANNELS = f'[alerts.channels]\noncall = "slack://{SECRET}/b/c"\nmail = ["mailto://{SECRET}@example", "$MAIL_URL"]\n'


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PODIUM_ALERTS", raising=False)
    monkeypatch.delenv("PODIUM_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(text: str) -> settings.AlertSettings:
    Path("podium.toml").write_text(text)
    return settings.load().alerts


def refused(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        loaded(text)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def rule(text: str) -> str:
    return f"{CHANNELS}[[alerts.rules]]\n{text}\n"


def test_rules_tell_the_urls_of_their_channels_with_the_limits_of_each() -> None:
    made = Rules.of(
        loaded(
            f'alerts.repeat_after = "2h"\n{CHANNELS}'
            '[[alerts.rules]]\non = "run_failed"\nchannels = ["oncall", "mail"]\nteams = "research"\nat_most = "10/h"\n'
            '[[alerts.rules]]\non = ["not_run", "held"]\nchannels = ["oncall"]\nwithin = "6h"\nat_most = "5/m"\n'
        )
    )
    assert made.targets("run_failed", Subject(team="research")) == ("oncall", "mail.1", "mail.2")
    assert made.targets("run_failed", Subject(team="other")) == ()
    assert made.targets("held", Subject(team="other")) == ("oncall",)
    assert made.limits["oncall"] == (Limit(10, timedelta(hours=1)), Limit(5, timedelta(minutes=1)))
    assert made.limits["mail.2"] == (Limit(10, timedelta(hours=1)),)
    assert (made.repeat_after, made.rules[1].within) == (timedelta(hours=2), timedelta(hours=6))


def test_without_any_nobody_is_told() -> None:
    made = Rules.of(loaded(""))
    assert made.targets("run_failed", Subject()) == ()
    assert made.repeat_after == timedelta(hours=1)


def test_the_environment_holds_them_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_ALERTS", '{"channels": {"oncall": "json://host"}}')
    assert list(loaded("").channels) == ["oncall"]
    monkeypatch.setenv("PODIUM_ALERTS", f"slack://{SECRET}")
    assert refused("").startswith("PODIUM_ALERTS is no JSON")
    monkeypatch.setenv("PODIUM_ALERTS", '{"chanels": {}}')
    assert refused("").startswith("PODIUM_ALERTS, alerts: chanels is no setting; did you mean channels? They are ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            rule('on = "run_faild"\nchannels = "oncall"'),
            "alert rule 1, on: 'run_faild' is no event; did you mean run_f",
        ),
        (rule('on = []\nchannels = "oncall"'), "alert rule 1, on is empty; give one event or a list of them, as "),
        (rule('on = 3\nchannels = "oncall"'), "alert rule 1, on is of the wrong kind; give one event or "),
        (rule('on = "held"'), "alert rule 1, channels is missing; give the name of a channel or a list"),
        (
            rule('on = "held"\nchannels = "oncal"'),
            "rule 1 tells the channel oncal, which is none; did you mean oncall?",
        ),
        (rule(f'on = "held"\nchannels = "slack://{SECRET}"'), "rule 1 tells the channel slack://…, which is none."),
        (
            rule('on = "held"\nchannels = "oncall"\npipeline = "x"'),
            "rule 1: pipeline is no setting; did you mean pipel",
        ),
        (
            rule('on = "held"\nchannels = "oncall"\nwithin = "6h"'),
            "alert rule 1: `within` is for not_run, which needs it",
        ),
        (rule('on = "not_run"\nchannels = "oncall"'), "alert rule 1: `within` is for not_run, which needs it"),
        (
            rule('on = "not_run"\nchannels = "oncall"\nwithin = "soon"'),
            "alert rule 1, within: give a whole number of sec",
        ),
        (
            rule('on = "held"\nchannels = "oncall"\nat_most = "10"'),
            "alert rule 1, at_most: give how many messages per ",
        ),
        (
            '[[alerts.rules]]\non = "held"\nchannels = "oncall"',
            "which is none. The channels are yet to be named in [aler",
        ),
        (
            f'[alerts.channels]\noncall = "{SECRET}"',
            "channel oncall is no Apprise URL; give one, as slack://…, or $NAME",
        ),
        (
            f'[alerts.channels]\n"on call" = "slack://{SECRET}"',
            "alerts, channels, on call is no name; take a letter, then up to 49 letters, digits, - or _",
        ),
        (
            f'[alerts.channels]\noncall = ["slack://{SECRET}", 3]',
            "oncall is of the wrong kind; give a URL in quotes, or a list of at most 99, as oncall = ",
        ),
        (f'alerts = "slack://{SECRET}"', "alerts is of the wrong kind; name channels below a line [alerts.ch"),
        (f'alerts.channels = "slack://{SECRET}"', "alerts, channels is of the wrong kind; name channels below a line "),
        (
            f'[alerts.channels]\nhook = {{ url = "json://{SECRET}" }}',
            'channels, hook is of the wrong kind; give a URL in quotes, or a list of at most 99, as hook = "slack',
        ),
        ("[alerts.channels]\nhook = []", "alerts, channels, hook is empty; give a URL in quotes"),
        (f'[alerts.channels]\n"hook.1" = "json://{SECRET}"', "hook.1 is no name; take a letter, then up to 49 letters"),
        (f'[alerts.channels]\n"json://{SECRET}" = "hook"', "alerts, channels, json://… is no name; take a letter"),
        (
            '[alerts.rules]\non = "held"',
            "alerts, rules is of the wrong kind; begin each rule with a line [[alerts.rules]]",
        ),
        ('alerts.rules = ["held"]', "alert rule 1 is of the wrong kind; begin each rule with a line [[alerts.rules]]"),
        (
            "alerts.repeat_after = 3",
            'alerts, repeat_after is of the wrong kind; give a time in quotes, as repeat_after = "1h".',
        ),
        (
            rule('on = "held"\nchannels = ["oncall", 3]'),
            "alert rule 1, channels, 1 is of the wrong kind; give the name of a channel or a list of them",
        ),
        (
            rule('on = "held"\nchannels = "oncall"\npipelines = 3'),
            "alert rule 1, pipelines is of the wrong kind; give one shell pattern or a list of them, as pipelines",
        ),
        (
            rule('on = "not_run"\nchannels = "oncall"\nwithin = 6'),
            'alert rule 1, within is of the wrong kind; give a time in quotes, as within = "6h".',
        ),
        ('alerts.repeat_after = "1y"', "alerts, repeat_after: give a whole number of seconds, minutes, hours or days"),
        ("alerts.repeat = 1", "alerts: repeat is no setting; did you mean repeat_after? They are channels, rules, rep"),
    ],
)
def test_what_is_wrong_is_named_with_the_remedy_and_without_secrets(text: str, said: str, project: Path) -> None:
    told = refused(text)
    assert told.startswith(f"{project / 'podium.toml'}, alert")
    assert said in told


def test_settings_that_are_shown_show_no_url() -> None:
    assert SECRET not in repr(loaded(CHANNELS))
    assert SECRET not in str(settings.load())
