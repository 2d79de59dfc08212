"""The HTTP request that opens a WebSocket: its bytes, where its path leads, who sent it, and whether it is granted.

Plain functions of a request and a configuration, without the library that parses HTTP and without a socket.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from appliance.config.schema import Config
from appliance.errors import PostponedByPlugin, RefusedByPlugin, TooLarge
from appliance.gateway.hooks import Visit
from appliance.gateway.limits.rate_limits import LimitExceeded
from appliance.ic.principal import Principal
from appliance.protocol.generations import SESSIONS

MAX_HEAD = 64 * 1024
"""Bytes of an HTTP request."""
RESPONSE_408 = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
RESPONSE_431 = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
RETRY_AFTER_S = 5
"""``Retry-After`` of the answer when the gateway accepts nobody."""
CANISTER = "/canister/"
UNIX = "unix"
"""The address of clients on a Unix socket, and the entry of ``gateway.trusted_proxies`` that trusts them."""

_END = b"\r\n\r\n"


class RequestHeadReader:
    """Collects the bytes of an HTTP request until it is whole.

    The parser behind it would collect them too, but takes whatever follows the request for frames of a WebSocket that
    is already open. A client may send frames before it has the answer, and they must not be read before the request is
    granted; so the request is cut off here.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Take more bytes; returns the request and the bytes that follow it, None while it is not whole.

        Raises TooLarge.
        """
        head = self._bytes
        head += data
        # The end may be split between two reads: search again from three bytes before the new ones, not all of it,
        # which would cost time in the square of the size for a request that comes byte by byte.
        end = head.find(_END, max(0, len(head) - len(data) - len(_END)))
        if end >= 0:
            end += len(_END)
            return bytes(head[:end]), bytes(head[end:])
        if len(head) > MAX_HEAD:
            raise TooLarge("HTTP request", len(head), MAX_HEAD)
        return None


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
    address = _plain(str(peer[0])) if isinstance(peer, tuple) else UNIX
    hops = [hop.strip() for hop in (forwarded_for or "").split(",")]
    while hops and _is_trusted(address, trusted):
        hop = _without_port(hops.pop())
        if hop is None:
            break
        address = hop
    return address


def _is_trusted(address: str, trusted: Sequence[str]) -> bool:
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
    """The answer to a request that is not granted. ``text`` is the body, for a person to read."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)


NOT_ACCEPTING = HttpRejection(
    503, "This gateway accepts no more connections now, try again later.\n", {"Retry-After": str(RETRY_AFTER_S)}
)


def check_upgrade(path: str, origin: str | None, root: str, config: Config, *, is_full: bool) -> Route | HttpRejection:
    """Check a request against the configuration. ``origin`` is the header ``Origin``, ``root`` the generation at ``/``.

    A full gateway still answers 404 and 403: coming back later would not help there.
    """
    found = route(path, root, config)
    if not isinstance(found, Route):
        return HttpRejection(404, found)
    if origin is not None and not {"*", origin} & set(config.gateway.origins):
        return HttpRejection(403, f"This gateway does not allow connections from pages of {origin}.\n")
    return NOT_ACCEPTING if is_full else found


def rejection_by_limit(exceeded: LimitExceeded) -> HttpRejection:
    """The answer to an address that connects too often."""
    return HttpRejection(429, f"{exceeded.error()}\n", exceeded.headers())


def rejection_by_plugin(refusal: RefusedByPlugin) -> HttpRejection:
    """The answer where a plugin refuses: 403 for good, 503 where the client may come back."""
    if isinstance(refusal, PostponedByPlugin):
        return HttpRejection(503, f"{refusal}\n", {"Retry-After": str(math.ceil(refusal.retry_after_s))})
    return HttpRejection(403 if refusal.close_code >= 4500 else 503, f"{refusal}\n")


def upgrade_request(address: str, path: str, headers: Iterable[tuple[str, str]], found: Route) -> Visit:
    """A request as plugins see it."""
    canister = None if found.canister_id is None else str(found.canister_id)
    return Visit(address, path, {name.lower(): value for name, value in headers}, found.generation, canister)
