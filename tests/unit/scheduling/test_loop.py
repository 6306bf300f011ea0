"""The loop: every part has its turn, whatever goes wrong in another; a database that is away is waited for."""

from collections.abc import Callable
from dataclasses import dataclass, field

from podium.clock import FakeClock
from podium.errors import ConfigurationError, ServiceUnavailable
from podium.scheduling.loop import Loop


@dataclass
class Told:
    """An observer that remembers."""

    lines: list[str] = field(default_factory=list)

    def failed(self, part: str, error: BaseException) -> None:
        self.lines.append(f"{part} failed: {error}")

    def away(self, error: ServiceUnavailable) -> None:
        self.lines.append(f"away: {error}")

    def back(self) -> None:
        self.lines.append("back")


@dataclass
class Counted:
    """A part that does what it is told to at each turn."""

    step: Callable[[int], float]
    turns: int = 0

    def advance(self) -> float:
        self.turns += 1
        return self.step(self.turns)


def raising(error: Exception) -> float:
    raise error


def test_a_part_has_its_next_turn_when_it_asked_for_it() -> None:
    clock, often, seldom = FakeClock(), Counted(lambda _: 1.0), Counted(lambda _: 5.0)
    loop = Loop({"often": often, "seldom": seldom}, clock, Told())
    assert loop.advance() == 1.0
    for _ in range(10):
        clock.advance(1.0)
        loop.advance()
    assert (often.turns, seldom.turns) == (11, 3)


def test_what_goes_wrong_in_a_part_is_told_once_and_the_others_go_on() -> None:
    clock, told = FakeClock(), Told()
    fails = Counted(lambda turn: raising(ConfigurationError("the price is missing" if turn < 3 else "another")))
    goes = Counted(lambda _: 1.0)
    loop = Loop({"fails": fails, "goes": goes}, clock, told)
    for _ in range(200):
        loop.advance()
        clock.advance(1.0)
    assert fails.turns == 4  # once a minute
    assert goes.turns == 200
    assert told.lines == ["fails failed: the price is missing", "fails failed: another"]


def test_a_part_that_is_well_again_and_fails_again_is_told_again() -> None:
    clock, told = FakeClock(), Told()
    part = Counted(lambda turn: 60.0 if turn % 2 == 0 else raising(ValueError("no")))
    loop = Loop({"part": part}, clock, told)
    for _ in range(3):
        loop.advance()
        clock.advance(60.0)
    assert told.lines == ["part failed: no", "part failed: no"]


def test_a_database_that_is_away_is_waited_for_however_long_and_told_when_it_goes_and_comes() -> None:
    clock, told = FakeClock(), Told()
    part = Counted(lambda turn: raising(ServiceUnavailable("no answer")) if turn <= 20 else 1.0)
    loop = Loop({"part": part}, clock, told)
    waits = []
    for _ in range(21):
        waits.append(round(loop.advance(), 3))
        clock.advance(waits[-1])
    assert waits[:7] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert waits[-1] == 1.0
    assert told.lines == ["away: no answer", "back"]


def test_it_ends_as_soon_as_it_is_told_to() -> None:
    part = Counted(lambda _: 0.25)
    asked: list[float] = []

    def wait(seconds: float) -> bool:
        asked.append(seconds)
        return len(asked) == 3

    Loop({"part": part}, FakeClock(), Told()).run(wait)
    assert asked == [0.25, 0.25, 0.25]
