"""Which HTTP proxy leads to an endpoint: ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY``, as curl and Go read them.

Beside these, a proxy may be at a Unix socket, ``unix:/path``: that of a service without a network of its own.
"""

from base64 import b64encode
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from appliance.errors import IcUnreachable

UNIX = "unix:"
"""Before the path of the socket of a proxy."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. ``url`` may have credentials; ``shown`` has none."""

    url: str
    shown: str

    @property
    def authorization(self) -> str | None:
        """The value of ``Proxy-Authorization`` (RFC 7617); None without credentials."""
        parts = urlsplit(self.url)
        if parts.username is None:
            return None
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return f"Basic {b64encode(credentials.encode()).decode()}"


def proxy_for(url: str) -> Proxy | None:
    """The proxy to the endpoint ``url`` (normalised) by the environment, None for none.

    There is none to a loopback address, but at a Unix socket: who has that may not have the network of this machine.
    Raises IcUnreachable for a proxy whose address cannot be used.
    """
    parts = urlsplit(url)
    address = getproxies_environment().get(parts.scheme)
    if not address or proxy_bypass(parts.netloc):
        return None
    variable = f"{parts.scheme.upper()}_PROXY"
    if address.startswith(UNIX):
        return _at_socket(url, variable, address)
    if is_loopback(parts.hostname or ""):
        return None
    try:
        proxy = urlsplit(address if "://" in address else f"http://{address}")
        host, port = proxy.hostname, proxy.port
    except ValueError:
        raise IcUnreachable(url, f"{variable} is not the address of a proxy") from None
    if not host or proxy.scheme not in ("http", "https"):
        raise IcUnreachable(
            url, f"{variable} must look like http://proxy.example:3128 or unix:/path, SOCKS is not supported"
        )
    host = f"[{host}]" if ":" in host else host
    return Proxy(proxy.geturl(), f"{proxy.scheme}://{host}{'' if port is None else f':{port}'}")


def _at_socket(url: str, variable: str, address: str) -> Proxy:
    if not address.startswith(f"{UNIX}/"):
        raise IcUnreachable(url, f"{variable} names no socket, write e.g. {UNIX}/run/icws-outbound.sock")
    return Proxy(address, address)


def is_loopback(host: str) -> bool:
    """Whether a host, by its name or address, is this machine; no proxy is used to it."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def ascii_url(url: str) -> str:
    """A URL with a host as DNS knows it. Raises UnicodeError for a name that no host can have."""
    host = urlsplit(url).hostname or ""
    return url.replace(host, host.encode("idna").decode(), 1) if host else url
