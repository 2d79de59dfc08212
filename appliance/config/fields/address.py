"""Addresses as they are written in ``gateway.yaml``: where to listen, URLs of the IC, origins and networks."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\]")

# RFC 6454 section 6.2: in lower case, and without the default port of the scheme
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")

UNIX = "unix:"
"""Prefix of the address of a Unix socket."""


class TcpAddress(NamedTuple):
    """A host (a name or an IP address without brackets) and a port; port 0 picks a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixAddress(NamedTuple):
    """A socket in the file system."""

    path: Path

    def __str__(self) -> str:
        return f"{UNIX}{self.path}"


def parse_address(text: str) -> TcpAddress | UnixAddress:
    """Read ``host:port``, ``[v6]:port`` or ``unix:path``. Raises ValueError with the problem."""
    if text.startswith(UNIX):
        return _unix(text)
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"{text!r} is not an address; write host:port, [v6]:port or unix:/path")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"{text!r} is not an address; put an IPv6 address in brackets, e.g. [::1]:8080")
    if not _HOST.fullmatch(host):
        raise ValueError(f"{text!r} names no host; 0.0.0.0 and [::] are all addresses of this machine")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError(f"{text!r} has no port from 0 to 65535")
    return TcpAddress(host.strip("[]"), int(port))


def check_url(text: str) -> str:
    """The same text, if it is the URL of an HTTP endpoint. Raises ValueError with the problem."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as error:
        raise ValueError(f"{text!r} is not a URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"{text!r} is not a URL of the IC; write e.g. https://icp-api.io")
    if port == 0 or url.username or url.query or url.fragment:
        raise ValueError(f"{text!r} may have a host, a port and a path only")
    return text


def check_origin(text: str) -> str:
    """The same text, if a browser may send it as the origin of a page, or ``*``. Raises ValueError."""
    if text not in ("*", "null") and not _ORIGIN.fullmatch(text):
        raise ValueError(f"{text!r} is not an origin; write scheme://host, e.g. https://app.example, or *")
    return text


def check_network(text: str) -> str:
    """A network in the usual notation, such as ``10.0.0.0/8``, or ``unix``. Raises ValueError with the problem.

    A single address is a network too.
    """
    if text == "unix":
        return text
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a network: {error}; write e.g. 10.0.0.0/8, ::1 or unix") from None


def _unix(text: str) -> UnixAddress:
    path = text.removeprefix(UNIX)
    if not Path(path).name:
        raise ValueError(f"{text!r} names no socket, write e.g. unix:/run/icws/gateway.sock")
    return UnixAddress(Path(path))
