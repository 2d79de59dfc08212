"""The dashboard and the alerts speak of metrics and labels that exist, and of all of them."""

import json
import re
from collections.abc import Iterator

import pytest
import yaml

from appliance.control.observe.catalogue import CATALOGUE, Metric
from appliance.control.observe.labels import OTHER
from docs.alerts import render_alerts
from docs.grafana import render_grafana
from docs.metrics import render_metrics

BY_NAME = {metric.name: metric for metric in CATALOGUE}
DASHBOARD = json.loads(render_grafana())
(GROUP,) = yaml.safe_load(render_alerts())["groups"]
RULES = GROUP["rules"]
FROM_PROMETHEUS = {"instance", "le"}
"""Labels that come with every series, or with every bucket."""

_SERIES = re.compile(r"\b((?:icws|process)_\w+)(?:\{([^}]*)\})?")
_LABEL = re.compile(r'(\w+)(=~|=|!=|!~)"([^"]*)"')
_BY = re.compile(r"\b(?:by|on) \(([^)]*)\)")


def panels(among: list | None = None) -> Iterator[dict]:
    for panel in DASHBOARD["panels"] if among is None else among:
        yield panel
        yield from panels(panel.get("panels", []))


EXPRESSIONS = {
    **{
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in panels()
        for target in panel.get("targets", [])
    },
    **{rule["alert"]: rule["expr"] for rule in RULES},
}


def series_of(expression: str) -> Iterator[tuple[Metric, str, dict[str, str]]]:
    """Metric, ending and wanted labels of every series in it."""
    for name, wanted in _SERIES.findall(expression):
        base = name if name in BY_NAME else re.sub("_(bucket|count|sum)$", "", name)
        assert base in BY_NAME, f"{name} is not in the catalogue"
        yield BY_NAME[base], name.removeprefix(base), {label: value for label, _, value in _LABEL.findall(wanted)}


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_every_series_and_label_exists(expression):
    found = list(series_of(expression))
    assert found or expression.startswith(("up{", "absent(up{"))
    labels = set(FROM_PROMETHEUS)
    for metric, ending, wanted in found:
        assert (ending == "") == (metric.type != "histogram")
        known = {label.name: label for label in metric.labels}
        labels |= known.keys()
        for name, value in wanted.items():
            if name in FROM_PROMETHEUS:
                continue
            values = known[name].values
            assert values is None or set(value.split("|")) <= values, value
    for names in _BY.findall(expression):
        assert set(names.split(", ")) <= labels


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_counters_are_only_asked_how_fast_they_grow(expression):
    for metric, _, _ in series_of(expression):
        if metric.type != "gauge":
            assert re.search(rf"\b(rate|increase)\({metric.name}", expression), metric.name
        else:
            assert not re.search(rf"\b(rate|increase)\({metric.name}\b", expression), metric.name


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_brackets_match(expression):
    open_ones = []
    for character in re.sub(r'"[^"]*"', "", expression):
        if character in "([{":
            open_ones.append(character)
        elif character in ")]}":
            assert open_ones.pop() + character in ("()", "[]", "{}")
    assert not open_ones


def test_the_dashboard_has_every_metric():
    shown = {
        metric
        for panel in panels()
        for target in panel.get("targets", [])
        for metric, _, _ in series_of(target["expr"])
    }
    assert shown == set(CATALOGUE)


def test_panels_do_not_overlap_and_have_names():
    assert len({panel["id"] for panel in panels()}) == len(list(panels()))
    for among in (DASHBOARD["panels"], *(panel.get("panels", []) for panel in panels())):
        taken = set()
        for panel in among:
            at = panel["gridPos"]
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert not taken & cells
            assert at["x"] + at["w"] <= 24
            taken |= cells
            assert panel["title"]


def test_variables_of_the_dashboard_are_declared():
    declared = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    text = json.dumps(DASHBOARD["panels"])
    used = {name or braced for name, braced in re.findall(r"\$(?:(\w+)|\{(\w+)\})", text)}
    assert used - {"__rate_interval"} == declared


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alerts_say_what_is_wrong_and_what_to_do(rule):
    assert re.fullmatch(r"Icws[A-Z]\w+", rule["alert"])
    assert re.fullmatch(r"\d+[smh]", rule["for"])
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    labels = set(FROM_PROMETHEUS) | {label.name for metric, _, _ in series_of(rule["expr"]) for label in metric.labels}
    kept = [set(names.split(", ")) for names in re.findall(r"\bby \(([^)]*)\)", rule["expr"])]
    for text in rule["annotations"].values():
        assert text[-1] in ".)"
        for name in re.findall(r"\$labels\.(\w+)", text):
            assert name in labels
            assert all(name in names for names in kept)


def test_alerts_are_there_once():
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)


def test_the_page_has_every_metric_and_every_label():
    page = render_metrics()
    for metric in CATALOGUE:
        assert f"| `{metric.name}` | {metric.type} |" in page
        for label in metric.labels:
            assert f"| `{label.name}` | {label.meaning} | {label.bound} |" in page


def test_the_page_shows_the_value_for_everything_beyond_a_bound():
    rows = {
        cells[1].strip(" `"): cells[-2] for row in render_metrics().splitlines() if len(cells := row.split("|")) == 6
    }
    assert rows["status"].endswith(f", `{OTHER}` ")
    assert OTHER not in rows["generation"]
    assert "{" not in "".join(rows.values())
