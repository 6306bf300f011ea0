"""A run's graph and its attempts over time, as SVG; colours and lines are classes, which the page's style defines."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from podium.cli import output
from podium.cli.labels import label_of
from podium.cli.layers import laid_out
from podium.cli.timeline import Row, Scale, Span
from podium.dag.plan import Plan, StepNode

Document = Mapping[str, Any]

_NODE_HEIGHT, _NODE_GAP, _LAYER_GAP = 46.0, 18.0, 56.0
_LEAST_NODE_WIDTH = 96.0
_CHARACTER = 7.4  # of a node's name, about as wide as the widest system font draws it
_CHART_WIDTH, _NAMES_WIDTH = 1166.0, 200.0
_AXIS_HEIGHT = 26.0
_ROW_HEIGHTS = {"step": 26.0, "item": 20.0, "lane": 13.0}
_BAR_SHARE = 0.62  # of a row's height
_LEAST_WIDTH = 1.5  # of an attempt, so that none is invisible
_LABEL_CHARACTERS = 24
_LABEL_WIDTH = 64.0  # of one on the axis, with the space around it

STATES = (
    *("succeeded", "cached", "running", "failed", "timed_out", "lost", "cancelled", "snoozed", "skipped"),
    *("ready", "waiting", "held"),
)
WAITS = {"queue": "waits for a worker", "back_off": "waits to be tried again", "snooze": "snoozes"}


def graph_of(document: Document, plan: Plan) -> str:
    """Return the graph as SVG: steps from left to right in the order they may run, each in its state's colour."""
    layout = laid_out({node.name: node.dependencies for node in plan.steps})
    wholes = {step["name"]: step for step in document["steps"] if step["map_index"] is None}
    items: dict[str, Counter[str]] = {}
    for step in document["steps"]:
        if step["map_index"] is not None:
            items.setdefault(step["name"], Counter())[shown_state(step)] += 1
    texts = {node.name: _second_line(node, wholes[node.name], items.get(node.name)) for node in plan.steps}
    widths = [_LEAST_NODE_WIDTH] * layout.layers
    for name, (layer, _) in layout.steps.items():
        widths[layer] = max(widths[layer], _CHARACTER * max(len(name), 0.88 * len(texts[name])) + 30)
    lefts = [sum(widths[:layer]) + layer * _LAYER_GAP + 2 for layer in range(layout.layers)]
    pitch = _NODE_HEIGHT + _NODE_GAP
    middle = layout.reach * pitch + _NODE_HEIGHT / 2 + 2
    parts = []
    for (one, other), points in layout.edges.items():
        asked = any(condition.step == one for condition in plan.step(other).conditions)
        path = _path(
            [(lefts[layer], lefts[layer] + widths[layer], middle + height * pitch) for layer, height in points]
        )
        parts.append(f'<path class="edge{" asked" if asked else ""}" d="{path}"/>')
    for node in plan.steps:
        layer, height = layout.steps[node.name]
        left, top = lefts[layer], middle + height * pitch - _NODE_HEIGHT / 2
        state = shown_state(wholes[node.name])
        parts.append(
            f'<g class="node {state}" data-of="{escape(node.name)}" tabindex="0" role="button">'
            f"<title>{escape(_told(wholes[node.name]))}</title>"
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{widths[layer]:.1f}" height="{_NODE_HEIGHT}" rx="8"/>'
            f'<text x="{left + 14:.1f}" y="{top + 20:.1f}" class="name">{escape(node.name)}</text>'
            f'<text x="{left + 14:.1f}" y="{top + 36:.1f}" class="small">{escape(texts[node.name])}</text>'
            f"{_shares(items.get(node.name), left, top + _NODE_HEIGHT - 4, widths[layer])}</g>"
        )
    width, height_ = lefts[-1] + widths[-1] + 2, 2 * middle
    return f'<svg width="{width:.0f}" height="{height_:.0f}" role="img" aria-label="graph">{"".join(parts)}</svg>'


def _second_line(node: StepNode, step: Document, items: Counter[str] | None) -> str:
    if items:
        done = items["succeeded"] + items["cached"]
        return f"{done:,} of {items.total():,} items"
    walls = [attempt["wall_seconds"] for attempt in step["attempts"] if attempt["wall_seconds"] is not None]
    words = [shown_state(step).replace("_", " ")]
    if walls:
        words.append(output.seconds(sum(walls)))
    if len(step["attempts"]) > 1:
        words.append(f"{len(step['attempts'])} attempts")
    if node.over is not None and step["state"] == "waiting":
        words.append("mapped")
    return " · ".join(words)


def _shares(items: Counter[str] | None, left: float, top: float, width: float) -> str:
    """Return a bar of how many items are in which state."""
    if not items:
        return ""
    parts, at, unit = [], left + 8, (width - 16) / items.total()
    for state, count in sorted(items.items(), key=lambda pair: (*STATES, pair[0]).index(pair[0])):
        parts.append(f'<rect class="bar {state}" x="{at:.1f}" y="{top:.1f}" width="{count * unit:.1f}" height="2.5"/>')
        at += count * unit
    return "".join(parts)


def _path(points: Sequence[tuple[float, float, float]]) -> str:
    """Return a curve from the right side of the first box through those between to the left side of the last."""
    (_, x, y), *rest = points
    path = f"M{x:.1f} {y:.1f}"
    for left, right, height in rest:
        bend = (left - x) / 2
        path += f" C{x + bend:.1f} {y:.1f} {left - bend:.1f} {height:.1f} {left:.1f} {height:.1f}"
        if (left, right, height) != rest[-1]:
            path += f" H{right:.1f}"
        x, y = right, height
    return path


def chart_of(rows: Sequence[Row], document: Document, now: datetime) -> str:
    """Return the attempts over time as SVG: a row for each step and item, or lanes where there are many items."""
    spans = [span for row in rows for span in row.spans]
    start = min([datetime.fromisoformat(document["created_at"]), *(span.start for span in spans)])
    ended = now if document["ended_at"] is None else datetime.fromisoformat(document["ended_at"])
    end = max([ended, *(span.end for span in spans)])
    scale = Scale(start, end, spans, _CHART_WIDTH - _NAMES_WIDTH - 12)
    height = _AXIS_HEIGHT + sum(_ROW_HEIGHTS[row.kind] for row in rows) + 4
    parts = [*_axis(scale, height)]
    top = _AXIS_HEIGHT
    for row in rows:
        parts.extend(_row(row, scale, top))
        top += _ROW_HEIGHTS[row.kind]
    return (
        f'<svg viewBox="0 0 {_CHART_WIDTH:.0f} {height:.0f}" width="{_CHART_WIDTH:.0f}" height="{height:.0f}" '
        f'role="img" aria-label="attempts over time">{"".join(parts)}</svg>'
    )


def _axis(scale: Scale, height: float) -> Iterator[str]:
    taken = [(each.left + each.right) / 2 for each in scale.breaks()]
    taken.append(_CHART_WIDTH - _NAMES_WIDTH + _LABEL_WIDTH / 2)  # the right edge takes half a label's width
    for tick in scale.ticks():
        x = _NAMES_WIDTH + tick.at
        yield f'<path class="grid" d="M{x:.1f} {_AXIS_HEIGHT - 6} V{height:.0f}"/>'
        if all(abs(tick.at - middle) > _LABEL_WIDTH for middle in taken):
            yield f'<text class="tick" x="{x:.1f}" y="12">{escape(_duration(tick.seconds))}</text>'
    top = _AXIS_HEIGHT - 6
    for each in scale.breaks():
        left, width, took = _NAMES_WIDTH + each.left, each.right - each.left, escape(_duration(each.seconds))
        yield (
            f'<g class="break"><title>nothing ran for {took}</title>'
            f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{height - top:.0f}"/>'
            f'<text class="tick" x="{left + width / 2:.1f}" y="12">… {took}</text></g>'
        )


def _row(row: Row, scale: Scale, top: float) -> Iterator[str]:
    height = _ROW_HEIGHTS[row.kind]
    middle, bar = top + height / 2, height * _BAR_SHARE
    if row.kind == "step":
        yield f'<path class="line" d="M0 {top:.1f} H{_CHART_WIDTH:.0f}"/>'
    if row.label:
        indent = 4 if row.kind == "step" else 18
        note = f' <tspan class="note">{escape(row.note)}</tspan>' if row.note else ""
        yield (
            f'<text class="label {row.kind}" x="{indent}" y="{middle + 4:.1f}" data-of="{escape(row.label)}" '
            f'tabindex="0" role="button">{escape(_shortened(row.label))}{note}</text>'
        )
    for span in row.spans:
        left, right = _NAMES_WIDTH + scale.place(span.start), _NAMES_WIDTH + scale.place(span.end)
        title, width = f"<title>{escape(_span_told(span))}</title>", max(right - left, _LEAST_WIDTH)
        if span.number:
            yield (
                f'<rect class="bar {span.kind}" data-of="{escape(span.label)}" rx="2" x="{left:.1f}" '
                f'y="{middle - bar / 2:.1f}" width="{width:.1f}" height="{bar:.1f}">{title}</rect>'
            )
        else:
            yield f'<path class="wait {span.kind}" d="M{left:.1f} {middle:.1f} H{right:.1f}">{title}</path>'
    if row.cached_at is not None:
        x = _NAMES_WIDTH + scale.place(row.cached_at)
        yield (
            f'<path class="bar cached" data-of="{escape(row.label)}" d="M{x:.1f} {middle - 6:.1f} l6 6 l-6 6 l-6 -6 Z">'
            f"<title>{escape(row.label)}: the same was done before</title></path>"
        )


def legend_of(rows: Sequence[Row], document: Document) -> str:
    """Return what the colours mean, of those that there are."""
    kinds = {span.kind for row in rows for span in row.spans}
    kinds |= {shown_state(step) for step in document["steps"]}
    parts = [
        f'<span><i class="key bar {state}"></i>{state.replace("_", " ")}</span>' for state in STATES if state in kinds
    ]
    parts += [f'<span><i class="key wait {kind}"></i>{words}</span>' for kind, words in WAITS.items() if kind in kinds]
    return "".join(parts)


def shown_state(step: Document) -> str:
    """Return a step run's state, where cached is one of its own."""
    return "cached" if step["cached"] else str(step["state"])


def _told(step: Document) -> str:
    reason = f": {step['reason']}" if step["reason"] else ""
    return f"{label_of(step)} {shown_state(step)}{reason}"


def _span_told(span: Span) -> str:
    took = output.seconds((span.end - span.start).total_seconds())
    if span.number:
        return (
            f"{span.label} attempt {span.number} {span.kind.replace('_', ' ')}, {took} from {span.start:%H:%M:%S} UTC"
        )
    return f"{span.label} {WAITS[span.kind]}, {took} from {span.start:%H:%M:%S} UTC"


def _shortened(label: str) -> str:
    return label if len(label) <= _LABEL_CHARACTERS else f"{label[: _LABEL_CHARACTERS - 1]}…"


def _duration(seconds: float) -> str:
    """Return a time on the axis, without more digits than it has.

    >>> [_duration(each) for each in (0, 0.05, 1.5, 90, 5400, 180000)]
    ['0', '0.05 s', '1.5 s', '1 min 30 s', '1 h 30 min', '50 h']
    """
    if seconds < 60:
        return f"{seconds:.3g} s" if seconds else "0"
    minutes, left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {left} s" if left else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
