"""What a Grafana dashboard is made of, as values, and its JSON.

Not a Grafana client: the JSON is what Grafana imports and what its sidecar reads from ConfigMaps.
Source: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from dataclasses import dataclass, field
from typing import Any, Literal

SCHEMA_VERSION = 39
"""Of Grafana 10 and 11; newer ones migrate it when they load it."""

COLUMNS = 24
"""Width of Grafana's grid."""

_SOURCE = {"type": "prometheus", "uid": "${source}"}

Kind = Literal["timeseries", "stat", "table"]


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression and how its series are called."""

    expr: str
    legend: str = ""
    """In Grafana's notation, e.g. `{{model}}`; empty shows all labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture, of one question."""

    title: str
    """Unlike every other title of its dashboard: a panel's id is its place, its name is this."""
    queries: tuple[Query, ...]
    about: str
    """What it shows and what to make of it."""
    unit: str = "short"
    """Grafana's id of a unit: s, percentunit, percent, reqps, short."""
    kind: Kind = "timeseries"
    width: int = 12
    """Columns of 24."""
    height: int = 8
    thresholds: tuple[float, ...] = ()
    """Where the colour turns to orange, then to red."""
    may_be_empty: bool = False
    """Whether no data is good news: what it counts has no series before it first happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A choice at the head of a dashboard."""

    name: str
    query: str
    """`label_values(series, label)`."""
    label: str
    all: bool = True
    """Whether several values, and all, may be chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard."""

    uid: str
    """Stable: links and bookmarks hold it."""
    title: str
    about: str
    panels: tuple[Panel, ...]
    variables: tuple[Variable, ...] = field(default=())


def dashboard(board: Board) -> dict[str, Any]:
    """Return the dashboard's JSON; panels stand in their order, from left to right."""
    return {
        "uid": board.uid,
        "title": f"Pagelet / {board.title}",
        "description": board.about,
        "tags": ["pagelet"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [_LINKS],
        "templating": {"list": [_DATA_SOURCE, *map(_variable, board.variables)]},
        "panels": _placed(board.panels),
    }


_LINKS = {"type": "dashboards", "title": "Pagelet", "tags": ["pagelet"], "asDropdown": True}

_DATA_SOURCE = {
    "name": "source",
    "label": "Data source",
    "type": "datasource",
    "query": "prometheus",
    "current": {},
}


def _variable(variable: Variable) -> dict[str, Any]:
    every = {"includeAll": True, "multi": True, "current": {"text": "All", "value": "$__all"}}
    return {
        "name": variable.name,
        "label": variable.label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": variable.query, "refId": variable.name},
        "refresh": 2,
        "sort": 1,
        **(every if variable.all else {"includeAll": False, "multi": False}),
    }


def _placed(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    placed, x, y, row_height = [], 0, 0, 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > COLUMNS:
            x, y, row_height = 0, y + row_height, 0
        place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
        placed.append(_panel(number, panel, place))
        x, row_height = x + panel.width, max(row_height, panel.height)
    return placed


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    at_once = panel.kind != "timeseries"
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    steps += [
        {"color": color, "value": value}
        for color, value in zip(("orange", "red"), panel.thresholds, strict=False)
    ]
    defaults = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    return {
        "id": number,
        "title": panel.title,
        "description": panel.about,
        "type": panel.kind,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _OPTIONS[panel.kind],
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
                "instant": at_once,
                "range": not at_once,
                **({"format": "table"} if panel.kind == "table" else {}),
            }
            for index, query in enumerate(panel.queries)
        ],
    }


_OPTIONS: dict[Kind, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value"},
    "table": {"showHeader": True},
}
