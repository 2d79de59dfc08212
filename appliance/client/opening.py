"""Opens WebSockets to gateways, and explains why one cannot be opened."""

import re
import socket
import ssl as tls
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import InvalidProxy, ProxyError, WebSocketException
from websockets.proxy import get_proxy
from websockets.uri import parse_uri

from appliance.client.errors import ConnectFailed
from appliance.ic.http.proxies import is_loopback

CLOSE_S = 5.0
"""How long closing may take: our close frame, and the other side's."""

_MAX_FRAME = 8 * 1024**2  # bytes: a message of 2 MiB, its certificate and witness, and room


async def open_socket(url: str, ssl: tls.SSLContext | None) -> ClientConnection:
    """A WebSocket. `ssl` is for ``wss://``; without one the certificates that the system trusts apply.

    A proxy of the environment is used (``WSS_PROXY``, ``HTTPS_PROXY`` and so on), except to a loopback address. Raises
    ConnectFailed.
    """
    # websockets takes None for "no TLS", and refuses that for wss://.
    options: dict[str, Any] = {} if ssl is None or not parse_uri(url).secure else {"ssl": ssl}
    proxy = _proxy_to(url)
    try:
        return await connect_socket(
            url, proxy=proxy, max_size=_MAX_FRAME, compression=None, close_timeout=CLOSE_S, **options
        )
    except (OSError, ValueError, ImportError, WebSocketException) as error:
        raise ConnectFailed(without_credentials(url), _problem(error, url, proxy)) from error


def _proxy_to(url: str) -> str | None:
    uri = parse_uri(url)
    return None if is_loopback(uri.host) else get_proxy(uri)


def _problem(error: Exception, url: str, proxy: str | None) -> str:
    if isinstance(error, tls.SSLCertVerificationError):
        return _untrusted(error, parse_uri(url).host)
    if proxy is not None and isinstance(error, OSError | ProxyError | InvalidProxy | ImportError):
        return _by_proxy(error, proxy)
    if isinstance(error, socket.gaierror):
        return f"the host {parse_uri(url).host} is unknown ({error.strerror})"
    if isinstance(error, tls.SSLError | ConnectionResetError) and parse_uri(url).secure:
        return f"no TLS with {parse_uri(url).host} ({error.strerror or 'connection reset'}); is it a ws:// address?"
    return str(error) or type(error).__name__


def _untrusted(error: tls.SSLCertVerificationError, host: str) -> str:
    way_out = "for an authority of your own give ssl=ssl.create_default_context(cafile=…), or --ca FILE"
    return f"the certificate of {host} is not accepted: {error.verify_message}; {way_out}"


def _by_proxy(error: Exception, proxy: str) -> str:
    problem = str(error.__cause__ or error) if isinstance(error, ProxyError) else str(error) or type(error).__name__
    if isinstance(error, InvalidProxy):
        problem = error.msg  # its text has the address, with the password
    shown = without_credentials(proxy).rstrip("/")
    return f"the proxy {shown} failed: {problem}; unset the proxy variable or add the host to NO_PROXY"


def without_credentials(url: str) -> str:
    """A URL of a gateway or proxy for messages: without user and password, whatever else may be wrong with it."""
    return re.sub(r"//[^/?#]*@", "//", url, count=1)
