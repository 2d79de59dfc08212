"""The machine that it runs on: the configuration, its files, addresses and limits, and whether a gateway runs."""

import errno
import os
import re
import resource
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from appliance.cli.diagnosis.findings import Finding, fault, note, ok, warning
from appliance.cli.output.formatting import ago, counted, duration, number
from appliance.config.address import TcpAddress, UnixAddress, parse_address
from appliance.config.schema import Config
from appliance.control.client import UNIX, Client, ControlRefused, ControlUnreachable, path_to
from appliance.control.models import Status
from appliance.errors import ConfigError, GatewayError
from appliance.gateway.sockets.listener import load_tls
from appliance.ic.identity import identity_file_problem, load_identity

SPARE_FILES = 1024
"""Open files beside the sockets of clients: calls to the IC, the control plane, logs."""

_LIMIT = re.compile(r"^Max open files\s+(\d+|unlimited)", re.MULTILINE)


def of_files(config: Config) -> Iterator[Finding]:
    """Of the files that the configuration names."""
    yield _identity(config.gateway.identity)
    if config.gateway.tls is not None:
        try:
            load_tls(config.gateway.tls)
        except ConfigError as error:
            yield fault("tls", str(error), "renew the certificate with its key, then `icws reload`")
        else:
            yield ok("tls", f"{config.gateway.tls.certificate} and its key belong together")
    if config.control.tokens is not None:
        yield _tokens(config.control.tokens)
    for subject, folder in _folders(config):
        nearest = next(path for path in (folder, *folder.parents) if path.exists())
        if not os.access(nearest, os.W_OK | os.X_OK):
            yield warning(
                subject,
                f"this user may not write to {nearest}",
                f"the user that runs the gateway must: chown it, or put {subject} elsewhere",
            )


def of_addresses(config: Config, status: Status | None) -> Iterator[Finding]:
    """Of the addresses where clients connect. With the status of a gateway that runs, one in use is likely its own."""
    for text in (config.gateway.listen, *(more.address for more in config.gateway.listeners)):
        address = parse_address(text)
        yield _unix_address(address, status) if isinstance(address, UnixAddress) else _tcp_address(address, status)


def of_limits(config: Config, pid: int | None) -> Finding:
    """Of the open files that the gateway with this process id may have, or what is started here if there is none."""
    needed = config.gateway.max_connections + SPARE_FILES
    limit = None if pid is None else _limit_of(pid)
    whose = "the running gateway" if limit is not None else "what is started here"
    if limit is None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit == resource.RLIM_INFINITY or limit >= needed:
        shown = "any number of" if limit == resource.RLIM_INFINITY else number(limit)
        return ok("open files", f"{whose} may have {shown} open files, {number(needed)} are enough")
    return warning(
        "open files",
        f"{whose} may have {number(limit)} open files, but gateway.max_connections is "
        f"{number(config.gateway.max_connections)}: further clients would be turned away",
        f"LimitNOFILE={needed} in the unit, `ulimit -n {needed}` in a shell, or a lower max_connections",
    )


def of_gateway(client: Client) -> tuple[Status | None, list[Finding]]:
    """Of the gateway that runs, if one does."""
    try:
        status = client.get(Status, path_to("status"))
        health = client.health("/readyz")
    except ControlUnreachable as error:
        return None, [note("gateway", str(error), "`icws run` starts one; what follows is looked at without it")]
    except ControlRefused as error:
        return None, [warning("gateway", str(error), "--token-file FILE, with a token of the role viewer")]
    findings = [_running(status)]
    findings += [
        fault("readiness", f"{check.name}: {check.detail}", "clients are not sent here until this is mended")
        for check in health.checks or []
        if not check.ok
    ]
    if status.last_reload.result == "rejected":
        problem = status.last_reload.problem or "no reason is known"
        findings.append(warning("last reload", problem, "mend the file, look at `icws plan`, then `icws reload`"))
    elif status.differs_from_file:
        text = "the file says something else than what runs"
        findings.append(note("configuration", text, "`icws plan` shows what, `icws reload` applies it"))
    return status, findings


def process_id(url: str) -> int | None:
    """Of who serves a Unix socket, as the kernel says (SO_PEERCRED, unix(7)); None where that cannot be told."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None or not url.startswith(UNIX):
        return None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(url.removeprefix(UNIX))
            pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    except OSError:
        return None
    return int(pid)


def _identity(file: Path) -> Finding:
    if not file.exists():
        return note(
            "identity", f"there is no {file} yet; the first start makes it", "to keep a principal: icws identity import"
        )
    try:
        identity = load_identity(file)
        problem = identity_file_problem(file)
    except GatewayError as error:
        return fault("identity", str(error), "as the user of the gateway: icws identity show")
    if problem:
        return warning("identity", problem, "whoever reads it can pretend to be this gateway")
    return ok("identity", f"{file} is the key of {identity.principal}")


def _tokens(file: Path) -> Finding:
    from appliance.control.auth.tokens import Tokens  # noqa: PLC0415 - rarely needed

    tokens = Tokens(file)
    try:
        tokens.check()
    except ConfigError as error:
        return fault("tokens", str(error), "`icws tokens new ROLE` prints a line for the file")
    count = len(list(tokens))
    if not count:
        return warning("tokens", f"{file} has none: nobody gets in over TCP", "`icws tokens new ROLE`")
    return ok("tokens", f"{file} has {counted(count, 'token')}")


def _folders(config: Config) -> Iterable[tuple[str, Path]]:
    yield "identity", config.gateway.identity.parent
    if config.control.history is not None:
        yield "history", config.control.history
    if config.control.listen is not None and config.control.listen.startswith(UNIX):
        yield "control", Path(config.control.listen.removeprefix(UNIX)).parent


def _tcp_address(address: TcpAddress, status: Status | None) -> Finding:
    if address.port == 0:
        return note("address", f"{address} takes a free port at each start", "give it a port that clients can know")
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        return _bind_problem(address, error, status)
    if status is not None:
        text = f"{address} is free, although a gateway runs: it listens on {', '.join(status.urls)}"
        return warning("address", text, "`icws plan` shows what the file would change")
    return ok("address", f"{address} is free")


def _bind_problem(address: TcpAddress, error: OSError, status: Status | None) -> Finding:
    if error.errno == errno.EADDRINUSE and status is not None:
        if any(url.endswith(f":{address.port}") for url in status.urls):
            return ok("address", f"{address} is the running gateway's")
        text = f"somebody else listens on {address}; the running gateway has {', '.join(status.urls)}"
        return warning("address", text, _who_listens(address))
    if error.errno == errno.EADDRINUSE:
        return fault("address", f"somebody listens on {address} already", _who_listens(address))
    if error.errno in (errno.EACCES, errno.EPERM):
        advice = "AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, a port from 1024 on, or a proxy before it"
        return fault("address", f"{address}: only root may have ports below 1024", advice)
    problem = error.strerror or str(error)
    return fault("address", f"{address}: {problem}", "gateway.listen must name an address of this machine")


def _who_listens(address: TcpAddress) -> str:
    return f"`ss -ltnp 'sport = :{address.port}'` says who; end it, or choose another port"


def _unix_address(address: UnixAddress, status: Status | None) -> Finding:
    folder = address.path.parent
    if not folder.is_dir():
        return fault("address", f"{folder}, where the socket is to be, is no folder", f"mkdir -p {folder}")
    if address.path.exists() and not address.path.is_socket():
        return fault("address", f"{address.path} is there and no socket", "remove it, or choose another path")
    return ok("address", f"{address.path} {'is a socket' if status else 'can be a socket'}")


def _limit_of(pid: int) -> int | None:
    try:
        found = _LIMIT.search(Path(f"/proc/{pid}/limits").read_text())
    except OSError:
        return None
    if found is None:
        return None
    return resource.RLIM_INFINITY if found[1] == "unlimited" else int(found[1])


def _running(status: Status) -> Finding:
    mood = "stopping" if status.stopping else "draining" if status.draining else ""
    text = (
        f"icws {status.version} is up for {duration(status.uptime_s)} with {counted(status.sessions, 'open session')}; "
        f"generation {status.generation} of the configuration runs, looked at {ago(status.last_reload.at)}"
    )
    if mood:
        return warning(
            "gateway", f"{text}; it is {mood}", "`icws drain status`; `icws drain cancel` lets clients in again"
        )
    return ok("gateway", text)
