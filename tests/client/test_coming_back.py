"""A connection that outlives its sessions, over loopback with gateways that fail and lie."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from appliance.client import (
    Backoff,
    Change,
    ClientError,
    ClosedByApplication,
    ClosedByCanister,
    ConnectFailed,
    Connection,
    ConnectionClosed,
    Lost,
    Message,
    Restored,
    RetryFailed,
    SequenceGap,
    connect,
)
from appliance.errors import Malformed
from tests.client.canister import CANISTER_ID, HANDSHAKE, Canister, message_of
from tests.client.gateways import (
    SETTINGS,
    LyingGateway,
    Script,
    broken,
    closing,
    echo,
    frame_from,
    gap,
    idle,
    opened,
    saying,
)

AT_ONCE = Backoff(first=0)
NEVER = Backoff(first=3600, longest=3600)


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    assert asyncio.all_tasks() - before <= {asyncio.current_task()}


def connecting(*gateways: LyingGateway, **options: Any) -> AbstractAsyncContextManager[Connection]:
    urls = [gateway.url for gateway in gateways]
    return connect(urls, CANISTER_ID, **{**SETTINGS, "reconnect": AT_ONCE, **options})


async def values(connection: Connection, count: int) -> list[tuple[int, str]]:
    messages = [await connection.receive() for _ in range(count)]
    return [(message.session, message.value["text"]) for message in messages]


@pytest.mark.parametrize("end", [broken, closing(4103, "forgotten"), closing(1012), closing(1001)])
async def test_iteration_goes_on_in_a_new_session(end: Script) -> None:
    async with LyingGateway(saying("one", then=end), saying("two", then=idle)) as gateway:
        changes: list[Change] = []
        async with connecting(gateway, on_change=changes.append) as connection:
            seen = []
            async for message in connection:
                seen.append((message.session, message.sequence_num, message.value["text"]))
                if len(seen) == 2:
                    break
        assert seen == [(1, 2, "one"), (2, 2, "two")]
        (lost, restored) = changes
        assert isinstance(lost, Lost)
        assert isinstance(lost.cause, ConnectionClosed)
        assert (lost.gateway, lost.unacknowledged) == (gateway.url, ())
        assert restored == Restored(gateway.url)


async def test_without_it_nothing_comes_back() -> None:
    async with LyingGateway(broken, idle) as gateway:
        async with connecting(gateway, reconnect=False) as connection:
            with pytest.raises(ConnectionClosed):
                await connection.receive()
        assert gateway.connections == 1


async def test_what_is_not_acknowledged_is_named() -> None:
    async def script(socket: ServerConnection, canister: Canister) -> None:
        for _ in range(3):
            await frame_from(socket)
        await socket.send(canister.ack(2))
        await frame_from(socket)  # the sign of life, which is not the application's
        await broken(socket, canister)

    async with LyingGateway(script, idle) as gateway:
        changes: asyncio.Queue[Change] = asyncio.Queue()
        async with connecting(gateway, on_change=changes.put_nowait) as connection:
            for text in ("first", "second", "third"):
                await connection.send({"text": text})
            assert len(connection.unacknowledged) == 3
            lost = await changes.get()
            assert isinstance(lost, Lost)
            assert lost.unacknowledged == ({"text": "third"},)
            assert isinstance(await changes.get(), Restored)
            assert connection.unacknowledged == []


async def test_senders_wait_for_the_new_session() -> None:
    taken = asyncio.Event()

    async def late(socket: ServerConnection, canister: Canister) -> None:
        await taken.wait()
        await opened(socket, canister)
        await echo(socket, canister)

    async def first(socket: ServerConnection, canister: Canister) -> None:
        await opened(socket, canister)
        await broken(socket, canister)

    async with LyingGateway(first, late, opens=False) as gateway:
        lost = asyncio.Event()
        async with connecting(gateway, on_change=lambda _: lost.set()) as connection:
            await lost.wait()
            senders = [asyncio.create_task(connection.send({"text": str(number)})) for number in range(5)]
            senders[1].cancel()
            await asyncio.wait([senders[1]])
            assert [sender.done() for sender in senders] == [False, True, False, False, False]
            taken.set()
            assert await values(connection, 4) == [(2, text) for text in "0234"]
            await asyncio.gather(*senders, return_exceptions=True)


async def test_what_had_arrived_is_read_before_what_comes_after() -> None:
    async with LyingGateway(saying("a", "b", "c", then=broken), saying("d", then=idle)) as gateway:
        restored = asyncio.Event()

        def tell(change: Change) -> None:
            if isinstance(change, Restored):
                restored.set()

        async with connecting(gateway, on_change=tell) as connection:
            await restored.wait()
            assert await values(connection, 4) == [(1, "a"), (1, "b"), (1, "c"), (2, "d")]


async def test_events_are_messages_and_changes_in_their_order() -> None:
    async with LyingGateway(saying("a", "b", then=broken), saying("c", then=closing(1000))) as gateway:
        async with LyingGateway(idle) as gone:
            pass
        async with connecting(gateway, gone) as connection:
            seen: list[object] = []
            async for event in connection.events():
                seen.append(event.value["text"] if isinstance(event, Message) else type(event))
            assert seen == ["a", "b", Lost, RetryFailed, Restored, "c"]
            assert [event async for event in connection.events()] == []


async def test_whoever_is_told_of_a_new_session_may_begin_it() -> None:
    async def heard(socket: ServerConnection, canister: Canister) -> None:
        content = message_of(await frame_from(socket))["content"]
        assert isinstance(content, bytes)
        await socket.send(canister.message(content))
        await broken(socket, canister)

    async with LyingGateway(heard) as gateway, connecting(gateway) as connection:
        await connection.send({"text": "subscribe"})
        seen: list[int] = []
        async for event in connection.events():
            match event:
                case Message():
                    seen.append(event.session)
                case Restored():
                    await connection.send({"text": "subscribe"})
            if len(seen) == 4:
                break
        assert seen == [1, 2, 3, 4]


async def test_changes_that_nobody_reads_do_not_pile_up() -> None:
    told: list[Change] = []
    enough = asyncio.Event()

    def tell(change: Change) -> None:
        told.append(change)
        if len(told) > 1500:
            enough.set()

    async def script(socket: ServerConnection, canister: Canister) -> None:
        gateway.stop_listening()
        await broken(socket, canister)

    policy = Backoff(first=0, longest=0)
    async with (
        LyingGateway(script) as gateway,
        connecting(gateway, reconnect=policy, on_change=tell) as connection,
    ):
        await enough.wait()
        assert len(connection._inbox) == 1024


def echo_and_break(frames: int) -> Script:
    """Answers so many messages, and breaks at the next."""

    async def script(socket: ServerConnection, canister: Canister) -> None:
        for _ in range(frames):
            content = message_of(await frame_from(socket))["content"]
            assert isinstance(content, bytes)
            await socket.send(canister.message(content))
        await frame_from(socket)
        await broken(socket, canister)

    return script


@pytest.mark.parametrize("lengths", [(0, 1, 2, 3), (7, 0, 0, 11), (3,), (50, 1)])
async def test_nothing_is_lost_without_a_word_and_nothing_is_sent_twice(lengths: tuple[int, ...]) -> None:
    sent = [str(number) for number in range(60)]
    answered: list[str] = []
    unconfirmed: list[str] = []
    async with LyingGateway(*map(echo_and_break, lengths), echo) as gateway:
        async with connecting(gateway) as connection:

            async def send() -> None:
                for text in sent:
                    await connection.send({"text": text})

            sending = asyncio.create_task(send())
            async for event in connection.events():
                match event:
                    case Message(value):
                        answered.append(value["text"])
                    case Lost(unacknowledged=values_of_session):
                        unconfirmed.extend(value["text"] for value in values_of_session)
                if sent[-1] in [*answered, *unconfirmed]:
                    break
            await sending
            pending = [value["text"] for value in connection.unacknowledged]
        assert len(set(answered)) == len(answered)
        assert [*unconfirmed, *pending] == sent


# --- who is asked, and who is not -----------------------------------------------------------------------------------


async def test_the_gateways_are_asked_in_turn() -> None:
    async with (
        LyingGateway(saying("a", then=broken)) as first,
        LyingGateway(saying("b", then=closing(4100))) as second,
        LyingGateway(saying("c", then=closing(1013))) as third,
        connecting(first, second, third) as connection,
    ):
        assert await values(connection, 6) == [(1, "a"), (2, "b"), (3, "c"), (4, "a"), (5, "b"), (6, "c")]


async def test_a_gateway_that_is_gone_is_passed_over() -> None:
    async with LyingGateway(saying("a", then=broken), saying("b", then=idle)) as first:
        async with LyingGateway(idle) as second:
            pass
        changes: list[Change] = []
        async with connecting(first, second, on_change=changes.append) as connection:
            assert await values(connection, 2) == [(1, "a"), (2, "b")]
            assert connection.gateway == first.url
        assert [type(change) for change in changes] == [Lost, RetryFailed, Restored]
        failed = changes[1]
        assert isinstance(failed, RetryFailed)
        assert failed.gateway == second.url
        assert isinstance(failed.cause, ConnectFailed)


async def test_a_liar_is_left_for_good() -> None:
    async with (
        LyingGateway(gap) as liar,
        LyingGateway(saying("a", then=broken), saying("b", then=broken), saying("c", then=idle)) as honest,
    ):
        changes: list[Change] = []
        async with connecting(liar, honest, on_change=changes.append) as connection:
            assert await values(connection, 3) == [(2, "a"), (3, "b"), (4, "c")]
        assert isinstance(changes[0], Lost)
        assert isinstance(changes[0].cause, SequenceGap)
        assert (liar.connections, honest.connections) == (1, 3)
        assert (await liar.closes.get())[0] == 4000


async def test_the_only_gateway_is_left_too_when_it_lies() -> None:
    async with LyingGateway(gap, saying("all is well", then=idle)) as gateway:
        async with connecting(gateway) as connection:
            with pytest.raises(SequenceGap):
                await connection.receive()
            with pytest.raises(SequenceGap):
                await connection.send({"text": "still there?"})
        assert gateway.connections == 1
        assert (await gateway.closes.get())[0] == 4000


async def test_when_all_have_lied_the_last_lie_is_the_end() -> None:
    async with LyingGateway(gap) as first, LyingGateway(gap) as second:
        async with connecting(first, second) as connection:
            with pytest.raises(SequenceGap):
                await connection.receive()
        assert (first.connections, second.connections) == (1, 1)


@pytest.mark.parametrize("code", [4500, 4999, 1008])
async def test_codes_that_forbid_it_end_the_connection(code: int) -> None:
    async with LyingGateway(closing(code), idle) as first, LyingGateway(idle) as second:
        async with connecting(first, second) as connection:
            with pytest.raises(ConnectionClosed, match=str(code)):
                await connection.receive()
        assert (first.connections, second.connections) == (1, 0)


async def test_a_canister_that_closes_is_left_alone() -> None:
    async def by_application(socket: ServerConnection, canister: Canister) -> None:
        await socket.send(canister.close("ClosedByApplication"))

    async def by_canister(socket: ServerConnection, canister: Canister) -> None:
        await socket.send(canister.close("KeepAliveTimeout"))

    async with LyingGateway(by_application, by_canister, idle) as gateway:
        async with connecting(gateway) as connection:
            assert [message async for message in connection] == []
            with pytest.raises(ClosedByApplication):
                await connection.receive()
        async with connecting(gateway) as connection:
            with pytest.raises(ClosedByCanister):
                await anext(connection)
        assert gateway.connections == 2


async def test_a_good_end_by_the_gateway_ends_the_iteration() -> None:
    async with LyingGateway(closing(1000), idle) as gateway:
        async with connecting(gateway) as connection:
            assert [message async for message in connection] == []
        assert gateway.connections == 1


async def test_attempts_come_to_an_end() -> None:
    down = asyncio.Event()

    async def script(socket: ServerConnection, canister: Canister) -> None:
        await down.wait()
        await broken(socket, canister)

    changes: list[Change] = []
    async with LyingGateway(script) as gateway:
        policy = Backoff(first=0, attempts=4)
        opening = connecting(gateway, reconnect=policy, on_change=changes.append)
        connection = await opening.__aenter__()
        gateway.stop_listening()
        down.set()
        waiting = asyncio.create_task(connection.send({"text": "too late"}))
        with pytest.raises(ConnectFailed, match=gateway.url):
            await connection.receive()
        with pytest.raises(ConnectFailed):
            await connection.send({"text": "too late"})
        await asyncio.wait([waiting])
        await opening.__aexit__(None, None, None)
    assert [type(change) for change in changes] == [Lost, *[RetryFailed] * 3]


# --- ends in the middle ---------------------------------------------------------------------------------------------


async def test_closing_does_not_wait_for_the_next_attempt() -> None:
    async with LyingGateway(broken) as gateway:
        lost = asyncio.Event()
        async with connecting(gateway, reconnect=NEVER, on_change=lambda _: lost.set()) as connection:
            await lost.wait()
            waiting = [asyncio.create_task(connection.send({"text": "x"})), asyncio.create_task(anext(connection))]
            await asyncio.sleep(0)
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in ends] == [ConnectionClosed, StopAsyncIteration]


async def test_closing_in_the_middle_of_an_attempt_closes_that_too() -> None:
    asked = asyncio.Event()

    async def first(socket: ServerConnection, canister: Canister) -> None:
        await opened(socket, canister)
        await broken(socket, canister)

    async def silent(socket: ServerConnection, _canister: Canister) -> None:
        await socket.send(HANDSHAKE)
        await frame_from(socket)
        asked.set()

    async with LyingGateway(first, silent, opens=False) as gateway:
        async with connecting(gateway):
            await asked.wait()
        assert await gateway.closes.get() == (1006, "")
        assert await gateway.closes.get() == (1000, "")


async def test_a_user_that_is_cancelled_leaves_nothing() -> None:
    async with LyingGateway(broken, idle) as gateway:
        restored = asyncio.Event()

        async def use() -> None:
            async with connecting(gateway, on_change=lambda _: restored.set()) as connection:
                async for _ in connection:
                    pass

        user = asyncio.create_task(use())
        await restored.wait()
        user.cancel()
        with pytest.raises(asyncio.CancelledError):
            await user


async def test_what_the_application_raises_when_told_comes_out_of_its_block() -> None:
    def tell(_: Change) -> None:
        raise ZeroDivisionError

    async with LyingGateway(broken, idle) as gateway:
        opening = connecting(gateway, on_change=tell)
        connection = await opening.__aenter__()
        with pytest.raises(ClientError):
            await connection.receive()
        with pytest.raises(ZeroDivisionError):
            await opening.__aexit__(None, None, None)
        assert gateway.connections == 1


# --- the first opening ----------------------------------------------------------------------------------------------


async def test_the_first_gateway_that_takes_the_client_is_used() -> None:
    async with LyingGateway(closing(4105), opens=False) as refusing, LyingGateway(saying("a", then=idle)) as second:
        async with LyingGateway(idle) as gone:
            pass
        for reconnect in (False, AT_ONCE):
            async with connecting(gone, refusing, second, reconnect=reconnect) as connection:
                assert await values(connection, 1) == [(1, "a")]
                assert connection.gateway == second.url
        assert refusing.connections == 2


async def test_when_none_takes_it_the_last_error_has_notes_of_the_others() -> None:
    async with LyingGateway(closing(4105, "too busy"), opens=False) as refusing:
        async with LyingGateway(idle) as gone:
            pass
        with pytest.raises(ConnectFailed, match=gone.url) as caught:
            async with connecting(refusing, gone):
                pass
        assert caught.value.__notes__ == [f"before that, {refusing.url}: connection closed (4105): too busy"]
        assert refusing.connections == 1


async def test_what_is_wrong_with_the_client_is_not_tried_elsewhere() -> None:
    async with LyingGateway(closing(4502, "signature"), opens=False) as first, LyingGateway(idle) as second:
        with pytest.raises(ConnectionClosed, match="signature"):
            async with connecting(first, second):
                pass
        assert second.connections == 0


async def test_who_lied_at_the_opening_is_not_asked_again_later() -> None:
    async def no_handshake(socket: ServerConnection, canister: Canister) -> None:
        await socket.send(b"\xa0")

    async with (
        LyingGateway(no_handshake, opens=False) as liar,
        LyingGateway(saying("a", then=broken), saying("b", then=idle)) as honest,
        connecting(liar, honest) as connection,
    ):
        assert await values(connection, 2) == [(1, "a"), (2, "b")]
        assert liar.connections == 1
    async with LyingGateway(no_handshake, opens=False) as liar:
        with pytest.raises(Malformed, match="handshake"):
            async with connecting(liar):
                pass


async def test_reconnecting_by_the_defaults_is_true() -> None:
    async with LyingGateway(saying("a", then=idle)) as gateway, connecting(gateway, reconnect=True) as connection:
        assert await values(connection, 1) == [(1, "a")]
