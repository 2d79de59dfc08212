"""The gateway in front of a local network: complete, with its control plane, as ``icws run`` would run it."""

import json
import os
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click

from appliance.cli.develop.examples import LOCAL_CONNECTIONS
from appliance.config.fields.values import NAME
from appliance.config.source import Source, start
from appliance.control.auth.tokens import PREFIX, Grant, hash_token
from appliance.crypto import SigningKey
from appliance.ic.identity import KeyIdentity
from appliance.ic.key_file import load_identity, save_identity
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from appliance.localnet.state.certification import derive
from appliance.localnet.websocket.dialect import DIALECTS, Generation
from appliance.whole_files import write_new

IDENTITY_FILE = "gateway.pem"
MOVED_CLOCK_S = 86_400.0
"""How far the local IC's time may be ahead for the gateway. Users may move it; this is the maximum age that the
configuration allows."""
SOCKET_PATH_BYTES = 100
"""Of a Unix socket: 103 on macOS, 107 on Linux."""
MODULE_GENERATIONS: Sequence[Generation] = ("v1", "v2")
"""Of canisters of Wasm for which no generation is given: their clients decide by the path."""


class RunningGateway(NamedTuple):
    """Where clients connect, where the control plane is and the token for it, and the configuration for commands."""

    url: str
    control_url: str
    token: str
    config: Path


class GenerationOption(click.ParamType[tuple[str, Generation]]):
    """``v1`` for all canisters, or ``NAME=v1`` for one. The value is the name, or empty, and the generation."""

    name = "[NAME=]v0|v1|v2"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Generation]:
        """Raises BadParameter."""
        if isinstance(value, tuple):
            return value
        name, equals, generation = str(value).rpartition("=")
        if generation not in DIALECTS or (equals and not name):
            known = ", ".join(map(repr, DIALECTS))
            self.fail(f"{generation!r} is not one of {known}; write v1, or NAME=v1 for one canister", param, ctx)
        return name, generation


def gateway_identity(net: Localnet, folder: Path) -> KeyIdentity:
    """The identity of the gateway, which canisters of v0 and v1 are installed with: the file in the folder, or one that
    follows from the network's seed. Raises KeyUnusable."""
    file = folder / IDENTITY_FILE
    if not file.exists():
        secret = derive(net.replica.authority.seed, "gateway")
        save_identity(KeyIdentity(SigningKey.from_secret("ed25519", secret)), file)
    return load_identity(file)


def generations_of(names: Sequence[str], chosen: Sequence[tuple[str, Generation]]) -> dict[str, list[Generation]]:
    """The generations that clients of each canister may use. Raises UsageError for an unknown name."""
    by_name = dict(chosen)
    unknown = sorted(by_name.keys() - {"", *names})
    if unknown:
        listed = ", ".join(names) or "none"
        raise click.UsageError(f"--generation {unknown[0]}=…: there is no canister {unknown[0]}, only {listed}")
    default = [by_name[""]] if "" in by_name else list(MODULE_GENERATIONS)
    return {name: [by_name[name]] if name in by_name else default for name in names}


@asynccontextmanager
async def local_gateway(
    net: Localnet,
    ids: Mapping[str, Principal],
    generations: Mapping[str, list[Generation]],
    *,
    port: int,
    identity: Path,
    folder: Path,
) -> AsyncIterator[RunningGateway]:
    """Run a gateway for the present and future canisters. Its configuration, socket and tokens are in the folder.

    Raises OSError if the port is taken, and what `operating` raises.
    """
    from appliance.log import Logging  # noqa: PLC0415 - see below
    from appliance.service import operating  # noqa: PLC0415 - takes half of the start, and some networks have no gateway

    token, config = PREFIX + secrets.token_urlsafe(32), folder / "gateway.yaml"
    write_new(folder / "tokens", f"{Grant('localnet', 'admin', hash_token(token))}\n".encode(), mode=0o600)
    canisters = [_listed(name, canister_id, generations[name]) for name, canister_id in ids.items()]
    settings = _settings(net, canisters, port=port, identity=identity, folder=folder)
    write_new(config, json.dumps(settings, indent=2).encode(), mode=0o600)
    begun = start(Source(config))
    async with operating(begun, Logging(begun.loaded.config.log)) as (service, control):
        web = next(url for url in control.urls if url.startswith("http:"))
        yield RunningGateway(service.url, web, token, config)


def _listed(name: str, canister_id: Principal, generations: list[Generation]) -> dict[str, object]:
    """A canister of the configuration. A file can have a name that is none there: then it is listed without one."""
    is_name = re.fullmatch(NAME, name) is not None
    return {"id": str(canister_id), "generation": generations, **({"name": name} if is_name else {})}


def _settings(
    net: Localnet, canisters: list[dict[str, object]], *, port: int, identity: Path, folder: Path
) -> dict[str, object]:
    """The configuration. JSON is YAML, so the file is one that every command reads."""
    socket = folder / "control.sock"
    # In a long folder for temporary files there is no socket, and commands need the token.
    sockets = [f"unix:{socket}"] if len(os.fsencode(socket)) <= SOCKET_PATH_BYTES else []
    return {
        "log": {"level": "warning"},
        "gateway": {
            "listen": f"127.0.0.1:{port}",
            "identity": str(identity.absolute()),
            "max_connections": LOCAL_CONNECTIONS,
        },
        "network": {"url": [net.url], "root_key": net.root_key.hex()},
        "verification": {"max_certificate_age": f"{MOVED_CLOCK_S:g}s", "max_query_age": f"{MOVED_CLOCK_S:g}s"},
        "unlisted_canisters": "allow",
        "canisters": canisters,
        "control": {
            "listen": [*sockets, "127.0.0.1:0"],
            "tokens": str(folder / "tokens"),
            "history": None,
        },
    }
