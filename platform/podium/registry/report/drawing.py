"""The pieces of a plot: SVG elements with escaped text, scales that take any finite numbers, the style of all plots."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

from podium.registry.report.blocks import Plot
from podium.registry.report.words import visible

WIDTH = 560.0

Attribute = str | float


def style() -> str:
    """Return the style sheet of the plots, light and dark."""
    return (resources.files("podium.registry.report") / "plots.css").read_text(encoding="utf-8")


def element(name: str, content: str = "", **attributes: Attribute) -> str:
    """Return an SVG element; `content` is SVG already, attributes are escaped."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(one if isinstance(one, str) else f"{one:.1f}")}"'
        for key, one in attributes.items()
    )
    return f"<{name}{given}>{content}</{name}>" if content else f"<{name}{given}/>"


def label(x: float, y: float, text: str, kind: str = "") -> str:
    """Return text at a place; `kind` is a class of the style sheet."""
    return element("text", escape(visible(text)), x=x, y=y, class_=kind)


def line(start: tuple[float, float], end: tuple[float, float], kind: str) -> str:
    """Return a straight line."""
    return element("path", d=f"M{start[0]:.1f} {start[1]:.1f} L{end[0]:.1f} {end[1]:.1f}", class_=kind)


def mark(x: float, y: float, size: float, kind: str, *, pointed: bool = False, told: str = "") -> str:
    """Return a disc, or where it is `pointed` a diamond, so that colour is never all that tells two marks apart."""
    title = element("title", escape(visible(told))) if told else ""
    if pointed:
        reach = 1.3 * size
        corners = (
            f"M{x - reach:.1f} {y:.1f} L{x:.1f} {y - reach:.1f} L{x + reach:.1f} {y:.1f} L{x:.1f} {y + reach:.1f} Z"
        )
        return element("path", title, d=corners, class_=kind)
    return element("circle", title, cx=x, cy=y, r=size, class_=kind)


def plot(name: str, title: str, description: str, height: float, parts: Iterable[str]) -> Plot:
    """Return a plot of full width, which names and describes itself to who cannot see it."""
    told = (
        element("title", escape(visible(title)), id=f"{name}-title"),
        element("desc", escape(visible(description)), id=f"{name}-description"),
        element("rect", width="100%", height="100%", class_="paper"),
    )
    svg = element(
        "svg",
        "".join((*told, *parts)),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH:.0f} {height:.0f}",
        role="img",
        aria_labelledby=f"{name}-title {name}-description",
        class_="plot",
    )
    return Plot(name, title, description, svg)


@dataclass(frozen=True)
class Scale:
    """Places of numbers between `left` and `right`.

    Numbers are divided by `unit` first: the range of two finite floats may be infinite.
    """

    low: float
    high: float
    unit: float
    left: float
    right: float

    @classmethod
    def over(cls, numbers: Sequence[float], left: float, right: float) -> "Scale":
        """Return a scale on which all `numbers` have a place, with some room beyond them."""
        unit = max(abs(number) for number in numbers) or 1.0
        low, high = min(numbers) / unit, max(numbers) / unit
        room = 0.08 * (high - low) or 0.5
        return cls(low - room, high + room, unit, left, right)

    def at(self, number: float) -> float:
        """Return where `number` is."""
        return self.left + (number / self.unit - self.low) / (self.high - self.low) * (self.right - self.left)

    def ticks(self, count: int = 5) -> list[float]:
        """Return about so many round numbers on the scale."""
        step = (self.high - self.low) / count * self.unit
        if not 1e-300 < step < 1e300:
            return [0.0] if self.low <= 0 <= self.high else []
        size = 10.0 ** math.floor(math.log10(step))
        step = next((factor * size for factor in (1, 2, 2.5, 5) if factor * size >= step), 10 * size)
        first, last = math.ceil(self.low * self.unit / step), math.floor(self.high * self.unit / step)
        return [number * step for number in range(first, last + 1)]
