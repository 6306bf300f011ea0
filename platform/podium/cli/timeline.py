"""A run over time, as rows of spans: what waited in the queue, ran, backed off, snoozed; pure."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from podium.cli.labels import label_of

ITEM_ROWS = 24
"""A step mapped over more items than this is drawn as its items ran side by side, not item by item."""

_BREAK_WIDTH = 44.0  # of a time in which nothing ran, in the units of the chart
_TICK_WIDTH = 96.0
_TICK_SECONDS = (
    *(each / 1000 for each in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    *(1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(minutes * 60.0 for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * 3600.0 for hours in (1, 2, 3, 6, 12, 24, 48, 96, 168)),
)

Document = Mapping[str, Any]
Wait = Literal["queue", "back_off", "snooze"]


@dataclass(frozen=True)
class Span:
    """A stretch of a step run's time: an attempt in its state, or a wait for one; `number` is 0 for a wait."""

    label: str
    kind: str  # an attempt's state, or a `Wait`
    number: int
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Row:
    """A line of the chart: a step, one item of it, or a lane in which items ran one after the other."""

    label: str
    kind: Literal["step", "item", "lane"]
    state: str
    note: str
    spans: Sequence[Span]
    cached_at: datetime | None = None


def rows_of(document: Document, events: Sequence[Document], now: datetime) -> list[Row]:
    """Return the rows of a run's chart, in the plan's order; what has not ended ends at `now`.

    `events` are those of the run: they tell when a step became ready, again after each resume.
    """
    ready = _ready(events)
    items: dict[str, list[Document]] = {}
    for step in document["steps"]:
        if step["map_index"] is not None:
            items.setdefault(step["name"], []).append(step)
    rows = []
    for step in document["steps"]:
        if step["map_index"] is not None:
            continue
        of_step = items.get(step["name"], [])
        note = f"{len(of_step):,} {'item' if len(of_step) == 1 else 'items'}" if of_step else _note(step)
        cached_at = _instant(step["ended_at"]) if step["cached"] else None
        spans = [] if of_step else list(_spans(step, ready, now))
        rows.append(Row(step["name"], "step", step["state"], note, spans, cached_at))
        rows.extend(_item_rows(of_step, ready, now) if len(of_step) <= ITEM_ROWS else _lanes(of_step, now))
    return rows


def _note(step: Document) -> str:
    """Return what stands beside the name of a step run without a bar."""
    return "" if step["attempts"] else "cached" if step["cached"] else str(step["state"])


def _item_rows(items: Sequence[Document], ready: Mapping[str, Sequence[datetime]], now: datetime) -> Iterator[Row]:
    for item in items:
        cached_at = _instant(item["ended_at"]) if item["cached"] else None
        yield Row(label_of(item), "item", item["state"], _note(item), list(_spans(item, ready, now)), cached_at)


def _lanes(items: Sequence[Document], now: datetime) -> Iterator[Row]:
    """Yield as few rows as it takes to draw every attempt beside those that ran at the same time."""
    lanes: list[list[Span]] = []
    for span in sorted((each for item in items for each in _attempts(item, now)), key=lambda span: span.start):
        for lane in lanes:
            if lane[-1].end <= span.start:
                lane.append(span)
                break
        else:
            lanes.append([span])
    for lane in lanes:
        yield Row("", "lane", "", "", lane)


def _attempts(step: Document, now: datetime) -> Iterator[Span]:
    for attempt in step["attempts"]:
        end = _instant(attempt["ended_at"]) or now
        start = _instant(attempt["started_at"]) or now
        yield Span(label_of(step), attempt["state"], attempt["number"], start, max(start, end))


def _spans(step: Document, ready: Mapping[str, Sequence[datetime]], now: datetime) -> Iterator[Span]:
    """Yield a step run's attempts with the waits before, between and after them."""
    label = label_of(step)
    became_ready = [*ready.get(label, ()), *(ready.get(step["name"], ()) if step["map_index"] is not None else ())]
    before: Span | None = None
    for attempt in _attempts(step, now):
        yield from _wait(label, before, attempt.start, became_ready)
        yield attempt
        before = attempt
    if step["state"] in ("ready", "waiting") and (before is None or before.kind != "running"):
        yield from _wait(label, before, now, became_ready)


def _wait(label: str, before: Span | None, until: datetime, became_ready: Sequence[datetime]) -> Iterator[Span]:
    """Yield the wait that ended at `until`: from when the step run became ready, else from its last attempt on."""
    since = max((at for at in became_ready if at <= until and (before is None or at >= before.end)), default=None)
    if since is not None:
        kind: Wait = "queue"
    elif before is not None:
        since, kind = before.end, _AFTER.get(before.kind, "queue")
    else:
        return
    if since < until:
        yield Span(label, kind, 0, since, until)


_AFTER: Mapping[str, Wait] = {"failed": "back_off", "timed_out": "back_off", "snoozed": "snooze"}


def _ready(events: Sequence[Document]) -> dict[str, list[datetime]]:
    """Return when each step became ready, or its items were made ready."""
    found: dict[str, list[datetime]] = {}
    for event in events:
        at = _instant(event["at"])
        if event["kind"] in ("step.ready", "step.mapped") and at is not None:
            found.setdefault(event["step"], []).append(at)
    return found


@dataclass(frozen=True)
class Tick:
    """A mark of the axis, at a time since the run was created."""

    at: float
    seconds: float


@dataclass(frozen=True)
class Break:
    """A time in which nothing ran, drawn shorter than it was."""

    left: float
    right: float
    seconds: float


class Scale:
    """Places instants on an axis `width` long, from `start` to `end`.

    A time in which nothing ran that is longer than all in which something did is drawn as a break: a run that is
    resumed the next day would else be two hairlines.
    """

    def __init__(self, start: datetime, end: datetime, spans: Sequence[Span], width: float) -> None:
        self._start = start
        whole = max((end - start).total_seconds(), 1e-3)
        ran = [(self._seconds(span.start), self._seconds(span.end)) for span in spans if span.number]
        gaps = _long_gaps(ran, whole)
        shown = whole - sum(right - left for left, right in gaps)
        self._unit = max(width - len(gaps) * _BREAK_WIDTH, width / 4) / shown  # chart units per second
        self._times, self._places = [0.0], [0.0]
        for left, right in gaps:
            at = self._places[-1] + (left - self._times[-1]) * self._unit
            self._times += [left, right]
            self._places += [at, at + _BREAK_WIDTH]
        self._times.append(whole)
        self._places.append(self._places[-1] + (whole - self._times[-2]) * self._unit)
        self._gaps = gaps

    def place(self, at: datetime) -> float:
        """Return where an instant lies, within the axis."""
        return self._place(self._seconds(at))

    def breaks(self) -> list[Break]:
        """Return the breaks from left to right."""
        return [Break(self._place(left), self._place(right), right - left) for left, right in self._gaps]

    def ticks(self) -> list[Tick]:
        """Return marks at round times, none within a break."""
        step = next((each for each in _TICK_SECONDS if each * self._unit >= _TICK_WIDTH), _TICK_SECONDS[-1])
        found = []
        for left, right in zip(self._times[::2], self._times[1::2], strict=True):
            number = -(-left // step)  # rounded up
            while number * step <= right:
                found.append(Tick(self._place(number * step), number * step))
                number += 1
        return found

    def _seconds(self, at: datetime) -> float:
        return (at - self._start) / timedelta(seconds=1)

    def _place(self, seconds: float) -> float:
        seconds = min(max(seconds, 0.0), self._times[-1])
        piece = min(max(bisect_right(self._times, seconds) - 1, 0), len(self._times) - 2)
        left, right = self._times[piece], self._times[piece + 1]
        share = (seconds - left) / (right - left) if right > left else 0.0
        return self._places[piece] + share * (self._places[piece + 1] - self._places[piece])


def _long_gaps(ran: Sequence[tuple[float, float]], whole: float) -> list[tuple[float, float]]:
    """Return the stretches in which nothing ran that are longer than all in which something did, in order."""
    merged: list[tuple[float, float]] = []
    for left, right in sorted(ran):
        if merged and left <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(right, merged[-1][1])
        else:
            merged.append((left, right))
    busy = sum(right - left for left, right in merged)
    edges = [0.0, *(edge for pair in merged for edge in pair), whole]
    return [(left, right) for left, right in zip(edges[::2], edges[1::2], strict=True) if busy and right - left > busy]


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
