"""The transport against TLS servers on loopback: whom it trusts, by which name, and through a proxy."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from appliance.errors import IcUnreachable
from appliance.ic.http.responses import Reply
from appliance.ic.http.transport import HttpTransport
from tests.ic.raw_server import never_reads, raw_server, request
from tests.needs import program

TransportFor = Callable[..., HttpTransport]
NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_DIR", "SSL_CERT_FILE")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class Authority:
    """A private certificate authority in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.certificate = folder / "ca.pem"
        self._key = folder / "ca.key"
        basic = ["-addext", "basicConstraints=critical,CA:TRUE", "-subj", "/CN=a private authority"]
        _openssl("req", "-x509", *_new_key(self._key), "-days", "1", *basic, "-out", self.certificate)

    def context(self, names: str, *, days: int = 1) -> ssl.SSLContext:
        """The context of a server with a certificate for these names."""
        key, asked, made = (self._folder / name for name in ("leaf.key", "leaf.csr", "leaf.pem"))
        _openssl("req", *_new_key(key), "-subj", "/CN=leaf", "-addext", f"subjectAltName={names}", "-out", asked)
        signed_by = ["-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial"]
        _openssl("x509", "-req", "-in", asked, *signed_by, "-copy_extensions", "copy", "-days", str(days), "-out", made)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(made, key)
        return context


def _new_key(path: Path) -> list[str | Path]:
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path]


def _openssl(*arguments: str | Path) -> None:
    subprocess.run([program("openssl"), *arguments], check=True, capture_output=True)  # noqa: S603


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The one that the system trusts."""
    made = Authority(tmp_path / "trusted")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.certificate))
    return made


@asynccontextmanager
async def secure_server(context: ssl.SSLContext) -> AsyncIterator[int]:
    """Yields the port. Each request is answered with how many came before it on its connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await request(reader)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
                number += 1
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def send(transport: HttpTransport, **options: float) -> Reply:
    return await transport.send(transport.endpoints[0], "/api/v2/status", b"body", **options)


@pytest.mark.parametrize(("names", "host"), [("DNS:localhost", "localhost"), ("IP:127.0.0.1", "127.0.0.1")])
async def test_a_private_authority_of_the_system_is_trusted(
    transport_for: TransportFor, authority: Authority, names: str, host: str
) -> None:
    async with secure_server(authority.context(names)) as port:
        transport = transport_for(f"https://{host}:{port}")
        assert [(await send(transport)).body for _ in range(3)] == [b"0", b"1", b"2"]
        await transport.close()


@pytest.mark.parametrize(("names", "days"), [("DNS:other.example", 1), ("IP:127.0.0.2", 1), ("IP:127.0.0.1", -1)])
async def test_a_wrong_name_and_an_expired_certificate_are_refused(
    transport_for: TransportFor, authority: Authority, names: str, days: int
) -> None:
    async with secure_server(authority.context(names, days=days)) as port:
        with pytest.raises(IcUnreachable, match="certificate"):
            await send(transport_for(f"https://127.0.0.1:{port}"))


async def test_a_stranger_is_refused(transport_for: TransportFor, authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger")
    async with secure_server(stranger.context("IP:127.0.0.1")) as port:
        with pytest.raises(IcUnreachable, match="certificate"):
            await send(transport_for(f"https://127.0.0.1:{port}"))


async def test_without_any_authority_the_problem_is_named(
    transport_for: TransportFor, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    async with secure_server(authority.context("IP:127.0.0.1")) as port:
        with pytest.raises(IcUnreachable, match="SSL_CERT_FILE"):
            await send(transport_for(f"https://127.0.0.1:{port}"))


async def test_what_speaks_no_tls_is_unreachable(transport_for: TransportFor, authority: Authority) -> None:
    async with raw_server(never_reads) as silent:
        with pytest.raises(IcUnreachable, match="within"):
            await send(transport_for(silent.replace("http:", "https:")), timeout_s=0.1)


async def test_a_tunnel_leads_to_the_endpoint_of_the_certificate(
    transport_for: TransportFor, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy sees the name of the endpoint and nothing of the requests; its own name is in no certificate."""
    heads: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        finally:
            back.transport.abort()

    async with secure_server(authority.context("DNS:ic.example")) as port, raw_server(proxy) as url:
        monkeypatch.setenv("HTTPS_PROXY", url.replace("//", "//user:secret@"))
        transport = transport_for("https://ic.example")
        assert [(await send(transport)).body for _ in range(2)] == [b"0", b"1"]
        await transport.close()
    assert len(heads) == 1
    assert heads[0].startswith(b"CONNECT ic.example:443 HTTP/1.1\r\n")
    assert b"proxy-authorization: Basic dXNlcjpzZWNyZXQ=\r\n" in heads[0]


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
