"""The HTTP request that opens a WebSocket: where its path leads, who sent it, and whether it is granted.

Plain functions of a request and a configuration, without the library that parses HTTP and without a socket.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from appliance.config.schema import Config
from appliance.errors import Malformed, PostponedByPlugin, RefusedByPlugin, TooLarge
from appliance.gateway.hooks import Visit
from appliance.gateway.limits.rate_limits import LimitExceeded
from appliance.gateway.sockets.request_head import RequestHead
from appliance.ic.principal import Principal
from appliance.protocol.generations import SESSIONS

RETRY_AFTER_S = 5
"""``Retry-After`` of the answer when the gateway accepts nobody, or no more of an address."""
CANISTER = "/canister/"
UNIX = "unix"
"""The address of clients on a Unix socket, and the entry of ``gateway.trusted_proxies`` that trusts them."""
HEALTH_PATHS = ("/livez", "/readyz", "/startupz")
HANDSHAKE = (
    "connection",
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
)
"""The headers of the WebSocket handshake."""
MAX_HANDSHAKE_HEADER = 8000
"""Bytes of one of them: the WebSocket library bounds lines at 8 KiB."""
VERSION = "13"
"""Of the WebSocket protocol (RFC 6455)."""

# --- where a path leads -----------------------------------------------------------------------------------------------


class Route(NamedTuple):
    """What a path selects: a wire generation, and the only canister to talk to if the path names one."""

    generation: str
    canister_id: Principal | None = None


def route(path: str, root: str, config: Config) -> Route | str:
    """The route of a request's path, or the text of the answer 404 where there is none.

    ``root`` is the generation at ``/``. The generation comes from the path alone, never from the first bytes of a
    client: a guess from bytes could be led to the wrong session by whoever writes them.
    """
    path = path.partition("?")[0].rstrip("/")
    if not path:
        return Route(root)
    if path[1:] in SESSIONS:
        return Route(path[1:])
    if path.startswith(CANISTER):
        return _route_to(path.removeprefix(CANISTER), config)
    return f"No WebSocket at this path; connect to one of: {', '.join(['/', *_paths(SESSIONS)])}, {CANISTER}NAME\n"


def _route_to(name: str, config: Config) -> Route | str:
    canister = config.named(name)
    if canister is None:
        return f"The configuration of this gateway has no canister {name[:64]!r}.\n"
    if len(canister.generation) > 1:
        several = " or ".join(_paths(canister.generation))
        return f"Canister {name} serves several generations of clients; connect to {several}\n"
    return Route(canister.generation[0], canister.id)


def _paths(names: Iterable[str]) -> list[str]:
    return [f"/{name}" for name in names]


# --- who sent it ------------------------------------------------------------------------------------------------------


def client_address(peer: object, forwarded_for: str | None, trusted: Sequence[str]) -> str:
    """The address of a client as text, without a port.

    ``peer`` is the other end of the socket (``peername``), ``forwarded_for`` the header ``X-Forwarded-For``,
    ``trusted`` is ``gateway.trusted_proxies``. Each proxy appends the address that it saw, so the header is read from
    the right, and only as long as the one that appended is trusted: everything left of an untrusted address may be made
    up by the client. An IPv4 address is returned as such also where a dual-stack socket writes it as IPv6.
    """
    address = peer_address(peer)
    hops = [hop.strip() for hop in (forwarded_for or "").split(",")]
    while hops and is_trusted(address, trusted):
        hop = _without_port(hops.pop())
        if hop is None:
            break
        address = hop
    return address


def peer_address(peer: object) -> str:
    """The address of the other end of a socket (``peername``) as text, without a port."""
    return _plain(str(peer[0])) if isinstance(peer, tuple) else UNIX


def is_trusted(address: str, trusted: Sequence[str]) -> bool:
    """Whether an address is that of a proxy that may name its clients (``gateway.trusted_proxies``)."""
    if not trusted or address == UNIX:
        return UNIX in trusted
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return any(parsed in _network(text) for text in trusted if text != UNIX)


@lru_cache(maxsize=1024)
def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text, strict=False)


def _without_port(hop: str) -> str | None:
    """The address of an entry, which some proxies write with a port; None for what is no address."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return _plain(str(ip_address(hop)))
    except ValueError:
        return None


def _plain(address: str) -> str:
    """Without ``::ffff:`` before an IPv4 address."""
    if not address.startswith("::ffff:"):
        return address
    mapped = IPv6Address(address).ipv4_mapped
    return address if mapped is None else str(mapped)


# --- whether it is granted --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HttpRejection:
    """The answer to a request that is not granted. ``text`` is the body, for a person to read; ``reason`` one of
    ``refusals.REASONS``.
    """

    status: int
    text: str
    reason: str
    headers: Mapping[str, str] = field(default_factory=dict)


FULL = HttpRejection(
    503,
    "This gateway has all the connections that it may have, try again later.\n",
    "full",
    {"Retry-After": str(RETRY_AFTER_S)},
)
NOT_ACCEPTING = HttpRejection(
    503,
    "This gateway accepts no more connections now, try again later.\n",
    "draining",
    {"Retry-After": str(RETRY_AFTER_S)},
)
NO_REQUEST = HttpRejection(408, "The request was not complete in time.\n", "timeout")
_UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade, close", "Sec-WebSocket-Version": VERSION}
NO_UPGRADE = HttpRejection(
    426,
    "This is a WebSocket gateway: connect with ws:// or wss://. If there is a reverse proxy before it, have the proxy "
    "speak HTTP/1.1 and pass on the headers Upgrade and Connection.\n",
    "no_upgrade",
    _UPGRADE,
)


def check_upgrade(
    request: RequestHead, root: str, config: Config, *, not_accepting: HttpRejection | None
) -> Route | HttpRejection:
    """Check a request against the configuration. ``root`` is the generation at ``/``, ``not_accepting`` the answer to
    everybody while the gateway accepts nobody.

    Whatever coming back later would not help against is answered first.
    """
    if request.version[0] != 1:
        return HttpRejection(505, "This gateway speaks HTTP/1.1.\n", "http_version")
    found = route(request.path, root, config)
    if not isinstance(found, Route):
        return HttpRejection(404, found, "unknown_path")
    origin = request.get("origin")
    if origin is not None and not {"*", origin} & set(config.gateway.origins):
        return HttpRejection(403, f"This gateway does not allow connections from pages of {origin[:200]}.\n", "origin")
    return check_handshake(request) or not_accepting or found


def check_handshake(request: RequestHead) -> HttpRejection | None:
    """What RFC 6455 section 4.2.1 requires of a request, but for the key; the answer where it is not so."""
    if request.method != "GET":
        text = f"A WebSocket is opened with GET, not with {request.method[:40]}.\n"
        return HttpRejection(405, text, "method", {"Allow": "GET"})
    # Many proxies speak HTTP/1.0 and drop both headers unless they are told otherwise.
    options = {option.strip().lower() for option in request.joined("connection").split(",")}
    if request.version < (1, 1) or "upgrade" not in options or request.joined("upgrade").lower() != "websocket":
        return NO_UPGRADE
    if (version := request.joined("sec-websocket-version")) not in ("", VERSION):
        text = f"This gateway speaks version {VERSION} of WebSocket, not {version[:40]}.\n"
        return HttpRejection(426, text, "no_upgrade", _UPGRADE)
    if request.all("transfer-encoding") or request.joined("content-length") not in ("", "0"):
        return HttpRejection(400, "A request that opens a WebSocket has no body.\n", "malformed")
    if max(len(request.joined(name)) for name in HANDSHAKE) > MAX_HANDSHAKE_HEADER:
        text = f"A header of the handshake has more than {MAX_HANDSHAKE_HEADER} bytes.\n"
        return HttpRejection(431, text, "too_large")
    return None


def handshake_of(request: RequestHead) -> bytes:
    """The part of a request that the WebSocket library needs, for its parser."""
    lines = (f"{name}: {request.joined(name)}" for name in HANDSHAKE if request.all(name))
    return "\r\n".join(["GET / HTTP/1.1", *lines, "", ""]).encode("iso-8859-1")


def rejection_by_error(error: Malformed | TooLarge) -> HttpRejection:
    """The answer to bytes that are no request."""
    return HttpRejection(431 if isinstance(error, TooLarge) else 400, f"{error}\n", error.reason)


def rejection_by_limit(exceeded: LimitExceeded) -> HttpRejection:
    """The answer to an address that connects too often."""
    error = exceeded.error()
    return HttpRejection(429, f"{error}\n", error.reason, exceeded.headers())


def rejection_by_address(address: str, held: int, limit: int) -> HttpRejection:
    """The answer to an address that holds too many connections."""
    text = (
        f"{address} holds {held} connections, the limit is {limit} (limits.held_per_address.connections). If this is "
        "the address of a proxy, gateway.trusted_proxies must list it.\n"
    )
    return HttpRejection(429, text, "address_full", {"Retry-After": str(RETRY_AFTER_S)})


def rejection_by_plugin(refusal: RefusedByPlugin) -> HttpRejection:
    """The answer where a plugin refuses: 403 for good, 503 where the client may come back."""
    if isinstance(refusal, PostponedByPlugin):
        after = {"Retry-After": str(math.ceil(refusal.retry_after_s))}
        return HttpRejection(503, f"{refusal}\n", refusal.reason, after)
    return HttpRejection(403 if refusal.close_code >= 4500 else 503, f"{refusal}\n", refusal.reason)


def upgrade_request(address: str, request: RequestHead, found: Route) -> Visit:
    """A request as plugins see it."""
    canister = None if found.canister_id is None else str(found.canister_id)
    return Visit(address, request.path, dict(request.headers), found.generation, canister)
