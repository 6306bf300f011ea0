"""The sender: takes what is due out of the outbox, sends it outside any transaction, and notes what became of it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from podium import faults
from podium.clock import Clock
from podium.db.engine import Database
from podium.notify import outbox
from podium.notify.entities import Message, Notice
from podium.notify.flight import Flight
from podium.notify.port import Channel
from podium.notify.rules import Rules

DEADLINE_SECONDS = 30.0
"""How long a channel has to answer; well below a delivery's lease."""


@dataclass(frozen=True)
class _Sending:
    message: Message
    flight: Flight
    until: float  # by the monotonic clock


class Sender:
    """Sends to every channel one message at a time, and to all of them at once.

    It waits for answers for `patience_seconds` at most; one that comes later is noted at a later call. What was sent
    and could not be noted, because the database went away, is noted when it is back.
    """

    def __init__(
        self,
        database: Database,
        channels: Mapping[str, Channel],
        rules: Rules,
        clock: Clock,
        observe: Callable[[Notice], None],
        patience_seconds: float = 2.0,
    ) -> None:
        self._database = database
        self._channels = channels
        self._rules = rules
        self._clock = clock
        self._observe = observe
        self._patience_seconds = patience_seconds
        self._sending: dict[str, _Sending] = {}
        self._left_behind: dict[str, Flight] = {}

    @property
    def is_sending(self) -> bool:
        """Whether the answer of a channel is still awaited."""
        return bool(self._sending)

    def deliver(self) -> None:
        """Send what is due until nothing is, or it takes too long; ServiceUnavailable where the database is away."""
        self.note()
        until = self._clock.monotonic() + self._patience_seconds
        answered = True
        while answered and self._clock.monotonic() < until and (started := self._start()):
            answered = self._wait(started)
            self.note()

    def note(self) -> None:
        """Note what became of messages whose channel has answered, or has not in time."""
        for target, sending in list(self._sending.items()):
            if sending.flight.ended:
                self._note(sending.message, sending.flight.error)
            elif self._clock.monotonic() >= sending.until:
                self._note(sending.message, f"no answer within {DEADLINE_SECONDS:g} s")
                self._left_behind[target] = sending.flight
            else:
                continue
            self._sending.pop(target, None)  # `close` may come while a call hangs in another thread

    def close(self) -> None:
        """Wait a moment for the channels that have not answered, and note those that do."""
        self._wait([sending.flight for sending in self._sending.values()])
        self.note()

    def _start(self) -> list[Flight]:
        """Start a message to every channel that one is due for and that has answered the one before."""
        with self._database.read() as connection:
            targets = [target for target in outbox.due(connection, self._clock.now()) if target not in self._sending]
        for target in targets:
            with self._database.write() as connection:
                message = outbox.take(connection, target, self._rules, self._clock.now())
            if message is not None:
                self._send(message)
        return [self._sending[target].flight for target in targets if target in self._sending]

    def _send(self, message: Message) -> None:
        faults.reach("alert.before_send")
        channel, hanging = self._channels.get(message.channel), self._left_behind.get(message.channel)
        if channel is None:
            self._note(message, "podium.toml names no such channel any more")
        elif hanging is not None and not hanging.ended:
            self._note(message, "an earlier message still hangs there")
        else:
            self._left_behind.pop(message.channel, None)
            until = self._clock.monotonic() + DEADLINE_SECONDS
            self._sending[message.channel] = _Sending(message, Flight(channel, message.title, message.body), until)

    def _wait(self, flights: Sequence[Flight]) -> bool:
        """Wait for channels, no longer than patience is; return whether all have answered."""
        left = self._patience_seconds
        for flight in flights:
            begun = time.monotonic()  # of the world, where threads take their time
            flight.wait(max(0.0, left))
            left -= time.monotonic() - begun
        return all(flight.ended for flight in flights)

    def _note(self, message: Message, error: str | None) -> None:
        now = self._clock.now()
        if error is None:
            faults.reach("alert.after_send")
            with self._database.write() as connection:
                outbox.sent(connection, message, now)
            self._observe(Notice("alert.sent", message.channel, now, message.title))
            return
        with self._database.write() as connection:
            given_up = outbox.failed(connection, message, error, now)
        self._observe(Notice("alert.failed", message.channel, now, f"{message.title}: {error}"))
        if given_up:
            self._observe(Notice("alert.given_up", message.channel, now, f"{given_up:,} after a day: {error}"))
