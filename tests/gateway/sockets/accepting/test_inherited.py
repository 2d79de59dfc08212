"""Sockets that somebody else bound: here the test, which a process of its own then inherits them from."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from appliance.config.fields.address import TcpAddress, UnixAddress
from appliance.gateway.sockets.accepting import inherited
from appliance.gateway.sockets.accepting.addresses import ListenAddress, bind
from appliance.gateway.sockets.accepting.inherited import FIRST, descriptors, find_inherited

SERVES = """
import asyncio, os, sys
from pathlib import Path
from appliance.config.fields.address import parse_address
from appliance.gateway.recording.measurements import Counters
from appliance.gateway.sockets.accepting.addresses import ListenAddress, bind

os.environ["LISTEN_PID"] = str(os.getpid())

def serve(client, peer):
    client.sendall(b"served")
    client.close()

async def main():
    bound = [await bind(ListenAddress(parse_address(text), "v2"), with_tls=False) for text in sys.argv[1:]]
    for one in bound:
        one.serve(serve, Counters())
    print(*(one.url for one in bound), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for one in bound:
        one.close(unlink=True)

asyncio.run(main())
"""


def listening(family: int, address: object, *, both: bool = False) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
    one.bind(address)
    one.listen()
    return one


def is_same(one: socket.socket, other: socket.socket) -> bool:
    return os.path.sameopenfile(one.fileno(), other.fileno())


def exists(path: str) -> bool:
    return os.path.exists(path)


@pytest.fixture
def handed(monkeypatch):
    """Sockets as if the service manager had handed them over."""
    kept: list[socket.socket] = []

    def hand(*sockets: socket.socket) -> None:
        kept.extend(sockets)
        monkeypatch.setattr(inherited, "inherited_sockets", lambda: tuple(kept))

    yield hand
    for one in kept:
        one.close()


@pytest.mark.parametrize(
    ("environment", "count"),
    [
        ({}, 0),
        ({"LISTEN_FDS": "2"}, 0),
        ({"LISTEN_FDS": "2", "LISTEN_PID": "8"}, 0),
        ({"LISTEN_FDS": "2", "LISTEN_PID": "7"}, 2),
        ({"LISTEN_FDS": "", "LISTEN_PID": "7"}, 0),
        ({"LISTEN_FDS": "-1", "LISTEN_PID": "7"}, 0),
    ],
)
def test_only_those_that_are_meant_for_this_process_count(environment, count):
    assert list(descriptors(environment, 7)) == list(range(FIRST, FIRST + count))


def test_without_a_service_manager_there_are_none():
    assert inherited.inherited_sockets.__wrapped__() == ()
    assert find_inherited(socket.AF_INET, ("127.0.0.1", 1)) is None


async def test_a_place_takes_the_socket_that_is_there_and_binds_the_others(handed):
    one = listening(socket.AF_INET, ("127.0.0.1", 0))
    handed(one)
    port = one.getsockname()[1]
    bound = await bind(ListenAddress(TcpAddress("127.0.0.1", port), "v2"), with_tls=False)
    other = await bind(ListenAddress(TcpAddress("127.0.0.1", 0), "v2"), with_tls=False)
    try:
        assert is_same(bound.sockets[0], one)
        assert bound.port == port != other.port
    finally:
        bound.close(unlink=False)
        other.close(unlink=False)
    assert one.fileno() != -1  # it is kept for the next reload


async def test_one_for_all_addresses_is_the_one_of_ipv4_too(handed):
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    one = listening(socket.AF_INET6, ("::", 0), both=True)
    handed(one)
    port = one.getsockname()[1]
    found = find_inherited(socket.AF_INET, ("0.0.0.0", port))
    assert found is not None
    found.close()
    assert find_inherited(socket.AF_INET, ("0.0.0.0", port + 1)) is None
    assert find_inherited(socket.AF_INET, ("127.0.0.1", port)) is None
    one.close()


async def test_the_file_of_a_unix_socket_stays_with_who_made_it(handed, tmp_path):
    path = str(tmp_path / "gateway.sock")
    handed(listening(socket.AF_UNIX, path))
    listen = ListenAddress(UnixAddress(Path(path)), "v2")
    bound = await bind(listen, with_tls=False)
    again = bound.duplicate(listen, with_tls=True)
    assert bound.is_inherited
    assert again.is_inherited
    bound.close(unlink=True)
    again.close(unlink=True)
    assert exists(path)


async def test_clients_of_a_process_that_restarts_wait_and_are_served(tmp_path):
    path = str(tmp_path / "gateway.sock")
    with listening(socket.AF_INET, ("127.0.0.1", 0)) as tcp, listening(socket.AF_UNIX, path) as unix:
        address = f"127.0.0.1:{tcp.getsockname()[1]}"
        for _ in range(2):
            waiting = await asyncio.open_connection("127.0.0.1", tcp.getsockname()[1])
            process = await asyncio.create_subprocess_exec(
                *("bash", "-c", f'exec {FIRST}<&{tcp.fileno()} 4<&{unix.fileno()} "$0" "$@"'),
                *(sys.executable, "-c", SERVES, address, f"unix:{path}"),
                env=os.environ | {"LISTEN_FDS": "2"},
                pass_fds=[tcp.fileno(), unix.fileno()],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            assert await process.stdout.readline() == f"ws://{address} unix:{path}\n".encode()
            for reader, writer in (waiting, await asyncio.open_unix_connection(path)):
                assert await reader.read() == b"served"
                writer.close()
            process.stdin.close()
            assert await process.wait() == 0
