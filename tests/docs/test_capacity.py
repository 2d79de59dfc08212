"""The pages on relaying, capacity and reliability name keys, defaults, metrics, alerts and commands that exist."""

import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from appliance.bench.scenarios import select
from appliance.cli.main import main
from appliance.config.problems import keys_of
from appliance.config.schema import Config
from tests.localnet.subnet.swaps import Way, measured

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ["capacity", "relay", "reliability"]
KEY = r"[a-z_]+(?:\[\])?(?:\.[a-z_]+)+"
KEYS = {".".join(path) for path in keys_of(Config)}


def text_of(page: str) -> str:
    return (DOCS / f"{page}.md").read_text()


def keys_in(text: str) -> set[str]:
    quoted = {key.replace("[]", "") for key in re.findall(rf"`({KEY})", text)}
    return {key for key in quoted if key.split(".")[0] in KEYS}


@pytest.mark.parametrize("page", PAGES)
def test_every_key_exists(page: str) -> None:
    assert keys_in(text_of(page)) <= KEYS


def test_defaults_are_those_of_the_configuration() -> None:
    named = re.findall(rf"`({KEY})` \((\d[^)]*)\)", text_of("capacity"))
    assert len(named) > 10
    for key, shown in named:
        assert default(key) == default(key, shown.replace(",", "").replace(" ", "")), key


def default(key: str, value: str | None = None) -> Any:
    """Of a key, or what it is with this value."""
    *sections, name = key.split(".")
    values: dict[str, Any] = {} if value is None else {name: int(value) if value.isdigit() else value}
    for section in reversed(sections):
        values = {section: values}
    found: Any = Config.model_validate(values)
    for part in key.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_metric_and_alert_exists(page: str) -> None:
    metrics = set(re.findall(r"^\| `(icws_\w+)`", text_of("metrics"), re.MULTILINE))
    assert set(re.findall(r"`(icws_\w+)`", text_of(page))) <= metrics
    rules = yaml.safe_load((DOCS / "alerts.yaml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    assert set(re.findall(r"`(Icws\w+)`", text_of(page))) <= alerts


@pytest.mark.parametrize("page", PAGES)
def test_every_command_can_be_run(page: str) -> None:
    for line in re.findall(r"`icws ([^`]+)`", text_of(page)):
        name, *arguments = line.split()
        command: click.Command = main
        for word in (name, *arguments):
            if not isinstance(command, click.Group):
                break
            found = command.get_command(click.Context(command), word)
            assert found is not None, line
            command = found
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in arguments if word.startswith("--")} <= options, line
        if name == "bench":
            select([word for word in arguments if re.fullmatch(r"[a-z][a-z0-9-]*", word)])


@pytest.mark.parametrize(
    ("spacing_ms", "way", "column"), [(0, "one", 0), (20, "any", 1), (50, "any", 1), (80, "any", 1)]
)
def test_calls_swap_as_often_as_the_page_says(spacing_ms: int, way: Way, column: int) -> None:
    row = re.search(rf"^\| {spacing_ms} ms \| ([0-9.]+)% \| ([0-9.]+)% \|$", text_of("relay"), re.MULTILINE)
    assert row is not None
    assert measured(spacing_ms, way, pairs=400) == pytest.approx(float(row.groups()[column]) / 100, abs=0.07)
