"""``icws check``: whether a configuration can be used, and what it means."""

import os
from dataclasses import asdict
from pathlib import Path

import click

from appliance.cli.output.printing import json_text, tell
from appliance.cli.remote.api_options import json_option, wants_json
from appliance.config.load import load
from appliance.config.schema import Config
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
    tell({"usable": True, "problems": []}, [f"{file} can be used: {_summary(config)}"])


def _summary(config: Config) -> str:
    canisters = ", ".join(canister.name or str(canister.id) for canister in config.canisters) or "none"
    others = "others too" if config.unlisted_canisters == "allow" else "no others"
    addresses = [config.gateway.listen, *(more.address for more in config.gateway.listeners)]
    return f"listens on {', '.join(addresses)}, serves {canisters} and {others}, asks {', '.join(config.network.url)}"
