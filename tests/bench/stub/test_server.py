"""The stub's HTTP server over a real socket."""

import asyncio
import json
from urllib.parse import urlsplit

import pytest

from appliance.bench.stub.replica import StubReplica
from appliance.bench.stub.server import Latencies, StubIc
from appliance.bench.stub.serving import serving
from appliance.bench.target import BenchFailed
from appliance.bench.testbed import canister, command_stub
from appliance.crypto import decode_cbor, encode_cbor
from tests.gateway.virtual_time import run

CANISTER = canister(0)


async def exchange(url: str, *pieces: bytes, replies: int = 1) -> list[tuple[int, bytes]]:
    """Write the pieces one by one; returns status and body of each reply."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    found = []
    for _ in range(replies):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.partition("content-length: ")[2].split()[0])
        found.append((int(head.split()[1]), await reader.readexactly(length)))
    writer.close()
    await writer.wait_closed()
    return found


def post(path: str, body: bytes = b"") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: stub\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def test_the_status_has_the_root_key() -> None:
    async with serving(seed="tests") as stub:
        ((code, body),) = await exchange(stub.url, b"GET /api/v2/status HTTP/1.1\r\n\r\n")
        status = decode_cbor(body)
    assert code == 200
    assert isinstance(status, dict)
    assert status["root_key"] == stub.replica.authority.root_key


async def test_equal_seeds_give_equal_keys() -> None:
    async with serving(seed="tests") as one, serving(seed="tests") as same, serving() as other:
        keys = [stub.replica.authority.root_key for stub in (one, same, other)]
    assert keys[0] == keys[1] != keys[2]


async def test_requests_may_arrive_in_pieces_and_together() -> None:
    request = post("/bench/served", b"{}")
    async with serving() as stub:
        in_pieces = await exchange(stub.url, *(bytes([byte]) for byte in request))
        together = await exchange(stub.url, request * 3, replies=3)
    assert [code for code, _ in in_pieces + together] == [200] * 4
    assert json.loads(together[2][1])["polls"] == 0


@pytest.mark.parametrize(
    ("request_bytes", "code", "words"),
    [
        (b"nonsense\r\n\r\n", 400, b"no HTTP/1.1 request"),
        (post("/elsewhere"), 404, b"does not serve"),
        (post("/bench/dance"), 400, b"there is no command 'dance'"),
        (post("/bench/release", b"{}"), 400, b"canister"),
        (post("/bench/served", b"{"), 400, b"unexpected end of data"),
        (post(f"/api/v3/canister/{CANISTER}/query", b"\xa0"), 400, b"it has no content"),
    ],
)
async def test_a_wrong_request_is_refused_and_the_connection_lives_on(
    request_bytes: bytes, code: int, words: bytes
) -> None:
    async with serving() as stub:
        refused, next_one = await exchange(stub.url, request_bytes, post("/bench/served"), replies=2)
    assert refused[0] == code
    assert words in refused[1]
    assert next_one[0] == 200


async def test_commands_set_response_and_latencies() -> None:
    async with serving() as stub:
        latencies = [0.5, [1.0, 2.0], [0.1, 0.2], 0.02]
        answer = await command_stub(stub.url, "configure", response="none", latencies=latencies)
        assert answer == {"root_key": stub.replica.authority.root_key.hex()}
        assert stub.replica.response == "none"
        assert stub.latencies == Latencies(0.5, (1.0, 2.0), (0.1, 0.2), 0.02)


async def test_a_refused_command_is_a_failure_that_names_it() -> None:
    async with serving() as stub:
        with pytest.raises(BenchFailed, match="refused the command dance"):
            await command_stub(stub.url, "dance")
    with pytest.raises(BenchFailed, match="there is no stub IC at"):
        await command_stub(stub.url, "served")


def test_a_request_and_its_reply_spend_half_of_the_round_trip_on_the_way_each() -> None:
    async def work() -> None:
        stub, loop = StubIc(StubReplica()), asyncio.get_running_loop()
        stub.latencies = Latencies(round_trip_s=0.5)
        replies: list[tuple[float, int]] = []
        poll = encode_cbor({"content": {"method_name": "ws_get_messages", "canister_id": CANISTER, "arg": bytes(8)}})
        for body in (poll, b"nonsense"):
            stub.handle(
                f"/api/v2/canister/{CANISTER}/query".encode(),
                body,
                lambda status, _: replies.append((round(loop.time(), 6), status)),
            )
        await asyncio.sleep(0.3)
        assert (stub.replica.served.polls, replies) == (1, [])
        await asyncio.sleep(0.3)
        assert replies == [(0.5, 200), (0.5, 400)]

    run(work)
