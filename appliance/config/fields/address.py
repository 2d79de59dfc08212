"""Addresses as they are written in ``gateway.yaml``: where to listen, URLs of the IC, origins, hosts and networks.

Each has several spellings and is normalised here, once: what is compared afterwards are values. A browser sends the
origin ``https://app.example`` and never ``https://App.Example:443/``; both mean the same page.
"""

import re
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\]")
_HOST_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_ORIGIN_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

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
    if "://" in text:
        raise ValueError(f"{text!r} is a URL; write host:port, e.g. 0.0.0.0:8080")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"{text!r} is not an address; put an IPv6 address in brackets, e.g. [::1]:8080")
    if not _HOST.fullmatch(host):
        raise ValueError(f"{text!r} names no host; write e.g. 0.0.0.0:{port} for all addresses of this machine")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError(f"{text!r} has no port from 0 to 65535")
    return TcpAddress(normal_host(host.strip("[]")), int(port))


def overlap(one: TcpAddress | UnixAddress, other: TcpAddress | UnixAddress) -> bool:
    """Whether one process cannot listen at both. Two names of one host are not noticed: nothing is resolved here."""
    if not (isinstance(one, TcpAddress) and isinstance(other, TcpAddress)):
        return one == other
    if one.port != other.port or one.port == 0:
        return False
    is_all = bool({one.host, other.host} & {"0.0.0.0", "::"})  # noqa: S104 - compared, not bound
    return one.host == other.host or (is_all and _version(one.host) == _version(other.host) is not None)


def _version(host: str) -> int | None:
    """The version of an IP address; None for a name."""
    try:
        return ip_address(host).version
    except ValueError:
        return None


def check_address(text: str) -> str:
    """The normal form of an address to listen at. Raises ValueError with the problem."""
    return str(parse_address(text))


def normal_host(host: str) -> str:
    """The normal form of a host: an IP address as short as possible, a name in lower case."""
    try:
        return str(ip_address(host))
    except ValueError:
        return host.lower()


def check_url(text: str) -> str:
    """The normal form of the URL of an HTTP endpoint. Raises ValueError with the problem."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as error:
        raise ValueError(f"{text!r} is not a URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"{text!r} is not a URL of the IC; write e.g. https://icp-api.io")
    if port == 0 or url.username is not None or url.query or url.fragment:
        raise ValueError(f"{text!r} may have a host, a port and a path only")
    return _site(url, url.hostname.rstrip("."), port) + url.path.rstrip("/")


def check_origin(text: str) -> str:
    """The normal form of an origin, as a browser sends it (RFC 6454, section 6.2), or ``*`` or ``null``.

    Raises ValueError with the problem.
    """
    if text in ("*", "null"):
        return text
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
    except ValueError as error:
        raise ValueError(f"{text!r} is not an origin: {error}") from None
    if not text.isascii():
        raise ValueError(f"{text!r} is not an origin: browsers send such a name as xn--…, write that")
    if not (_SCHEME.fullmatch(url.scheme) and _ORIGIN_HOST.fullmatch(host)) or url.username is not None:
        raise ValueError(
            f"{text!r} is not an origin; write scheme://host, e.g. https://app.example, or *{_wildcard(text)}"
        )
    if url.path not in ("", "/") or url.query or url.fragment:
        raise ValueError(f"{text!r} is not an origin: it has no path; write {_site(url, host, port)}")
    return _site(url, host, port)


def _wildcard(text: str) -> str:
    return " for all; there are no wildcards within a name" if "*" in text else ""


def _site(url: SplitResult, host: str, port: int | None) -> str:
    """Scheme, host and port, the last only if it is not the default of the scheme."""
    is_default = port is None or port == _DEFAULT_PORTS.get(url.scheme)
    host = normal_host(host)
    return f"{url.scheme}://{f'[{host}]' if ':' in host else host}{'' if is_default else f':{port}'}"


def check_host_name(text: str) -> str:
    """The normal form of a host name: in lower case, without the dot at its end. Raises ValueError with the problem."""
    name = text.lower().removesuffix(".")
    if _HOST_NAME.fullmatch(name):
        return name
    host, colon, port = name.rpartition(":")
    if "://" in name:
        raise ValueError(f"{text!r} is a URL; write its host name alone, e.g. icws.example")
    if colon and port.isdecimal() and _HOST_NAME.fullmatch(host):
        raise ValueError(f"{text!r} has a port; write the host name alone: {host}")
    raise ValueError(f"{text!r} is not a host name; write e.g. icws.example")


def check_network(text: str) -> str:
    """A network in the usual notation, such as ``10.0.0.0/8``, or ``unix``. Raises ValueError with the problem.

    A single address is a network too.
    """
    if text == "unix":
        return text
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a network: {error}; {_network_hint(text)}") from None


def _network_hint(text: str) -> str:
    """A network written as one of its addresses may mean either: which one is the operator's to say."""
    try:
        inside = ip_interface(text)
    except ValueError:
        return "write e.g. 10.0.0.0/8, ::1 or unix"
    return f"write {inside.network} for all of it, or {inside.ip} for one address"


def _unix(text: str) -> UnixAddress:
    path = text.removeprefix(UNIX)
    if not Path(path).name:
        raise ValueError(f"{text!r} names no socket, write e.g. unix:/run/icws/gateway.sock")
    return UnixAddress(Path(path))
