"""Which HTTP proxy leads to an endpoint: ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY``, as curl and Go read them."""

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from appliance.errors import IcUnreachable


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. ``url`` may have credentials; ``shown`` has none."""

    url: str
    shown: str


def proxy_for(url: str) -> Proxy | None:
    """The proxy to the endpoint ``url`` (normalised) by the environment, None for none and for a loopback address.

    Raises IcUnreachable for a proxy whose address cannot be used.
    """
    parts = urlsplit(url)
    address = getproxies_environment().get(parts.scheme)
    if not address or is_loopback(parts.hostname or "") or proxy_bypass(parts.netloc):
        return None
    variable = f"{parts.scheme.upper()}_PROXY"
    try:
        proxy = urlsplit(address if "://" in address else f"http://{address}")
        host, port = proxy.hostname, proxy.port
    except ValueError:
        raise IcUnreachable(url, f"{variable} is not the address of a proxy") from None
    if not host or proxy.scheme not in ("http", "https"):
        raise IcUnreachable(url, f"{variable} must look like http://proxy.example:3128, SOCKS is not supported")
    host = f"[{host}]" if ":" in host else host
    return Proxy(proxy.geturl(), f"{proxy.scheme}://{host}{'' if port is None else f':{port}'}")


def is_loopback(host: str) -> bool:
    """Whether a host, by its name or address, is this machine; no proxy is used to it."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
