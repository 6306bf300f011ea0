"""Both models' reliability curves: how often what they said was so, and below where their predictions lie."""

from collections.abc import Iterator

from podium.registry.calibration import Calibration, Reliability, ReliabilityBin
from podium.registry.report import words
from podium.registry.report.blocks import Plot
from podium.registry.report.drawing import element, label, line, mark, plot

_LEFT, _TOP, _SIDE = 76.0, 40.0, 330.0
_LANE = 34.0
_ENDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


def calibration_plot(calibration: Calibration, label_name: str) -> Plot:
    """Return the plot; both axes end at the same round number beyond all that was predicted and seen."""
    curves = models(calibration)
    most = max(max(one.predicted, one.high) for _, curve in curves for one in curve.bins)
    axis = _Axis(next((end for end in _ENDS if end >= most), 1.0))
    what = words.shortened(f"{label_name} = {calibration.positive}", 30)
    parts = [*_frame(axis, what)]
    for index, (who, curve) in enumerate(curves):
        parts.extend(_curve(axis, who, curve))
        parts.extend(_counts(axis, who, curve, _TOP + _SIDE + 46 + index * _LANE))
        parts.extend(_legend(who, curve, _TOP + 12 + index * 46))
    told = " ".join(
        f"{who.capitalize()}: Brier score {words.value(curve.brier)}; "
        + "; ".join(
            f"said {words.probability(one.predicted)}, was {words.probability(one.observed)}" for one in curve.bins
        )
        + "."
        for who, curve in curves
    )
    height = _TOP + _SIDE + 46 + len(curves) * _LANE + 8
    return plot("calibration", f"Calibration of {what}", told, height, parts)


def models(calibration: Calibration) -> list[tuple[str, Reliability]]:
    """Return both models' curves by who it is, the candidate's first."""
    champion = [] if calibration.champion is None else [("champion", calibration.champion)]
    return [("candidate", calibration.candidate), *champion]


class _Axis:
    def __init__(self, end: float) -> None:
        self.end = end

    def x(self, share: float) -> float:
        return _LEFT + min(max(share / self.end, 0.0), 1.0) * _SIDE

    def y(self, share: float) -> float:
        return _TOP + _SIDE - min(max(share / self.end, 0.0), 1.0) * _SIDE


def _frame(axis: _Axis, what: str) -> Iterator[str]:
    yield label(8, 20, f"how often {what} came", "pale")
    yield label(_LEFT + _SIDE / 2, _TOP + _SIDE + 36, f"predicted probability of {what}", "pale middle")
    for step in range(6):
        share = axis.end * step / 5
        yield line((axis.x(share), axis.y(0)), (axis.x(share), axis.y(axis.end)), "track")
        yield line((axis.x(0), axis.y(share)), (axis.x(axis.end), axis.y(share)), "track")
        yield label(axis.x(share), _TOP + _SIDE + 18, words.value(share), "pale middle")
        yield label(_LEFT - 8, axis.y(share) + 4, words.value(share), "pale end")
    yield line((axis.x(0), axis.y(0)), (axis.x(axis.end), axis.y(axis.end)), "zero")


def _curve(axis: _Axis, who: str, curve: Reliability) -> Iterator[str]:
    points = [(axis.x(one.predicted), axis.y(one.observed)) for one in curve.bins]
    yield element("path", d="M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points), class_=f"curve {who}")
    for one, (x, y) in zip(curve.bins, points, strict=True):
        yield line((x, axis.y(one.low)), (x, axis.y(one.high)), f"whisker {who}")
        yield mark(x, y, 4.5, f"{_fill(who)} {who}", pointed=who == "champion", told=f"{who}: {_told(one)}")


def _counts(axis: _Axis, who: str, curve: Reliability, top: float) -> Iterator[str]:
    """Draw a bar over each bin's range of predictions, as high as its rows are many."""
    most = max(one.rows for one in curve.bins) or 1
    base = top + _LANE - 10
    yield label(_LEFT - 8, base - 4, who, "pale end")
    for one in curve.bins:
        left, right = axis.x(one.lowest), axis.x(one.highest)
        tall = max((_LANE - 12) * one.rows / most, 0.5)
        bar = element("title", f"{who}: {_told(one)}")
        yield element(
            "rect", bar, x=left, y=base - tall, width=max(right - left - 1, 1.5), height=tall, class_=f"share {who}"
        )
    yield line((_LEFT, base), (_LEFT + _SIDE, base), "track")


def _legend(who: str, curve: Reliability, y: float) -> Iterator[str]:
    x = _LEFT + _SIDE + 22
    yield line((x, y), (x + 26, y), f"curve {who}")
    yield mark(x + 13, y, 4.5, f"{_fill(who)} {who}", pointed=who == "champion")
    yield label(x + 34, y + 4, who, "strong")
    yield label(x + 34, y + 21, f"Brier {words.value(curve.brier)}", "pale")


def _fill(who: str) -> str:
    return "dot" if who == "candidate" else "hollow"


def _told(one: ReliabilityBin) -> str:
    reach = f"{words.probability(one.lowest)} to {words.probability(one.highest)}"
    observed = words.probability(one.observed)
    return f"{one.rows:,} rows predicted {reach}, on average {words.probability(one.predicted)}, were it at {observed}"
