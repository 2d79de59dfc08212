"""Questions and answers at a peer address, on real sockets."""

import asyncio
import secrets

import pytest

from appliance.cluster.registry import peers
from appliance.cluster.registry.peers import Answering, answer, ask, outcome, question
from appliance.cluster.seal import Seal
from appliance.crypto import SigningKey
from appliance.errors import PeerAddressUnusable
from appliance.ic.identity import KeyIdentity
from tests.cluster.nodes import SEAL, until
from tests.cluster.redis_server import free_port

OTHER = Seal(KeyIdentity(SigningKey.generate("ed25519")), "main")
ME, ANOTHER = "a" * 16, "b" * 16


@pytest.fixture(params=["tcp", "unix"])
def address(request: pytest.FixtureRequest, tmp_path) -> str:
    return f"127.0.0.1:{free_port()}" if request.param == "tcp" else f"unix:{tmp_path / 'peer.sock'}"


async def test_a_process_that_lives_answers_and_one_that_is_gone_does_not(address):
    answering = Answering(lambda: [OTHER, SEAL], lambda: ME)
    assert await ask(address, ME, SEAL) == "silent"
    async with answering.at(address):
        assert await ask(address, ME, SEAL) == "answered"
        assert await ask(address, ANOTHER, SEAL) == "another"
        assert await ask(address, ME, Seal(KeyIdentity(SigningKey.generate("ed25519")), "main")) == "silent"
        assert answering.counts == {"answered": 2, "refused": 1}
    assert await ask(address, ME, SEAL) == "silent"
    async with answering.at(address):  # also where a process that was killed left its socket
        assert await ask(address, ME, SEAL) == "answered"


async def test_an_address_that_is_taken_is_refused_with_a_sentence():
    port = free_port()
    async with Answering(lambda: [SEAL], lambda: ME).at(f"127.0.0.1:{port}"):
        with pytest.raises(PeerAddressUnusable, match=str(port)):
            async with Answering(lambda: [SEAL], lambda: ME).at(f"127.0.0.1:{port}"):
                pass


async def test_whoever_says_nothing_or_too_little_gets_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(peers, "ANSWERED_WITHIN_S", 0.05)
    address = f"unix:{tmp_path / 'peer.sock'}"
    async with Answering(lambda: [SEAL], lambda: ME).at(address):
        for said in (b"", b"GET / HTTP/1.1\r\n\r\n", b"x" * peers.QUESTION_BYTES):
            reader, writer = await asyncio.open_unix_connection(address.removeprefix("unix:"))
            writer.write(said)
            assert await reader.read() == b""
            writer.close()


async def test_a_flood_of_connections_is_bounded(monkeypatch, tmp_path):
    monkeypatch.setattr(peers, "AT_ONCE", 2)
    address = f"unix:{tmp_path / 'peer.sock'}"
    answering = Answering(lambda: [SEAL], lambda: ME)
    async with answering.at(address):
        waiting = [await asyncio.open_unix_connection(address.removeprefix("unix:")) for _ in range(5)]
        await until(lambda: answering.counts["refused"] == 3)
        for _, writer in waiting:
            writer.close()


def test_an_answer_to_another_question_proves_nothing():
    nonce, other = secrets.token_bytes(16), secrets.token_bytes(16)
    said = answer(question(ME, nonce, SEAL), [SEAL], ME)
    assert said is not None
    assert outcome(said, ME, nonce, SEAL) == "answered"
    assert outcome(said, ME, other, SEAL) == "silent"
    assert outcome(said, ANOTHER, nonce, SEAL) == "silent"
    assert outcome(ANOTHER.encode() + said[16:], ME, nonce, SEAL) == "silent"
    assert outcome(b"", ME, nonce, SEAL) == "silent"
    assert answer(question(ME, nonce, OTHER), [SEAL], ME) is None
