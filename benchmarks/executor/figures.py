"""What a part of the benchmark found: figures, each as a ratio to the part's floor, and the bars that it must meet."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One number; `ratio` is to what the part compares with, None where there is nothing."""

    name: str
    value: float
    unit: str
    ratio: float | None = None


@dataclass(frozen=True)
class Bar:
    """A number that must be at most (or at least) a limit; one that could not be measured, and why, is not met."""

    what: str
    limit: float
    measured: float | None
    at_least: bool = False
    why_not: str = ""

    @property
    def is_met(self) -> bool:
        """Whether it was measured and is within the limit."""
        if self.measured is None:
            return False
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    @property
    def text(self) -> str:
        """The inequality in words."""
        wanted = f"{'at least' if self.at_least else 'at most'} {self.limit:g}"
        if self.measured is None:
            return f"{self.what}: {wanted}; {self.why_not}"
        if self.at_least:
            return f"{self.what}: {self.measured:.2f} {'≥' if self.is_met else '<'} {self.limit:g} demanded"
        return f"{self.what}: {self.measured:.2f} {'≤' if self.is_met else '>'} {self.limit:g} allowed"


@dataclass(frozen=True)
class Part:
    """One part of the benchmark, measured."""

    title: str
    figures: Sequence[Figure]
    bars: Sequence[Bar]
    notes: Sequence[str] = ()

    @property
    def is_met(self) -> bool:
        """Whether every bar is met."""
        return all(bar.is_met for bar in self.bars)

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON data."""
        bars = [{**asdict(bar), "is_met": bar.is_met} for bar in self.bars]
        return {
            "title": self.title,
            "figures": [asdict(each) for each in self.figures],
            "bars": bars,
            "notes": [*self.notes],
        }


def print_part(part: Part) -> None:
    """Print a part as a table, its bars below."""
    print(f"\n{part.title}")
    for figure in part.figures:
        ratio = "" if figure.ratio is None else f"{figure.ratio:>10.2f} ×"
        print(f"  {figure.name:<46}{_number(figure.value):>10} {figure.unit:<14}{ratio}".rstrip())
    for note in part.notes:
        print(f"  ({note})")
    for bar in part.bars:
        print(f"  {'met   ' if bar.is_met else 'MISSED'}  {bar.text}")


def fastest(timings: Iterable[float]) -> float:
    """Return the least of several timings: what else runs on the machine only adds time."""
    return min(timings)


def _number(value: float) -> str:
    return f"{value:,.3f}" if value < 10 else f"{value:,.1f}"


def timed(act: Callable[[], object]) -> float:
    """Return the seconds that `act` takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start
