"""Upgrades the canisters of a local network when the files of their modules have changed."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from appliance.cli.develop.wasm_files import WasmFile, beside_of
from appliance.cli.output.terminal import echo
from appliance.config.watch.watch import Watch
from appliance.errors import GatewayError
from appliance.localnet.canisters.canister import ExecutionError
from appliance.localnet.management.rules import CallRejected
from appliance.localnet.net import Localnet

WRITING_MS = 500
"""For file systems without notifications: how long a file must stay the same. Compilers write for a moment only."""


def watch_of(paths: Iterable[Path]) -> Watch:
    """What notices the changes of modules and of the interfaces beside them. Made before they are read for the first
    time, it misses no change after that."""
    files = [file for path in paths for file in (path, beside_of(path))]
    return Watch(lambda: files, look_ms=WRITING_MS, settle_ms=WRITING_MS)


async def upgrade_on_change(net: Localnet, watch: Watch, read: Callable[[], list[WasmFile]]) -> None:
    """Upgrade each canister whose module differs from the running one, whenever a file was written completely. Runs
    until it is cancelled; what cannot be installed is printed, and the canister goes on as it is."""
    async for _ in watch:
        try:
            found = await asyncio.to_thread(read)
        except (click.ClickException, OSError) as error:
            echo(f"not upgraded: {error.format_message() if isinstance(error, click.ClickException) else error}")
            continue
        for file in found:
            _upgrade(net, file)


def _upgrade(net: Localnet, file: WasmFile) -> None:
    before = _hash(net, file.name)
    try:
        net.deploy(file.name, file.module, arg=file.arg, interface=file.beside)
    except (CallRejected, ExecutionError, GatewayError) as error:
        echo(f"not upgraded: {file.name}: {error}")
        return
    after = _hash(net, file.name)
    if after != before:
        echo(f"upgraded: {file.name}, module {after[:16]}")


def _hash(net: Localnet, name: str) -> str:
    canister_id = net.names.get(name)
    code = None if canister_id is None else net.replica.canisters[canister_id].canister
    return "" if code is None else code.module_hash.hex()
