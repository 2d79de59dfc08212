"""Laws of ``ic/http/proxies.py``, and a small proxy on loopback that the transport goes through."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import IcRefused, IcUnreachable
from appliance.ic.http.proxies import Proxy, proxy_for
from appliance.ic.http.responses import Reply
from appliance.ic.http.transport import HttpTransport
from tests.ic.scripted_ic import ScriptedIc

TransportFor = Callable[..., HttpTransport]
PATH = "/api/v2/status"
NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "REQUEST_METHOD")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_there_is_none_by_default() -> None:
    assert proxy_for("https://icp-api.io") is None


def test_each_scheme_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy.example:3128")
    assert proxy_for("http://ic.example:8080") is None
    proxy = proxy_for("https://icp-api.io")
    assert proxy == Proxy("http://user:secret@proxy.example:3128", "http://proxy.example:3128")
    monkeypatch.setenv("http_proxy", "[fd00::1]:3128")
    assert proxy_for("http://ic.example:8080") == Proxy("http://[fd00::1]:3128", "http://[fd00::1]:3128")


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_proxied"),
    [
        ("*", "https://icp-api.io", False),
        ("icp-api.io", "https://icp-api.io", False),
        ("icp-api.io", "https://a.icp-api.io", False),
        (".icp-api.io", "https://a.icp-api.io", False),
        ("icp-api.io", "https://noticp-api.io", True),
        ("other.example, icp-api.io", "https://icp-api.io", False),
        ("ic.example:8443", "https://ic.example:8443", False),
        ("ic.example:8443", "https://ic.example", True),
        ("10.0.0.7", "https://10.0.0.7:8443", False),
    ],
)
def test_exceptions_are_kept(monkeypatch: pytest.MonkeyPatch, no_proxy: str, url: str, is_proxied: bool) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (proxy_for(url) is not None) == is_proxied


@pytest.mark.parametrize("host", ["localhost", "net.localhost", "127.0.0.1", "127.8.8.8", "[::1]"])
def test_a_network_on_this_machine_needs_no_proxy(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example")
    assert proxy_for(f"http://{host}:4943") is None


@pytest.mark.parametrize("url", ["https://icp-api.io", "http://127.0.0.1:4943", "http://localhost"])
def test_a_proxy_at_a_socket_leads_to_this_machine_too(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """The one without it may not have the network of this machine."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "unix:/run/way.sock")
    proxy = proxy_for(url)
    assert proxy is not None
    assert (proxy.shown, proxy.authorization) == ("unix:/run/way.sock", None)
    monkeypatch.setenv("NO_PROXY", "*")
    assert proxy_for(url) is None


@pytest.mark.parametrize(
    "address", ["unix:", "unix:way.sock", "socks5://proxy.example", "http://", "http://proxy:x", "http://[::1"]
)
def test_what_is_no_proxy_is_named(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(IcUnreachable, match="HTTPS_PROXY"):
        proxy_for("https://icp-api.io")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40))
def test_any_address_is_a_proxy_or_named(address: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTTPS_PROXY", address)
        try:
            proxy = proxy_for("https://icp-api.io")
        except IcUnreachable:
            return
        assert proxy is None or urlsplit(proxy.shown).username is None


# --- through a real one ---------------------------------------------------------------------------------------------


@dataclass
class ForwardProxy:
    """Forwards requests to any host to ``target``; ``refuses`` with this status instead, if it is set."""

    target: str
    refuses: int = 0
    url: str = ""
    seen: list[tuple[str, str, str]] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append((request.method, str(request.url), request.headers.get("Proxy-Authorization", "")))
        if self.refuses:
            return web.Response(status=self.refuses, text="ask the operator")
        async with aiohttp.request(request.method, self.target + request.path, data=await request.read()) as response:
            return web.Response(status=response.status, body=await response.read(), content_type="application/cbor")


@asynccontextmanager
async def serving(proxy: ForwardProxy) -> AsyncIterator[ForwardProxy]:
    async with RawTestServer(proxy.handle) as server:
        proxy.url = f"http://user:secret@127.0.0.1:{server.port}"
        yield proxy


async def send(transport: HttpTransport) -> Reply:
    return await transport.send(transport.endpoints[0], PATH)


async def test_requests_go_through_the_proxy(
    ic: ScriptedIc, transport_for: TransportFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ic.script(lambda _: web.Response(body=b"reply"))
    async with serving(ForwardProxy(ic.url)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        transport = transport_for("http://ic.example:8080")
        for _ in range(2):
            assert await send(transport) == Reply(200, b"reply")
    login = "Basic " + base64.b64encode(b"user:secret").decode()
    assert proxy.seen == [("GET", "http://ic.example:8080/api/v2/status", login)] * 2


async def test_an_exception_is_reached_directly(
    ic: ScriptedIc, transport_for: TransportFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ic.script(lambda _: web.Response(body=b"reply"))
    async with serving(ForwardProxy(ic.url)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert await send(transport_for(ic.url)) == Reply(200, b"reply")
        monkeypatch.setenv("NO_PROXY", "ic.invalid")
        with pytest.raises(IcUnreachable):
            await send(transport_for("http://ic.invalid"))
    assert proxy.seen == []


@pytest.mark.parametrize("status", [403, 407])
async def test_a_refusal_of_the_proxy_names_it(
    ic: ScriptedIc, transport_for: TransportFor, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    async with serving(ForwardProxy(ic.url, refuses=status)) as proxy:
        shown = proxy.url.replace("user:secret@", "")
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with pytest.raises(IcRefused, match=f"through the proxy {shown}.*HTTP {status}: ask the operator") as refusal:
            await send(transport_for("http://ic.example"))
    assert "secret" not in str(refusal.value)


async def test_a_proxy_that_is_down_is_named(
    transport_for: TransportFor, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{unused_tcp_port}")
    with pytest.raises(IcUnreachable, match=f"through the proxy http://127.0.0.1:{unused_tcp_port}") as failure:
        await send(transport_for("https://icp-api.io"))
    assert "secret" not in str(failure.value)


async def test_an_address_that_cannot_be_used_does_not_show_its_password(
    transport_for: TransportFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The HTTP client's own error has the whole address."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@\u00fc..x")
    with pytest.raises(IcUnreachable, match="through the proxy") as failure:
        await send(transport_for("https://icp-api.io"))
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "refuses: HTTP 407 Proxy Authentication Required"),
        (b"HTTP/1.1 200 OK\r\n\r\nthis is no TLS", "through the proxy"),
        (b"SSH-2.0\r\n", "through the proxy"),
        (b"", "through the proxy"),
    ],
)
async def test_a_tunnel_that_is_refused_or_broken_names_the_proxy(
    transport_for: TransportFor, monkeypatch: pytest.MonkeyPatch, answer: bytes, problem: str
) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        with pytest.raises(IcUnreachable, match=problem):
            await send(transport_for("https://icp-api.io"))
    assert heads[0].startswith(b"CONNECT icp-api.io:443 HTTP/1.1\r\n")
