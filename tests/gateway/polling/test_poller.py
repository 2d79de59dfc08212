"""The poller against a canister that certifies, without a clock."""

import asyncio

import pytest

from appliance.crypto import Verifier
from appliance.errors import (
    CandidError,
    CanisterForgot,
    CertificateError,
    CertificateSignatureInvalid,
    IcUnreachable,
    Malformed,
    MessagesLost,
    NonceTooFar,
)
from appliance.gateway.polling.poller import Poller
from appliance.gateway.polling.queue_position import FIRST_PROBE, PATIENCE, QueuePosition
from appliance.gateway.polling.replies import Replies
from appliance.gateway.polling.schedule import Backoff
from appliance.gateway.recording.measurements import Counters
from appliance.gateway.recording.timeline import PollRecord
from tests.gateway.bench import POLLING, ManualWakeUp, plain_poller, until
from tests.gateway.clients import CANISTER, GATEWAY, Client, payload_of
from tests.gateway.fake_ic import ROOT, FakeCanister, FakeIc


class Member:
    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.error: Exception | None = None

    @property
    def is_open(self) -> bool:
        return bool(self.frames)

    def begins_with(self, written_ns: int, certified_ns: int) -> bool:
        return True

    def deliver(self, frame: bytes, nonce: int, sequence_num: int, polled: PollRecord) -> bool:
        self.frames.append(frame)
        return True

    def fail(self, error: Exception) -> None:
        self.error = error

    forgotten = fail


class StrictMember(Member):
    """Watches the numbers of its messages, as a peer does."""

    def deliver(self, frame: bytes, nonce: int, sequence_num: int, polled: PollRecord) -> bool:
        if sequence_num > len(self.frames) + 1:
            self.fail(MessagesLost("the canister"))
        elif self.error is None and sequence_num > len(self.frames):
            return super().deliver(frame, nonce, sequence_num, polled)
        return False


class Setup:
    member_type = Member

    def __init__(self, *, mode="enforce", position=None, batch=50, generation=2, zero_is_end=False) -> None:
        self.generation, self.zero_is_end = generation, zero_is_end
        self.canister = FakeCanister(CANISTER, GATEWAY, batch=batch)
        self.ic = FakeIc(self.canister)
        self.members: dict[bytes, Member] = {}
        self.counters = Counters()
        self.wake_up = ManualWakeUp()
        self.now_ns = 77
        self.position = position or QueuePosition()
        self.verifier = Verifier(ROOT.public_key)
        self.poller = self.new_poller(mode)

    def new_poller(self, mode="enforce") -> Poller:
        return plain_poller(
            self.generation,
            source=self.ic,
            replies=Replies(self.verifier, mode, self.counters, gateway=GATEWAY),
            members=lambda: self.members,
            position=self.position,
            counters=self.counters,
            wake_up=self.wake_up,
            clock=lambda: self.now_ns,
            zero_is_end=self.zero_is_end,
        )

    def member(self) -> tuple[bytes, Member]:
        key, member = Client().client_key, self.member_type()
        self.members[key] = member
        return key, member

    @property
    def nonces(self) -> list[int]:
        return self.ic.nonces[bytes(CANISTER)]


async def test_each_message_goes_to_its_client_with_its_own_proof():
    it = Setup()
    (one, first), (two, second) = it.member(), it.member()
    for key in (one, two, one):
        it.canister.send(key, b"for " + key)
    await it.poller.poll()
    assert (len(first.frames), len(second.frames)) == (2, 1)
    assert it.position.next_nonce == 3
    assert it.counters.delivered == 3
    verified = [
        it.verifier.open_message(payload_of(frame), CANISTER, generation=2, now_ns=it_now())
        for frame in [*first.frames, *second.frames]
    ]
    assert [message.client_key for message in verified] == [one, one, two]
    assert [message.sequence_num for message in verified] == [1, 2, 1]
    assert it.verifier.cache_misses == 1


async def test_a_long_queue_is_read_without_a_pause():
    it = Setup(batch=10)
    key, member = it.member()
    for _ in range(25):
        it.canister.send(key)
    task = asyncio.ensure_future(it.poller.run())
    await until(lambda: len(member.frames) == 25)
    await until(lambda: len(it.wake_up.waits) == 4)
    task.cancel()
    await asyncio.wait({task})
    assert [nonce for nonce in it.nonces if nonce < 30] == [0, 10, 20]
    assert it.wake_up.waits == [0.0, 0.0, 0.0, POLLING.min_interval]


async def test_a_nudge_polls_at_once():
    it = Setup()
    task = asyncio.ensure_future(it.poller.run())
    await until(lambda: len(it.wake_up.waits) == 2)
    it.poller.nudge()
    await until(lambda: len(it.nonces) == 2)
    await until(lambda: len(it.wake_up.waits) == 3)
    task.cancel()
    await asyncio.wait({task})
    assert it.wake_up.waits == [0.0, POLLING.min_interval, POLLING.min_interval]


async def test_nonces_never_move_back_and_nothing_is_delivered_twice():
    it = Setup()
    key, member = it.member()
    it.canister.send(key)
    it.canister.send(key)
    await it.poller.poll()
    it.position.next_nonce = 1  # as if the reply had been asked for with an older nonce
    await it.poller.poll()
    assert it.counters.repeated == 0
    it.ic.canisters[bytes(CANISTER)].poll = lambda nonce: FakeCanister.poll(it.canister, 0)
    it.canister.send(key)
    await it.poller.poll()
    assert it.counters.repeated == 2
    assert it.position.next_nonce == 3
    assert len(member.frames) == 4  # the second message came twice only because this test moved the position


async def test_the_first_nonce_may_be_any_but_a_gap_later_is_counted():
    it = Setup()
    key, member = it.member()
    it.canister.nonce = 700
    it.canister.send(key)
    await it.poller.poll()
    assert (it.counters.gaps, it.position.next_nonce) == (0, 701)
    it.canister.nonce = 710
    it.canister.send(key)
    it.canister.send(key)
    await it.poller.poll()
    assert (it.counters.gaps, it.position.next_nonce) == (1, 712)
    assert len(member.frames) == 3


async def test_the_place_in_the_queue_outlives_the_poller():
    it = Setup()
    key, member = it.member()
    it.canister.send(key)
    await it.poller.poll()
    it.canister.nonce = 5  # messages nobody was there for are gone
    it.canister.send(key)
    await it.new_poller().poll()
    assert it.nonces == [0, 1, 1]  # what begins later than asked is asked for twice
    assert (it.counters.gaps, len(member.frames)) == (0, 2)


async def test_messages_for_strangers_are_dropped_and_counted():
    it = Setup()
    it.canister.send(Client().client_key)
    await it.poller.poll()
    assert (it.counters.undeliverable, it.counters.delivered, it.position.next_nonce) == (1, 0, 1)


async def test_trouble_slows_down_is_shown_and_never_ends():
    it = Setup()
    key, member = it.member()

    async def unreachable():
        raise IcUnreachable("http://replica", "connection refused")

    it.ic.before_query = unreachable
    waits = []
    for _ in range(20):
        await it.poller.poll()
        waits.append(it.poller.backoff.wait_s)
    assert waits == sorted(waits)
    assert waits[-1] == POLLING.max_backoff
    assert it.poller.state == "degraded"
    assert isinstance(it.poller.last_error, IcUnreachable)
    assert it.counters.failed_polls == {"ic_unreachable": 20}
    assert member.error is None
    it.poller.nudge()
    assert not it.wake_up._is_set
    it.ic.before_query = FakeIc().before_query
    it.canister.send(key)
    await it.poller.poll()
    assert (it.poller.state, it.poller.last_error) == ("ok", None)
    assert it.poller.backoff == Backoff()
    assert it.poller.pace.wait_s == POLLING.min_interval
    assert len(member.frames) == 1


async def test_a_nudge_neither_ends_a_back_off_nor_polls_during_it():
    it = Setup()

    async def unreachable():
        it.poller.nudge()  # a client is active all the time
        raise IcUnreachable("http://replica", "connection refused")

    it.ic.before_query = unreachable
    task = asyncio.ensure_future(it.poller.run())
    for polls in range(2, 8):  # the first failure is not known yet when the first nudge comes
        await until(lambda polls=polls: it.poller.facts.polls == polls and it.wake_up.waits[-1])
        assert it.poller.backoff.failures == polls
        it.poller.nudge()
        it.wake_up.tick()
    task.cancel()
    await asyncio.wait({task})
    waits = it.wake_up.waits
    assert waits == [0.0, *(POLLING.min_interval * 2**n for n in range(len(waits) - 1))]


async def test_what_nobody_thought_of_does_not_end_it_either(capsys):
    it = Setup()

    async def broken():
        raise ZeroDivisionError

    it.ic.before_query = broken
    await it.poller.poll()
    assert it.counters.failed_polls == {"internal": 1}
    assert "ZeroDivisionError" in capsys.readouterr().out


def flip(reply: bytes, part: bytes) -> bytes:
    """The same reply with one bit changed in a part of it."""
    assert reply.count(part) == 1
    index = reply.index(part) + len(part) // 2
    return reply[:index] + bytes([reply[index] ^ 1]) + reply[index + 1 :]


def parts(it: Setup, reply: bytes) -> dict[str, bytes]:
    """Pieces of certificate, tree and content as they stand in the reply."""
    return {
        "certificate": signature_in(reply),
        "tree": it.canister.tree.get([b"websocket", it.canister.key(0).encode()]),
        "content": it.canister.queue[0][2],
    }


def signature_in(reply: bytes) -> bytes:
    start = reply.index(b"signature") + len("signature") + 2
    return reply[start : start + 48]


@pytest.mark.parametrize("part", ["certificate", "tree", "content"])
async def test_one_changed_bit_and_nothing_is_delivered_and_another_endpoint_is_asked(part):
    it = Setup()
    key, member = it.member()
    it.canister.send(key, b"payload")
    honest = it.canister.poll(0)
    spoilt = flip(honest, parts(it, honest)[part])
    it.ic.spoil = lambda _: spoilt
    await it.poller.poll()
    assert isinstance(it.poller.last_error, CertificateError)
    assert (member.frames, it.counters.delivered, it.position.next_nonce) == ([], 0, 0)
    it.ic.endpoints.append("http://two")
    it.ic.spoil, it.ic.liars = lambda reply: reply, {"http://one": lambda _: spoilt}
    for _ in range(2):
        it.position.next_nonce = 0
        await it.poller.poll()
    assert it.ic.asked == ["http://one", "http://two", "http://one", "http://two"]
    assert it.ic.failed == ["http://one"] * 2
    assert it.poller.state == "ok"
    assert len(member.frames) == 2


async def test_an_endpoint_that_says_nothing_delays_one_poll():
    it = Setup()
    key, member = it.member()
    it.ic.endpoints = ["http://one", "http://two", "http://three"]
    nothing = FakeCanister(CANISTER, GATEWAY).poll(0)
    it.ic.liars = {"http://one": lambda _: nothing}
    for polls in range(1, 10):
        it.canister.send(key)
        await it.poller.poll()
        assert len(member.frames) >= polls - 1


async def test_polls_are_counted_from_their_beginnings():
    it = Setup()
    took_s = iter([0.03, 0.05, 9.0])

    async def slow():
        it.now_ns += round(next(took_s) * 1e9)

    it.ic.before_query = slow
    for left_s in (0.02, 0.05, 0.0):
        await it.poller.poll()
        assert it.poller._left_s() == pytest.approx(left_s)


async def test_a_certificate_of_another_root_is_refused():
    it = Setup()
    key, member = it.member()
    it.verifier = Verifier(type(ROOT).from_seed(b"some other root key of the tests!").public_key)
    it.poller = it.new_poller()
    it.canister.send(key)
    await it.poller.poll()
    assert isinstance(it.poller.last_error, CertificateSignatureInvalid)
    assert not member.frames


async def test_report_delivers_and_counts_and_off_does_not_look():
    for mode, doubted in (("report", 1), ("off", 0)):
        it = Setup(mode=mode)
        key, member = it.member()
        it.canister.send(key)
        it.ic.spoil = lambda reply: flip(reply, signature_in(reply))
        await it.poller.poll()
        assert len(member.frames) == 1
        assert it.counters.unverified.total() == doubted


async def test_replies_that_are_nonsense_are_trouble_not_the_end():
    it = Setup()
    it.ic.spoil = lambda _: b"nonsense"
    await it.poller.poll()
    assert isinstance(it.poller.last_error, CandidError | Malformed)


async def test_a_nonce_beyond_reason_moves_nothing():
    it = Setup()
    key, member = it.member()
    it.canister.send(key)
    await it.poller.poll()
    it.canister.nonce = 2**64 - 1
    it.canister.send(key)
    for _ in range(3):
        await it.poller.poll()
    assert isinstance(it.poller.last_error, NonceTooFar)
    assert (it.position.next_nonce, len(member.frames)) == (1, 1)


async def test_a_canister_that_restarted_is_found_out_and_its_old_clients_sent_away():
    it = Setup()
    (old, veteran) = it.member()
    for _ in range(5):
        it.canister.send(old)
    await it.poller.poll()
    it.canister.install()
    new, newcomer = it.member()
    it.canister.send(new, b"welcome")
    it.poller.expect(new, 0)
    for _ in range(FIRST_PROBE):
        await it.poller.poll()
    assert isinstance(veteran.error, CanisterForgot)
    assert newcomer.error is None
    assert len(newcomer.frames) == 1
    assert (it.counters.resets, it.counters.probes, it.position.next_nonce) == (1, 1, 1)
    it.canister.send(new, b"more")
    await it.poller.poll()
    assert len(newcomer.frames) == 2
    assert it.counters.gaps == 0


async def test_a_client_that_waits_for_nothing_costs_few_probes_and_no_reset():
    it = Setup()
    old, veteran = it.member()
    it.canister.send(old)
    await it.poller.poll()
    waiting, _ = it.member()
    it.poller.expect(waiting, 0)
    for _ in range(100):
        await it.poller.poll()
    assert it.counters.resets == 0
    assert veteran.error is None
    assert it.counters.probes == 0  # every page shows that the queue is still the same
    assert it.position.next_nonce == 1
    it.canister.queue.clear()
    for _ in range(100):
        await it.poller.poll()
    assert it.counters.probes == 5  # after 2, 4, 8, 16 and 32 pages that show nothing
    assert (it.counters.resets, veteran.error) == (0, None)


async def test_old_messages_of_a_reused_key_are_no_restart():
    it = Setup(batch=1)
    key, member = it.member()
    it.canister.send(key)
    it.canister.send(key)
    await it.poller.poll()
    await it.poller.poll()
    it.poller.expect(key, 0)  # the same key opened again, and the answering replica is behind
    await it.poller.poll()
    it.canister.poll = lambda nonce: FakeCanister.poll(it.canister, 2 if nonce else 0)  # forgets all but the beginning
    for _ in range(4 * FIRST_PROBE):
        await it.poller.poll()
    assert it.counters.probes > 0
    assert (it.counters.resets, len(member.frames)) == (0, 2)


async def test_nobody_expected_nobody_asks_for_the_beginning():
    it = Setup()
    key, _ = it.member()
    it.canister.send(key)
    it.poller.expect(key, 0)
    for _ in range(20):
        await it.poller.poll()
    assert it.counters.probes == 0


async def test_drained_waits_for_a_poll_that_began_later_and_reached_the_end():
    it = Setup(batch=1)
    key, member = it.member()
    it.canister.send(key)
    it.canister.send(key)
    waiting = asyncio.ensure_future(it.poller.drained())
    await asyncio.sleep(0)
    await it.poller.poll()
    assert not waiting.done()
    await it.poller.poll()
    await waiting
    assert len(member.frames) == 2


async def test_nobody_waits_for_a_poller_that_ended():
    it = Setup()
    task = asyncio.ensure_future(it.poller.run())
    await until(lambda: len(it.wake_up.waits) == 2)
    waiting = asyncio.ensure_future(it.poller.drained())
    await asyncio.sleep(0)
    task.cancel()
    await waiting


def it_now() -> int:
    import time

    return time.time_ns()


async def opening(it, order, name):
    async with it.poller.opening():
        order.append(name)
        await asyncio.sleep(0)
        order.append(f"{name} done")


def v1_setup(position=None):
    return Setup(position=position, generation=1, zero_is_end=True)


async def test_the_first_openings_of_a_queue_that_hides_its_beginning_are_made_one_by_one():
    it, order = v1_setup(), []
    tasks = [asyncio.ensure_future(opening(it, order, name)) for name in ("one", "two")]
    await until(lambda: len(it.poller._waiters) == 2)
    assert order == []
    await it.poller.poll()
    await until(lambda: order == ["one", "one done"])
    key, _ = it.member()
    it.canister.send(key)
    await it.poller.poll()
    await until(lambda: order == ["one", "one done", "two", "two done"])
    await it.poller.poll()
    await asyncio.gather(*tasks)
    assert it.position.next_nonce == 1


async def test_openings_need_not_wait_where_the_place_in_the_queue_is_known():
    for it in (v1_setup(QueuePosition(next_nonce=3)), Setup()):
        order = []
        await asyncio.gather(opening(it, order, "one"), opening(it, order, "two"))
        assert order == ["one", "two", "one done", "two done"]


async def test_an_opening_does_not_wait_for_a_poller_that_fails_or_has_ended():
    it, order = v1_setup(), []
    task = asyncio.ensure_future(opening(it, order, "one"))
    await until(lambda: it.poller._waiters)

    async def refuse():
        raise IcUnreachable("http://replica", "connection refused")

    it.ic.before_query = refuse
    await it.poller.poll()
    await until(lambda: "one done" in order)
    it.poller.end()
    await task
    await opening(it, order, "two")
    assert order[-1] == "two done"


async def test_what_came_while_a_queue_was_thought_empty_is_read_from_its_beginning():
    it = v1_setup()
    (key, member), poll = it.member(), it.canister.poll
    it.canister.poll = lambda nonce: poll(nonce or max(0, it.canister.nonce - 10))
    await it.poller.poll()
    for _ in range(25):
        it.canister.send(key)
    for _ in range(3):
        await it.poller.poll()
    assert len(member.frames) == 24  # all but message 0, which such a canister cannot be asked for
    assert it.position.next_nonce == 25


async def test_the_facts_say_how_it_goes():
    it = Setup()
    key, _ = it.member()
    assert it.poller.facts.last_good_ns is None
    it.canister.send(key)
    await it.poller.poll()
    facts = it.poller.facts
    assert (facts.state, facts.next_nonce, facts.last_good_ns) == ("ok", 1, 77)
    assert (facts.polls, facts.delivered, facts.failures, facts.last_error) == (1, 1, 0, None)
    it.ic.spoil = lambda reply: b"nonsense"
    await it.poller.poll()
    assert it.poller.facts.state == "degraded"
    assert it.poller.facts.last_error
    it.poller.pause()
    assert it.poller.facts.state == "paused"


async def test_three_newcomers_between_two_polls_of_a_new_queue_open_and_the_old_clients_are_closed():
    it = Setup()
    old = [it.member() for _ in range(2)]
    for key, _ in old:
        it.canister.send(key)
    await it.poller.poll()
    it.canister.install()
    new = [it.member() for _ in range(3)]
    for key, _ in new:
        async with it.poller.opening():
            it.canister.send(key)
        it.poller.expect(key, 0)
    for _ in range(FIRST_PROBE):
        await it.poller.poll()
    assert [len(member.frames) for _, member in new] == [1, 1, 1]
    assert all(isinstance(member.error, CanisterForgot) for _, member in old)
    assert not any(member.error for _, member in new)
    assert it.counters.resets == 1


@pytest.mark.parametrize("stop", ["pause", "end"])
async def test_an_opening_does_not_wait_for_a_poll_that_was_interrupted_before_the_end_of_the_queue(stop):
    it = Setup(batch=1)
    key, _ = it.member()
    it.canister.send(key)
    it.canister.send(key)
    waiting = asyncio.ensure_future(it.poller.drained())
    await asyncio.sleep(0)

    async def interrupted():
        getattr(it.poller, stop)()

    it.ic.before_query = interrupted
    await it.poller.poll()
    await asyncio.wait_for(waiting, 10)


async def test_a_client_that_the_canister_lost_before_its_first_message_is_closed():
    it = Setup()
    veteran, _ = it.member()
    it.canister.send(veteran)
    await it.poller.poll()
    lost, member = it.member()
    it.poller.expect(lost, 0)
    it.canister.install()
    new, newcomer = it.member()
    it.canister.send(new)
    it.poller.expect(new, 0)
    for _ in range(FIRST_PROBE + PATIENCE):
        await it.poller.poll()
    assert isinstance(member.error, CanisterForgot)
    assert (newcomer.error, len(newcomer.frames)) == (None, 1)
