"""Results as one HTML page that loads nothing: tables, CPU as bars, latency by percentile as curves (SVG)."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from appliance.bench.report.plots import bars, latency_curves
from appliance.bench.report.table import HEADS, row
from appliance.bench.result import Result

_STYLE = """
:root { color-scheme: light dark; --line: #8886; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .6rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif; fill: currentColor; }
svg .axis { stroke: var(--line); }
svg .curve { fill: none; stroke-width: 2; }
.fault { color: #c22; }
"""


def page(results: Sequence[Result], machine: Mapping[str, Any], version: str) -> str:
    """Return the page."""
    facts = f"icws {version}, {machine['processor']}, {machine['cores']} cores, Python {machine['python']}"
    busy = [(one.scenario, one.cpu_us) for one in results if one.cpu_us is not None]
    curves = {one.scenario: list(one.latency.points()) for one in results if one.latency.total}
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>icws bench</title>\n<style>{_STYLE}</style>\n<h1>icws bench</h1>\n<p>{escape(facts)}</p>",
            f'<div class="wide">{_table(results)}</div>',
            _list([(f"{one.scenario}: {one.note}", "") for one in results if one.note]),
            _list([(f"{one.scenario}: {fault}", "fault") for one in results for fault in one.faults]),
            *(["<h2>CPU of the gateway for each message or session, µs</h2>", bars(busy)] if busy else []),
            *(["<h2>Latency from the due time by percentile, ms</h2>", latency_curves(curves)] if curves else []),
            "</html>\n",
        ]
    )


def _table(results: Sequence[Result]) -> str:
    heads = "".join(f"<th>{escape(head)}</th>" for head in HEADS)
    rows = ("".join(f"<td>{escape(cell)}</td>" for cell in row(one)) for one in results)
    return f"<table><tr>{heads}</tr>{''.join(f'<tr>{cells}</tr>' for cells in rows)}</table>"


def _list(lines: Sequence[tuple[str, str]]) -> str:
    items = "".join(f'<li class="{kind}">{escape(line)}</li>' for line, kind in lines)
    return f"<ul>{items}</ul>" if items else ""
