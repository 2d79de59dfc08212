"""Endpoints that lie, lag and refuse, against canisters that certify. No clock."""

import copy
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import (
    ClientKeyMismatch,
    ForeignQueue,
    HoleInReply,
    MessagesLost,
    MessageUnreadable,
    QueueTooLarge,
    UncertifiedReject,
)
from appliance.gateway.polling.poller import TOO_LARGE_SHOWN_NS
from appliance.ic.principal import Principal
from tests.gateway.clients import CANISTER
from tests.gateway.fake_ic import FakeCanister
from tests.gateway.polling.test_poller import Setup, StrictMember

ONE, TWO, THREE = "http://one", "http://two", "http://three"


def setup(*endpoints: str, members: int = 1, **options):
    it = Setup(**options)
    it.member_type = StrictMember
    it.ic.endpoints = list(endpoints)
    return it, [it.member() for _ in range(members)]


async def test_a_client_key_beside_the_content_that_is_not_the_certified_one_is_the_endpoints_trouble():
    it, [(key, member)] = setup(ONE, TWO)
    it.canister.send(key, b"payload")
    beside = b"\x01" + bytes([len(key) - 8]) + key[:-8]  # a principal in Candid
    wrong = beside[:2] + bytes([beside[2] ^ 1]) + beside[3:]
    assert it.canister.poll(0).count(beside) == 1
    it.ic.liars = {ONE: lambda nonce: it.canister.poll(nonce).replace(beside, wrong)}
    await it.poller.poll()
    assert (it.ic.asked, it.ic.failed, len(member.frames)) == ([ONE, TWO], [ONE], 1)
    it.ic.endpoints, it.ic.asked = [ONE], []
    it.canister.send(key, b"more")
    await it.poller.poll()
    assert isinstance(it.poller.last_error, ClientKeyMismatch)
    assert it.position.next_nonce == 1


@pytest.mark.parametrize("nonce", [0, 1, 2**63, 2**64 - 1])
async def test_the_queue_of_another_gateway_neither_delivers_nor_moves_the_next_nonce(nonce):
    it, [(key, member)] = setup(ONE, TWO)
    it.canister.send(key)
    await it.poller.poll()
    foreign = FakeCanister(CANISTER, Principal(b"gateway of somebody else"[:29]))
    foreign.nonce = nonce
    foreign.send(key, b"evil")
    it.ic.liars = {TWO: lambda _: foreign.poll(0)}
    it.canister.send(key)
    await it.poller.poll()
    assert it.ic.failed == [TWO]
    assert (it.position.next_nonce, len(member.frames)) == (2, 2)
    it.ic.endpoints = [TWO]
    it.ic.asked.clear()
    await it.poller.poll()
    assert isinstance(it.poller.last_error, ForeignQueue)
    assert (it.position.next_nonce, len(member.frames)) == (2, 2)


async def test_a_message_left_out_is_asked_for_again_at_another_endpoint_in_the_same_poll():
    it, [(key, member)] = setup(ONE, TWO)
    for _ in range(5):
        it.canister.send(key)
    it.ic.liars = {ONE: it.canister.without(2).poll}
    await it.poller.poll()
    assert (it.ic.asked, it.ic.failed) == ([ONE, TWO], [ONE])
    assert (len(member.frames), it.counters.lost, member.error) == (5, 0, None)


async def test_a_hole_that_every_endpoint_confirms_is_passed_and_the_clients_are_closed():
    it, [(key, member), (other, bystander), (_, silent)] = setup(ONE, TWO, THREE, members=3)
    it.canister.send(other)
    for _ in range(2):
        it.canister.send(key)
    it.canister.send(other)
    it.canister.send(key)
    silent.frames.append(b"open")
    it.ic.liars = dict.fromkeys(it.ic.endpoints, it.canister.without(1, 2).poll)
    await it.poller.poll()
    assert it.ic.asked == [ONE, TWO, THREE]
    assert (it.position.next_nonce, it.counters.lost, it.counters.gaps) == (5, 2, 1)
    assert (member.frames, len(bystander.frames)) == ([], 2)
    assert isinstance(member.error, MessagesLost), "its numbers show that it did"
    assert isinstance(silent.error, MessagesLost), "it may have missed one"
    assert bystander.error is None, "its numbers show that it missed none"


async def test_a_certified_message_that_does_not_decode_is_lost_for_its_client_alone_when_every_endpoint_shows_it():
    it, [(key, member), (other, bystander), (_, listener)] = setup(ONE, TWO, members=3)
    listener.frames.append(b"open")
    it.canister.send(key)
    it.canister.enqueue(key, b"no content of this protocol")
    it.canister.send(other)
    await it.poller.poll()
    assert (it.ic.asked, it.ic.failed) == ([ONE, TWO], [ONE])
    assert (it.position.next_nonce, it.counters.lost, it.counters.gaps) == (3, 1, 0)
    assert isinstance(member.error, MessagesLost)
    assert (bystander.error, listener.error, len(bystander.frames)) == (None, None, 1)
    assert it.poller.state == "ok"


@pytest.mark.parametrize("mode", ["enforce", "report", "off"])
async def test_the_same_at_a_single_endpoint_and_where_it_is_the_last_message_of_the_queue(mode):
    it, [(key, member)] = setup(ONE, mode=mode)
    it.canister.enqueue(key, b"no content of this protocol")
    await it.poller.poll()
    assert isinstance(it.poller.last_error, MessageUnreadable)
    assert (it.position.next_nonce, member.error) == (0, None)
    await it.poller.poll()
    assert it.position.next_nonce == 1
    assert isinstance(member.error, MessagesLost)
    newcomer, other = it.member()
    it.position.opening_began()
    it.canister.send(newcomer)
    await it.poller.poll()
    assert (it.counters.resets, len(other.frames)) == (0, 1), "the message that did not decode is an anchor as others"


async def test_a_liar_that_names_another_client_of_a_message_that_does_not_decode_makes_all_come_back():
    it, [(key, member), (other, bystander)] = setup(ONE, TWO, members=2)
    bystander.frames.append(b"open")
    member.frames.append(b"open")
    it.canister.enqueue(key, b"no content of this protocol")
    lie = copy.copy(it.canister)
    lie.queue = deque([(0, other, b"no content of this protocol")])
    it.ic.liars = {ONE: lie.poll}
    await it.poller.poll()
    assert (it.position.next_nonce, it.counters.lost) == (1, 1)
    assert isinstance(member.error, MessagesLost)
    assert isinstance(bystander.error, MessagesLost)


async def test_one_endpoint_that_leaves_a_message_out_is_asked_twice():
    it, [(key, _)] = setup(ONE)
    for _ in range(3):
        it.canister.send(key)
    it.ic.liars = {ONE: it.canister.without(1).poll}
    await it.poller.poll()
    assert isinstance(it.poller.last_error, HoleInReply)
    assert it.position.next_nonce == 0
    await it.poller.poll()
    assert (it.position.next_nonce, it.counters.lost) == (3, 1)


async def test_a_reply_that_begins_later_than_asked_is_believed_when_a_second_one_agrees():
    it, [(key, member)] = setup(ONE, TWO)
    it.canister.send(key)
    await it.poller.poll()
    for _ in range(4):
        it.canister.send(key)
    it.ic.liars = {TWO: lambda _: it.canister.poll(3)}
    await it.poller.poll()
    assert (it.ic.asked, it.ic.failed) == ([ONE, TWO, ONE], [])
    assert (len(member.frames), it.counters.lost) == (5, 0)
    for _ in range(4):
        it.canister.send(key)
    it.ic.liars = {ONE: lambda _: it.canister.poll(7), TWO: lambda _: it.canister.poll(7)}
    await it.poller.poll()
    assert (it.position.next_nonce, it.counters.lost) == (9, 2)
    assert it.poller.state == "ok"


@settings(max_examples=30, deadline=None)
@given(st.data())
async def test_whatever_some_endpoints_leave_out_the_honest_one_is_heard(data):
    it, clients = setup(ONE, TWO, THREE, members=3, batch=data.draw(st.integers(1, 6)))
    # Each has its opening message: whoever waits for that one is closed when it does not come in time.
    for key, _ in clients:
        it.canister.send(key)
    for _ in range(3):
        await it.poller.poll()
    for endpoint in data.draw(st.sampled_from([(ONE,), (TWO,), (ONE, TWO), (ONE, THREE)])):
        left_out = data.draw(st.sets(st.integers(3, 23)))
        it.ic.liars[endpoint] = lambda nonce, left_out=left_out: it.canister.without(*left_out).poll(nonce)
    sent = dict.fromkeys((key for key, _ in clients), 1)
    for key in data.draw(st.lists(st.sampled_from([key for key, _ in clients]), max_size=20)):
        it.canister.send(key)
        sent[key] += 1
    for _ in range(80):
        await it.poller.poll()
    # Two that agree where the queue goes on can deceive the gateway, but nobody can do it silently.
    for key, member in clients:
        if len(it.ic.liars) == 1:
            assert (len(member.frames), member.error) == (sent[key], None)
        assert len(member.frames) == sent[key] or member.error is not None
    assert it.counters.lost == 0 or len(it.ic.liars) > 1


SIZE = 1000


def big(it: Setup, key: bytes, messages: int, size: int = SIZE) -> None:
    for _ in range(messages):
        it.canister.send(key, bytes(size))


@pytest.mark.parametrize("endpoints", [(ONE,), (ONE, TWO), (ONE, TWO, THREE)])
@pytest.mark.parametrize("messages", [5, 40, 200])
async def test_a_queue_that_is_too_large_for_a_reply_is_passed(endpoints, messages):
    it, [(key, _), (other, bystander), (_, silent)] = setup(*endpoints, members=3)
    silent.frames.append(b"open")
    it.canister.reply_limit = 4 * SIZE
    it.canister.send(other)
    await it.poller.poll()
    assert it.poller.state == "ok"
    big(it, key, messages)
    it.canister.send(other)
    for _ in range(len(endpoints) + 2 + messages // 3):
        await it.poller.poll()
    assert (len(bystander.frames), bystander.error) == (2, None)
    assert isinstance(silent.error, MessagesLost)
    assert it.position.next_nonce == messages + 2
    assert messages - 4 <= it.counters.lost <= messages
    newcomer, member = it.member()
    it.canister.send(newcomer)
    await it.poller.poll()
    assert len(member.frames) == 1, "openings do not wait behind it"


async def test_what_was_passed_stays_visible_for_a_while():
    it, [(key, _)] = setup(ONE)
    it.canister.reply_limit = 4 * SIZE
    big(it, key, 10)
    for _ in range(3):
        await it.poller.poll()
    assert it.poller.state == "degraded"
    assert isinstance(it.poller.last_error, QueueTooLarge)
    assert it.poller.facts.last_error == str(it.poller.last_error)
    assert "8 messages were passed unread" in it.poller.facts.last_error
    it.now_ns += TOO_LARGE_SHOWN_NS
    await it.poller.poll()
    assert (it.poller.state, it.poller.last_error) == ("ok", None)


async def test_one_endpoint_that_claims_a_reply_is_too_large_makes_nobody_miss_anything():
    it, [(key, member)] = setup(ONE, TWO)

    def refuse(nonce):
        raise UncertifiedReject(5, "too large", "IC0504")

    it.ic.liars = {ONE: refuse}
    for _ in range(20):
        it.canister.send(key)
        await it.poller.poll()
    await it.poller.poll()
    assert (len(member.frames), it.counters.lost) == (20, 0)


async def test_a_refusal_that_has_another_reason_is_not_searched_through_for_ever():
    it, [(key, _)] = setup(ONE)
    it.canister.reply_limit = 0
    it.canister.send(key)
    for _ in range(2):
        await it.poller.poll()
    assert isinstance(it.poller.last_error, UncertifiedReject)
    assert len(it.nonces) < 50
    assert it.position.next_nonce == 0


async def test_a_single_message_that_no_reply_can_hold_waits_until_another_one_is_shown_behind_it():
    it, [(key, _), (other, member)] = setup(ONE, members=2)
    it.canister.reply_limit = 4 * SIZE
    big(it, key, 1, 8 * SIZE)
    for _ in range(3):
        await it.poller.poll()
    assert isinstance(it.poller.last_error, QueueTooLarge)
    assert it.position.next_nonce == 0
    it.canister.send(other)
    for _ in range(2):
        await it.poller.poll()
    assert (it.position.next_nonce, it.counters.lost, len(member.frames)) == (2, 0, 1)
