"""Channels by Apprise, which knows over a hundred services by their URLs. It is imported at the first channel.

A URL holds secrets. Apprise writes it into its log where it cannot read it, so what it logs goes nowhere but into the
errors here, and there without anything that stands in the URL.
"""

import difflib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote, unquote

from podium.errors import ConfigurationError

_PARTS = re.compile(r"[/:@?&=;,#\s]+")
_LEAST_SECRET = 3  # characters; shorter parts of a URL are no secrets


class AppriseChannel:
    """One URL of Apprise."""

    def __init__(self, name: str, url: str) -> None:
        """Read the URL; ConfigurationError, naming the channel, where Apprise is missing or cannot read it."""
        with _heard():
            apprise = _imported(name)
        self.scheme, self._secrets = url.partition("://")[0].lower(), _secrets(url)
        self._text = apprise.NotifyFormat.TEXT
        self._apprise = apprise.Apprise()
        with _heard() as heard:
            service = apprise.Apprise.instantiate(url)
        if service is None:
            raise ConfigurationError(_refusal(name, self.scheme, self._told(heard)))
        self._apprise.add(service)

    def send(self, title: str, body: str) -> str | None:
        """Send a plain text; return None once it was taken, else what Apprise said, without anything of the URL."""
        try:
            with _heard() as heard:
                taken = self._apprise.notify(title=title, body=body, body_format=self._text)
        except Exception as error:  # noqa: BLE001 - of over a hundred plugins
            heard.append(f"{type(error).__name__}: {error}")
            taken = False
        return None if taken else self._told(heard) or f"{self.scheme} did not take it, and Apprise does not say why"

    def _told(self, heard: list[str]) -> str:
        text = " ".join(" ".join(heard).split())
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return text


def _refusal(name: str, scheme: str, told: str) -> str:
    from apprise.manager_plugins import NotificationManager

    services = NotificationManager()
    if scheme in services:
        return f"Apprise cannot read the {scheme} URL of the alert channel {name}: {told} Correct it in podium.toml."
    close = difflib.get_close_matches(scheme, services.schemas(), n=1)
    guess = f"; did you mean {close[0]}://?" if close else "."
    return (
        f"The URL of the alert channel {name} begins with {scheme}://, which is no service of Apprise{guess} "
        "https://appriseit.com/services/ lists them."
    )


def _imported(name: str) -> Any:
    try:
        import apprise
    except ImportError as error:
        raise ConfigurationError(
            f"The alert channel {name} needs Apprise, which cannot be imported here ({error}). "
            "Run pip install 'podium[alerts]'."
        ) from None
    return apprise


def _secrets(url: str) -> list[str]:
    """Return what must not be shown of a URL, its parts but the scheme as they stand and decoded; longest first."""
    rest = url.partition("://")[2]
    parts = {rest, *_PARTS.split(rest)}
    parts |= {written for part in parts for written in (unquote(part), quote(unquote(part), safe=""))}
    return sorted((part for part in parts if len(part) >= _LEAST_SECRET), key=len, reverse=True)


_hearing: ContextVar[list[str] | None] = ContextVar("podium_apprise_heard", default=None)
"""What is heard for whoever sends; Apprise takes it along into threads of its own."""


class _Ear(logging.Handler):
    """Hears what is logged for each sender alone."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning for who sends."""
        heard = _hearing.get()
        if heard is not None:
            heard.append(record.getMessage())


_ear = _Ear(logging.WARNING)


def _is_of_others(record: logging.LogRecord) -> bool:
    """Keep what others have logged; what is logged of a message to a channel may name its address."""
    del record
    return _hearing.get() is None


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Collect what Apprise warns of in the block; nothing of it is printed, nor of the connections it makes."""
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.addHandler(_ear)  # once
    logging.getLogger("urllib3.connectionpool").addFilter(_is_of_others)  # once
    heard: list[str] = []
    token = _hearing.set(heard)
    try:
        yield heard
    finally:
        _hearing.reset(token)
