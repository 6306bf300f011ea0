"""The channels that settings name, each URL its own target."""

from collections.abc import Iterable, Mapping

from podium.errors import ConfigurationError, UsageError
from podium.notify.apprise_channel import AppriseChannel
from podium.notify.port import Channel
from podium.notify.rules import target_names
from podium.settings import AlertSettings


def build(settings: AlertSettings, environment: Mapping[str, str]) -> dict[str, Channel]:
    """Return the channels by target; ConfigurationError names one whose variable is not set, or that cannot be read."""
    made: dict[str, Channel] = {}
    for name, urls in settings.channels.items():
        for target, url in zip(target_names(name, len(urls)), urls, strict=True):
            made[target] = AppriseChannel(target, _resolved(name, url.get_secret_value(), environment))
    return made


def named(channels: Mapping[str, Channel], settings: AlertSettings, wanted: Iterable[str]) -> dict[str, Channel]:
    """Return all, or those called so: a channel stands for all its targets. UsageError for one that there is not."""
    chosen: dict[str, Channel] = {}
    for name in wanted:
        if name not in settings.channels and name not in channels:
            known = ", ".join(settings.channels) or "none; name one in podium.toml under [alerts.channels]"
            raise UsageError(f"There is no alert channel {name!r}. The channels are {known}.")
        targets = target_names(name, len(settings.channels[name])) if name in settings.channels else (name,)
        chosen |= {target: channels[target] for target in targets}
    return chosen or dict(channels)


def _resolved(name: str, url: str, environment: Mapping[str, str]) -> str:
    if not url.startswith("$"):
        return url
    variable = url[1:]
    found = environment.get(variable, "").strip()
    if "://" not in found:
        wrong = "holds no Apprise URL, as slack://…" if found else "is not set"
        raise ConfigurationError(
            f"The alert channel {name} takes its URL from the environment variable {variable}, which {wrong}; set it, "
            "or correct [alerts.channels] in podium.toml."
        )
    return found
