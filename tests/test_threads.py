import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import threads as module
from appliance.threads import Threads
from tests.gateway.bench import until
from tests.gateway.served import served


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Lets threads of a test hang until its end."""
    made = threading.Event()
    yield made
    made.set()


async def test_the_result_or_the_error_of_the_function() -> None:
    pool = Threads("test", 2)
    assert await pool.run(int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        await pool.run(int, "x")
    with pytest.raises(ZeroDivisionError):
        await pool.run_once("key", lambda: 1 // 0)


async def test_no_more_threads_than_it_may_have_and_each_for_several_calls() -> None:
    pool = Threads("test", 3)
    used = await asyncio.gather(*(pool.run(threading.current_thread) for _ in range(200)))
    assert 1 <= len(set(used)) <= 3
    assert all(thread.daemon for thread in used), "a thread that hangs must not keep the process alive"


async def test_what_hangs_in_one_pool_delays_no_other(gate: threading.Event) -> None:
    files, verification = Threads("files", 2), Threads("verification", 2)
    hanging = [asyncio.ensure_future(files.run(gate.wait)) for _ in range(20)]
    assert await asyncio.wait_for(verification.run(int), 30) == 0
    gate.set()
    assert await asyncio.gather(*hanging) == [True] * 20


async def test_files_that_hang_delay_no_delivery(gate: threading.Event) -> None:
    async with served() as it:
        hanging = [pool.submit(gate.wait) for pool in (module.FILES, module.CLIENT_VERIFICATION) for _ in range(20)]
        try:
            async with it.session() as (client, socket):  # with the first certificate of this IC
                it.canister.send(client.client_key, b"hello")
                await socket.send(client.message(b"hello"))
                assert b"hello" in await socket.recv()
        finally:
            gate.set()
    assert [each.result(30) for each in hanging] == [True] * 40


async def test_what_hangs_takes_one_thread_however_often_it_is_asked_for(gate: threading.Event) -> None:
    pool, calls = Threads("test", 2), []

    def hang() -> int:
        calls.append(threading.current_thread())
        gate.wait()
        return 7

    for _ in range(5):
        with pytest.raises(TimeoutError):
            await pool.run_once("key", hang, 0.001)
    assert await asyncio.wait_for(pool.run(int), 30) == 0, "the other thread is free"
    waiting = [asyncio.ensure_future(pool.run_once("key", hang)) for _ in range(3)]
    gate.set()
    assert await asyncio.gather(*waiting) == [7, 7, 7]
    assert len(calls) == 1
    assert await pool.run_once("key", hang) == 7
    assert len(calls) == 2, "and it is asked for again once it has come back"


async def test_calls_that_wait_are_bounded(gate: threading.Event) -> None:
    pool = Threads("test", 1, max_waiting=3)
    first = asyncio.ensure_future(pool.run(gate.wait))
    await until(lambda: not pool._work and not pool._idle and pool._threads)
    waiting = [asyncio.ensure_future(pool.run(int)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="3 calls wait"):
        await pool.run(int)
    gate.set()
    await asyncio.gather(first, *waiting)


async def test_a_call_that_nobody_waits_for_any_more_is_not_made(gate: threading.Event) -> None:
    pool, called = Threads("test", 1), []
    first = asyncio.ensure_future(pool.run(gate.wait))
    second = asyncio.ensure_future(pool.run(called.append, 2))
    await until(lambda: len(pool._work) == 1)
    second.cancel()
    await asyncio.sleep(0)
    gate.set()
    await first
    assert await pool.run(int) == 0
    assert not called


async def test_its_threads_end(gate: threading.Event) -> None:
    pool = Threads("test", 2)
    thread = await pool.run(threading.current_thread)
    pool.shutdown()
    thread.join(30)
    assert not thread.is_alive()


async def test_a_name_that_is_not_resolved_in_time_is_an_error(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, ask = [], socket.getaddrinfo

    def hang(host: str, *where: object, **how: object) -> object:
        asked.append(host)
        return ask(host, *where, **how) if host == "127.0.0.1" else gate.wait() and []

    monkeypatch.setattr(module.socket, "getaddrinfo", hang)
    for _ in range(9):
        with pytest.raises(OSError, match=r"slow\.example is not resolved within 0\.001 s"):
            await module.resolve("slow.example", 80, timeout_s=0.001)
    assert await module.resolve("127.0.0.1", 80) == [(socket.AF_INET, ("127.0.0.1", 80))]
    assert asked == ["slow.example", "127.0.0.1"]
    gate.set()


TOP = Path(module.__file__).parent
SOURCES = [
    path for room in ("ic", "config", "gateway", "plugins", "control") for path in sorted((TOP / room).rglob("*.py"))
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(TOP)))
def test_the_pool_of_asyncio_is_not_used(source: Path) -> None:
    if source.name != "tracing.py":  # at the end of the process
        assert not re.search(r"asyncio\.to_thread|run_in_executor\(None|loop\(?\)?\.getaddrinfo", source.read_text())


async def test_a_machine_that_gives_no_thread_fails_the_call_and_not_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Threads("test", 1)

    def refuse(_thread: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as none_left:
        none_left.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OSError, match="no thread can be started"):
            await pool.run(int)
    assert await pool.run(int, "7") == 7
