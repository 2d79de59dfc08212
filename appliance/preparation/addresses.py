"""Examines the addresses that a configuration listens at: each is bound for a moment, and does not listen."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

from appliance.config.fields.address import TcpAddress, UnixAddress, parse_address
from appliance.config.schema import Config
from appliance.gateway.sockets.accepting.addresses import is_served
from appliance.gateway.sockets.accepting.inherited import find_inherited
from appliance.preparation.files import uncreatable
from appliance.preparation.finding import Finding
from appliance.private_files import why_hidden
from appliance.threads import FILE_TIMEOUT_S, FILES, resolve

Address = TcpAddress | UnixAddress
Holds = Callable[[Address], bool]
"""Whether the gateway of this configuration has an address already."""

MAX_UNIX_PATH = 107
"""Bytes of the path of a Unix socket (unix(7)), without the null behind it."""


async def addresses(config: Config, holds: Holds, control: Iterable[str]) -> AsyncIterator[Finding]:
    """Whether the gateway can listen at each address for clients, and at these of the control plane."""
    keys = {"gateway.listen": config.gateway.listen}
    keys |= {f"gateway.listeners[{more.address}].address": more.address for more in config.gateway.listeners}
    for key, text in keys.items():
        async for finding in _address(key, parse_address(text), holds, creates_folder=False):
            yield finding
    for listen in control:
        async for finding in _address("control.listen", parse_address(listen), holds, creates_folder=True):
            yield finding


async def _address(key: str, address: Address, holds: Holds, *, creates_folder: bool) -> AsyncIterator[Finding]:
    if isinstance(address, UnixAddress):
        for finding in await _unix_in_time(key, address.path, creates_folder=creates_folder):
            if not (finding.passes and holds(address)):
                yield finding
    elif not holds(address) and (tcp := await _tcp(key, address)) is not None:
        yield tcp


async def _tcp(key: str, address: TcpAddress) -> Finding | None:
    try:
        found = await resolve(address.host, address.port, flags=socket.AI_PASSIVE)
    except OSError as error:
        problem = f"{address.host} is no address of this machine ({error.strerror}); write an IP address or localhost"
        return Finding(key, problem, passes=True)
    for family, where in found:
        try:
            _bind(family, where)
        except OSError as error:
            return Finding(key, _bind_problem(address, error), passes=error.errno not in (errno.EACCES, errno.EPERM))
    return None


def _bind(family: int, where: tuple[object, ...]) -> None:
    """Raises OSError."""
    if (inherited := find_inherited(family, where)) is not None:
        inherited.close()
        return
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the listener does: without it, connections in TIME_WAIT would make the port look taken after each restart.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(where)


def _bind_problem(address: TcpAddress, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            who = f"`ss -ltnp 'sport = :{address.port}'` shows which"
            return f"another process listens on {address}; {who}: stop it, or choose another port"
        case errno.EACCES | errno.EPERM:
            advice = "AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, a port from 1024 on, or a proxy in front"
            return f"{address}: only root may use ports below 1024; use {advice}"
        case errno.EADDRNOTAVAIL:
            return f"{address.host} is no address of this machine; 0.0.0.0 and [::] are all of them"
    return f"{address} cannot be bound: {error.strerror or error}; choose another address"


def _is_served(path: Path) -> bool:
    try:
        return is_served(path)
    except OSError:  # one of another user, which cannot be replaced either
        return True


async def _unix_in_time(key: str, path: Path, *, creates_folder: bool) -> list[Finding]:
    # In a thread: the file system may hang, and a reload examines addresses while clients are served.
    try:
        async with asyncio.timeout(FILE_TIMEOUT_S):
            return await FILES.run(lambda: list(_unix(key, path, creates_folder=creates_folder)))
    except TimeoutError:
        problem = f"{path.parent} does not answer within {FILE_TIMEOUT_S:g} s; is its file system mounted?"
        return [Finding(key, problem, passes=True)]


def _unix(key: str, path: Path, *, creates_folder: bool) -> Iterator[Finding]:
    size = len(os.fsencode(path))
    if size > MAX_UNIX_PATH:
        problem = (
            f"{path} has {size} bytes, and the path of a Unix socket at most {MAX_UNIX_PATH}; choose a shorter one"
        )
        yield Finding(key, problem)
    elif (inherited := find_inherited(socket.AF_UNIX, str(path))) is not None:
        inherited.close()
    elif (reason := why_hidden(path)) is not None:
        yield Finding(key, f"{path} cannot be created: {reason}; choose a folder that the gateway's user may write to")
    elif not (folder := path.parent.parent if creates_folder else path.parent).exists():
        yield Finding(key, f"{folder}, the folder of the socket, does not exist; create it")
    elif os.path.lexists(path) and not path.is_socket():
        yield Finding(key, f"{path} exists and is not a socket; remove it, or choose another path")
    elif path.is_socket() and _is_served(path):
        yield Finding(key, f"another process serves at {path}; stop it, or choose another path", passes=True)
    elif (reason := uncreatable(path.parent)) is not None:
        yield Finding(key, f"{path} cannot be created: {reason}; choose a folder that the gateway's user may write to")
