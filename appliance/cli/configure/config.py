"""``icws check`` and ``icws config``: whether a configuration is valid, what it sets, and what each key means."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from appliance.cli.configure.explained_key import find_key, key_lines, known_keys
from appliance.cli.output.formatting import counted, time
from appliance.cli.output.terminal import field_lines, json_text, print_result, terminal_width
from appliance.cli.output.yaml_text import yaml_lines
from appliance.cli.remote.api_options import RemoteCommand, client, config_file, json_option, wants_json
from appliance.config.describe import render_yaml
from appliance.config.json_schema import json_schema
from appliance.config.load import DEFAULT, Loaded, load
from appliance.config.schema import Config
from appliance.config.written import written
from appliance.control.client import path_to
from appliance.control.models import ConfigShown
from appliance.errors import ConfigError
from appliance.gateway.sockets.listener import load_tls


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default="gateway.yaml", envvar="ICWS_CONFIG")
@click.option("--no-files", is_flag=True, help="Do not look at the certificate and the key that it names.")
@json_option
def check(file: Path, *, no_files: bool) -> None:
    """Check FILE (gateway.yaml) together with the environment, as `icws run` would read it.

    Every fault is named with its place and key. Exit code 0: it can be used; 78: it cannot.
    """
    try:
        config = load(file, environment=os.environ).config
        if config.gateway.tls is not None and not no_files:
            load_tls(config.gateway.tls)
    except ConfigError as error:
        if wants_json():
            click.echo(json_text({"usable": False, "problems": [asdict(problem) for problem in error.problems]}))
        raise
    print_result({"usable": True, "problems": []}, [f"{file} can be used: {_summary(config)}"])


def _summary(config: Config) -> str:
    canisters = ", ".join(canister.name or str(canister.id) for canister in config.canisters) or "none"
    others = "others too" if config.unlisted_canisters == "allow" else "no others"
    addresses = [config.gateway.listen, *(more.address for more in config.gateway.listeners)]
    return f"listens on {', '.join(addresses)}, serves {canisters} and {others}, asks {', '.join(config.network.url)}"


_NOTHING_SAID = "version: 1\n"


@click.group()
def config() -> None:
    """Show the configuration, explain a key of it, or print what documents all of it."""


@config.command("show", cls=RemoteCommand, short_help="Show every value, and where it is from.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--origin", is_flag=True, help="Behind each value, where it is from.")
@click.option("--changed", is_flag=True, help="Only what is not as it is by default.")
@click.option("--running", is_flag=True, help="What the running gateway has, instead of what the file says.")
def show_(file: Path | None, *, origin: bool, changed: bool, running: bool) -> None:
    """Show every value of FILE (gateway.yaml) together with the environment, as `icws run` would read it.

    Or, with --running, what a running gateway works with now: it is api.
    """
    if running:
        if file is not None:
            raise click.UsageError("--running asks the gateway, leave FILE out")
        answer = client().get(ConfigShown, path_to("config"))
        unless = _unset(answer) if changed else None
        print_result(answer, _running_lines(answer, origin=origin, unless=unless))
        return
    file = file or config_file()
    loaded = _load_file(file)
    values = written(loaded.config)
    unless = _defaults(file) if changed else None
    plain = {"values": values, "origins": dict(loaded.origins)}
    print_result(plain, _lines(values, loaded.origins, origin=origin, unless=unless))


def _complete_key(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    return [CompletionItem(key) for key in known_keys() if key.startswith(begun)]


@config.command(short_help="Explain a key, and say which value it has.")
@click.argument("key", shell_complete=_complete_key)
@click.option(
    "-c",
    "--config",
    "file",
    type=click.Path(path_type=Path),
    envvar="ICWS_CONFIG",
    help="Where its value is looked up.",
)
@json_option
def explain(key: str, *, file: Path | None) -> None:
    """Explain KEY, e.g. polling.min_interval or canisters.paused: what it means, its default, what it may be, what a
    change of it does, and which value it has now, from where. A section is explained with all of its keys.
    """
    found = find_key(key)
    loaded = _load_if_valid(file or config_file())
    value, origin = _value_of(loaded, found.name)
    answer = found.answer() | ({"value": value, "origin": origin} if origin else {})
    print_result(answer, key_lines(found, value, origin, max_width=terminal_width()))


@config.command(short_help="Print the JSON Schema of the file.")
def schema() -> None:
    """Print the JSON Schema of the file, for editors and other programs."""
    click.echo(json_text(json_schema()))


@config.command(short_help="Print a file with every key.")
def default() -> None:
    """Print a file with every key, its default and its meaning."""
    click.echo(render_yaml(), nl=False)


def _load_file(file: Path) -> Loaded:
    return load(file, environment=os.environ)


def _load_if_valid(file: Path) -> Loaded | None:
    """None where there is nothing to be had, which `icws check` explains."""
    try:
        return _load_file(file)
    except ConfigError:
        return None


def _value_of(loaded: Loaded | None, name: str) -> tuple[Any, str]:
    """What a key has now, and where that is from; nothing for what is a section or in a list."""
    if loaded is None or name not in loaded.origins:
        return None, ""
    value: Any = written(loaded.config)
    for part in name.split("."):
        value = value[part]
    return value, loaded.origins[name]


def _defaults(file: Path | None) -> Mapping[str, Any]:
    """What a file in this place would mean that says nothing."""
    return written(load(file, text=_NOTHING_SAID).config)


def _unset(shown: ConfigShown) -> Mapping[str, Any]:
    """What nobody has set, and what somebody has set as it would be anyway."""
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
    yield from lines or ["# everything is as it is by default"]


def _running_lines(shown: ConfigShown, *, origin: bool, unless: Mapping[str, Any] | None) -> Iterator[str]:
    for line in field_lines(_running_pairs(shown), max_width=terminal_width()):
        yield f"# {line}"
    yield from _lines(shown.values, shown.origins, origin=origin, unless=unless)


def _running_pairs(shown: ConfigShown) -> Iterator[tuple[str, str]]:
    yield "generation", f"{shown.generation}, etag {shown.etag}"
    yield "file", f"{shown.file or 'none'}{', which says something else now' if shown.differs_from_file else ''}"
    if shown.confirm_by is not None:
        yield "on trial", f"rolled back at {time(shown.confirm_by)} UTC unless confirmed"
    if shown.pending_restart:
        keys = ", ".join(shown.pending_restart)
        yield "restart", f"{counted(len(shown.pending_restart), 'key')} wait for it: {keys}"
