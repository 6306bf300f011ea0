"""The slices as a forest: each slice's gain with its interval, the most harmed first."""

from collections.abc import Iterator

from podium.registry.evidence import Evidence, SliceCheck
from podium.registry.report import words
from podium.registry.report.blocks import Plot
from podium.registry.report.drawing import WIDTH, Scale, label, line, mark, plot

MOST_DRAWN = 40
_ROW = 24.0
_TOP = 36.0
_NAMES, _COUNTS = 178.0, 64.0


def slice_plot(evidence: Evidence) -> Plot | None:
    """Return the plot of the slices, of many only the most harmed; None without slices."""
    drawn = ordered(evidence)[:MOST_DRAWN]
    if not drawn:
        return None
    numbers = [0.0]
    for one in drawn:
        numbers += [one.gain, *(bound for bound in (one.low, one.high) if bound is not None)]
    scale = Scale.over(numbers, _NAMES, WIDTH - _COUNTS)
    bottom = _TOP + len(drawn) * _ROW
    metric = words.metric_title(evidence.primary_metric)
    parts = [
        label(WIDTH - 8, 20, "rows", "pale end"),
        label(_NAMES, 20, f"gain in {metric}: ← worse, better →", "pale"),
        *_axis(scale, bottom),
    ]
    largest = max(1, *(one.rows for one in drawn))
    for index, one in enumerate(drawn):
        parts.extend(_row(one, evidence, scale, _TOP + (index + 0.5) * _ROW, largest))
    hurt = [named(one) for one in drawn if mark_of(one, evidence)]
    description = (
        f"Gain in {metric} of {len(drawn)} of {len(evidence.slices)} slices, the most harmed first. "
        f"{'Marked: ' + ', '.join(hurt) if hurt else 'None is marked'}."
    )
    return plot("slices", "Gain by slice", description, bottom + 30, parts)


def ordered(evidence: Evidence) -> list[SliceCheck]:
    """Return the slices: those that block, those worth a look, the others, each by how sure the harm is."""
    rank = {"blocks": 0, "worth a look": 1, "": 2}
    return sorted(evidence.slices, key=lambda one: (rank[mark_of(one, evidence)], one.p_value, one.column, one.value))


def mark_of(one: SliceCheck, evidence: Evidence) -> str:
    """Return what harm in a slice means: it blocks, it is worth a look, or nothing."""
    if one.p_blocking <= evidence.policy.alpha:
        return "blocks"
    return "worth a look" if one.p_pointing <= evidence.policy.alpha else ""


def named(one: SliceCheck, longest: int = 60) -> str:
    """Return the slice's name."""
    return words.shortened(f"{one.column} = {one.value}", longest)


def _axis(scale: Scale, bottom: float) -> Iterator[str]:
    for tick in scale.ticks():
        x = scale.at(tick)
        yield line((x, _TOP - 4), (x, bottom), "zero" if tick == 0 else "track")
        yield label(x, bottom + 18, words.change(tick), "pale middle")


def _row(one: SliceCheck, evidence: Evidence, scale: Scale, y: float, largest: int) -> Iterator[str]:
    meaning = mark_of(one, evidence)
    kind = "bad" if meaning else "good"
    yield label(_NAMES - 10, y + 4, named(one, 24), f"end{' strong' if meaning else ''}")
    if one.low is not None and one.high is not None:
        yield line((scale.at(one.low), y), (scale.at(one.high), y), f"whisker {kind}")
    yield mark(
        scale.at(one.gain),
        y,
        3 + 4 * (max(one.rows, 0) / largest) ** 0.5,  # so that the area grows with the rows
        f"{'hollow' if meaning == 'worth a look' else 'dot'} {kind}",
        pointed=bool(meaning),
        told=f"{named(one)}: gain {words.change(one.gain)} on {one.rows:,} rows{f', {meaning}' if meaning else ''}",
    )
    yield label(WIDTH - 8, y + 4, words.count(one.rows), "pale end")
