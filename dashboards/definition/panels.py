"""What a dashboard is made of: panels that each answer one question with a few PromQL queries."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["stat", "bars", "lines", "columns"]
"""`stat`: one number per series now. `bars`: the same, lying and comparable. `lines`, `columns`: over time."""

Unit = Literal["currencyUSD", "s", "percentunit", "short", "none"]
"""Grafana's names: US dollars, seconds, a share from 0 to 1, a count, a plain number."""


@dataclass(frozen=True)
class Query:
    """One PromQL expression in Grafana's variables, and how its series are named (`{{label}}`)."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Threshold:
    """From this value on a number has this colour."""

    value: float
    colour: str


@dataclass(frozen=True)
class Panel:
    """One question and its answer; `width` is in 24ths of the page.

    `today` answers for the day so far in UTC, the ledger's day, whatever range the page shows. `none` is what
    stands there when the queries return nothing, which is an answer of its own and never 0: a server that is down
    looks the same, so it must not claim that there is nothing. `colours` are those of series by name, for words that
    mean the same everywhere. `most` is the value of a bar of full length, the greatest of them if not given.
    `show_name` shows a series' name in place of its value.
    """

    title: str
    description: str
    kind: Kind
    unit: Unit
    queries: tuple[Query, ...]
    width: int
    height: int = 5
    thresholds: tuple[Threshold, ...] = ()
    words: tuple[tuple[float, str], ...] = ()
    colours: tuple[tuple[str, str], ...] = ()
    none: str = "no data"
    today: bool = False
    most: float | None = None
    logarithmic: bool = False
    show_name: bool = False

    @property
    def over_time(self) -> bool:
        """Whether the panel shows series over the range, not one value at its end."""
        return self.kind in ("lines", "columns")


@dataclass(frozen=True)
class Section:
    """Panels under one heading, from left to right, wrapping at the page's width."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A filter of the page: the values of `label` on `metric`, any number of them or all."""

    label: str
    metric: str


@dataclass(frozen=True)
class Dashboard:
    """One page; `uid` is its address in Grafana and the name of its file."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    sections: tuple[Section, ...]
    since: str = "now-7d"

    @property
    def panels(self) -> Iterator[Panel]:
        """Every panel, in reading order."""
        for section in self.sections:
            yield from section.panels


@dataclass(frozen=True)
class Place:
    """Where something stands on the page, in 24ths of its width and Grafana's rows from the top."""

    left: int
    top: int
    width: int
    height: int


def laid_out(dashboard: Dashboard) -> Iterator[tuple[Section | Panel, Place]]:
    """Yield headings and panels with their places: sections below each other, their panels from left to right."""
    top = 0
    for section in dashboard.sections:
        yield section, Place(0, top, PAGE_WIDTH, 1)
        top, left, tallest = top + 1, 0, 0
        for panel in section.panels:
            if left + panel.width > PAGE_WIDTH:
                top, left, tallest = top + tallest, 0, 0
            yield panel, Place(left, top, panel.width, panel.height)
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


PAGE_WIDTH = 24

PIPELINE = 'pipeline=~"$pipeline"'
"""What narrows a query to the pipelines that are chosen on the page."""

RED_ABOVE_ZERO = (Threshold(0, "green"), Threshold(1e-18, "red"))
"""For what must be 0: an amount has 18 decimals, so nothing wrong is smaller."""

ENDS = (
    ("promoted", "green"),
    ("none", "blue"),
    ("rejected", "orange"),
    ("rolled_back", "purple"),
    ("inconclusive", "yellow"),
    ("failed", "red"),
    ("cancelled", "gray"),
)
"""The colours of how a run ended: only `failed`, which somebody has to look into, is red."""

ATTEMPT_ENDS = (
    ("succeeded", "green"),
    ("failed", "red"),
    ("timed_out", "orange"),
    ("lost", "purple"),
    ("cancelled", "gray"),
    ("snoozed", "blue"),
)
"""The colours of how an attempt ended."""

CANARY_ENDS = (
    ("promoted", "green"),
    ("rolled_back", "purple"),
    ("inconclusive", "yellow"),
    ("invalid", "red"),
    ("aborted", "gray"),
)
"""The colours of how a canary ended."""

GATE_VERDICTS = (("passed", "green"), ("failed", "orange"), ("insufficient", "yellow"))
"""The colours of the gate's verdicts: a candidate that fails is `rejected`, which is the gate's work and no fault."""

MOVES = (("promote", "green"), ("rollback", "purple"), ("refused or void", "orange"))
"""The colours of what happened to champions."""
