"""A test message, to see whether channels work."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from podium.notify.flight import Flight
from podium.notify.port import Channel
from podium.notify.sender import DEADLINE_SECONDS


@dataclass(frozen=True)
class Answer:
    """What a channel said to a test message; `error` is why it did not take it."""

    channel: str
    scheme: str
    error: str | None

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**asdict(self), "ok": self.error is None}


def try_channels(
    channels: Mapping[str, Channel], project: str, actor: str, deadline_seconds: float = DEADLINE_SECONDS
) -> list[Answer]:
    """Send a test message to each channel, to all at once, and return what they answered in time."""
    title = f"test: alerts of {project}"
    body = f"{actor} asked for this message with `podium alerts test`. Nothing is wrong, and nothing needs to be done."
    flights = {name: Flight(channel, title, body) for name, channel in channels.items()}
    return [
        Answer(
            name,
            channels[name].scheme,
            flight.error if flight.wait(deadline_seconds) else f"no answer within {deadline_seconds:g} s",
        )
        for name, flight in flights.items()
    ]
