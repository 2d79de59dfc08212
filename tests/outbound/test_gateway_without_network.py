"""The HTTP client of a gateway that reaches its endpoints through tunnels alone."""

from pathlib import Path

import pytest

from appliance.errors import IcUnreachable
from appliance.ic.http.transport import HttpTransport
from tests.ic.raw_server import raw_server, sends
from tests.ic.test_tls import Authority, secure_server
from tests.outbound.test_tunnels import listening

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/cbor\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name.lower(), raising=False)
        monkeypatch.setenv(name, "" if name == "NO_PROXY" else f"unix:{tmp_path}/outbound.sock")


async def asked(*urls: str) -> bytes:
    async with HttpTransport(urls, timeout_s=20, max_reply=1000) as transport:
        for _ in range(2):
            reply = await transport.send(transport.endpoints[0], "/api/v2/status", b"body")
        return reply.body


async def test_tls_is_between_the_client_and_the_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate that counts is the endpoint's. The second request comes on the same connection as the first."""
    authority = Authority(tmp_path / "trusted")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    async with secure_server(authority.context("DNS:localhost")) as port:
        async with listening(tmp_path, f"localhost:{port}") as it:
            assert await asked(f"https://localhost:{port}") == b"1"
            it.path.unlink()
        stranger = Authority(tmp_path / "stranger")
        async with (
            secure_server(stranger.context("DNS:localhost")) as other,
            listening(tmp_path, f"localhost:{other}"),
        ):
            with pytest.raises(IcUnreachable, match="certificate"):
                await asked(f"https://localhost:{other}")


async def test_an_endpoint_without_tls_is_reached_by_a_tunnel_too(tmp_path: Path) -> None:
    async with raw_server(sends(OK)) as url, listening(tmp_path, url.removeprefix("http://")):
        assert await asked(url) == b"ok"


async def test_another_address_is_refused_and_named(tmp_path: Path) -> None:
    async with listening(tmp_path, "ic.example:443"):
        with pytest.raises(
            IcUnreachable, match=r"other\.example.*HTTP 403 other\.example:443 is no endpoint in network"
        ):
            await asked("https://other.example")


async def test_a_socket_that_nobody_serves_is_named(tmp_path: Path) -> None:
    with pytest.raises(IcUnreachable, match=rf"through the proxy unix:{tmp_path}/outbound\.sock.*No such file"):
        await asked("https://ic.example")
