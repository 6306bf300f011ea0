"""What a panel shows: its queries asked of a Prometheus as Grafana would ask them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from dashboards.definition.panels import Panel, Query

_VARIABLE = re.compile(r"\$([a-z_]+)")
_LABEL = re.compile(r"{{(\w+)}}")
_ALL = ".*"


class QueryRefused(Exception):
    """Prometheus does not understand a query."""


@dataclass(frozen=True)
class View:
    """A page as somebody looks at it: the range, the distance of two points, and what is chosen (regex by label)."""

    start: datetime
    end: datetime
    step: timedelta = timedelta(hours=1)
    chosen: Mapping[str, str] = field(default_factory=dict)

    def of(self, panel: Panel) -> "View":
        """Return what the panel sees of the page."""
        if not panel.today:
            return self
        return replace(self, start=self.end.replace(hour=0, minute=0, second=0, microsecond=0))

    def filled_in(self, expr: str) -> str:
        """Return the expression with Grafana's variables filled in; one that nothing was chosen for means all."""
        given = {
            "__range": f"{(self.end - self.start).total_seconds():.0f}s",
            "__interval": f"{self.step.total_seconds():.0f}s",
        }
        return _VARIABLE.sub(lambda found: given.get(found[1]) or self.chosen.get(found[1], _ALL), expr)


@dataclass(frozen=True)
class Series:
    """A series with its name in the legend; `points` are (seconds since 1970, value), one where it is a number."""

    name: str
    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def value(self) -> float:
        """The last value."""
        return self.points[-1][1]


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus at `url`."""

    url: str

    def answer(self, panel: Panel, page: View) -> list[Series]:
        """Return what the panel shows, in the order of its legend; QueryRefused where a query is wrong."""
        view = page.of(panel)
        found = [series for query in panel.queries for series in self._series(query, view, over_time=panel.over_time)]
        return sorted(found, key=lambda series: series.name)

    def ask(self, expr: str, at: datetime) -> list[Series]:
        """Return the value of an expression at one time."""
        return self._series(Query(expr, ""), View(at, at), over_time=False)

    def _series(self, query: Query, view: View, *, over_time: bool) -> list[Series]:
        expr = view.filled_in(query.expr)
        if over_time:
            step = view.step.total_seconds()
            # As Grafana does, so that a point stands for the same period in every picture.
            start, end = (time.timestamp() // step * step for time in (view.start, view.end))
            found = self._get("query_range", query=expr, start=start, end=end, step=step)
        else:
            found = self._get("query", query=expr, time=view.end.timestamp())
        return [
            Series(
                _named(query.legend, each["metric"]),
                each["metric"],
                tuple((float(at), float(value)) for at, value in each.get("values") or [each["value"]]),
            )
            for each in found
        ]

    def _get(self, kind: str, **parameters: Any) -> list[dict[str, Any]]:
        try:
            with urlopen(f"{self.url}/api/v1/{kind}", urlencode(parameters).encode(), timeout=30) as answer:  # noqa: S310
                return list(json.load(answer)["data"]["result"])
        except HTTPError as error:
            told = json.load(error).get("error", error.reason)
            raise QueryRefused(f"Prometheus refuses {parameters['query']!r}: {told}.") from None


def _named(legend: str, labels: Mapping[str, str]) -> str:
    return _LABEL.sub(lambda label: labels.get(label[1], ""), legend)
