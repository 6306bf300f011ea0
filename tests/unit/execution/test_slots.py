"""A supervisor's view of its slots, with the test in the place of the host that forks them."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from podium.errors import InternalError
from podium.execution.backend import SeatEnded, SeatMessage
from podium.execution.channel import Channel
from podium.execution.slots import SlotHandle, Slots


@dataclass
class FakeHost:
    """The other ends of the supervisor's sockets."""

    slots: Slots
    control: Channel
    descriptors: socket.socket

    def start_slot(self) -> tuple[SlotHandle, Channel]:
        """Ask for a slot, and start it as a host does; return it with the slot's own end of its channel."""
        slot = self.slots.idle("code")
        asked = self.control.receive()
        assert (asked["type"], asked["slot"]) == ("start_slot", slot.number)
        _, (descriptor,), _, _ = socket.recv_fds(self.descriptors, 1, 1)
        self.control.send({"type": "slot_started", "slot": slot.number, "process_id": 4242, "complete": False})
        assert self.heard() == []
        return slot, Channel(socket.socket(fileno=descriptor))

    def heard(self) -> list[SeatMessage | SeatEnded]:
        """What the supervisor hears now."""
        return list(self.slots.wait(0.0))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[FakeHost]:
    slots = Slots({}, (), tmp_path / "host.log")
    ours, control = socket.socketpair()
    slots._descriptors, descriptors = socket.socketpair()
    slots._control = Channel(ours)
    slots.selector.register(slots._control, 1, None)
    yield FakeHost(slots, Channel(control), descriptors)
    for end in (ours, control, slots._descriptors, descriptors):
        end.close()


def test_a_slot_is_used_again_for_the_same_code_and_ended_for_other_code(host: FakeHost) -> None:
    slot, _ = host.start_slot()
    assert host.slots.idle("code") is slot
    assert host.slots.idle("other") is not slot
    assert host.control.receive() == {"type": "end_slot", "slot": slot.number}


def test_a_slot_with_other_code_stays_while_one_with_this_code_is_free(host: FakeHost) -> None:
    other, _ = host.start_slot()
    other.attempt_id = "a"
    slot = host.slots.idle("mine")
    other.attempt_id = None
    assert host.slots.idle("mine") is slot
    assert host.slots.idle("code") is other


def test_a_busy_slot_is_not_used_again(host: FakeHost) -> None:
    slot, _ = host.start_slot()
    slot.attempt_id = "a"
    assert host.slots.idle("code") is not slot


def test_what_a_slot_said_before_it_died_is_heard_before_its_end(host: FakeHost) -> None:
    slot, theirs = host.start_slot()
    theirs.send({"type": "result"})
    host.control.send({"type": "slot_ended", "slot": slot.number, "status": -9})
    theirs.close()
    assert host.heard() == [SeatMessage(slot, {"type": "result"}), SeatEnded(slot, -9)]
    assert host.heard() == []


def test_a_slot_s_end_and_the_end_of_its_channel_may_be_noticed_in_either_order(host: FakeHost) -> None:
    slot, theirs = host.start_slot()
    theirs.close()
    assert host.heard() == []
    host.control.send({"type": "slot_ended", "slot": slot.number, "status": 1})
    assert host.heard() == [SeatEnded(slot, 1)]


@pytest.mark.parametrize("act", ["end", "fork", "wait"])
def test_a_host_that_died_is_reported_with_where_its_last_words_are(host: FakeHost, act: str) -> None:
    slot, _ = host.start_slot()
    slot.attempt_id = "a"
    host.control.close()
    host.descriptors.close()
    acts = {
        "end": slot.end,
        "fork": lambda: host.slots.idle("code"),
        "wait": host.heard,
    }
    with pytest.raises(InternalError, match=r"host\.log"):
        acts[act]()
