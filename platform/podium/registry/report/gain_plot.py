"""The paired gain of the primary metric and the guards: each interval against zero and the margin, on its own scale."""

from collections.abc import Iterator

from podium.registry.evidence import Comparison, Evidence
from podium.registry.report import words
from podium.registry.report.blocks import Plot
from podium.registry.report.drawing import WIDTH, Scale, label, line, mark, plot

_BAND = 92.0
_EDGE = 14.0


def gain_plot(evidence: Evidence) -> Plot | None:
    """Return the plot of every question that has an answer; None where there is none."""
    answered = [one for one in questions(evidence) if _numbers(one[1])]
    if not answered:
        return None
    parts: list[str] = []
    told = []
    for index, (role, comparison) in enumerate(answered):
        parts.extend(_band(role, comparison, evidence.policy.alpha, index * _BAND))
        told.append(_told(role, comparison, evidence.policy.alpha))
    top = len(answered) * _BAND + 8
    parts.append(label(_EDGE, top, "← candidate worse", "pale"))
    parts.append(label(WIDTH - _EDGE, top, "candidate better →", "pale end"))
    return plot("gain", "Gain over the champion", " ".join(told), top + 14, parts)


def questions(evidence: Evidence) -> list[tuple[str, Comparison]]:
    """Return the comparisons with their roles, the primary first."""
    first = [] if evidence.primary is None else [("primary", evidence.primary)]
    return [*first, *(("guard", guard) for guard in evidence.guards)]


def _numbers(comparison: Comparison) -> tuple[float, float, float] | None:
    low, gain, high = comparison.low, comparison.gain, comparison.high
    return None if low is None or gain is None or high is None else (low, gain, high)


def _line_of(comparison: Comparison) -> float | None:
    """Return where the margin is drawn: the harm accepted, or the change that the rows must be able to show."""
    if comparison.margin is None:
        return None
    return -comparison.margin if comparison.question == "non_inferiority" else comparison.margin


def _band(role: str, comparison: Comparison, alpha: float, top: float) -> Iterator[str]:
    low, gain, high = _numbers(comparison) or (0.0, 0.0, 0.0)
    margin = _line_of(comparison)
    scale = Scale.over([low, gain, high, 0.0, *([] if margin is None else [margin])], _EDGE, WIDTH - _EDGE)
    said = words.answer(comparison, alpha)
    kind = "good" if said == "shown" else "bad" if high < min(0.0, margin or 0.0) else "open"
    y = top + 46
    yield label(_EDGE, top + 20, f"{words.metric_title(comparison.metric)} ({role})", "strong")
    yield label(WIDTH - _EDGE, top + 20, f"{words.change(gain)}  ({words.between(low, high)})", "end")
    yield line((_EDGE, y), (WIDTH - _EDGE, y), "track")
    yield line((scale.at(low), y), (scale.at(high), y), f"interval {kind}")
    yield line((scale.at(0.0), y - 14), (scale.at(0.0), y + 14), "zero")
    if margin is not None:
        yield line((scale.at(margin), y - 14), (scale.at(margin), y + 14), "margin")
    yield mark(
        scale.at(gain), y, 5, f"{'dot' if said == 'shown' else 'hollow'} {kind}", told=_told(role, comparison, alpha)
    )
    yield from _labels(scale, margin, y + 28)


def _labels(scale: Scale, margin: float | None, y: float) -> Iterator[str]:
    """Write below the lines what they are; where zero and margin are too near each other, away from each other."""
    zero = scale.at(0.0)
    if margin is None:
        yield label(zero, y, "0", "pale middle")
        return
    text, place = f"margin {words.change(margin)}", scale.at(margin)
    if abs(place - zero) > 70 and _EDGE + 50 < place < WIDTH - _EDGE - 50:
        yield label(zero, y, "0", "pale middle")
        yield label(place, y, text, "pale middle")
    elif place < zero:
        yield label(max(place, 120.0), y, text, "pale end")
        yield label(max(zero, 130.0), y, "0", "pale")
    else:
        yield label(min(zero, WIDTH - 130.0), y, "0", "pale end")
        yield label(min(place, WIDTH - 120.0), y, text, "pale")


def _told(role: str, comparison: Comparison, alpha: float) -> str:
    low, gain, high = _numbers(comparison) or (0.0, 0.0, 0.0)
    return (
        f"{words.metric_title(comparison.metric)} ({role}): gain {words.change(gain)}, "
        f"{words.percent(comparison.confidence)} interval {words.between(low, high)}, margin "
        f"{words.value(comparison.margin)}; {words.answer(comparison, alpha)}."
    )
