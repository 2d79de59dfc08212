"""Sockets count from their first byte, whatever they owe, and none stays longer than the time for its handshake."""

import asyncio
import contextlib
import os
import resource
import socket
import ssl

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect

from appliance.config.schema import Relay
from appliance.gateway.limits.descriptors import PART, places, raise_limit
from appliance.gateway.limits.holdings import CONNECTION_BYTES
from appliance.gateway.sockets.accepting import arrivals
from tests.gateway.bench import until
from tests.gateway.clients import greeting
from tests.gateway.served import served
from tests.gateway.sockets.accepting.test_proxy_protocol import SIGNATURE, header
from tests.gateway.sockets.test_connection_machine import UPGRADE

FEW = {"held_per_address": {"connections": 3}}


@contextlib.asynccontextmanager
async def silent(it, number: int):
    """Sockets of which nothing is heard."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", it.listener.port))) for _ in range(number)]


def tls_of(pair) -> dict:
    certificate, key = pair
    return {"certificate": str(certificate), "key": str(key)}


async def test_a_socket_without_a_tls_handshake_counts_and_ends_in_time(pair):
    async with served(gateway={"tls": tls_of(pair), "handshake_timeout": "1s"}) as it:
        async with silent(it, 5):
            await until(lambda: len(it.listener) == 5)
            await until(lambda: not len(it.listener))
        assert it.counters.connections == it.listener.refusals.rejected["timeout"] == 5


async def test_half_a_tls_handshake_ends_in_time_too(pair):
    async with served(gateway={"tls": tls_of(pair), "handshake_timeout": "1s"}) as it:
        async with silent(it, 2) as sockets:
            for one in sockets:
                one.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
            await until(lambda: not len(it.listener) and it.counters.connections == 2)
        assert it.listener.refusals.rejected["tls"] == 2


async def test_whoever_does_nothing_takes_a_place(pair):
    trust = ssl.create_default_context(cafile=pair[0])
    async with served(gateway={"tls": tls_of(pair), "max_connections": 3}) as it:
        async with silent(it, 3):
            await until(lambda: len(it.listener) == 3)
            with pytest.raises(Exception, match="503"):
                await connect(it.listener.url, ssl=trust, compression=None)
        await until(lambda: not len(it.listener))
        async with connect(it.listener.url, ssl=trust, compression=None) as client:
            assert await client.recv() == greeting()


async def test_an_address_has_so_many_places_and_is_told_so():
    async with served(limits=FEW) as it:
        async with silent(it, 3) as sockets:
            await until(lambda: len(it.listener) == 3)
            raw = await it.raw()
            status, headers, body = await raw.request("/")
            assert (status, headers["retry-after"]) == (429, "5")
            assert b"127.0.0.1 holds 3 connections, the limit is 3" in body
            raw.close()
            sockets.pop().close()
            await until(lambda: len(it.listener) == 2)
            (await it.upgraded()).close()
        await it.nobody()
        assert it.gateway.limits.holdings.address.connections_exceeded == {"enforce": 1}


async def test_too_many_of_an_address_are_reset(monkeypatch):
    monkeypatch.setattr(arrivals, "ADDRESS_SURPLUS", 2)
    async with served(limits=FEW) as it:
        async with silent(it, 9):
            await until(lambda: it.counters.connections == 9)
            assert len(it.listener) == 5
        await it.nobody()
        assert it.listener.refusals.rejected["address_full"] == 4


@pytest.mark.parametrize("mode", ["shadow", "off"])
async def test_what_is_not_enforced_is_granted(mode):
    async with served(limits={"held_per_address": {"connections": 1, "mode": mode}}) as it:
        raws = [await it.upgraded() for _ in range(3)]
        for raw in raws:
            raw.close()
        await it.nobody()
        exceeded = it.gateway.limits.holdings.address.connections_exceeded
        assert exceeded == ({"shadow": 2} if mode == "shadow" else {})


async def test_clients_of_a_trusted_proxy_count_by_their_own_address():
    gateway, limits = {"trusted_proxies": ["127.0.0.0/8"]}, {"held_per_address": {"connections": 1}}
    async with served(gateway=gateway, limits=limits) as it:
        found, raws = [], []
        for address in ("203.0.113.7", "203.0.113.8", "203.0.113.7"):
            raws.append(await it.raw())
            named = b"\r\nX-Forwarded-For: %s\r\n\r\n" % address.encode()
            raws[-1].writer.write(UPGRADE.removesuffix(b"\r\n\r\n") + named)
            found.append((await raws[-1].reader.readline()).split()[1])
        assert found == [b"101", b"101", b"429"]
        for raw in raws:
            raw.close()
        await it.nobody()


async def test_too_many_tls_handshakes_of_an_address_are_not_made(pair):
    trust = ssl.create_default_context(cafile=pair[0])
    limit = {"tls_handshakes_per_ip": {"rate": "1/h", "burst": 2}}
    async with served(gateway={"tls": tls_of(pair)}, rate_limits=limit) as it:
        for _ in range(2):
            async with connect(it.listener.url, ssl=trust, compression=None):
                pass
        with pytest.raises(OSError):  # noqa: PT011 - a reset, or an end of file, as the system has it
            await connect(it.listener.url, ssl=trust, compression=None)
        await it.nobody()
        assert it.listener.refusals.rejected == {"rate_limited": 1}


# --- the PROXY protocol -----------------------------------------------------------------------------------------------

PROXIED = {"trusted_proxies": ["127.0.0.1"], "proxy_protocol": True}


@pytest.mark.parametrize("with_tls", [False, True])
async def test_a_proxy_names_its_client_before_everything_else(pair, with_tls):
    gateway = PROXIED | ({"tls": tls_of(pair)} if with_tls else {})
    trust = ssl.create_default_context(cafile=pair[0]) if with_tls else None
    async with served(gateway=gateway) as it:
        one = socket.create_connection(("127.0.0.1", it.listener.port))
        one.sendall(header("203.0.113.9", 4711))
        async with connect(it.listener.url, sock=one, ssl=trust, compression=None) as client:
            assert await client.recv() == greeting()
            (peer,) = it.gateway.connections
            assert peer.source.address == "203.0.113.9"
            assert len(it.gateway.limits.holdings.address) == 1
        await it.nobody()


async def test_a_proxy_without_the_header_is_reset():
    async with served(gateway=PROXIED | {"handshake_timeout": "1s"}) as it:
        raw = await it.raw()
        raw.writer.write(b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert await raw.reader.read() == b""
        raw.close()
        async with silent(it, 1):
            await until(lambda: it.listener.refusals.rejected["timeout"])
        (await it.raw()).close()
        await until(lambda: it.listener.refusals.rejected["malformed"] == 2)
        await it.nobody()


async def test_whoever_is_no_proxy_cannot_name_anybody():
    async with served(gateway={"trusted_proxies": ["192.0.2.1"], "proxy_protocol": True}) as it:
        raw = await it.raw()
        raw.writer.write(header("203.0.113.9", 1))
        assert b"101" not in await raw.reader.read(100)
        raw.close()
        (await it.upgraded()).close()
        await it.nobody()


async def test_sockets_that_owe_their_header_do_not_delay_the_stop():
    async with served(gateway=PROXIED) as it, silent(it, 3):
        await until(lambda: len(it.listener) == 3)
        async with asyncio.timeout(20):
            await it.listener.stop()
        assert not len(it.listener)


async def test_behind_a_proxy_too_tls_begins_with_the_first_byte_of_the_client(pair):
    async with served(gateway=PROXIED | {"tls": tls_of(pair), "handshake_timeout": "1s"}) as it:
        async with silent(it, 1) as (one,):
            one.sendall(header("203.0.113.9", 4711))
            await until(lambda: len(it.gateway.limits.holdings.address))
            assert it.gateway.limits.holdings.bytes == CONNECTION_BYTES
            await until(lambda: not len(it.listener))
        assert it.listener.refusals.rejected == {"timeout": 1}


@pytest.mark.parametrize(
    ("command", "family", "address"),
    [(0x20, 0x00, "203.0.113.9"), (0x21, 0x00, "127.0.0.1"), (0x21, 0x31, "127.0.0.1")],
)
async def test_a_client_whose_proxy_does_not_name_it_cannot_name_itself(command, family, address):
    async with served(gateway=PROXIED) as it:
        raw = await it.raw()
        addresses = bytes(216) if family == 0x31 else b""
        raw.writer.write(SIGNATURE + bytes([command, family]) + len(addresses).to_bytes(2, "big") + addresses)
        raw.writer.write(UPGRADE.removesuffix(b"\r\n\r\n") + b"\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n")
        await raw.reader.readuntil(b"\r\n\r\n")
        (peer,) = it.gateway.connections
        assert peer.source.address == address
        raw.close()
        await it.nobody()


# --- stopping ---------------------------------------------------------------------------------------------------------


async def test_stopping_during_tls_handshakes_leaves_nothing(pair):
    async with served(gateway={"tls": tls_of(pair)}) as it, silent(it, 2) as sockets:
        await until(lambda: len(it.listener) == 2)
        sockets[0].send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
        await until(lambda: it.gateway.limits.holdings.bytes > 2 * CONNECTION_BYTES)
        for _ in range(10):
            await asyncio.sleep(0)  # the handshake of the first one is under way
        (waiting,) = (one for one in it.listener._arrivals._here if one.task is None)
        waiting.connect(waiting)  # that of the other has no chance to begin
        await it.listener.stop()
        assert not len(it.listener)
        assert it.gateway.limits.holdings.bytes == 0
        assert waiting.client.fileno() < 0


# --- descriptors ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def limited(soft: int):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_without_descriptors_nobody_is_accepted_and_afterwards_everybody():
    async with served() as it:
        clients = [socket.socket() for _ in range(6)]
        with limited(200), contextlib.ExitStack() as files:
            with contextlib.suppress(OSError):
                while True:
                    files.callback(os.close, os.open(os.devnull, os.O_RDONLY))
            for client in clients:
                client.connect(("127.0.0.1", it.listener.port))
            await until(lambda: it.counters.accept_pauses)
            assert it.counters.connections == 0
        await until(lambda: it.counters.connections == 6)
        for client in clients:
            client.close()
        await it.nobody()


def test_places_leave_a_reserve_and_room_for_calls():
    with limited(256):
        assert places(20_000, calls=16) == 256 - 256 // PART - 16
        assert places(20_000, calls=5000) == 256 - 2 * (256 // PART)
        assert places(7, calls=5000) == 7
        raise_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == resource.getrlimit(resource.RLIMIT_NOFILE)[1]


async def test_calls_are_no_more_than_their_descriptors():
    """Each has a connection of its own: with 5,000 of them, nothing would be left for polls and the control plane."""
    with limited(1024), capture_logs() as logs:
        async with served(relay={"calls": 5000}) as it:
            (told,) = [line for line in logs if line["log_level"] == "warning"]
            assert (told["places"], told["calls"]) == (it.listener.places, 1024 // PART)
            assert "raise it (LimitNOFILE in the unit)" in told["event"]
            scheduler = it.gateway.budget.scheduler
            assert scheduler.calls == 1024 // PART
            assert it.listener.places == 1024 - 2 * (1024 // PART)
            it.gateway.budget.follow(Relay(calls=100))
            assert scheduler.calls == 100


# --- files ------------------------------------------------------------------------------------------------------------


async def test_a_socket_where_somebody_serves_is_not_removed(tmp_path):
    path = tmp_path / "gateway.sock"
    async with served(gateway={"listen": f"unix:{path}"}):
        with pytest.raises(OSError, match="another process serves there"):
            async with served(gateway={"listen": f"unix:{path}"}):
                pass
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


async def test_a_socket_that_was_left_behind_is_replaced(tmp_path):
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with served(gateway={"listen": f"unix:{path}"}):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
