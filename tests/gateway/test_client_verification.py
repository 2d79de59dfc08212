"""Messages that are dear to verify: off the loop, in their order, and no address takes more than its share."""

import asyncio
import threading
import time

import pytest

from appliance.crypto import Verifier
from appliance.errors import ClosedByOperator, EnvelopeExpired, SignatureInvalid
from appliance.gateway import client_verification as module
from appliance.gateway.client_verification import ClientVerification
from appliance.threads import Threads
from tests.gateway import virtual_time
from tests.gateway.bench import Bench, until
from tests.gateway.clients import Client, DelegatedClient
from tests.gateway.fake_ic import ROOT
from tests.gateway.served import served


def test_only_what_costs_one_ordinary_signature_is_verified_at_once():
    verifier, now_ns = Verifier(ROOT.public_key), time.time_ns()
    plain, delegated = Client(), DelegatedClient(links=3)
    assert verifier.open_envelope_if_cheap(plain.open(), now_ns=now_ns).sender == plain.principal
    frame = delegated.open()
    assert verifier.open_envelope_if_cheap(frame, now_ns=now_ns) is None
    assert verifier.open_envelope(frame, now_ns=now_ns).sender == delegated.principal
    again = verifier.open_envelope_if_cheap(delegated.message(), now_ns=now_ns)
    assert again is not None, "the chain is known now"
    with pytest.raises(SignatureInvalid):
        verifier.open_envelope_if_cheap(delegated.message(break_signature=True), now_ns=now_ns)
    with pytest.raises(SignatureInvalid):
        verifier.open_envelope_if_cheap(plain.message(break_signature=True), now_ns=now_ns)


async def test_the_order_is_kept_and_a_known_chain_is_verified_at_once():
    async with served() as it, it.websocket() as socket:
        client = DelegatedClient(links=5)
        await socket.send(client.open())
        for number in range(5):
            await socket.send(client.message(b"%d" % number))
        await until(lambda: len(it.canister.received) == 5)
        assert [payload for _, payload in it.canister.received] == [b"0", b"1", b"2", b"3", b"4"]
        assert it.gateway.verification.messages == 1
        assert it.gateway.verification.waiting == 0


async def test_a_large_message_is_verified_off_the_loop_too():
    async with served() as it, it.session() as (client, socket):
        await socket.send(client.message(b"x" * 100_000))
        await socket.send(client.message(b"y"))
        await until(lambda: len(it.canister.received) == 2)
        assert [len(payload) for _, payload in it.canister.received] == [100_000, 1]
        assert it.gateway.verification.messages == 1


@pytest.mark.parametrize("kind", [Client, DelegatedClient])
async def test_a_signature_that_is_wrong_closes_the_client(kind):
    async with Bench() as bench:
        shell = bench.connect()
        shell.receive(kind().open(break_signature=True))
        await until(lambda: shell.error)
        assert isinstance(shell.error, SignatureInvalid)


async def test_a_client_that_leaves_meanwhile_does_not_join(monkeypatch):
    gate, opened = threading.Event(), Verifier.open_envelope
    async with Bench() as bench:
        envelopes = bench.gateway.epochs.envelopes
        shell, client = bench.connect(), DelegatedClient()

        def slow(frame, *, now_ns):
            gate.wait(30)
            return opened(envelopes.verifier, frame, now_ns=now_ns), None

        monkeypatch.setattr(type(envelopes), "open", lambda self, frame, *, now_ns: slow(frame, now_ns=now_ns))
        shell.receive(client.open())
        assert not shell.is_read
        shell.lose()
        gate.set()
        await until(lambda: not len(bench.gateway.tasks))
        assert len(bench.gateway.hub) == 0
        assert bench.canister.clients == {}


async def test_one_address_has_one_at_a_time_and_does_not_hold_up_another():
    gate, verification = threading.Event(), ClientVerification(1, Threads("test", 2))
    greedy = [asyncio.ensure_future(verification.run(f"2001:db8::{number}", gate.wait)) for number in range(50)]
    await until(lambda: verification.waiting == 50)
    assert await asyncio.wait_for(verification.run("2001:db9::1", lambda: 7), 30) == 7
    gate.set()
    assert await asyncio.gather(*greedy) == [True] * 50
    assert (verification.messages, verification.waiting) == (51, 0)
    await until(lambda: not verification._addresses)


async def test_work_that_is_cancelled_before_its_turn_is_never_done():
    gate, done, verification = threading.Event(), [], ClientVerification(1, Threads("test", 1))
    first = asyncio.ensure_future(verification.run("192.0.2.1", lambda: gate.wait(30)))
    waiting = [asyncio.ensure_future(verification.run("192.0.2.1", lambda: done.append(1))) for _ in range(50)]
    await until(lambda: verification.waiting == 51)
    for each in waiting:
        each.cancel()
    await until(lambda: verification.waiting == 1)
    gate.set()
    assert await first
    await verification.run("192.0.2.1", int)
    assert done == []


async def test_an_address_keeps_its_turn_until_a_thread_that_nobody_waits_for_is_done():
    gate, begun, verification = threading.Event(), threading.Event(), ClientVerification(1, Threads("test", 2))
    left = asyncio.ensure_future(verification.run("192.0.2.1", lambda: begun.set() or gate.wait(30)))
    await until(begun.is_set)
    left.cancel()
    after = asyncio.ensure_future(verification.run("192.0.2.1", gate.is_set))
    assert await verification.run("192.0.2.2", lambda: True), "the second thread is free"
    gate.set()
    assert await after
    assert left.cancelled()


async def test_a_message_that_expires_while_it_waits_for_its_turn_is_refused():
    async with Bench() as bench:
        gate, (client, shell) = threading.Event(), await bench.opened()
        work = bench.gateway.verification.run(shell.peer.source.address, lambda: gate.wait(30))
        before = asyncio.ensure_future(work)
        await until(lambda: bench.gateway.verification.waiting == 1)
        expiry_ns = time.time_ns() + 60 * 10**9
        shell.receive(client.message(b"x" * 100_000, expiry_ns=expiry_ns))
        await until(lambda: bench.gateway.verification.waiting == 2)
        bench.gateway.clock = lambda: expiry_ns + 1
        gate.set()
        await until(lambda: shell.error)
        assert isinstance(shell.error, EnvelopeExpired)
        await before


async def test_a_client_that_is_closed_meanwhile_does_not_join_and_its_message_is_counted_until_then():
    async with served() as it, it.websocket() as socket:
        gate, holdings = threading.Event(), it.gateway.limits.holdings
        other = asyncio.ensure_future(it.gateway.verification.run("127.0.0.1", lambda: gate.wait(30)))
        await until(lambda: it.gateway.verification.waiting == 1)
        before, frame = holdings.bytes, DelegatedClient().open()
        await socket.send(frame)
        await until(lambda: it.gateway.verification.waiting == 2)
        assert holdings.bytes == before + len(frame)
        (peer,) = it.gateway.connections
        peer.fail(ClosedByOperator())
        await until(lambda: it.gateway.verification.waiting == 1)
        gate.set()
        await other
        await it.nobody()
        assert (it.counters.joined, it.gateway.verification.messages, holdings.bytes) == (0, 1, 0)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_an_address_takes_its_share_of_a_thread_however_its_clients_come(share, monkeypatch):
    """Each message takes a second here, and time stands still meanwhile."""
    ticks = iter(range(1_000_000))
    monkeypatch.setattr(module.time, "thread_time", lambda: next(ticks))

    async def work() -> None:
        verification, loop = ClientVerification(share), asyncio.get_running_loop()
        for _ in range(10):
            await verification.run("192.0.2.1", int)
        await asyncio.gather(*(verification.run("192.0.2.1", int) for _ in range(10)))
        assert loop.time() == pytest.approx(19 * (1 / share - 1))
        await verification.run("192.0.2.2", int)
        assert loop.time() == pytest.approx(19 * (1 / share - 1)), "another address does not wait"
        assert verification.seconds == 21

    virtual_time.run(work)
