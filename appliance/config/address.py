"""Addresses as they are written in ``gateway.yaml``: where to listen, and URLs of the IC."""

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\]")


class TcpAddress(NamedTuple):
    """A host (a name or an IP address without brackets) and a port; port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixAddress(NamedTuple):
    """A socket in the file system."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


def parse_address(text: str) -> TcpAddress | UnixAddress:
    """Read ``host:port``, ``[v6]:port`` or ``unix:/path``. Raises ValueError that says what is wrong."""
    if text.startswith("unix:"):
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
    """The same text, if it is the URL of an HTTP endpoint. Raises ValueError that says what is wrong."""
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


def _unix(text: str) -> UnixAddress:
    path = Path(text.removeprefix("unix:"))
    if not path.is_absolute():
        raise ValueError(f"{text!r} needs an absolute path, e.g. unix:/run/icws/gateway.sock")
    return UnixAddress(path)
