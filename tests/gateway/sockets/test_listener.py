import asyncio
import contextlib
import socket
import ssl
import subprocess

import pytest
from websockets.asyncio.client import connect, unix_connect

from appliance.config.schema import Tls
from appliance.errors import ConfigError
from appliance.gateway.sockets.listener import Listener
from appliance.gateway.sockets.tls.loading import load_tls
from tests.gateway.bench import until
from tests.gateway.clients import Client, greeting
from tests.gateway.served import served
from tests.needs import program


async def test_a_free_port_is_told():
    async with served() as it:
        assert it.listener.port
        assert it.listener.url == f"ws://127.0.0.1:{it.listener.port}"


async def test_a_port_that_is_taken_is_an_error():
    async with served() as it:
        config = it.gateway.config.model_copy(
            update={"gateway": it.gateway.config.gateway.model_copy(update={"listen": f"127.0.0.1:{it.listener.port}"})}
        )
        it.gateway.config, before = config, it.gateway.config
        with pytest.raises(OSError, match="Address already in use"):
            await Listener(it.gateway).__aenter__()
        it.gateway.config = before


async def test_ipv6():
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no ::1")
    async with served(gateway={"listen": "[::1]:0"}) as it:
        assert it.listener.url == f"ws://[::1]:{it.listener.port}"
        async with it.websocket():
            pass


async def test_a_unix_socket_is_served_and_removed(tmp_path):
    path = tmp_path / "gateway.sock"
    async with served(gateway={"listen": f"unix:{path}"}) as it:
        assert it.listener.url == f"unix:{path}"
        async with unix_connect(str(path), "ws://localhost/", compression=None) as client:
            assert await client.recv() == greeting()
    assert not path.exists()


async def test_tls(pair):
    certificate, key = pair
    trust = ssl.create_default_context(cafile=certificate)
    async with served(gateway={"tls": {"certificate": str(certificate), "key": str(key)}}) as it:
        assert it.listener.url == f"wss://127.0.0.1:{it.listener.port}"
        async with connect(it.listener.url, ssl=trust, compression=None) as client:
            assert await client.recv() == greeting()
            await client.send(Client().open())
            await client.recv()
        await it.nobody()
        assert it.counters.closed == {1000: 1}


async def test_plain_bytes_on_a_tls_port_leave_nothing(pair):
    certificate, key = pair
    async with served(gateway={"tls": {"certificate": str(certificate), "key": str(key)}}) as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.listener.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await reader.read()
        writer.close()
        await it.nobody()


async def test_an_unfinished_tls_handshake_does_not_delay_the_stop(pair):
    certificate, key = pair
    async with served(gateway={"tls": {"certificate": str(certificate), "key": str(key)}}) as it:
        _, writer = await asyncio.open_connection("127.0.0.1", it.listener.port)
        for _ in range(10):
            await asyncio.sleep(0)  # the listener accepts it, and waits for its first bytes for a minute
        async with asyncio.timeout(30):
            await it.listener.stop()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def test_unusable_tls_files_are_named(tmp_path, pair):
    certificate, key = pair
    for wrong in (Tls(certificate=tmp_path / "none", key=key), Tls(certificate=key, key=certificate)):
        with pytest.raises(ConfigError, match="tls"):
            load_tls(wrong)


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(tmp_path, pair):
    locked = tmp_path / "locked.pem"
    lock = [program("openssl"), "pkey", "-in", str(pair[1]), "-aes128", "-passout", "pass:secret", "-out", str(locked)]
    subprocess.run(lock, check=True, capture_output=True)  # noqa: S603
    with pytest.raises(ConfigError, match="has a passphrase"):
        load_tls(Tls(certificate=pair[0], key=locked))


def test_a_key_that_others_can_read_is_refused_with_the_command_that_mends_it(pair):
    pair[1].chmod(0o644)
    with pytest.raises(
        ConfigError, match=rf"gateway\.tls\.key: {pair[1]} is open to other users \(mode 0644\); run: chmod 6"
    ):
        load_tls(Tls(certificate=pair[0], key=pair[1]))


def test_a_client_cannot_have_its_handshake_again_and_again(pair):
    context = load_tls(Tls(certificate=pair[0], key=pair[1]))
    assert context.options & ssl.OP_NO_RENEGOTIATION


async def test_clients_wait_in_the_queue_until_it_opens():
    async with served() as it:
        port = it.listener.port
        config = it.gateway.config
        await it.listener.stop()
        it.gateway.stopping = False
        settings = config.gateway.model_copy(update={"listen": f"127.0.0.1:{port}"})
        it.gateway.config = config.model_copy(update={"gateway": settings})
        async with Listener(it.gateway, opens=False) as later:
            raw = await it.raw_at(port)
            await asyncio.sleep(0)
            assert not len(later)
            later.open()
            status, _, _ = await raw.request("/")
            assert status == 101
            raw.close()
            await until(lambda: not len(later))


async def test_nobody_new_comes_while_memory_is_short():
    async with served(limits={"memory": "16MiB"}) as it:
        other = it.gateway.limits.holdings.hold(None)
        for held, status in ((14 << 20, 503), (-(14 << 20), 101)):
            other.add(held)
            raw = await it.raw()
            found, headers, _ = await raw.request("/")
            assert found == status
            assert ("retry-after" in headers) == (status == 503)
            raw.close()
        other.release()


@pytest.mark.parametrize("turns", range(8))
async def test_whoever_was_accepted_when_it_stops_gets_an_answer(turns):
    async with served(gateway={"close_timeout": "300ms"}) as it:  # the clients do not end their side
        with contextlib.ExitStack() as clients:
            for _ in range(5):
                client = clients.enter_context(socket.create_connection(("127.0.0.1", it.listener.port)))
                client.sendall(b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n")
            for _ in range(turns):
                await asyncio.sleep(0)
            await it.listener.stop()
            # those who were not accepted were left to the system, which resets them with the socket that they came to
            assert it.counters.connections == it.counters.rejected_requests.total()
            assert len(it.listener) == 0
