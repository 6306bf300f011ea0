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
        (rule('on = []\nchannels = "oncall"'), "alert rule 1, on: Value should have at least 1 item"),
        (rule('on = 3\nchannels = "oncall"'), "alert rule 1, on: Input should be a list"),
        (rule('on = "held"'), "alert rule 1, channels: Field required"),
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
            "alerts, channels, on call: String should match pattern",
        ),
        (
            f'[alerts.channels]\noncall = ["slack://{SECRET}", 3]',
            "alerts, channels, oncall: Input should be a valid str",
        ),
        (f'alerts = "slack://{SECRET}"', "alerts: Input should be a valid dictionary"),
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
