"""Messages over a socket, however the bytes come."""

import json
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.execution.channel import Channel, ChannelClosed


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield Channel(ours), theirs
    ours.close()
    theirs.close()


def framed(message: Any) -> bytes:
    body = json.dumps(message).encode()
    return struct.pack("!I", len(body)) + body


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20)), max_size=6), st.integers(1, 50))
def test_messages_arrive_whole_and_in_order_however_the_bytes_are_cut(messages: list[Any], length: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel, data, heard = Channel(ours), b"".join(map(framed, messages)), []
        for start in range(0, len(data), length):
            theirs.sendall(data[start : start + length])
            heard += list(channel.arrived())
        assert heard == messages


def test_receive_waits_for_the_rest_of_a_message(ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    data = framed({"type": "execute"})
    theirs.sendall(data[:3])
    theirs.sendall(data[3:] + data)
    assert [channel.receive(), channel.receive()] == [{"type": "execute"}] * 2


def test_what_is_sent_is_what_is_received(ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    channel.send({"text": "naïve ∑ \ud800", "numbers": [1, 2.5, None]})
    assert Channel(theirs).receive() == {"text": "naïve ∑ \ud800", "numbers": [1, 2.5, None]}


def test_the_end_is_noticed_while_reading_also_in_the_middle_of_a_message(ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    theirs.sendall(framed({"whole": True}) + framed({"cut": True})[:-2])
    theirs.close()
    assert list(channel.arrived()) == [{"whole": True}]
    with pytest.raises(ChannelClosed):
        channel.receive()


def test_sending_to_nobody_raises(ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    theirs.close()
    with pytest.raises(ChannelClosed):
        channel.send({})
