"""Alerts of a project: its channels, and the notifier that tells what happened."""

import os
from collections.abc import Callable, Iterable

from podium.execution.entities import Happening
from podium.notify import channels
from podium.notify.entities import Notice
from podium.notify.loop import Notifier
from podium.notify.port import Channel
from podium.notify.rules import Rules
from podium.wiring.project import Project


def notifier(project: Project, observe: Callable[[Happening], None]) -> Notifier:
    """Return what tells the project's alerts; `observe` is handed what became of each message, of kind `alert.…`.

    ConfigurationError where a channel cannot be used; the database is opened.
    """
    settings = project.settings.alerts

    def tell(notice: Notice) -> None:
        about = f"{notice.channel}: {notice.reason}" if notice.channel else notice.reason
        observe(Happening(notice.kind, "", notice.at, reason=about))

    made = channels.build(settings, os.environ)
    return Notifier(project.database, made, Rules.of(settings), project.clock, tell)


def channels_of(project: Project, names: Iterable[str]) -> dict[str, Channel]:
    """Return the channels called so, or all, by target; the database is left alone."""
    settings = project.settings.alerts
    return channels.named(channels.build(settings, os.environ), settings, names)
