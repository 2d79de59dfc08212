"""Runs a local network with its canisters, its gateway and its page until it is interrupted."""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click

from appliance import task_end
from appliance.cli import loop
from appliance.cli.develop.conditions import describe
from appliance.cli.develop.examples import CHAT_PAGE, chat_page_hint, make_example
from appliance.cli.develop.local_gateway import IDENTITY_FILE, gateway_identity, generations_of, local_gateway
from appliance.cli.develop.module_watch import upgrade_on_change, watch_of
from appliance.cli.develop.project_files import write_ids
from appliance.cli.develop.wasm_files import WasmFile, collect
from appliance.cli.output.terminal import echo, styled
from appliance.config.watch.watch import Watch
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import ExecutionError
from appliance.localnet.canisters.record import CanisterRecord, LogLine
from appliance.localnet.management.rules import CallRejected
from appliance.localnet.net import Localnet
from appliance.localnet.page.routes import CHAT_PATH
from appliance.localnet.websocket.canister import WebSocketCanister
from appliance.localnet.websocket.dialect import DIALECTS, Generation


@dataclass(frozen=True)
class Plan:
    """What to run. ``paths`` are the modules by name, ``arguments`` their install arguments as Candid text. ``example``
    is None if there are modules; ``gateway_port`` None means no gateway; ``gateway`` is the one that an example of v0
    or v1 accepts, None for the network's own.
    """

    paths: Mapping[str, Path]
    arguments: Mapping[str, str]
    cache: Path | None
    example: str | None
    is_example_named: bool
    gateway_port: int | None
    folder: Path | None
    ids_folder: Path | None
    controllers: list[Principal]
    generations: list[tuple[str, Generation]]
    gateway: Principal | None
    watches: bool

    @property
    def example_generation(self) -> Generation:
        """That of the example."""
        chosen = dict(self.generations)
        return chosen.get(self.example or "", chosen.get("", "v2"))


def checked_port(port: int) -> int:
    """Return the loopback port. Raises ClickException if it cannot be listened on."""
    with listening(port), socket.socket() as probe:
        # Servers set it too: without it, connections in TIME_WAIT would make a port look taken after each restart.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
    return port


@contextmanager
def listening(port: int) -> Iterator[None]:
    """Turn the OSError of a port that cannot be listened on into a ClickException."""
    try:
        yield
    except OSError as error:
        raise click.ClickException(f"cannot listen on port {port}: {error.strerror or error}") from error


class Prepared(NamedTuple):
    """What is known before anything is installed: the plan, the gateway's principal and key file, the folder of its
    other files, the example or the modules, how to read the modules again, and what notices that they have changed."""

    plan: Plan
    principal: Principal
    identity: Path
    folder: Path
    example: WebSocketCanister | None
    modules: list[WasmFile]
    read: Callable[[], list[WasmFile]]
    watch: Watch


async def serve(net: Localnet, plan: Plan, port: int) -> None:
    """Run until interrupted. Raises ClickException, and the errors of `Localnet` and `local_gateway`."""
    net.replica.canisters.log_listeners.append(show_line)
    with loop.interrupts() as interrupted:
        async with AsyncExitStack() as stack:
            with listening(port):
                await stack.enter_async_context(net)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="icws-localnet-")))
            prepared = await _prepare(net, _beside_stored(plan, net), folder)
            _introduce(net)
            ids = _deploy(net, prepared)
            if plan.gateway_port is not None:
                await _start_gateway(stack, net, prepared, ids)
            echo(f"page:     {net.url}/_/")
            if plan.example == "chat":
                echo(f"chat:     {_chat_page(net)}")
            if plan.ids_folder is not None:
                _write_ids(net, plan.ids_folder, ids)
            if plan.watches:
                await stack.enter_async_context(_watching(net, prepared))
            await interrupted.wait()


async def _prepare(net: Localnet, plan: Plan, folder: Path) -> Prepared:
    """Read and check everything that is named. Raises UsageError, and OSError for a file or folder."""
    names = [*plan.paths, *net.names] if plan.example is None else [plan.example]
    generations_of(names, plan.generations)
    identities = plan.folder or folder
    principal = gateway_identity(net, identities).principal
    read = partial(collect, plan.paths, plan.arguments, gateway=principal, cache=plan.cache)
    watch = watch_of(plan.paths.values())
    modules = await asyncio.to_thread(read)
    example = None if plan.example is None else _example(plan.example, plan, principal)
    if plan.ids_folder is not None:
        plan.ids_folder.mkdir(parents=True, exist_ok=True)
    return Prepared(plan, principal, identities / IDENTITY_FILE, folder, example, modules, read, watch)


def _example(name: str, plan: Plan, own: Principal) -> WebSocketCanister:
    """Return the example for its gateway. Raises UsageError."""
    generation, gateway = plan.example_generation, plan.gateway
    if not DIALECTS[generation].has_one_gateway and gateway is not None:
        raise click.UsageError(f"a canister of generation {generation} accepts any gateway, leave --gateway out")
    if DIALECTS[generation].has_one_gateway and gateway is None:
        if plan.gateway_port is None:
            raise click.UsageError(
                f"a canister of generation {generation} accepts one gateway only, give it with --gateway PRINCIPAL: "
                "`icws identity show` prints yours (`icws identity new` creates one)"
            )
        gateway = own
    try:
        return make_example(name, generation=generation, gateway=gateway)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _beside_stored(plan: Plan, net: Localnet) -> Plan:
    """Return the plan, without its example if the state has canisters. Raises ClickException if the user named it."""
    if plan.example is None or not net.names:
        return plan
    if plan.is_example_named:
        raise click.ClickException(
            f"an example runs alone, and {plan.folder} has canisters ({', '.join(net.names)}): "
            "leave out --example or --state"
        )
    return replace(plan, example=None)


def _introduce(net: Localnet) -> None:
    echo(f"url:      {net.url}")
    echo(f"root key: {net.root_key.hex()}")
    for phrase in describe(net.conditions):
        echo(f"network:  {phrase}")


def _deploy(net: Localnet, prepared: Prepared) -> dict[str, Principal]:
    """Install the canisters and print their ids. Raises ClickException for one that cannot be installed."""
    plan, example = prepared.plan, prepared.example
    if plan.example is not None and example is not None:
        canister = net.create_canister(example)
        net.replica.canisters[canister].name = plan.example
        echo(f"canister: {canister} ({plan.example}, wire generation {example.dialect.generation})")
        if example.gateway is not None:
            echo(f"accepts:  {example.gateway}")
        return {plan.example: canister}
    for file in prepared.modules:
        try:
            net.deploy(file.name, file.module, arg=file.arg, controllers=plan.controllers, interface=file.beside)
        except (CallRejected, ExecutionError) as error:
            raise click.ClickException(f"{file.path} cannot be installed: {error}") from error
    for name, canister in net.names.items():
        echo(f"canister: {canister} ({name})")
    return net.names


async def _start_gateway(
    stack: AsyncExitStack, net: Localnet, prepared: Prepared, ids: Mapping[str, Principal]
) -> None:
    """Run the gateway until the stack is left, and print where it is. Raises ClickException if its port is taken."""
    plan, example = prepared.plan, prepared.example
    port = plan.gateway_port or 0
    generations = (
        generations_of(list(ids), plan.generations)
        if example is None
        else {name: [example.dialect.generation] for name in ids}
    )
    with listening(port):
        running = await stack.enter_async_context(
            local_gateway(net, ids, generations, port=port, identity=prepared.identity, folder=prepared.folder)
        )
    net.page.gateway_url, net.page.gateway_principal = running.url, str(prepared.principal)
    net.page.control_url = running.control_url
    echo(f"gateway:  {running.url}")
    echo(f"principal: {prepared.principal}")
    echo(f"control:  {running.control_url}/ with the token {running.token}")
    echo(f"commands: icws status -c {running.config}")


@asynccontextmanager
async def _watching(net: Localnet, prepared: Prepared) -> AsyncIterator[None]:
    """Upgrade canisters when their modules change, until the block is left."""
    changes = upgrade_on_change(net, prepared.watch, prepared.read)
    task = asyncio.create_task(changes, name="watched modules")
    try:
        yield
    finally:
        await task_end.cancel(task)


def _chat_page(net: Localnet) -> str:
    """The URL of the chat page, or how to get one."""
    if not CHAT_PAGE.is_dir():
        return chat_page_hint()
    net.page.chat_folder = CHAT_PAGE
    return f"{net.url}{CHAT_PATH}"


def _write_ids(net: Localnet, folder: Path, ids: dict[str, Principal]) -> None:
    try:
        written = write_ids(folder, ids, url=net.url, root_key=net.root_key)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"the ids cannot be written: {error}") from error
    for file in written:
        echo(f"ids in:   {file}")


def show_line(record: CanisterRecord, line: LogLine) -> None:
    """A line that a canister has written, as it comes."""
    time = datetime.fromtimestamp(line.time_ns / 1e9, UTC)
    indented = line.text.replace("\n", "\n         ")
    who = styled(f"[{record.name or record.canister_id}]", bold=True)
    echo(f"{time:%H:%M:%S} {who} {indented}")
