"""The two loops of a project's scheduler: they end together, whichever of them is told to or cannot go on."""

import threading

import pytest

from podium.clock import FakeClock, SystemClock
from podium.errors import ServiceUnavailable
from podium.scheduling.loop import Loop, Part
from podium.wiring.scheduler import ProjectScheduler


class Mute:
    """An observer that cannot be told anything."""

    def failed(self, part: str, error: BaseException) -> None:
        del part, error
        raise OSError("no space left on device")

    def away(self, error: ServiceUnavailable) -> None:
        del error
        raise OSError("no space left on device")

    def back(self) -> None:
        raise OSError("no space left on device")


class Turns:
    """A part that tells of its turns, or fails at each."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.came = threading.Event()

    def advance(self) -> float:
        self.came.set()
        if self.error is not None:
            raise self.error
        return 0.01


def test_both_go_on_until_they_are_told_to_end() -> None:
    punctual, patient = Turns(), Turns()
    loops = ProjectScheduler(
        Loop({"punctual": punctual}, FakeClock(), Mute()), Loop({"patient": patient}, SystemClock(), Mute())
    )
    loops.run(lambda _: patient.came.wait(30))
    assert punctual.came.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "patient"]


def test_what_ends_the_loop_beside_ends_both() -> None:
    patient = Turns(ValueError("cannot be told"))
    loops = ProjectScheduler(
        Loop({"punctual": Turns()}, SystemClock(), Mute()), Loop({"patient": patient}, SystemClock(), Mute())
    )
    with pytest.raises(OSError, match="no space left"):
        loops.run(lambda _: False)


def test_one_that_waits_for_long_keeps_no_other_waiting() -> None:
    patient, released = Turns(), threading.Event()

    class Waits:
        def advance(self) -> float:
            released.wait(30)
            return 60.0

    each: tuple[dict[str, Part], ...] = ({"on time": Turns()}, {"patient": patient}, {"guard": Waits()})
    loops = ProjectScheduler(*(Loop(parts, SystemClock(), Mute()) for parts in each))

    def until_the_patient_came(_: float) -> bool:
        came = patient.came.wait(30)
        released.set()
        return came

    loops.run(until_the_patient_came)
    assert patient.came.is_set()
