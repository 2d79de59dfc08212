"""Checks of this machine: files, addresses and limits of a configuration, and the running gateway."""

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
from appliance.config.fields.address import TcpAddress, UnixAddress, parse_address
from appliance.config.schema import Config
from appliance.control.client import UNIX, Client, ControlRefused, ControlUnreachable, path_to
from appliance.control.models import Status
from appliance.errors import ConfigError, GatewayError
from appliance.gateway.limits.descriptors import RESERVE
from appliance.gateway.sockets.tls.loading import load_tls
from appliance.ic.key_source import identity_of
from appliance.private_files import is_file, why_hidden

_LIMIT = re.compile(r"^Max open files\s+(\d+|unlimited)", re.MULTILINE)


def check_files(config: Config) -> Iterator[Finding]:
    """Check the files that the configuration names."""
    yield _identity(config.gateway.identity)
    if config.gateway.tls is not None:
        try:
            load_tls(config.gateway.tls)
        except ConfigError as error:
            yield fault("tls", str(error), "renew the certificate with its key, then `icws reload`")
        else:
            yield ok("tls", f"{config.gateway.tls.certificate} and its key match")
    if config.control.tokens is not None:
        yield _tokens(config.control.tokens)
    for subject, folder in _folders(config):
        nearest = next(path for path in (folder, *folder.parents) if why_hidden(path) or path.exists())
        if not os.access(nearest, os.W_OK | os.X_OK, effective_ids=True):
            yield warning(
                subject,
                f"this user cannot write to {nearest}",
                f"the gateway's user needs write access: chown it, or move {subject} elsewhere",
            )


def check_addresses(config: Config, status: Status | None) -> Iterator[Finding]:
    """Check the addresses for clients. An address in use is fine if the running gateway with this status has it."""
    for text in (config.gateway.listen, *(more.address for more in config.gateway.listeners)):
        address = parse_address(text)
        yield _unix_address(address, status) if isinstance(address, UnixAddress) else _tcp_address(address, status)


def check_open_files(config: Config, pid: int | None) -> Finding:
    """Check the open file limit of the gateway with this process id; without one, that of processes started here."""
    needed = config.gateway.max_connections + config.relay.calls + RESERVE
    limit = None if pid is None else _limit_of(pid)
    whose = "the running gateway" if limit is not None else "a gateway started here"
    if limit is None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit == resource.RLIM_INFINITY or limit >= needed:
        shown = "any number of" if limit == resource.RLIM_INFINITY else number(limit)
        return ok("open files", f"{whose} may open {shown} files, {number(needed)} are enough")
    return warning(
        "open files",
        f"{whose} may open {number(limit)} files, but gateway.max_connections is "
        f"{number(config.gateway.max_connections)} and relay.calls {number(config.relay.calls)}: "
        "further clients would be refused, and further calls wait",
        f"LimitNOFILE={needed} in the unit, `ulimit -n {needed}` in a shell, or lower values of these keys",
    )


def check_gateway(client: Client) -> tuple[Status | None, list[Finding]]:
    """Check the running gateway, and return its status; None if it does not run or refuses to show it."""
    try:
        status = client.get(Status, path_to("status"))
        health = client.health("/readyz")
    except ControlUnreachable as error:
        return None, [note("gateway", str(error), "`icws run` starts one; the checks below work without it")]
    except ControlRefused as error:
        return None, [warning("gateway", str(error), "give a token of role viewer: --token-file FILE")]
    findings = [_running(status)]
    findings += [
        fault("readiness", f"{check.name}: {check.detail}", "load balancers send no clients until this is fixed")
        for check in health.checks or []
        if not check.ok
    ]
    if status.calls_waiting:
        text = (
            f"{counted(status.calls_waiting, 'call')} waiting for room: {number(status.calls_limit)} may be under way"
        )
        findings.append(warning("calls", text, "`icws canisters` shows where calls wait; relay.calls and relay.bytes"))
    if status.last_reload.result == "rejected":
        problem = status.last_reload.problem or "unknown reason"
        findings.append(warning("last reload", problem, "fix the file, check it with `icws plan`, then `icws reload`"))
    elif status.differs_from_file:
        text = "the file differs from the active configuration"
        findings.append(note("configuration", text, "`icws plan` shows how, `icws reload` applies it"))
    return status, findings


def process_id(url: str) -> int | None:
    """Return the process id of a Unix socket's server (SO_PEERCRED, unix(7)); None if it cannot be determined."""
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


def _identity(source: Path) -> Finding:
    if is_file(source) and why_hidden(source) is None and not source.exists():
        return note(
            "identity",
            f"{source} does not exist yet; the first start creates it",
            "to keep a principal: icws identity import",
        )
    try:
        identity = identity_of(source)
    except GatewayError as error:
        return fault("identity", str(error), "run `icws identity show` as the gateway's user")
    return ok("identity", f"{source} has the key of {identity.principal}")


def _tokens(file: Path) -> Finding:
    from appliance.control.auth.tokens import Tokens  # noqa: PLC0415 - rarely needed

    tokens = Tokens(file)
    try:
        tokens.check()
    except ConfigError as error:
        return fault("tokens", str(error), "`icws tokens new ROLE` prints a line for the file")
    count = len(list(tokens))
    if not count:
        return warning("tokens", f"{file} has no token: nobody can use the API over TCP", "`icws tokens new ROLE`")
    return ok("tokens", f"{file} has {counted(count, 'token')}")


def _folders(config: Config) -> Iterable[tuple[str, Path]]:
    yield "identity", config.gateway.identity.parent
    if config.control.history is not None:
        yield "history", config.control.history
    for listen in config.control.listen:
        if listen.startswith(UNIX):
            yield "control", Path(listen.removeprefix(UNIX)).parent


def _tcp_address(address: TcpAddress, status: Status | None) -> Finding:
    if address.port == 0:
        return note("address", f"{address} takes a free port at each start", "set a fixed port for clients")
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        return _bind_problem(address, error, status)
    if status is not None:
        text = f"{address} is free, but a gateway is running: it listens on {', '.join(status.urls)}"
        return warning("address", text, "`icws plan` shows what the file would change")
    return ok("address", f"{address} is free")


def _bind_problem(address: TcpAddress, error: OSError, status: Status | None) -> Finding:
    if error.errno == errno.EADDRINUSE and status is not None:
        if any(url.endswith(f":{address.port}") for url in status.urls):
            return ok("address", f"{address} is the running gateway's")
        text = f"another process listens on {address}; the running gateway has {', '.join(status.urls)}"
        return warning("address", text, _who_listens(address))
    if error.errno == errno.EADDRINUSE:
        return fault("address", f"another process listens on {address}", _who_listens(address))
    if error.errno in (errno.EACCES, errno.EPERM):
        advice = "AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, a port from 1024 on, or a proxy in front"
        return fault("address", f"{address}: only root may use ports below 1024", advice)
    problem = error.strerror or str(error)
    return fault("address", f"{address}: {problem}", "gateway.listen must name an address of this machine")


def _who_listens(address: TcpAddress) -> str:
    return f"`ss -ltnp 'sport = :{address.port}'` shows which; stop it, or choose another port"


def _unix_address(address: UnixAddress, status: Status | None) -> Finding:
    folder = address.path.parent
    if (reason := why_hidden(address.path)) is not None:
        return fault("address", f"{address.path} cannot be looked at: {reason}", "run this as the gateway's user")
    if not folder.is_dir():
        return fault("address", f"{folder}, the folder of the socket, does not exist", f"mkdir -p {folder}")
    if address.path.exists() and not address.path.is_socket():
        return fault("address", f"{address.path} exists and is not a socket", "remove it, or choose another path")
    return ok("address", f"{address.path} {'is a socket' if status else 'can be created'}")


def _limit_of(pid: int) -> int | None:
    try:
        found = _LIMIT.search(Path(f"/proc/{pid}/limits").read_text())
    except OSError:
        return None
    if found is None:
        return None
    return resource.RLIM_INFINITY if found[1] == "unlimited" else int(found[1])


def _running(status: Status) -> Finding:
    phase = "stopping" if status.stopping else "draining" if status.draining else ""
    text = (
        f"icws {status.version} is up for {duration(status.uptime_s)} with {counted(status.sessions, 'open session')}; "
        f"revision {status.generation} of the configuration is active, last reload {ago(status.last_reload.at)}"
    )
    if phase:
        return warning(
            "gateway", f"{text}; it is {phase}", "`icws drain status`; `icws drain cancel` accepts clients again"
        )
    return ok("gateway", text)
