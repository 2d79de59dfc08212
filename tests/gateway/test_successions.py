"""One session for each principal: the canister forgets the others without a word."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto import SigningKey
from appliance.errors import CallExpired, CanisterForgot, SessionReplaced
from appliance.gateway.journal.journal import NoJournal
from appliance.gateway.successions import Successions
from appliance.ic.principal import Principal
from appliance.protocol.events import Call, Join
from tests.gateway.bench import Bench, until
from tests.gateway.clients import CANISTER, Client
from tests.gateway.fake_ic import FakeCanister, FakeIc, err
from tests.gateway.of_v1 import V1, of_v1, opened_v1


class Holder:
    def __init__(self) -> None:
        self.error: Exception | None = None

    def forgotten(self, error: Exception) -> None:
        assert self.error is None, "closed twice"
        self.error = error


def join(principal: bytes) -> Join:
    return Join("v2", CANISTER, b"key", "", Call(CANISTER, "ws_open", b""), b"", principal)


@given(st.lists(st.booleans(), max_size=6))
def test_of_the_sessions_of_a_principal_the_one_that_opened_last_stays(leaving):
    it, mine = Successions(), join(b"principal")
    holders = [Holder() for _ in leaving]
    for number, leaves in enumerate(leaving):
        it.opened(mine, holders[number])
        here = [place for place, each in enumerate(holders[: number + 1]) if each.error is None and not leaving[place]]
        assert here == ([] if leaves else [number])
        if leaves:
            it.left(mine, holders[number])
    for holder in holders:
        it.left(mine, holder)
    assert it._holders == {}


def test_other_principals_and_generations_without_principals_are_left_alone():
    it = Successions()
    holders = [Holder() for _ in range(4)]
    for principal, holder in zip((b"one", b"two", b"", b""), holders, strict=True):
        it.opened(join(principal), holder)
    assert not any(holder.error for holder in holders)


async def test_a_second_session_of_a_principal_closes_the_first_without_a_close_call():
    async with Bench() as bench:
        key = SigningKey.generate("ed25519")
        _, first = await bench.opened(Client(key=key))
        client, second = await bench.opened(Client(key=key))
        await until(lambda: first.is_gone and not bench.gateway.pending_close_calls)
        assert isinstance(first.error, SessionReplaced)
        assert str(Principal(client.client_key[:-8])) in str(first.error)
        assert second.error is None
        assert bench.canister.left == [], "a close call of v1 would end the new session"


async def test_the_newest_session_stays_where_the_identity_was_rotated_meanwhile():
    """Each identity has a queue of its own, and the nonces of one say nothing about the other."""
    async with Bench() as bench:
        key, identity = SigningKey.generate("ed25519"), Principal.self_authenticating(b"the next identity")
        await bench.opened()
        _, first = await bench.opened(Client(key=key))
        bench.gateway.rotate(identity, FakeIc(FakeCanister(CANISTER, identity)), NoJournal())
        second = bench.connect()
        second.receive(Client(key=key).open(gateway=identity))
        await until(lambda: first.error or second.error)
        assert isinstance(first.error, SessionReplaced)
        assert second.error is None


async def test_the_newest_session_stays_where_the_canister_has_restarted_its_queue_meanwhile():
    async with Bench() as bench:
        key = SigningKey.generate("ed25519")
        await bench.opened()
        client, first = await bench.opened(Client(key=key))
        first.lose, lose = lambda: None, first.lose  # its client is not heard of any more: the close takes its time
        bench.canister.install()
        second = bench.connect()
        second.receive(Client(key=key).open())
        await until(lambda: bench.wake_ups[0].tick() or second.was_opened)
        assert isinstance(first.error, CanisterForgot)
        assert second.error is None
        lose()
        await until(lambda: not bench.gateway.pending_close_calls)
        assert client.client_key not in bench.canister.left


async def test_a_session_that_was_replaced_gets_no_close_call_though_its_opening_call_failed_since():
    async with Bench() as bench:
        key, gate, submit = SigningKey.generate("ed25519"), asyncio.Event(), bench.ic.submit

        async def unanswered(request, /, *, route=None):
            await submit(request, route=route)
            await gate.wait()
            raise CallExpired(request.method_name, "no answer")

        bench.ic.submit = unanswered
        first = bench.connect()
        first.receive(Client(key=key).open())
        await until(lambda: bench.wake_ups[0].tick() or first.was_opened)
        bench.ic.submit = submit
        _, second = await bench.opened(Client(key=key))
        await until(lambda: first.is_gone)
        gate.set()
        await until(lambda: not bench.gateway.pending_close_calls)
        assert isinstance(first.error, SessionReplaced)
        assert second.error is None
        assert bench.canister.left == []


# --- v1, whose canisters end the session of a principal by the close call of an earlier one ---------------------------


async def replacing(bench: Bench, gate: asyncio.Event):
    """A client that is open, and another of its principal whose opening message the canister gets after the gate."""
    key = SigningKey.generate("ed25519")
    _, first = await opened_v1(bench, key)

    async def wait(_) -> None:
        await gate.wait()

    bench.ic.before_submit = wait
    second, client = of_v1(bench), Client(key=key)
    second.receive(client.open())
    await until(lambda: second.peer.first_nonce == 0)  # it leaves
    return first, client, second


async def test_an_old_session_that_leaves_while_its_principal_opens_does_not_end_the_new_one():
    async with Bench(**V1) as bench:
        gate = asyncio.Event()
        first, _, second = await replacing(bench, gate)
        first.lose()
        for _ in range(50):
            await asyncio.sleep(0)
        assert bench.canister.left == [], "the call could be executed after the opening"
        gate.set()
        await until(lambda: second.was_opened and not bench.gateway.pending_close_calls)
        assert bench.canister.left == []


async def test_an_old_session_that_leaves_when_the_new_one_is_accepted_but_not_open_does_not_end_it():
    async with Bench(**V1) as bench:
        gate = asyncio.Event()
        first, _, second = await replacing(bench, gate)
        bench.canister.send = nothing_sent  # the first message of the session is late
        gate.set()
        await until(lambda: second.peer.timeline.relayed == 1)
        first.lose()
        for _ in range(50):
            await asyncio.sleep(0)
        assert not second.was_opened
        assert bench.canister.left == []
        del bench.canister.send
        bench.canister.send(second.peer.join.client_key)
        await until(lambda: bench.wake_ups[0].tick() or second.was_opened)
        await until(lambda: not bench.gateway.pending_close_calls)
        assert bench.canister.left == []


def nothing_sent(*_: object, **__: object) -> None:
    pass


async def test_an_old_session_is_told_of_once_the_new_one_has_failed():
    async with Bench(**V1) as bench:
        gate = asyncio.Event()
        first, _, second = await replacing(bench, gate)
        old = first.peer.join.client_key
        bench.canister.on_open = lambda key: err("not today")
        first.lose()
        gate.set()
        await until(lambda: second.is_gone and not bench.gateway.pending_close_calls)
        assert bench.canister.left == [old]


async def test_of_two_that_open_together_and_leave_each_is_told_of_once_nothing_more_can_open():
    async with Bench(**V1) as bench:
        gate = asyncio.Event()
        first, client, second = await replacing(bench, gate)
        old = first.peer.join.client_key
        first.lose()
        second.lose()
        gate.set()
        await until(lambda: not bench.gateway.pending_close_calls)
        assert sorted(bench.canister.left) == sorted([old, client.client_key])
        _, third = await opened_v1(bench, client.key)
        assert third.error is None
