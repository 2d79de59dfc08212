import asyncio
import contextlib
import grp
import os
import pwd
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest

from appliance.config.fields.address import TcpAddress, UnixAddress
from appliance.control.http import server
from appliance.control.http.server import Permissions, Server
from appliance.gateway.sockets.accepting import inherited
from tests.control.plane import client
from tests.gateway.bench import until


class Echo:
    """Tells who asks; ``/slow`` waits, ``/broken`` raises."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.set()
        if scope["path"] == "/slow":
            await self.go.wait()
        if scope["path"] == "/broken":
            raise RuntimeError
        body = str(scope["client"][0]).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="icws") as name:  # short, as addresses of sockets are
        yield Path(name)


async def test_a_unix_socket_is_for_its_group_and_tells_who_is_there(folder: Path) -> None:
    path = folder / "below" / "control.sock"
    async with Server(Echo(), UnixAddress(path)) as serving:
        assert serving.url == f"unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o660
        async with client(serving.url) as http:
            assert (await http.get("/")).text == f"unix:{pwd.getpwuid(os.geteuid()).pw_name}"
    assert not path.exists()


async def test_a_unix_socket_has_the_group_and_the_mode_that_it_is_given(folder: Path) -> None:
    path, mine = folder / "control.sock", grp.getgrgid(os.getegid()).gr_name
    for group in (mine, str(os.getegid())):
        async with Server(Echo(), UnixAddress(path), permissions=Permissions(0o606, group)):
            assert (path.stat().st_mode & 0o777, path.stat().st_gid) == (0o606, os.getegid())
    with pytest.raises(OSError, match=r"control\.group: there is no group nobody-has-it"):
        await Server(Echo(), UnixAddress(path), permissions=Permissions(0o660, "nobody-has-it")).__aenter__()


async def test_tcp_tells_the_address_and_believes_no_header(folder: Path) -> None:
    async with (
        Server(Echo(), TcpAddress("127.0.0.1", 0)) as serving,
        client(serving.url, x_forwarded_for="10.0.0.1", **{"X-Forwarded-For": "10.0.0.1"}) as http,
    ):
        response = await http.get("/")
        assert response.text == "127.0.0.1"
        assert "server" not in response.headers
        assert "date" in response.headers


async def test_every_address_of_a_name_is_served_at_one_port() -> None:
    async with Server(Echo(), TcpAddress("localhost", 0)) as serving:
        port = int(serving.url.rpartition(":")[2])
        found = await asyncio.get_running_loop().getaddrinfo("localhost", port, type=socket.SOCK_STREAM)
        for _, _, _, _, where in found:
            _, writer = await asyncio.open_connection(*where[:2])
            writer.close()


async def test_a_socket_that_was_left_behind_is_taken_over_and_one_in_use_is_not(folder: Path) -> None:
    path = folder / "control.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with Server(Echo(), UnixAddress(path)) as serving:
        with pytest.raises(OSError, match="another process serves there"):
            await Server(Echo(), UnixAddress(path)).__aenter__()
        async with client(serving.url) as http:
            assert (await http.get("/")).is_success


async def test_a_file_is_not_removed_for_a_socket(folder: Path) -> None:
    path = folder / "control.sock"
    path.write_text("precious")
    with pytest.raises(OSError, match="it is not a socket"):
        await Server(Echo(), UnixAddress(path)).__aenter__()
    assert path.read_text() == "precious"


async def test_the_socket_of_who_came_after_stays(folder: Path) -> None:
    path = folder / "control.sock"
    async with Server(Echo(), UnixAddress(path)):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as after:
            after.bind(str(path))
    assert path.exists()


async def test_an_address_that_is_taken_raises_and_leaves_nothing() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="ddress already in use"):
            await Server(Echo(), TcpAddress("127.0.0.1", taken.getsockname()[1])).__aenter__()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_socket_that_the_service_manager_bound_is_served_and_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "control.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        bound.listen()
        bound.setblocking(False)
        monkeypatch.setattr(inherited, "inherited_sockets", lambda: (bound,))
        async with Server(Echo(), UnixAddress(path)) as serving, client(serving.url) as http:
            assert (await http.get("/")).is_success
        assert path.exists()


async def test_a_port_that_the_service_manager_keeps_is_taken_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by a service that may make no socket of the network itself."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        bound.setblocking(False)
        monkeypatch.setattr(inherited, "inherited_sockets", lambda: (bound,))
        port = bound.getsockname()[1]
        for _ in range(2):
            async with Server(Echo(), TcpAddress("127.0.0.1", port)) as serving, client(serving.url) as http:
                assert serving.url == f"http://127.0.0.1:{port}"
                assert (await http.get("/")).text == "127.0.0.1"


async def test_an_end_that_nobody_asked_for_is_told(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with Server(Echo(), UnixAddress(folder / "control.sock")) as serving:
        assert serving._task is not None
        serving._task.cancel()
        await asyncio.wait({serving._task})
        serving._task = None
    assert "the control plane has stopped" in "".join(capfd.readouterr())


async def test_signals_are_none_of_its_business(folder: Path) -> None:
    import signal

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with Server(Echo(), UnixAddress(folder / "control.sock")):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_what_is_under_way_is_answered_before_it_ends(folder: Path) -> None:
    echo = Echo()
    serving = Server(echo, UnixAddress(folder / "control.sock"))
    await serving.__aenter__()
    async with client(serving.url) as http:
        answer = asyncio.create_task(http.get("/slow"))
        await echo.asked.wait()
        ending = asyncio.create_task(serving.__aexit__())
        await asyncio.sleep(0)
        echo.go.set()
        assert (await answer).is_success
        await ending
        with pytest.raises(httpx.ConnectError):
            await http.get("/")


async def test_what_does_not_end_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STOP_S", 0.1)
    echo = Echo()
    async with Server(echo, UnixAddress(folder / "control.sock")) as serving, client(serving.url) as http:
        answer = asyncio.create_task(http.get("/slow"))
        await echo.asked.wait()
    with pytest.raises(httpx.HTTPError):
        await answer
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})


async def test_connections_that_say_nothing_do_not_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_TIMEOUT_S", 0.05)
    path = folder / "control.sock"
    async with Server(Echo(), UnixAddress(path)):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"GET / HTTP/1.1\r\nHost: local")
        assert await reader.read() == b""
        writer.close()


async def test_connections_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)
    path = folder / "control.sock"
    async with Server(Echo(), UnixAddress(path)) as serving, client(serving.url) as http:
        assert (await http.get("/")).is_success
        reader, writer = await asyncio.open_unix_connection(str(path))
        assert await reader.read() == b""
        writer.close()
        assert (await http.get("/")).is_success


class Doorkeeper(Echo):
    """Admits whoever asks for ``/admitted``."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope[server.ADMITTED] = scope["path"] == "/admitted"
        await super().__call__(scope, receive, send)


class Visitor:
    """A connection from an address of this machine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def get(self, path: str) -> bool:
        """Whether it is answered."""
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        try:
            return (await self.reader.readline()).startswith(b"HTTP/1.1 200")
        except ConnectionError:
            return False

    async def is_closed(self) -> bool:
        try:
            return not await asyncio.wait_for(self.reader.read(), 30)
        except ConnectionError:
            return True


Visit = Callable[[Server, str], Awaitable[Visitor]]


@pytest.fixture
async def visit() -> AsyncIterator[Visit]:
    """Connects to a server from an address."""
    made: list[Visitor] = []

    async def connect(serving: Server, address: str) -> Visitor:
        port = int(serving.url.rpartition(":")[2])
        made.append(Visitor(*await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))))
        return made[-1]

    yield connect
    for visitor in made:
        visitor.writer.close()
        with contextlib.suppress(ConnectionError):
            await visitor.writer.wait_closed()


async def test_idle_connections_of_one_address_lock_nobody_out(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_PER_ADDRESS", 3)
    monkeypatch.setattr(server, "HEAD_TIMEOUT_S", 3600)
    async with Server(Doorkeeper(), TcpAddress("127.0.0.1", 0)) as serving:
        admitted = await visit(serving, "127.0.0.2")
        assert await admitted.get("/admitted")
        idle = [await visit(serving, "127.0.0.2") for _ in range(10)]
        assert await idle[-1].get("/livez"), "the newest has a place"
        assert [await visitor.is_closed() for visitor in idle[:8]] == [True] * 8, "and the oldest gave theirs"
        other = await visit(serving, "127.0.0.3")
        assert await other.get("/livez")
        await admitted.reader.readuntil(b"127.0.0.2")
        assert await admitted.get("/admitted"), "whoever has shown a token stays"


async def test_idle_connections_of_many_addresses_lock_nobody_out(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(server, "RESERVE", 2)
    monkeypatch.setattr(server, "HEAD_TIMEOUT_S", 3600)  # it is not what closes them
    async with Server(Doorkeeper(), TcpAddress("127.0.0.1", 0)) as serving:
        admitted = [await visit(serving, f"127.0.0.{number}") for number in (2, 3)]
        assert [await visitor.get("/admitted") for visitor in admitted] == [True, True]
        idle = [await visit(serving, f"127.0.1.{number}") for number in range(1, 8)]
        assert await idle[-1].get("/livez"), "although everybody has a place, and all of them a token"
        assert [await visitor.is_closed() for visitor in idle[:5]] == [True] * 5
        for visitor in admitted:
            await visitor.reader.readuntil(b"\r\n\r\n")
            assert visitor.writer.transport.is_closing() is False


@pytest.mark.parametrize(("path", "stays"), [("/livez", False), ("/admitted", True)])
async def test_a_connection_without_a_token_does_not_stay(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, path: str, stays: bool
) -> None:
    monkeypatch.setattr(server, "HEAD_TIMEOUT_S", 3600)
    monkeypatch.setattr(server, "TOKEN_TIMEOUT_S", 0)
    async with Server(Doorkeeper(), TcpAddress("127.0.0.1", 0)) as serving:
        visitor = await visit(serving, "127.0.0.2")
        assert await visitor.get(path)
        await visitor.reader.readuntil(b"127.0.0.2")
        (connection,) = serving._server.server_state.connections
        connection._check_head()  # the time for the request is over, which this test has no part in
        if stays:
            connection._check_token()
            assert not connection.transport.is_closing()
        else:
            assert await visitor.is_closed()
