"""Sockets over real TLS, through proxies, and the sentences where none opens."""

import asyncio
import json
import ssl
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli.main import main
from appliance.client import ConnectFailed, connect
from tests.client.authority import Authority
from tests.client.canister import CANISTER_ID, ROOT
from tests.client.gateways import LyingGateway, closing, echo, idle

PAST_TLS = closing(1011, "past TLS")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


async def refused(gateway: LyingGateway, context: ssl.SSLContext | None) -> str:
    with pytest.raises(ConnectFailed) as caught:
        await gateway.connect(ssl=context).__aenter__()
    return str(caught.value)


async def test_a_private_authority_is_trusted_when_given(authority: Authority) -> None:
    async with LyingGateway(echo, tls=authority.server()) as gateway:
        async with gateway.connect(ssl=ssl.create_default_context(cafile=authority.ca)) as connection:
            await connection.send({"text": "over TLS"})
            assert (await connection.receive()).value == {"text": "over TLS"}
        sentence = await refused(gateway, None)
    assert "the certificate of 127.0.0.1 is not accepted: unable to get local issuer certificate" in sentence
    assert "cafile=" in sentence
    assert "--ca" in sentence


PROGRAM = """
import asyncio, sys
from appliance.client import connect
url, canister_id, root_key = sys.argv[1:]
async def main():
    try:
        async with connect(url, canister_id, root_key=bytes.fromhex(root_key), message_type="record {text: text}"):
            pass
    except Exception as error:
        print(type(error).__name__)
asyncio.run(main())
"""


@pytest.mark.parametrize("trusted", [True, False])
async def test_by_default_the_system_decides_whom_to_trust(trusted: bool, authority: Authority) -> None:
    """In a process, because the system's trust is read from its environment."""
    environment = {"SSL_CERT_FILE": str(authority.ca)} if trusted else {}
    async with LyingGateway(PAST_TLS, opens=False, tls=authority.server()) as gateway:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, gateway.url, str(CANISTER_ID), ROOT.public_key.hex()),
            env={"PYTHONPATH": ":".join(sys.path), **environment},
            stdout=asyncio.subprocess.PIPE,
        )
        stdout, _ = await process.communicate()
    assert stdout.decode().strip() == ("ConnectionClosed" if trusted else "ConnectFailed")


async def test_a_certificate_for_another_name_is_refused(authority: Authority) -> None:
    async with LyingGateway(idle, tls=authority.server("DNS:other.example")) as gateway:
        sentence = await refused(gateway, ssl.create_default_context(cafile=authority.ca))
    assert "the certificate of 127.0.0.1 is not accepted: IP address mismatch" in sentence


async def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    async with LyingGateway(idle, tls=authority.server(expired=True)) as gateway:
        sentence = await refused(gateway, ssl.create_default_context(cafile=authority.ca))
    assert "the certificate of 127.0.0.1 is not accepted: certificate has expired" in sentence


async def test_tls_of_an_application_leaves_plain_urls_plain(authority: Authority) -> None:
    async with (
        LyingGateway(echo) as gateway,
        gateway.connect(ssl=ssl.create_default_context(cafile=authority.ca)) as connection,
    ):
        await connection.send({"text": "plain"})
        assert (await connection.receive()).value == {"text": "plain"}


async def test_a_gateway_without_tls_is_named() -> None:
    async with LyingGateway(idle) as gateway:
        with pytest.raises(ConnectFailed, match=r"no TLS with 127\.0\.0\.1 .*is it a ws:// address"):
            await connect(gateway.url.replace("ws:", "wss:"), CANISTER_ID).__aenter__()


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_an_unknown_host_is_said_to_be_one(scheme: str) -> None:
    with pytest.raises(ConnectFailed, match=r"the host gateway\.invalid is unknown"):
        await connect(f"{scheme}://gateway.invalid/", CANISTER_ID).__aenter__()


@pytest.mark.parametrize(
    "url", ["ws://ann:secret@127.0.0.1:9/v2", "https://ann:secret@127.0.0.1:9/", "ws://ann:secret@[/"]
)
async def test_the_password_in_a_url_is_not_shown(url: str) -> None:
    for urls in (url, [url, "ws://127.0.0.1:9/v2"]):
        with pytest.raises(ConnectFailed) as caught:
            await connect(urls, CANISTER_ID, root_key=ROOT.public_key).__aenter__()
        shown = " ".join([repr(caught.value), str(caught.value), *getattr(caught.value, "__notes__", [])])
        assert "secret" not in shown
        assert "//127.0.0.1:9/" in shown or "//[/" in shown


async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()
    writer.close()


async def test_a_proxy_that_refuses_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    server = await asyncio.start_server(refusing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("https_proxy", f"http://ann:secret@127.0.0.1:{port}")
    async with server:
        with pytest.raises(ConnectFailed) as caught:
            await connect("wss://gateway.example/", CANISTER_ID).__aenter__()
    assert f"the proxy http://127.0.0.1:{port} failed: proxy rejected connection: HTTP 403" in str(caught.value)
    assert "NO_PROXY" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "ftp://ann:secret@127.0.0.1:9", "http://127.0.0.1:9"])
async def test_a_proxy_that_cannot_be_used_is_named(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(ConnectFailed, match=r"the proxy \w+://127\.0\.0\.1:9 failed: .*NO_PROXY") as caught:
        await connect("wss://gateway.example/", CANISTER_ID).__aenter__()
    assert "secret" not in str(caught.value)


async def test_no_proxy_leads_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with LyingGateway(idle) as gateway, gateway.connect():
        pass


# --- icws connect ---------------------------------------------------------------------------------------------------


async def command(*arguments: str) -> tuple[int, str]:
    result = await asyncio.to_thread(CliRunner().invoke, main, ["connect", *arguments], input="")
    return result.exit_code, result.stderr


async def test_the_command_trusts_a_given_authority_or_nobody(authority: Authority) -> None:
    async with LyingGateway(PAST_TLS, opens=False, tls=authority.server()) as gateway:
        target = (gateway.url, str(CANISTER_ID), "--root-key", ROOT.public_key.hex())
        with_ca = await command(*target, "--ca", str(authority.ca))
        insecure = await command(*target, "--insecure")
        by_default = await command(*target)
    assert "past TLS" in with_ca[1]
    assert "warning" not in with_ca[1]
    assert "past TLS" in insecure[1]
    assert "warning: the gateway's TLS certificate is not verified" in insecure[1]
    assert "is not accepted" in by_default[1]


async def test_wrong_tls_options_are_a_sentence(authority: Authority, tmp_path: Path) -> None:
    no_pem = tmp_path / "no.pem"
    no_pem.write_text(json.dumps({}))
    for options, sentence in (
        (["--ca", str(authority.ca), "--insecure"], "exclude each other"),
        (["--ca", str(no_pem)], "no file of certificates"),
        (["--ca", str(tmp_path / "none.pem")], "does not exist"),
    ):
        code, stderr = await command("wss://127.0.0.1:9", str(CANISTER_ID), *options)
        assert (code, sentence in stderr) == (2, True), stderr
