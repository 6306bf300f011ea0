"""Draw what the dashboards show: `python -m dashboards.plot OUT --prometheus http://127.0.0.1:9090`.

The pictures are made by matplotlib from the answers that a Prometheus gives to the panels' own queries. They are
laid out as in Grafana, but they are no screenshots of it.
"""

import argparse
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from dashboards.build import DASHBOARDS
from dashboards.definition.operations import ACTS
from dashboards.definition.panels import PAGE_WIDTH, Dashboard, Panel, Section, Unit, laid_out
from dashboards.evaluation import Prometheus, Series, View

_INCHES_WIDE = 16.0
_INCHES_PER_ROW = 0.42
_DOTS_PER_INCH = 80
_MARGIN = 0.15  # of a panel to its neighbour, in inches
_DAY = 86_400  # seconds
_INK, _PALE, _PAPER = "#222222", "#777777", "#f4f5f5"
_COLOURS = {
    "green": "#3a9d4a",
    "orange": "#e0752d",
    "red": "#d1352b",
    "blue": "#3274d9",
    "purple": "#a352cc",
    "yellow": "#e5b80b",
    "gray": "#8e8e8e",
}
_PALETTE = ("#3274d9", "#e0752d", "#3a9d4a", "#a352cc", "#c4162a", "#8ab8ff", "#b7a300")


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw every dashboard for the days until now."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.plot", description="Draw what the dashboards show.")
    parser.add_argument("out", type=Path, help="folder for the pictures")
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its URL")
    parser.add_argument("--days", type=float, default=7, help="length of the range that ends now")
    given = parser.parse_args(arguments)
    now = datetime.now(UTC)
    draw(Prometheus(given.prometheus), View(now - timedelta(days=given.days), now), given.out)


def draw(prometheus: Prometheus, page: View, out: Path) -> None:
    """Write one PNG for each dashboard into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for dashboard in DASHBOARDS:
        picture(dashboard, prometheus, page).savefig(out / f"{dashboard.uid}.png", dpi=_DOTS_PER_INCH)


def picture(dashboard: Dashboard, prometheus: Prometheus, page: View) -> Figure:
    """Return the dashboard's panels with their present answers, laid out as on the page."""
    mpl.rcParams.update({"font.size": 8, "text.color": _INK, "axes.edgecolor": "#cccccc", "date.converter": "concise"})
    parts = list(laid_out(dashboard))
    rows = max(place.top + place.height for _, place in parts)
    top_rows = 2  # for the page's title
    height = (rows + top_rows) * _INCHES_PER_ROW
    figure = Figure(figsize=(_INCHES_WIDE, height), facecolor=_PAPER)
    figure.text(_MARGIN / _INCHES_WIDE, 1 - 0.3 / height, dashboard.title, fontsize=15, weight="bold", va="center")
    drawn = (
        f"{page.start:%Y-%m-%d %H:%M} to {page.end:%Y-%m-%d %H:%M} UTC. Drawn by matplotlib from the answers of a "
        "Prometheus to the panels' queries; not a screenshot of Grafana."
    )
    figure.text(_MARGIN / _INCHES_WIDE, 1 - 0.62 / height, drawn, color=_PALE, va="center")
    for part, place in parts:
        across, up = _INCHES_WIDE / PAGE_WIDTH, _INCHES_PER_ROW
        left, wide = place.left * across + _MARGIN / 2, place.width * across - _MARGIN
        bottom, high = (rows - place.top - place.height) * up + _MARGIN / 2, place.height * up - _MARGIN
        if isinstance(part, Section):
            figure.text(left / _INCHES_WIDE, (bottom + high / 2) / height, part.title, fontsize=11, va="center")
            continue
        box = (left / _INCHES_WIDE, bottom / height, wide / _INCHES_WIDE, high / height)
        _draw_panel(figure, box, (wide, high), part, prometheus.answer(part, page), page)
    return figure


def _draw_panel(
    figure: Figure,
    box: tuple[float, float, float, float],
    inches: tuple[float, float],
    panel: Panel,
    answer: Sequence[Series],
    page: View,
) -> None:
    card = figure.add_axes(box, facecolor="white", xticks=[], yticks=[])
    card.text(0.08 / inches[0], 1 - 0.16 / inches[1], panel.title, transform=card.transAxes, va="center", weight="bold")
    if not answer:
        card.text(0.5, 0.42, panel.none, transform=card.transAxes, ha="center", va="center", color=_PALE, fontsize=11)
        return
    left, under, right = (0.62, 0.8, 0.12) if panel.over_time else (0.1, 0.1, 0.1)
    left_share, under_share = left / inches[0] * box[2], under / inches[1] * box[3]
    inner = (
        box[0] + left_share,
        box[1] + under_share,
        box[2] - left_share - right / inches[0] * box[2],
        box[3] - under_share - 0.34 / inches[1] * box[3],
    )
    axes = figure.add_axes(inner, facecolor="white")
    _DRAWN_AS[panel.kind](axes, panel, answer)
    if panel.over_time:
        _finish(axes, panel, page, legend_columns=max(1, int(inches[0] / 1.25)))


def _draw_stat(axes: Axes, panel: Panel, answer: Sequence[Series]) -> None:
    axes.set_axis_off()
    several = len(answer) > 1
    for number, series in enumerate(answer):
        words = dict(panel.words)
        text = series.name if panel.show_name else words.get(series.value) or shown(series.value, panel.unit)
        across = (number + 0.5) / len(answer) if several and not panel.show_name else 0.5
        up = 1 - (number + 0.5) / len(answer) if panel.show_name else 0.5
        size = 11 if panel.show_name else 15 if several else 22
        centred = partial(axes.text, ha="center", va="center", transform=axes.transAxes)
        centred(across, up, text, fontsize=size, color=_colour(panel, series), weight="bold")
        if several and not panel.show_name:
            centred(across, 0.18, series.name, color=_PALE)


def _draw_bars(axes: Axes, panel: Panel, answer: Sequence[Series]) -> None:
    longest = panel.most or max(abs(series.value) for series in answer) or 1
    for number, series in enumerate(answer):
        axes.barh(number, series.value / longest, height=0.42, color=_colour(panel, series))
        axes.barh(number, 1, height=0.42, color="#e9ecef", zorder=0)
        axes.text(0, number - 0.28, series.name, va="bottom", color=_PALE)
        axes.text(1, number - 0.28, shown(series.value, panel.unit), va="bottom", ha="right", weight="bold")
    axes.set(xlim=(0, 1), ylim=(max(len(answer), 2) - 0.5, -0.85))
    axes.set_axis_off()


def _draw_lines(axes: Axes, panel: Panel, answer: Sequence[Series]) -> None:
    for number, series in enumerate(answer):
        days, values = _curve(series)
        limit = series.name == ACTS
        dashes, width = (":", 1.2) if limit else ("-", 1.8)
        colour = _fixed_colour(panel, series) or _PALETTE[number % len(_PALETTE)]
        axes.step(
            days, values, where="post", color=colour, label=_shown_name(series), linestyle=dashes, linewidth=width
        )
    if panel.logarithmic:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)


def _draw_columns(axes: Axes, panel: Panel, answer: Sequence[Series]) -> None:
    below: dict[float, float] = {}
    for number, series in enumerate(answer):
        days, values = _curve(series)
        width = days[1] - days[0] if len(days) > 1 else 1 / 24
        floors = [below.get(day, 0.0) for day in days]
        colour = _fixed_colour(panel, series) or _PALETTE[number % len(_PALETTE)]
        # A column stands for what happened since the point before.
        axes.bar(days, values, bottom=floors, width=-width, align="edge", color=colour, label=_shown_name(series))
        below.update({day: floor + value for day, floor, value in zip(days, floors, values, strict=True)})
    axes.set_ylim(bottom=0)


def _finish(axes: Axes, panel: Panel, page: View, *, legend_columns: int) -> None:
    axes.xaxis_date()
    axes.set_xlim(page.start.timestamp() / _DAY, page.end.timestamp() / _DAY)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, panel.unit)))
    if panel.unit == "short":
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.tick_params(length=2, colors=_PALE, labelsize=7)
    axes.grid(axis="y", color="#e9ecef")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.11), ncols=legend_columns, frameon=False, fontsize=7)


def _shown_name(series: Series) -> str:
    """Return a name that the legend shows: matplotlib leaves out what begins with an underscore."""
    return f" {series.name}" if series.name.startswith("_") else series.name


def _curve(series: Series) -> tuple[list[float], list[float]]:
    """Return days since 1970, which matplotlib takes for dates, and values."""
    return [at / _DAY for at, _ in series.points], [value for _, value in series.points]


def _fixed_colour(panel: Panel, series: Series) -> str | None:
    named = dict(panel.colours).get(series.name)
    return _COLOURS[named] if named else None


def _colour(panel: Panel, series: Series) -> str:
    fixed = _fixed_colour(panel, series)
    if fixed:
        return fixed
    reached = [each.colour for each in panel.thresholds if series.value >= each.value]
    return _COLOURS[reached[-1] if reached else panel.thresholds[0].colour if panel.thresholds else "blue"]


_DRAWN_AS: dict[str, Callable[[Axes, Panel, Sequence[Series]], None]] = {
    "stat": _draw_stat,
    "bars": _draw_bars,
    "lines": _draw_lines,
    "columns": _draw_columns,
}


def shown(value: float, unit: Unit) -> str:
    """Return a number as Grafana would show it, about.

    >>> [shown(value, "currencyUSD") for value in (0.000412, 12.345, 1234.5, 0)]
    ['$0.000412', '$12.3', '$1.23 K', '$0']
    >>> [shown(value, "currencyUSD") for value in (2.004, 0.5)]
    ['$2.00', '$0.50']
    >>> [shown(value, "s") for value in (0.25, 75.0, 5400.0, 200_000.0, 0.0)]
    ['250 ms', '1.25 min', '1.5 h', '2.31 d', '0 s']
    >>> shown(0.9333, "percentunit"), shown(55_200, "short"), shown(1e-4, "none")
    ('93.3%', '55.2 K', '0.0001')
    """
    if unit == "percentunit":
        return f"{_digits(value * 100)}%"
    if unit == "s":
        return _scaled(value, ((_DAY, " d"), (3_600, " h"), (60, " min"), (1, " s"), (1e-3, " ms"))) if value else "0 s"
    if unit == "none":
        return f"{value:.3g}"
    text = _scaled(value, ((1e9, " B"), (1e6, " M"), (1e3, " K")))
    if unit == "short" or not value:
        return text if unit == "short" else "$0"
    whole, _, cents = text.partition(".")
    return f"${whole}.{cents:0<2}" if text[-1].isdigit() and abs(value) < _CENTS_BELOW else f"${text}"


_CENTS_BELOW = 10
"""Amounts below this are shown with cents at least."""


def _scaled(value: float, units: Sequence[tuple[float, str]]) -> str:
    for size, name in units:
        if abs(value) >= size:
            return f"{_digits(value / size)}{name}"
    return _digits(value)


def _digits(value: float) -> str:
    """Return three significant digits, never in exponents."""
    return f"{float(f'{value:.3g}'):.12f}".rstrip("0").rstrip(".")


if __name__ == "__main__":
    main()
