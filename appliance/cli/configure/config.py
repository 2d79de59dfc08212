"""``icws check`` and ``icws config``: whether a configuration is valid, what it sets, and what each key means."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from appliance.cli import loop
from appliance.cli.configure.explained_key import find_key, key_lines, known_keys
from appliance.cli.groups import HelpfulGroup
from appliance.cli.output.formatting import counted, time
from appliance.cli.output.terminal import echo, field_lines, json_text, print_result, terminal_width
from appliance.cli.output.yaml_text import yaml_lines
from appliance.cli.remote.api_options import RemoteCommand, client, config_file, json_option, wants_json
from appliance.cli.remote.running import held_addresses
from appliance.config.load import DEFAULT, Loaded, load
from appliance.config.render.describe import render_yaml
from appliance.config.render.json_schema import json_schema
from appliance.config.schema import Config, Log
from appliance.config.source import Source
from appliance.config.text.written import written
from appliance.control.client import path_to
from appliance.control.models import ConfigShown
from appliance.errors import CannotRunNow, ConfigError
from appliance.log import configure_logging
from appliance.preparation.prepare import prepare
from appliance.preparation.warnings import config_warnings


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default="gateway.yaml", envvar="ICWS_CONFIG")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Override a key, as for `icws run`.")
@click.option("--no-files", is_flag=True, help="Check the text alone: open no file, bind no address, load no plugin.")
@json_option
def check(file: Path, settings: tuple[str, ...], *, no_files: bool) -> None:
    """Check FILE (gateway.yaml), the environment and --set, by the steps with which `icws run` begins.

    Opens every file, binds every address for a moment, loads plugins in a process of their own, and creates nothing.
    What a running gateway of this file listens at counts as free. Prints every problem with its place and key. Exit
    code 0: it can run; 78: it is invalid; 1: it is valid, and cannot run here now.
    """
    configure_logging(Log(level="error"))  # libraries would write warnings between the lines of the result
    source = Source(file, os.environ, settings)
    try:
        loaded = source.load()
        if not no_files:
            loop.run(prepare(loaded, folder=source.folder, holds=held_addresses(loaded.config)))
    except (ConfigError, CannotRunNow) as error:
        if wants_json():
            echo(json_text({"usable": False, "problems": [asdict(problem) for problem in error.problems]}))
        raise
    warnings = [*map(str, loaded.warnings), *(() if no_files else config_warnings(loaded.config))]
    for warning in () if wants_json() else warnings:
        echo(f"warning: {warning}", err=True)
    result = {"usable": True, "problems": [], "warnings": warnings}
    print_result(result, [f"{file} is valid: {_summary(loaded.config)}"])


def _summary(config: Config) -> str:
    canisters = [canister.name or str(canister.id) for canister in config.canisters]
    if config.unlisted_canisters == "allow":
        canisters.append("unlisted canisters")
    served = ", ".join(canisters) or "no canisters"
    addresses = [config.gateway.listen, *(more.address for more in config.gateway.listeners)]
    return f"listens on {', '.join(addresses)}, serves {served}, connects to {', '.join(config.network.url)}"


_EMPTY_CONFIG = "version: 1\n"


@click.group(cls=HelpfulGroup)
def config() -> None:
    """Show the configuration, explain a key, or print the schema or a file with every key."""


@config.command("show", cls=RemoteCommand, short_help="Show every value and its origin.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--origin", is_flag=True, help="Show the origin of each value.")
@click.option("--changed", is_flag=True, help="Show only values that differ from the defaults.")
@click.option("--running", is_flag=True, help="Show the active configuration of the running gateway.")
def show_(file: Path | None, *, origin: bool, changed: bool, running: bool) -> None:
    """Show every value of FILE (gateway.yaml) and the environment, as `icws run` would read them.

    With --running, show the active configuration of the running gateway instead.
    """
    if running:
        if file is not None:
            raise click.UsageError("--running shows the gateway's configuration, leave FILE out")
        active = client().get(ConfigShown, path_to("config"))
        unless = _reported_defaults(active) if changed else None
        print_result(active, _running_lines(active, origin=origin, unless=unless))
        return
    file = file or config_file()
    loaded = _load_file(file)
    values = written(loaded.config)
    unless = _defaults(file) if changed else None
    result = {"values": values, "origins": dict(loaded.origins)}
    print_result(result, _lines(values, loaded.origins, origin=origin, unless=unless))


def _complete_key(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(key) for key in known_keys() if key.startswith(incomplete)]


@config.command(short_help="Explain a key and show its value.")
@click.argument("key", shell_complete=_complete_key)
@click.option(
    "-c",
    "--config",
    "file",
    type=click.Path(path_type=Path),
    envvar="ICWS_CONFIG",
    help="Configuration with the current value.",
)
@json_option
def explain(key: str, *, file: Path | None) -> None:
    """Explain KEY, e.g. polling.min_interval or canisters.paused.

    Prints its meaning, its default and allowed values, the effect of a change, and its current value with the origin.
    For a section, lists all of its keys.
    """
    found = find_key(key)
    loaded = _load_if_valid(file or config_file())
    value, origin = _value_of(loaded, found.name)
    result = found.as_json() | ({"value": value, "origin": origin} if origin else {})
    print_result(result, key_lines(found, value, origin, max_width=terminal_width()))


@config.command(short_help="Print the JSON Schema of the file.")
def schema() -> None:
    """Print the JSON Schema of the file, for editors and other programs."""
    echo(json_text(json_schema()))


@config.command(short_help="Print a file with every key.")
def default() -> None:
    """Print a file with every key, its default and its meaning."""
    echo(render_yaml(), nl=False)


def _load_file(file: Path) -> Loaded:
    return load(file, environment=os.environ)


def _load_if_valid(file: Path) -> Loaded | None:
    """Return None for a missing or invalid file: explaining a key must work without one."""
    try:
        return _load_file(file)
    except ConfigError:
        return None


def _value_of(loaded: Loaded | None, name: str) -> tuple[Any, str]:
    """Return the value of a key and its origin; None and an empty origin for sections and keys in lists."""
    if loaded is None or name not in loaded.origins:
        return None, ""
    value: Any = written(loaded.config)
    for part in name.split("."):
        value = value[part]
    return value, loaded.origins[name]


def _defaults(file: Path | None) -> Mapping[str, Any]:
    """Return the values of an empty file at this path; relative paths in the defaults depend on its folder."""
    return written(load(file, text=_EMPTY_CONFIG).config)


def _reported_defaults(shown: ConfigShown) -> Mapping[str, Any]:
    """Return the defaults, and values with the origin "default" as the gateway reports them.

    The gateway may run a version with other defaults than this program.
    """
    known: dict[str, Any] = dict(_defaults(Path(shown.file) if shown.file else None))
    for key, origin in shown.origins.items():
        if origin == DEFAULT:
            *above, name = key.split(".")
            values, target = shown.values, known
            for part in above:
                values, target = values[part], target[part]
            target[name] = values[name]
    return known


def _lines(
    values: Mapping[str, Any], origins: Mapping[str, str], *, origin: bool, unless: Mapping[str, Any] | None
) -> Iterator[str]:
    lines = list(yaml_lines(values, origins if origin else None, unless=unless))
    yield from lines or ["# all values are the defaults"]


def _running_lines(shown: ConfigShown, *, origin: bool, unless: Mapping[str, Any] | None) -> Iterator[str]:
    for line in field_lines(_running_fields(shown), max_width=terminal_width()):
        yield f"# {line}"
    yield from _lines(shown.values, shown.origins, origin=origin, unless=unless)


def _running_fields(shown: ConfigShown) -> Iterator[tuple[str, str]]:
    yield "revision", f"{shown.generation}, etag {shown.etag}"
    yield "file", f"{shown.file or 'none'}{', which differs now' if shown.differs_from_file else ''}"
    if shown.confirm_by is not None:
        yield "on trial", f"rolled back at {time(shown.confirm_by)} UTC unless confirmed"
    if shown.pending_restart:
        keys = ", ".join(shown.pending_restart)
        yield "restart", f"needed for {counted(len(shown.pending_restart), 'key')}: {keys}"
