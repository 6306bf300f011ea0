"""What alerts want from outside: a way to send a text."""

from typing import Protocol


class Channel(Protocol):
    """Somewhere that messages can be sent to; each send has a thread of its own."""

    @property
    def scheme(self) -> str:
        """The kind of service, as `slack`: all that may be shown of its address."""

    def send(self, title: str, body: str) -> str | None:
        """Send a plain text; return None once it was taken, else why not, without anything secret.

        It may raise; of what it raises only the type is told.
        """
