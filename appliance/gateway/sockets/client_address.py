"""Where a client comes from: the other end of the socket, or what a trusted proxy says of it."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

UNIX = "unix"
"""The address of clients on a Unix socket, and what trusts them."""


def remote_address(peer: object, forwarded_for: str | None, trusted: Sequence[str]) -> str:
    """The address of a client as text, without a port.

    ``peer`` is what the socket says (``peername``), ``forwarded_for`` the header ``X-Forwarded-For``, ``trusted`` is
    ``gateway.trusted_proxies``. The header's addresses are believed from the right as long as the one that added them
    is trusted, and no further: whatever stands left of an untrusted address may be made up. An IPv4 address is one also
    where a socket for both writes it as IPv6.
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
    """The address of an entry, which some proxies write with a port; None for what is none."""
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
