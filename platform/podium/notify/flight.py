"""A message on its way: sent in a thread that may be left behind, so that a service that hangs holds nobody up."""

import threading

from podium.notify.port import Channel


class Flight:
    """One message being sent to a channel."""

    def __init__(self, channel: Channel, title: str, body: str) -> None:
        self._channel = channel
        self._ended = threading.Event()
        self._error: str | None = None
        # A thread that hangs does not keep the process from ending.
        threading.Thread(target=self._send, args=(title, body), name="alert", daemon=True).start()

    @property
    def ended(self) -> bool:
        """Whether the channel has answered."""
        return self._ended.is_set()

    @property
    def error(self) -> str | None:
        """Why the channel did not take it; None if it did."""
        return self._error

    def wait(self, seconds: float) -> bool:
        """Wait so long at most; return whether the channel has answered."""
        return self._ended.wait(seconds)

    def _send(self, title: str, body: str) -> None:
        try:
            self._error = self._channel.send(title, body)
        except BaseException as error:  # noqa: BLE001 - whatever it is; its text may hold the channel's address
            self._error = f"the channel failed with {type(error).__name__}"
        finally:
            self._ended.set()
