"""``ic/http/exchanges.py`` and the native client behind it, on both event loops, against servers on loopback."""

import asyncio
import contextlib
import select
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from appliance.crypto import PollAnswer
from appliance.errors import IcUnreachable, ReplyTooLarge
from appliance.ic.http import exchanges as module
from appliance.ic.http.exchanges import Exchanges, HttpEndpoint, HttpResponse
from tests.ic.raw_server import Serve, raw_server, request, sends
from tests.needs import lacks

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/cbor\r\nContent-Length: "
THREADS = Path("/proc/self/task")


@pytest.fixture
async def exchanges() -> AsyncIterator[Exchanges]:
    made = Exchanges()
    yield made
    assert not made._waiting
    made.close()


def as_it_came(status: int, headers: dict[str, str], body: bytes, answer: PollAnswer | None) -> HttpResponse:
    return status, headers, body, answer


async def run(
    exchanges: Exchanges, endpoint: HttpEndpoint, path: str = "/", body: bytes | None = None, timeout_s: float = 20
) -> HttpResponse:
    return await exchanges.run(endpoint, path, body, as_it_came, max_reply=1 << 20, timeout_s=timeout_s)


@asynccontextmanager
async def endpoint_that(serve: Serve) -> AsyncIterator[HttpEndpoint]:
    async with raw_server(serve) as url:
        yield HttpEndpoint(url, url)


async def echoes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request with its path and body."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        body = head.split()[1] + await reader.readexactly(length)
        writer.write(OK + b"%d\r\n\r\n" % len(body) + body)


class Silent:
    """Reads requests and answers none."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        self.asked.set()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        self.left.set()


async def test_each_request_gets_its_own_response(exchanges: Exchanges) -> None:
    async with endpoint_that(echoes) as endpoint:
        for _ in range(2):  # the second time on connections that were kept
            bodies = [bytes([number]) * number * 100 for number in range(200)]
            requests = (run(exchanges, endpoint, f"/{number}", body) for number, body in enumerate(bodies))
            responses = await asyncio.gather(*requests)
            assert [body for _, _, body, _ in responses] == [
                f"/{number}".encode() + body for number, body in enumerate(bodies)
            ]


async def test_only_the_headers_that_are_read_arrive(exchanges: Exchanges) -> None:
    head = b"HTTP/1.1 503 No\r\nRETRY-after: 7\r\nServer: x\r\nContent-Type: \xff\r\nContent-Length: 0\r\n\r\n"
    async with endpoint_that(sends(head)) as endpoint:
        status, headers, body, _ = await run(exchanges, endpoint)
    assert (status, headers, body) == (503, {"Content-Type": "\ufffd", "Retry-After": "7"}, b"")


async def test_a_cancelled_exchange_ends_its_connection(exchanges: Exchanges) -> None:
    silent = Silent()
    async with endpoint_that(silent.serve) as endpoint:
        exchange = asyncio.create_task(run(exchanges, endpoint))
        await silent.asked.wait()
        exchange.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchange
        await silent.left.wait()


async def test_an_outcome_after_the_cancellation_means_nothing(exchanges: Exchanges) -> None:
    """Cancelled in the same turn of the loop in which responses wait: some have arrived, others not."""
    async with endpoint_that(echoes) as endpoint:
        for turns in range(20):
            tasks = [asyncio.create_task(run(exchanges, endpoint)) for _ in range(5)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert (await run(exchanges, endpoint, "/next"))[2] == b"/next"


async def test_an_outcome_between_the_cancellation_and_its_end_means_nothing(exchanges: Exchanges) -> None:
    """The future is cancelled then, and its task has not run yet."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(OK + b"2\r\n\r\nok")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        exchange = asyncio.create_task(run(exchanges, HttpEndpoint(url, url)))
        await asyncio.sleep(0)
        select.select([exchanges._client], [], [])
        exchange.cancel()
        exchanges._resolve()
        with pytest.raises(asyncio.CancelledError):
            await exchange
        thread.join()


@pytest.mark.parametrize("deadline_s", [module.CLOSE_DEADLINE_S, 0.0])
async def test_closing_ends_what_is_under_way(monkeypatch: pytest.MonkeyPatch, deadline_s: float) -> None:
    """Also where the thread takes longer to end than anybody waits for it."""
    monkeypatch.setattr(module, "CLOSE_DEADLINE_S", deadline_s)
    exchanges, silent = Exchanges(), Silent()
    async with endpoint_that(silent.serve) as endpoint:
        exchange = asyncio.create_task(run(exchanges, endpoint))
        await silent.asked.wait()
        exchanges.close()
        with pytest.raises(IcUnreachable, match="closed"):
            await exchange
        await silent.left.wait()
        with pytest.raises(RuntimeError, match="closed"):
            await run(exchanges, endpoint)
        exchanges.close()
        assert not asyncio.get_running_loop().remove_reader(exchanges._client.fileno())


async def test_closing_ends_the_thread() -> None:
    if not THREADS.exists():  # noqa: ASYNC240 - a look at /proc
        lacks(f"{THREADS} does not exist on this system, and the test counts threads by it")

    def running() -> int:
        return sum(name.startswith("icws-http") for name in _thread_names())

    before = running()
    made = [Exchanges() for _ in range(3)]
    async with endpoint_that(echoes) as endpoint:
        for each in made:
            await run(each, endpoint)
        assert running() == before + 3
    for each in made:
        each.close()
    while running() > before:  # noqa: ASYNC110  # the kernel shows it for a moment yet, and has no event for its end
        await asyncio.sleep(0.01)


def _thread_names() -> Iterator[str]:
    for thread in THREADS.iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield (thread / "comm").read_text()


async def test_no_response_in_time_names_the_endpoint(exchanges: Exchanges) -> None:
    async with raw_server(Silent().serve) as url:
        with pytest.raises(IcUnreachable, match=r"here does not answer: no answer within 0\.05 s"):
            await run(exchanges, HttpEndpoint("here", url), timeout_s=0.05)


async def test_a_kept_connection_that_answers_badly_is_not_asked_twice(exchanges: Exchanges) -> None:
    """Only where nothing was answered: otherwise one broken endpoint would get every request twice."""
    connections = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await request(reader)
        writer.write(OK + b"2\r\n\r\nok")
        await request(reader)
        writer.write(OK + b"9\r\n\r\nhalf")

    async with endpoint_that(once) as endpoint:
        assert (await run(exchanges, endpoint))[2] == b"ok"
        with pytest.raises(IcUnreachable):
            await run(exchanges, endpoint)
    assert connections == 1


async def test_a_connection_whose_reply_is_too_large_is_closed(exchanges: Exchanges) -> None:
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK + b"2000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        left.set()

    async with endpoint_that(serve) as endpoint:
        with pytest.raises(ReplyTooLarge) as refusal:
            await run(exchanges, endpoint)
        assert (refusal.value.size, refusal.value.limit) == (2_000_000, 1 << 20)
        await left.wait()


@pytest.mark.parametrize("url", ["ftp://host", "host", "http://user:secret@host", "http://h\u00fc"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address") as refusal:
        HttpEndpoint(url, url)
    assert "secret" not in str(refusal.value)


# --- other processes ------------------------------------------------------------------------------------------------

START = """
import asyncio, os, socketserver, sys, threading
from appliance.ic.http.exchanges import Exchanges, HttpEndpoint

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while path := self.rfile.readline():
            while self.rfile.readline().strip():
                pass
            if b"/crumbs" in path:
                self.wfile.write(b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
                for _ in range(64):
                    self.wfile.write(b"1\\r\\nx\\r\\n" * 65536)
                self.wfile.write(b"0\\r\\n\\r\\n")
            elif b"/silence" not in path:
                self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")

server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()

async def main():
    url = "http://127.0.0.1:%d" % server.server_address[1]
    exchanges, endpoint = Exchanges(), HttpEndpoint(url, url)
    run = lambda path: exchanges.run(endpoint, path, None, lambda *response: response, max_reply=1 << 22, timeout_s=100)
    assert (await run("/"))[2] == b"ok"
"""
FORKS = """
    child = os.fork()
    if child == 0:
        try:
            await run("/")
        except RuntimeError as error:
            assert "forked" in str(error)
            exchanges.close()
            del run, exchanges, endpoint
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert (await run("/"))[2] == b"ok"
    exchanges.close()
asyncio.run(main())
"""
EXITS = """
    waiting = asyncio.ensure_future(run("/silence"))
    await asyncio.sleep(0)
    sys.exit(3)
asyncio.run(main())
"""
CRUMBS = """
    import resource
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (await run("/crumbs"))[2] == b"x" * (1 << 22)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> (20 if sys.platform == "darwin" else 10)
    assert grown < 32, f"{grown} MiB for a reply of 4"
asyncio.run(main())
"""
NO_MEMORY = """
    import resource, select
    exchange = exchanges._client.begin(endpoint, "/crumbs", None, 1 << 22, 100)
    select.select([exchanges._client], [], [])
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 20), resource.RLIM_INFINITY))
    ((taken, outcome),) = exchanges._client.take()
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert taken == exchange
    assert "MemoryError" in str(outcome) and url in str(outcome), outcome
asyncio.run(main())
"""


def python(source: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-W", "ignore", "-c", source]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)  # noqa: S603


def test_a_forked_process_gets_an_error_and_leaves_the_first_one_alone() -> None:
    """Both have the same sockets and the same epoll: what one closes in there, the other one loses."""
    ended = python(START + FORKS)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_process_ends_while_exchanges_are_under_way() -> None:
    """Without closing: the thread must neither keep the interpreter nor crash it."""
    ended = python(START + EXITS)
    assert (ended.returncode, ended.stderr) == (3, "")


def test_a_client_that_nobody_closes_ends_with_its_owner() -> None:
    ended = python(START + "asyncio.run(main())")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_reply_in_chunks_of_one_byte_takes_no_more_memory_than_another() -> None:
    ended = python(START + CRUMBS)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(not THREADS.exists(), reason="there is no /proc to see the size of the process by")
def test_a_response_for_which_there_is_no_memory_is_an_outcome_too() -> None:
    """Otherwise it would take the outcomes of others with it, which arrived at the same time."""
    ended = python(START + NO_MEMORY)
    assert (ended.returncode, ended.stderr) == (0, "")
