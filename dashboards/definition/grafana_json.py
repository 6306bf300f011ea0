"""Dashboards as the JSON that Grafana provisions.

Written here rather than with `grafana-foundation-sdk`: panels must be plain data, because tests ask each panel's
query of a Prometheus and `dashboards.plot` draws its answer. What is left for the SDK is this file.
"""

from collections.abc import Iterable
from typing import Any

from dashboards.definition.panels import Dashboard, Panel, Place, Query, Section, Threshold, Variable, laid_out

DATASOURCE_UID = "podium-prometheus"
"""The datasource's fixed id; `provisioning/datasources/prometheus.yaml` gives it."""

SCHEMA_VERSION = 39  # Grafana 10.4; later ones migrate it when they load it

_DATASOURCE = {"type": "prometheus", "uid": DATASOURCE_UID}
_PANEL_TYPES = {"stat": "stat", "bars": "bargauge", "lines": "timeseries", "columns": "timeseries"}
_FEWEST_SECONDS_APART = "1h"  # columns narrower than this show single runs, not spending


def grafana_json(dashboard: Dashboard, all_dashboards: Iterable[Dashboard]) -> dict[str, Any]:
    """Return `dashboard` in Grafana's schema, with links to the others."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["podium"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "timezone": "utc",  # as the ledger's days
        "time": {"from": dashboard.since, "to": "now"},
        "refresh": "1m",
        "graphTooltip": 1,  # one crosshair on all panels
        "links": [_link(each) for each in all_dashboards if each.uid != dashboard.uid],
        "templating": {"list": [_variable(each) for each in dashboard.variables]},
        "annotations": {"list": []},
        "panels": [_part(number, *each) for number, each in enumerate(laid_out(dashboard), start=1)],
    }


def _link(dashboard: Dashboard) -> dict[str, Any]:
    return {
        "type": "link",
        "title": dashboard.title,
        "url": f"/d/{dashboard.uid}",
        "icon": "external link",
        "keepTime": True,
        "includeVars": False,
        "asDropdown": False,
        "targetBlank": False,
        "tags": [],
    }


def _variable(variable: Variable) -> dict[str, Any]:
    return {
        "type": "query",
        "name": variable.label,
        "label": variable.label,
        "datasource": _DATASOURCE,
        "query": {"query": f"label_values({variable.metric}, {variable.label})", "refId": variable.label},
        "refresh": 2,  # when the range changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _part(number: int, part: Section | Panel, place: Place) -> dict[str, Any]:
    drawn = _heading(part) if isinstance(part, Section) else _panel(part)
    grid = {"x": place.left, "y": place.top, "w": place.width, "h": place.height}
    return {"id": number, **drawn, "gridPos": grid}


def _heading(section: Section) -> dict[str, Any]:
    return {"type": "row", "title": section.title, "collapsed": False, "panels": []}


def _panel(panel: Panel) -> dict[str, Any]:
    drawn: dict[str, Any] = {
        "type": _PANEL_TYPES[panel.kind],
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        "targets": [_target(number, query, panel) for number, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _field(panel), "overrides": [_coloured(*each) for each in panel.colours]},
        "options": _options(panel),
    }
    if panel.today:
        drawn["timeFrom"] = "now/d"  # the day so far, and $__range with it
    if panel.kind == "columns":
        drawn["interval"] = _FEWEST_SECONDS_APART
    return drawn


def _target(number: int, query: Query, panel: Panel) -> dict[str, Any]:
    return {
        "refId": chr(ord("A") + number),
        "datasource": _DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "instant": not panel.over_time,
        "range": panel.over_time,
        "editorMode": "code",
    }


def _field(panel: Panel) -> dict[str, Any]:
    # No fixed decimals: Grafana then shows three digits of $0.000412 as of $1,234.
    field: dict[str, Any] = {"unit": panel.unit, "noValue": panel.none, "min": 0, "color": {"mode": "thresholds"}}
    if panel.most is not None:
        field["max"] = panel.most
    field["thresholds"] = {"mode": "absolute", "steps": _steps(panel.thresholds)}
    if panel.words:
        words = {f"{value:g}": {"text": word, "index": number} for number, (value, word) in enumerate(panel.words)}
        field["mappings"] = [{"type": "value", "options": words}]
    if panel.over_time:
        field["color"] = {"mode": "palette-classic"}
        field["custom"] = _curve(panel)
    if panel.logarithmic:
        del field["min"]
    return field


def _coloured(name: str, colour: str) -> dict[str, Any]:
    fixed = {"mode": "fixed", "fixedColor": colour}
    return {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "color", "value": fixed}]}


def _steps(thresholds: tuple[Threshold, ...]) -> list[dict[str, Any]]:
    """Return Grafana's steps, whose first has no lower end."""
    if not thresholds:
        return [{"color": "blue", "value": None}]
    first, *others = thresholds
    return [
        {"color": first.colour, "value": None},
        *({"color": each.colour, "value": each.value} for each in others),
    ]


def _curve(panel: Panel) -> dict[str, Any]:
    if panel.kind == "columns":
        return {
            "drawStyle": "bars",
            "fillOpacity": 80,
            "lineWidth": 0,
            "stacking": {"mode": "normal", "group": "A"},
            "scaleDistribution": {"type": "linear"},
        }
    scale = {"type": "log", "log": 10} if panel.logarithmic else {"type": "linear"}
    return {
        "drawStyle": "line",
        "lineInterpolation": "stepAfter",  # a total stays what it is until the next entry
        "lineWidth": 2,
        "fillOpacity": 0,
        "showPoints": "never",
        "stacking": {"mode": "none", "group": "A"},
        "scaleDistribution": scale,
    }


def _options(panel: Panel) -> dict[str, Any]:
    if panel.over_time:
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    reduced = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    if panel.kind == "bars":
        return {
            **reduced,
            "orientation": "horizontal",
            "displayMode": "basic",
            "valueMode": "text",
            "showUnfilled": True,
        }
    named = len(panel.queries) > 1 or "{{" in panel.queries[0].legend
    return {
        **reduced,
        "orientation": "auto",
        "graphMode": "none",
        "colorMode": "value",
        "justifyMode": "center",
        "textMode": "name" if panel.show_name else "value_and_name" if named else "value",
    }
