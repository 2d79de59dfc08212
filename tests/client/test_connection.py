"""One session over one socket: conversations, lies, limits and ends."""

import asyncio
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from appliance.client import (
    AckTimeout,
    ClosedByApplication,
    ClosedByCanister,
    ConnectFailed,
    Connection,
    ConnectionClosed,
    Limits,
    MessageUntrusted,
    NotOpen,
    SequenceGap,
    channel,
    connect,
)
from appliance.errors import CandidError, ConfigError, GatewayError, KeyUnusable, Malformed, OpenTimeout, TextFrame
from appliance.ic.principal import Principal
from tests.client.canister import CANISTER_ID, CLIENT, HANDSHAKE, NOW_NS, ROOT, Canister, message_of
from tests.client.gateways import (
    SETTINGS,
    LyingGateway,
    Script,
    broken,
    closing,
    deaf,
    echo,
    frame_from,
    gap,
    idle,
    text,
)

LONG_S = 10  # only whoever waits for ever takes so long


async def test_values_go_and_come() -> None:
    async with LyingGateway(echo) as gateway:
        async with gateway.connect() as connection:
            for number in range(20):
                await connection.send({"text": f"ping {number}"})
                message = await connection.receive()
                assert message.value == {"text": f"ping {number}"}
                assert message.sequence_num == number + 2
            assert connection.unacknowledged == [{"text": f"ping {number}"} for number in range(20)]
        assert await gateway.closes.get() == (1000, "")


async def test_without_a_type_messages_are_bytes() -> None:
    async with LyingGateway(echo) as gateway, gateway.connect(message_type=None) as connection:
        await connection.send(text("raw"))
        assert (await connection.receive()).value == text("raw")
        with pytest.raises(CandidError):
            await connection.send({"text": "no bytes"})


async def test_a_value_that_does_not_fit_is_not_sent() -> None:
    async with LyingGateway(echo) as gateway, gateway.connect() as connection:
        with pytest.raises(CandidError):
            await connection.send({"txet": "x"})
        await connection.send({"text": "y"})
        assert (await connection.receive()).value == {"text": "y"}


async def test_content_of_another_type_costs_that_message_only() -> None:
    async def script(socket: ServerConnection, canister: Canister) -> None:
        await socket.send(canister.message(b"no candid"))
        await socket.send(canister.message(text("fine")))

    async with LyingGateway(script) as gateway, gateway.connect() as connection:
        with pytest.raises(CandidError):
            await connection.receive()
        assert (await connection.receive()).value == {"text": "fine"}


async def test_iteration_ends_where_the_application_closes() -> None:
    async def script(socket: ServerConnection, canister: Canister) -> None:
        for frame in (canister.message(text("last")), canister.close("ClosedByApplication")):
            await socket.send(frame)

    async with LyingGateway(script) as gateway:
        async with gateway.connect() as connection:
            assert [message.value async for message in connection] == [{"text": "last"}]
            with pytest.raises(ClosedByApplication):
                await connection.send({"text": "too late"})
        code, reason = await gateway.closes.get()
        assert (code, reason) == (4001, "the canister closed the session: ClosedByApplication")


async def test_iteration_raises_where_the_canister_gives_the_client_up() -> None:
    async def script(socket: ServerConnection, canister: Canister) -> None:
        await socket.send(canister.close("KeepAliveTimeout"))

    async with LyingGateway(script) as gateway, gateway.connect() as connection:
        with pytest.raises(ClosedByCanister, match="KeepAliveTimeout"):
            await anext(connection)


async def _forged(socket: ServerConnection, canister: Canister) -> None:
    await socket.send(canister.message(text("altered")).replace(b"altered", b"ALTERED"))


async def _text(socket: ServerConnection, _canister: Canister) -> None:
    await socket.send("1")


@pytest.mark.parametrize(
    ("script", "error", "code"),
    [(gap, SequenceGap, 4000), (_forged, MessageUntrusted, 4000), (_text, TextFrame, 1003)],
)
async def test_a_lie_ends_the_connection(script: Script, error: type[GatewayError], code: int) -> None:
    async with LyingGateway(script) as gateway:
        async with gateway.connect() as connection:
            with pytest.raises(error):
                await connection.receive()
            with pytest.raises(error):
                await connection.send({"text": "still there?"})
        assert (await gateway.closes.get())[0] == code


async def test_messages_before_a_lie_are_still_read() -> None:
    async def script(socket: ServerConnection, canister: Canister) -> None:
        await socket.send(canister.message(text("true")))
        await gap(socket, canister)

    async with LyingGateway(script) as gateway, gateway.connect() as connection:
        assert (await connection.receive()).value == {"text": "true"}
        with pytest.raises(SequenceGap):
            await connection.receive()


async def test_acknowledgements_are_answered_while_nobody_reads() -> None:
    answered = asyncio.Event()

    async def script(socket: ServerConnection, canister: Canister) -> None:
        await socket.send(canister.ack(0))
        assert message_of(await frame_from(socket))["is_service_message"] is True
        answered.set()

    async with LyingGateway(script) as gateway, gateway.connect():
        await answered.wait()


async def test_the_gateway_closes_with_a_code() -> None:
    async with LyingGateway(closing(4503, "the envelope expired")) as gateway, gateway.connect() as connection:
        with pytest.raises(ConnectionClosed) as caught:
            await anext(connection)
        assert (caught.value.code, caught.value.text, caught.value.come_back) == (4503, "the envelope expired", False)


async def test_a_socket_that_breaks_is_1006() -> None:
    async with LyingGateway(broken) as gateway, gateway.connect() as connection:
        with pytest.raises(ConnectionClosed) as caught:
            await connection.receive()
        assert (caught.value.code, caught.value.come_back) == (1006, True)


async def test_a_refused_opening_says_why() -> None:
    async with LyingGateway(closing(4509, "not served"), opens=False) as gateway:
        with pytest.raises(ConnectionClosed, match="not served"):
            async with gateway.connect():
                pass


async def test_a_first_frame_that_is_no_handshake_ends_the_opening() -> None:
    async def script(socket: ServerConnection, canister: Canister) -> None:
        await socket.send(canister.open())

    async with LyingGateway(script, opens=False) as gateway:
        with pytest.raises(Malformed, match="handshake"):
            async with gateway.connect():
                pass


class Clock:
    """Moves one second with each look at it, so that limits pass without waiting."""

    def __init__(self) -> None:
        self._now_ns = NOW_NS

    def __call__(self) -> int:
        self._now_ns += 10**9
        return self._now_ns


async def test_a_gateway_that_never_greets_is_given_up() -> None:
    async with LyingGateway(idle, opens=False) as gateway:
        with pytest.raises(OpenTimeout, match="handshake"):
            async with gateway.connect(clock=Clock(), limits=Limits(open_ns=1)):
                pass


async def test_a_canister_that_does_not_open_is_given_up() -> None:
    async def script(socket: ServerConnection, _canister: Canister) -> None:
        await socket.send(HANDSHAKE)

    async with LyingGateway(script, opens=False) as gateway:
        with pytest.raises(OpenTimeout):
            async with gateway.connect(clock=Clock(), limits=Limits(open_ns=1)):
                pass
        assert (await gateway.closes.get())[0] == OpenTimeout.close_code


async def test_messages_that_nobody_acknowledges_end_the_connection() -> None:
    async with LyingGateway(idle) as gateway:
        async with gateway.connect(clock=Clock(), limits=Limits(ack_ns=1)) as connection:
            await connection.send({"text": "heard?"})
            with pytest.raises(AckTimeout):
                await connection.receive()
        assert (await gateway.closes.get())[0] == 4000


async def test_a_cancelled_sender_leaves_no_gap() -> None:
    async with LyingGateway(echo) as gateway, gateway.connect() as connection:
        senders = [asyncio.create_task(connection.send({"text": str(number)})) for number in range(10)]
        await asyncio.sleep(0)
        for sender in senders[1::2]:
            sender.cancel()
        await asyncio.wait(senders)
        await connection.send({"text": "end"})
        seen = [(await connection.receive()).sequence_num for _ in range(11)]
        assert seen == [*range(2, 13)]


async def test_closing_does_not_wait_for_messages_that_nobody_reads() -> None:
    flooded = asyncio.Event()

    async def script(socket: ServerConnection, canister: Canister) -> None:
        frames = [canister.message(text("x" * 100)) for _ in range(1500)]
        flooded.set()
        for frame in frames:
            await socket.send(frame)

    async with LyingGateway(script) as gateway:
        async with gateway.connect():
            await flooded.wait()
        assert (await gateway.closes.get())[0] == 1000


TOO_MUCH = bytes(32 << 20)  # more than the buffers between client and gateway take, so that writing waits


async def _stuck(connection: Connection[bytes]) -> asyncio.Task[None]:
    """A message under way that the gateway does not read."""
    sending = asyncio.create_task(connection.send(TOO_MUCH))
    await asyncio.sleep(0)
    assert not sending.done()
    return sending


async def test_closing_does_not_wait_for_a_gateway_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "CLOSE_S", 0.01)
    gone = asyncio.Event()
    async with LyingGateway(deaf(gone)) as gateway:
        connection = await connect(gateway.url, CANISTER_ID, **{**SETTINGS, "message_type": None})
        sending = await _stuck(connection)
        try:
            async with asyncio.timeout(LONG_S):
                await connection.close()
            with pytest.raises(ConnectionClosed):
                await sending
        finally:
            gone.set()


async def test_reading_goes_on_while_writing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "CLOSE_S", 0.01)
    gone, stuck = asyncio.Event(), asyncio.Event()

    async def say(socket: ServerConnection, canister: Canister) -> None:
        await stuck.wait()
        await socket.send(canister.message(b"one"))
        await socket.send(canister.message(b"two"))

    async with LyingGateway(deaf(gone, say=say)) as gateway, gateway.connect(message_type=None) as connection:
        sending = await _stuck(connection)
        stuck.set()
        try:
            async with asyncio.timeout(LONG_S):
                assert [(await connection.receive()).value for _ in range(2)] == [b"one", b"two"]
        finally:
            gone.set()
        with pytest.raises(ConnectionClosed):
            await sending


async def test_an_answer_that_cannot_be_written_does_not_hide_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "CLOSE_S", 0.01)
    gone, stuck, now_ns = asyncio.Event(), asyncio.Event(), [NOW_NS]

    async def say(socket: ServerConnection, canister: Canister) -> None:
        await stuck.wait()
        await socket.send(canister.ack(1))

    options = {"message_type": None, "limits": Limits(ack_ns=50_000_000), "clock": lambda: now_ns[0]}
    async with LyingGateway(deaf(gone, say=say)) as gateway, gateway.connect(**options) as connection:
        await connection.send(b"acknowledged")
        sending = await _stuck(connection)
        stuck.set()
        try:
            async with asyncio.timeout(LONG_S):
                while len(connection.unacknowledged) > 1:  # noqa: ASYNC110 - nobody is told of an acknowledgement
                    await asyncio.sleep(0)
                now_ns[0] += 10**9
                with pytest.raises(AckTimeout, match="messages 2 to 3"):
                    await connection.receive()
                with pytest.raises(AckTimeout):
                    await sending
        finally:
            gone.set()


async def test_whoever_waits_is_told_though_the_closing_is_cancelled() -> None:
    async with LyingGateway(echo) as gateway, gateway.connect() as connection:
        receiving = asyncio.create_task(connection.receive())
        closing = asyncio.create_task(connection.close(1000, "enough"))
        await asyncio.sleep(0)
        closing.cancel()
        async with asyncio.timeout(LONG_S):
            for waiting in (receiving, connection.receive()):
                with pytest.raises(ConnectionClosed, match="enough"):
                    await waiting


async def test_after_closing_nothing_works_and_closing_again_is_fine() -> None:
    async with LyingGateway(echo) as gateway, gateway.connect() as connection:
        await connection.close(1000, "enough")
        await connection.close()
        with pytest.raises((ConnectionClosed, NotOpen)):
            await connection.send({"text": "x"})
        assert [message async for message in connection] == []
        assert await gateway.closes.get() == (1000, "enough")


async def test_nobody_there_is_one_error() -> None:
    async with LyingGateway(echo) as gateway:
        url = gateway.url
    with pytest.raises(ConnectFailed, match=url):
        async with connect(url, CANISTER_ID, root_key=ROOT.public_key):
            pass


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:80", "", "ws://"])
async def test_a_url_that_is_no_websocket_is_the_same_error(url: str) -> None:
    with pytest.raises(ConnectFailed):
        async with connect(url, CANISTER_ID, root_key=ROOT.public_key):
            pass


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"root_key": b"short"}, KeyUnusable),
        ({"root_key": "fetch"}, KeyUnusable),
        ({"root_key": "00"}, ConfigError),
        ({"root_key": "fetch", "network_url": "https://icp-api.io"}, ConfigError),
        ({"root_key": ROOT.public_key, "message_type": "no type"}, CandidError),
        ({"root_key": ROOT.public_key, "identity": object()}, KeyUnusable),
    ],
)
async def test_wrong_settings_are_refused_before_anything_is_sent(
    options: dict[str, Any], error: type[GatewayError]
) -> None:
    async with LyingGateway(echo) as gateway:
        with pytest.raises(error):
            async with connect(gateway.url, CANISTER_ID, **options):
                pass
        assert gateway.closes.empty()


async def test_a_canister_id_may_be_text() -> None:
    async with LyingGateway(echo) as gateway:
        with pytest.raises(Malformed):
            async with connect(gateway.url, "bkyz2-fmaaa-aaaaa-qaaaq-caj", root_key=ROOT.public_key):
                pass
        async with connect(
            gateway.url,
            str(Principal(CANISTER_ID)),
            identity=CLIENT,
            root_key=ROOT.public_key.hex(),
            clock=lambda: NOW_NS,
        ):
            pass
