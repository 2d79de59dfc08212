"""TLS records of one byte: they wait for their turn before they are decrypted, and too many close the client."""

import asyncio
import contextlib
import random
import ssl

import pytest
from websockets.frames import Frame, Opcode

from appliance.config.schema import Tls
from appliance.gateway.recording.measurements import Counters
from appliance.gateway.sockets.tls.loading import load_tls
from appliance.gateway.sockets.tls.records import OF_FRAME, ORDINARY, TlsRecords
from appliance.gateway.sockets.turns import DIRECT, EACH, WAITING, Turns
from tests.gateway.bench import until
from tests.gateway.served import served
from tests.gateway.sockets.accepting.test_arrivals import tls_of
from tests.gateway.sockets.test_connection_machine import UPGRADE, Transport, masked


class Received(asyncio.Protocol):
    """What the connection gets."""

    def __init__(self) -> None:
        self.data = b""
        self.transport = None
        self.is_lost = self.pauses = False

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        if self.pauses:
            self.transport.pause_reading()

    def connection_lost(self, exc) -> None:
        self.is_lost = True


class Socket(Transport):
    """A transport without a socket, also as the protocols of TLS use it."""

    def get_extra_info(self, name, default=None):
        return default

    def is_closing(self) -> bool:
        return self.connection is None

    def _force_close(self, exc) -> None:
        self.close()


class Stage:
    """A client with TLS, whose bytes the test passes on."""

    def __init__(self, pair) -> None:
        self.turns = Turns(Counters())
        self.held = 0
        self.records = TlsRecords(self.turns, self._hold)
        self.received = Received()
        self.shaken = self.records.decrypt(self.received, load_tls(Tls(certificate=pair[0], key=pair[1])), 60.0)
        self.socket = Socket()
        self.socket.connection = self.records
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        trust = ssl.create_default_context(cafile=pair[0])
        self._client = trust.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    def _hold(self, number: int) -> None:
        self.held += number

    async def shake_hands(self) -> None:
        self.records.connection_made(self.socket)
        while not self.shaken.done() or self.received.transport is None:
            with contextlib.suppress(ssl.SSLWantReadError):
                self._client.do_handshake()
            if data := self._outgoing.read():
                self.records.data_received(data)
            self._incoming.write(self.socket.written)
            self.socket.written = b""
            await asyncio.sleep(0)
        await self.shaken

    def encrypted(self, data: bytes, size: int = 1) -> bytes:
        """The data in records of so many bytes."""
        for at in range(0, len(data), size):
            self._client.write(data[at : at + size])
        return self._outgoing.read()

    async def leave(self) -> None:
        self.socket.close()
        await until(lambda: self.received.is_lost)
        assert self.held == len(self.turns) == 0


@pytest.fixture
async def stage(pair):
    made = Stage(pair)
    await made.shake_hands()
    yield made
    await made.leave()


async def test_a_read_full_of_small_records_is_decrypted_in_turns(stage: Stage) -> None:
    data = random.Random(1).randbytes(4000)
    stage.records.data_received(stage.encrypted(data))
    assert len(stage.received.data) <= EACH * OF_FRAME
    assert not stage.socket.is_read
    assert stage.held > 20 * (len(data) - EACH * OF_FRAME)
    while not stage.socket.is_read:
        before = len(stage.received.data)
        await asyncio.sleep(0)
        assert len(stage.received.data) - before <= max(EACH, WAITING) * OF_FRAME
    assert stage.received.data == data
    assert stage.held == 0


async def test_the_stream_is_the_same_in_whatever_pieces_and_records_it_comes(stage: Stage) -> None:
    chance, sent = random.Random(2), b""
    for _ in range(40):
        data = chance.randbytes(chance.choice([1, 10, 1000, 40_000]))
        sent += data
        stream = stage.encrypted(data, max(1, chance.choice([len(data) // 50, 16_000])))
        while stream:
            size = chance.choice([1, 3, 5, 100, 100_000])
            stage.records.data_received(stream[:size])
            stream = stream[size:]
            if chance.random() < 0.1:
                await asyncio.sleep(0)
    await until(lambda: not stage.turns)
    assert stage.received.data == sent
    assert stage.socket.is_read


async def test_while_the_client_is_not_read_nothing_is_decrypted_and_afterwards_it_is_in_turns(stage: Stage) -> None:
    """Decrypting goes on where it was: all at once would be what is avoided."""
    data = bytes(3000)
    stage.received.transport.pause_reading()
    assert not stage.socket.is_read
    stage.records.data_received(stage.encrypted(data))
    await asyncio.sleep(0)
    assert stage.received.data == b""
    stage.received.transport.resume_reading()
    assert stage.received.data == b"", "whoever resumes may be handling a frame"
    assert not stage.socket.is_read
    await asyncio.sleep(0)
    assert 0 < len(stage.received.data) <= DIRECT * OF_FRAME
    await until(lambda: stage.socket.is_read)
    assert stage.received.data == data


async def test_whoever_is_not_read_from_the_middle_of_its_records_on_keeps_the_rest(stage: Stage) -> None:
    stage.received.pauses = True
    stage.records.data_received(stage.encrypted(bytes(3000)))
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(stage.received.data) <= EACH * OF_FRAME
    stage.received.pauses = False
    stage.received.transport.resume_reading()
    await until(lambda: stage.socket.is_read)
    assert len(stage.received.data) == 3000


async def test_a_client_that_is_gone_while_its_records_wait_leaves_nothing(stage: Stage) -> None:
    stage.records.data_received(stage.encrypted(bytes(3000)))
    assert len(stage.turns) == 1
    await stage.leave()
    assert len(stage.received.data) < 3000


async def test_what_is_no_record_ends_the_socket(stage: Stage) -> None:
    stage.records.data_received(b"GET / HTTP/1.1\r\n\r\n" * 4000)
    await until(lambda: stage.received.is_lost)
    assert stage.received.data == b""


async def test_only_records_that_are_small_for_their_bytes_count_as_frames(stage: Stage) -> None:
    stage.records.surplus()
    # Large messages of programs in Go begin with records of 1,400 bytes each, as many as a packet of TCP has.
    for size, frames in ((ORDINARY, 0), (1400, 0), (16_000, 0), (1, 400 // OF_FRAME)):
        stage.records.data_received(stage.encrypted(bytes(400 * size), size))
        await until(lambda: not stage.turns)
        assert frames - 2 <= stage.records.surplus() <= frames
    stage.records.data_received(stage.encrypted(b"x", 1))
    assert stage.records.surplus() == 0
    for _ in range(OF_FRAME):
        stage.records.data_received(stage.encrypted(b"x", 1))
    assert stage.records.surplus() == 1, "few at a time add up"


async def test_too_many_small_records_close_with_4108_and_others_are_served(pair) -> None:
    trust = ssl.create_default_context(cafile=pair[0])
    limits = {"frames_per_connection": {"rate": "1/h", "burst": 100}}
    async with served(gateway={"tls": tls_of(pair)}, rate_limits=limits) as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.listener.port, ssl=trust)
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        message = masked(Frame(Opcode.BINARY, bytes(5000)))
        for byte in message:  # one frame, in as many records as it has bytes
            writer.write(bytes([byte]))
        assert (4108).to_bytes(2, "big") + b"rate limit exceeded: frames 1/h" in await reader.readuntil(b"burst 100")
        writer.close()
        async with it.session(ssl=trust) as (client, socket):
            await socket.send(client.message(b"x" * 60_000))
            await until(lambda: it.canister.received)
        await it.nobody()
