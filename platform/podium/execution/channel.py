"""Messages between a supervisor, its slot host and its slots: JSON documents over a socket.

JSON and not pickle, because user code runs at the other end: what it sends can be wrong, but runs nothing here.
"""

import json
import socket
import struct
from collections.abc import Iterator
from typing import Any

Message = dict[str, Any]
_HEADER = struct.Struct("!I")
_READ_BYTES = 1 << 16


class ChannelClosed(Exception):
    """The other end is gone."""


class Channel:
    """One end of a connection; `send` and `receive` block, `arrived` does not."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._buffer = bytearray()

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self.socket.fileno()

    def send(self, message: Message) -> None:
        """Send one message whole; ChannelClosed if nobody is there."""
        body = json.dumps(message).encode()
        try:
            self.socket.sendall(_HEADER.pack(len(body)) + body)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ChannelClosed from error

    def receive(self) -> Message:
        """Wait for one message; ChannelClosed at the end."""
        while True:
            message = self._next()
            if message is not None:
                return message
            self._fill()

    def arrived(self) -> Iterator[Message]:
        """Read what is there once and yield the whole messages; ChannelClosed at the end."""
        self._fill()
        while (message := self._next()) is not None:
            yield message

    def close(self) -> None:
        """Close this end."""
        self.socket.close()

    def _fill(self) -> None:
        try:
            data = self.socket.recv(_READ_BYTES)
        except ConnectionResetError as error:
            raise ChannelClosed from error
        if not data:
            raise ChannelClosed
        self._buffer += data

    def _next(self) -> Message | None:
        if len(self._buffer) < _HEADER.size:
            return None
        (length,) = _HEADER.unpack_from(self._buffer)
        end = _HEADER.size + length
        if len(self._buffer) < end:
            return None
        message: Message = json.loads(self._buffer[_HEADER.size : end])
        del self._buffer[:end]
        return message
