"""The client without an event loop: against real gateways, from a thread and as a program of its own."""

import asyncio
import gc
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import pytest
from websockets.asyncio.server import ServerConnection

from appliance.client import (
    Backoff,
    Change,
    ClosedByApplication,
    ConnectFailed,
    ConnectionClosed,
    Lost,
    Message,
    NotOpen,
    Restored,
    SequenceGap,
)
from appliance.client.sync import Connection, connect
from appliance.errors import CandidError
from appliance.localnet.websocket.pingpong import APP_MESSAGE
from tests.client.canister import CANISTER_ID, Canister
from tests.client.gateways import SETTINGS, LyingGateway, broken, closing, echo, frame_from, gap, idle, saying
from tests.network import Network, running

T = TypeVar("T")


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Any:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name == "icws-client"] == []


def connecting(gateway: LyingGateway, **options: Any) -> AbstractContextManager[Connection]:
    return connect(gateway.url, CANISTER_ID, **{**SETTINGS, **options})


async def plainly(program: Callable[[], T]) -> T:
    """Run a program that blocks beside the loop that the gateway needs."""
    return await asyncio.to_thread(program)


async def test_values_go_and_come() -> None:
    def program() -> list[str]:
        with connecting(gateway) as connection:
            for number in range(5):
                connection.send({"text": str(number)})
            assert connection.unacknowledged == [{"text": str(number)} for number in range(5)]
            assert connection.gateway == gateway.url
            assert connection.principal == SETTINGS["identity"].principal
            return [connection.receive().value["text"] for _ in range(5)]

    async with LyingGateway(echo) as gateway:
        assert await plainly(program) == ["0", "1", "2", "3", "4"]
        assert await gateway.closes.get() == (1000, "")


async def test_iteration_ends_where_the_application_closes() -> None:
    async def close(socket: ServerConnection, canister: Canister) -> None:
        await socket.send(canister.close("ClosedByApplication"))

    def program() -> list[str]:
        with connecting(gateway) as connection:
            texts = [message.value["text"] for message in connection]
            with pytest.raises(ClosedByApplication):
                connection.send({"text": "too late"})
            return texts

    async with LyingGateway(saying("a", "b", then=close)) as gateway:
        assert await plainly(program) == ["a", "b"]


async def test_exceptions_come_through_as_they_are() -> None:
    def program() -> None:
        with connecting(gateway) as connection:
            with pytest.raises(CandidError, match="text is missing"):
                connection.send({})
            with pytest.raises(SequenceGap) as caught:
                next(connection)
            assert (caught.value.expected, caught.value.received) == (2, 3)
        with pytest.raises(ZeroDivisionError), connecting(gateway):
            _ = 1 / 0
        with pytest.raises(ConnectFailed), connect("ws://127.0.0.1:9", CANISTER_ID, **SETTINGS):
            pass

    async with LyingGateway(gap, idle) as gateway:
        await plainly(program)
        assert [(await gateway.closes.get())[0] for _ in range(2)] == [4000, 1000]


async def test_after_the_block_nothing_works_and_closing_again_is_fine() -> None:
    def program() -> None:
        with connecting(gateway) as connection:
            connection.close()
            connection.close()
            with pytest.raises(ConnectionClosed):
                connection.receive()
        connection.close()
        for use in (connection.receive, lambda: connection.send({"text": "x"}), lambda: next(connection)):
            with pytest.raises(NotOpen):
                use()

    async with LyingGateway(echo) as gateway:
        await plainly(program)


async def test_a_wait_has_an_end_and_the_session_goes_on() -> None:
    spoken = threading.Event()

    async def late(socket: ServerConnection, canister: Canister) -> None:
        await asyncio.to_thread(spoken.wait)
        await saying("at last", then=idle)(socket, canister)

    def program() -> str:
        with connecting(gateway) as connection:
            for timeout in (0, 0.001):
                with pytest.raises(TimeoutError):
                    connection.receive(timeout=timeout)
            spoken.set()
            return str(connection.receive(timeout=60).value["text"])

    async with LyingGateway(late) as gateway:
        assert await plainly(program) == "at last"


async def test_closing_ends_the_wait_of_another_thread() -> None:
    def program() -> list[object]:
        seen: list[object] = []
        with connecting(gateway) as connection:
            waiting = threading.Thread(target=lambda: seen.extend(connection))
            waiting.start()
            connection.close(1000, "enough")
            waiting.join()
        return seen

    async with LyingGateway(idle) as gateway:
        assert await plainly(program) == []
        assert await gateway.closes.get() == (1000, "enough")


async def test_changes_are_told_in_the_other_thread_which_must_not_wait() -> None:
    told: list[Change] = []

    def program() -> list[tuple[int, str]]:
        def tell(change: Change) -> None:
            with pytest.raises(RuntimeError, match="on_change"):
                connection.send({"text": "again"})
            told.append(change)

        with connecting(gateway, reconnect=Backoff(first=0), on_change=tell) as connection:
            connection.send({"text": "go"})
            messages = [connection.receive() for _ in range(2)]
            return [(message.session, message.value["text"]) for message in messages]

    async def go(socket: ServerConnection, canister: Canister) -> None:
        await frame_from(socket)
        await saying("a", then=broken)(socket, canister)

    async with LyingGateway(go, saying("b", then=idle)) as gateway:
        assert await plainly(program) == [(1, "a"), (2, "b")]
    assert isinstance(told[0], Lost)
    assert isinstance(told[0].cause, ConnectionClosed)


async def test_events_are_messages_and_changes_in_their_order() -> None:
    def program() -> list[object]:
        with connecting(gateway, reconnect=Backoff(first=0)) as connection:
            return [e.value["text"] if isinstance(e, Message) else type(e) for e in connection.events()]

    async with LyingGateway(saying("a", then=broken), saying("b", then=closing(1000))) as gateway:
        assert await plainly(program) == ["a", Lost, Restored, "b"]


# --- a program of its own -------------------------------------------------------------------------------------------

PROGRAM = f"""
import sys, threading
from appliance.client.sync import connect

url, canister_id, network_url = sys.argv[1:]
try:
    with connect(url, canister_id, network_url=network_url, message_type={APP_MESSAGE!r}) as connection:
        for message in connection:
            print(message.value["text"], flush=True)
finally:
    assert threading.enumerate() == [threading.main_thread()]
    print("nothing left", flush=True)
"""


async def start(network: Network) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, network.url, str(network.canister_id), network.localnet.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_an_interrupt_ends_the_wait_and_closes_the_connection() -> None:
    async with running() as network:
        process = await start(network)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ping\n"
        process.send_signal(signal.SIGINT)
        stdout, stderr = await process.communicate()
        assert stdout == b"nothing left\n"
        assert stderr.count(b"Traceback") == 1
        assert stderr.rstrip().endswith(b"KeyboardInterrupt")
        assert process.returncode == -signal.SIGINT
        await network.gateway.stop()
        assert network.gateway.counters.farewells == 1


async def test_only_the_block_has_a_loop() -> None:
    """One that nobody closes warns, and warnings are errors. So a `connect` may be kept, and entered again."""

    def program() -> list[str]:
        connecting(gateway)
        gc.collect()
        kept, texts = connecting(gateway), []
        for text in ("first", "again"):
            with kept as connection:
                connection.send({"text": text})
                texts.append(connection.receive().value["text"])
        return texts

    async with LyingGateway(echo) as gateway:
        assert await plainly(program) == ["first", "again"]


FORKED = """
import gc, os, sys
from icws.sync import connect

url, canister_id, network_url = sys.argv[1:]
with connect(url, canister_id, network_url=network_url) as connection:
    uses = {
        "receive": lambda: connection.receive(timeout=1),
        "send": lambda: connection.send(b""),
        "next": lambda: next(connection),
        "unacknowledged": lambda: connection.unacknowledged,
        "close": connection.close,
    }
    child = os.fork()
    if child == 0:
        for name, use in uses.items():
            try:
                use()
            except RuntimeError as error:
                print(name, error, flush=True)
    else:
        assert os.waitpid(child, 0)[1] == 0
        connection.receive(timeout=60)
        print("the parent goes on", flush=True)
if child == 0:
    with connect(url, canister_id, network_url=network_url) as connection:
        connection.receive(timeout=60)
        print("the child has its own", flush=True)
"""


async def test_after_a_fork_there_is_an_error_and_the_parent_keeps_its_connection() -> None:
    async with running() as network:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "ignore", "-c", FORKED),
            *(network.url, str(network.canister_id), network.localnet.url),
            stdout=asyncio.subprocess.PIPE,
        )
        stdout, _ = await process.communicate()
    lines = stdout.decode().splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["receive", "send", "next", "unacknowledged", "close"]
    assert all(line.endswith(f"belongs to process {process.pid}; after fork, connect again") for line in lines[:5])
    assert lines[5:] == ["the child has its own", "the parent goes on"]
    assert process.returncode == 0


async def test_the_garbage_collector_does_not_close_what_was_entered() -> None:
    def program() -> None:
        connection = connecting(gateway).__enter__()  # the manager is not kept
        gc.collect()
        connection.send({"text": "here"})
        assert connection.receive().value["text"] == "here"
        connection.close()
        connection._loop.__exit__()

    async with LyingGateway(echo) as gateway:
        await plainly(program)
