"""A dashboard for Grafana, made from the catalogue of metrics."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from appliance.control.observe import catalogue as m
from appliance.control.observe.catalogue import Metric
from docs.promql import by_group, quantile, rate, select

_WIDTH, _HEIGHT, _ACROSS = 8, 8, 3
_WINDOW = "$__rate_interval"
_HERE = {"instance": "~$instance"}


@dataclass(frozen=True)
class _Panel:
    """A graph: lines with their legends, in a unit of Grafana."""

    title: str
    lines: tuple[tuple[str, str], ...]
    unit: str = "short"
    text: str = ""


def render_grafana() -> str:
    """A dashboard: what matters most first, then a row for each heading of the catalogue with all of its metrics."""
    rows = [("Overview", _overview(), False)]
    rows += [(title, [_panel_of(metric) for metric in metrics], True) for title, metrics in by_group()]
    panels: list[dict[str, Any]] = []
    top = 0
    for title, members, collapsed in rows:
        placed = [_placed(panel, number, top + 1) for number, panel in enumerate(members)]
        row = {
            "id": 0,
            "type": "row",
            "title": title,
            "collapsed": collapsed,
            "gridPos": {"h": 1, "w": 24, "x": 0, "y": top},
            "panels": placed if collapsed else [],
        }
        panels += [row] if collapsed else [row, *placed]
        top += 1 + (0 if collapsed else _HEIGHT * -(-len(members) // _ACROSS))
    for number, panel in enumerate(_flat(panels), start=1):
        panel["id"] = number
    return json.dumps(_dashboard(panels), indent=2) + "\n"


def _overview() -> list[_Panel]:
    up, down = rate(m.FRAMES, _WINDOW, **_HERE), rate(m.DELIVERED, _WINDOW, **_HERE)
    hops = quantile(m.HOPS, 0.9, _WINDOW, "hop", **_HERE)
    return [
        _Panel("Sessions", ((f"sum by (state) ({select(m.SESSIONS, **_HERE)})", "{{state}}"),)),
        _Panel("Messages", ((up, "to canisters"), (down, "to clients")), "ops"),
        _Panel("Latency, 90 %", ((hops, "{{hop}}"),), "s", m.HOPS.help),
        _Panel(
            "Failures",
            (
                (rate(m.ERRORS, _WINDOW, **_HERE), "sockets closed"),
                (rate(m.FAILED_RELAYS, _WINDOW, **_HERE), "calls"),
                (rate(m.FAILED_POLLS, _WINDOW, **_HERE), "polls"),
                (rate(m.REJECTED, _WINDOW, **_HERE), "requests"),
            ),
            "ops",
        ),
        _Panel("Polls per delivered message", ((f"{rate(m.POLLS, _WINDOW, **_HERE)} / ({down} > 0)", "polls"),)),
        _Panel("Signatures of certificates", ((rate(m.SIGNATURES, _WINDOW, "result", **_HERE), "{{result}}"),), "ops"),
    ]


def _panel_of(metric: Metric) -> _Panel:
    by = tuple(label.name for label in metric.labels)
    legend = " ".join(f"{{{{{name}}}}}" for name in by) or metric.name
    if metric.type == "histogram":
        lines = tuple(
            (quantile(metric, part, _WINDOW, *by, **_HERE), f"{legend} {part:.0%}") for part in (0.5, 0.9, 0.99)
        )
        return _Panel(metric.name, lines, "s", metric.help)
    if metric.type == "counter":
        grows = rate(metric, _WINDOW, *by, **_HERE)
        seen = f"{grows} > 0" if by else grows  # most values of a label are never seen
        return _Panel(metric.name, ((seen, legend),), _unit(metric), metric.help)
    return _Panel(metric.name, ((_value(metric), legend),), _unit(metric), metric.help)


def _value(metric: Metric) -> str:
    value = select(metric, **_HERE)
    return f"{value} * 1000" if _is_date(metric) else value


def _is_date(metric: Metric) -> bool:
    return metric.name.endswith(("_timestamp_seconds", "_start_time_seconds"))


def _unit(metric: Metric) -> str:
    if _is_date(metric):
        return "dateTimeFromNow"
    if metric.type == "counter":
        return {"bytes": "Bps", "seconds": "percentunit"}.get(metric.unit, "ops")
    return {"bytes": "bytes", "seconds": "s"}.get(metric.unit, "short")


def _placed(panel: _Panel, number: int, top: int) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    x, y = _WIDTH * (number % _ACROSS), top + _HEIGHT * (number // _ACROSS)
    return {
        "id": 0,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.text,
        "datasource": source,
        "gridPos": {"h": _HEIGHT, "w": _WIDTH, "x": x, "y": y},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(65 + at), "datasource": source, "expr": expression, "legendFormat": legend}
            for at, (expression, legend) in enumerate(panel.lines)
        ],
    }


def _flat(panels: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in panels:
        yield panel
        yield from _flat(panel.get("panels", ()))


def _dashboard(panels: list[dict[str, Any]]) -> dict[str, Any]:
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
        {
            "name": "instance",
            "type": "query",
            "label": "Gateway",
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "query": f"label_values({m.INFO.name}, instance)",
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        },
    ]
    return {
        "uid": "icws-gateway",
        "title": "IC WebSocket gateway",
        "tags": ["icws"],
        "timezone": "utc",
        "schemaVersion": 39,
        "version": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": variables},
        "panels": panels,
    }
