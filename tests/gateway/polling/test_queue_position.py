"""Laws of the place in a queue, against a model canister that restarts, deletes, and answers from behind."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from appliance.errors import NonceTooFar
from appliance.gateway.polling.queue_position import (
    FIRST_PROBE,
    LONGEST_HOLE,
    PATIENCE,
    SETTLE,
    Ask,
    Missing,
    QueuePosition,
    Restarted,
    Taken,
)
from tests.gateway.polling.queue_model import Client, Message, Page, World

POLLS = 3 * PATIENCE
"""Within so many polls to the end of the queue every client is open or told."""
MOST_BEHIND = 8
"""Polls of a run that are answered by a replica that is behind."""


class Queues(RuleBasedStateMachine):
    """Any order of openings, messages, restarts, deletions, leavings and polls."""

    @initialize(dialect=st.sampled_from(["v0", "v1", "v2"]), page_size=st.integers(1, 12))
    def start(self, dialect, page_size):
        # Before v2 a page does not say that there is more: beside the anchor it must have room for a message.
        self.world = World(dialect, page_size if dialect == "v2" else max(2, page_size))
        self.behind = 0

    def client(self, data, condition) -> Client | None:
        found = [client for client in self.world.clients if condition(client)]
        return data.draw(st.sampled_from(found)) if found else None

    @rule(restarts=st.booleans(), polls=st.booleans())
    def opening(self, restarts, polls):
        """In the order in which the poller makes them."""
        world = self.world
        client = world.begin()
        if world.position.must_poll_first():
            world.poll_to_end()
        if not world.position.opens_one_by_one():
            return
        if restarts:
            world.restart()
        world.execute(client)
        if polls:
            world.poll()
        world.answer(client)
        world.poll_to_end()

    @rule(data=st.data())
    def execution(self, data):
        if client := self.client(data, lambda client: client.life is None):
            self.world.execute(client)

    @rule(data=st.data())
    def answer(self, data):
        if client := self.client(data, lambda client: client.life is not None and not client.is_answered):
            self.world.answer(client)

    @rule(data=st.data(), messages=st.integers(1, 4))
    def write(self, data, messages):
        if client := self.client(data, self.world.knows):
            for _ in range(messages):
                self.world.write(client)

    @rule(data=st.data())
    def leave(self, data):
        if client := self.client(data, lambda client: client.is_here):
            self.world.leave(client)

    @rule()
    def restart(self):
        self.world.restart()

    @rule()
    def prune(self):
        self.world.prune()

    @rule()
    def poll(self):
        self.world.poll()

    @precondition(lambda self: self.behind < MOST_BEHIND and self.world.dialect != "v1")
    @rule(states=st.integers(1, 6))
    def poll_behind(self, states):
        self.behind += 1
        self.world.poll(behind=states)

    def teardown(self):
        if not hasattr(self, "world"):
            return
        world = self.world
        for client in world.clients:
            if client.life is None:
                world.execute(client)
            if not client.is_answered:
                world.answer(client)
        for _ in range(POLLS + len(world.now.queue)):
            world.poll()
        newcomers = [client for client in world.here if world.knows(client) and client.sent]
        for client in newcomers:
            assert len(client.received) == client.sent - world.lost_its_first(client), "a newcomer does not open"
        # Where no message of an earlier queue was taken nobody was open, and the time-out for opening ends the wait.
        if newcomers and any(life < world.now.life for life, _ in world.taken):
            old = [client for client in world.here if not world.knows(client)]
            # A canister of v0 need not write to a client: nothing shows that it forgot one that got nothing yet.
            assert not [client for client in old if client.received or world.dialect != "v0"], "old ones are not told"
        assert world.position._openings == 0


Queues.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestQueues = Queues.TestCase


def opened(world: World) -> Client:
    client = world.begin()
    world.execute(client)
    world.answer(client)
    return client


@pytest.mark.parametrize("dialect", ["v1", "v2"])
@pytest.mark.parametrize("newcomers", [1, 2, 3, 12, 60])
@pytest.mark.parametrize("page_size", [10, 50])
def test_newcomers_of_a_new_queue_open_however_long_it_is(dialect, newcomers, page_size):
    world = World(dialect, page_size)
    old = []
    for _ in range(2):
        old.append(opened(world))
        world.poll_to_end()
    world.restart()
    new = [opened(world) for _ in range(newcomers)]
    for _ in range(FIRST_PROBE + newcomers + PATIENCE):
        world.poll()
    assert all(client.told for client in old)
    lost = [client for client in new if world.lost_its_first(client)]
    assert len(lost) == (dialect == "v1" and newcomers > page_size)  # message 0 of v1 can then not be asked for
    assert [client.told for client in new] == [client in lost for client in new]
    assert all(client.received for client in new if client not in lost)
    assert world.restarts == 1


def test_a_newcomer_beyond_the_first_page_of_the_new_queue_opens():
    world = World("v2", 5)
    old = opened(world)
    for _ in range(100):
        world.write(old)
    world.poll_to_end()
    world.restart()
    chatty = opened(world)
    for _ in range(30):
        world.write(chatty)
    world.leave(chatty)
    late = opened(world)
    for _ in range(20):
        world.poll()
    assert (old.told, len(late.received)) == (True, 1)


@given(st.integers(0, 30), st.integers(1, 20))
def test_a_probe_is_due_only_while_an_accepted_client_waits_and_nothing_is_shown(polls, page_size):
    world = World("v2", page_size)
    opened(world)
    world.poll_to_end()
    for _ in range(polls):
        world.poll()
    assert world.probes == 0  # nobody waits
    world.position.accepted(b"waits", 0)
    for _ in range(polls):
        world.poll()
    assert world.probes == 0  # the anchor is shown
    world.prune()
    world.position.left(b"waits")
    for _ in range(polls):
        world.poll()
    assert world.probes == 0  # nobody waits again
    world.position.accepted(b"waits", world.position.next_nonce)
    for _ in range(polls):
        world.poll()
    assert world.probes == 0  # its first message cannot be before the next nonce
    world.position.left(b"waits")
    world.position.accepted(b"waits", 0)
    for _ in range(polls):
        world.poll()
    assert world.probes == sum(polls >= due for due in (2, 6, 14, 30))  # after 2, 4, 8 and 16 more
    assert world.restarts == 0


def test_polls_begin_at_the_anchor_until_all_is_settled_and_no_longer():
    world = World("v2", 50)
    opened(world)
    world.poll()
    assert [world.position.next_ask().nonce for _ in range(SETTLE) if world.poll()] == [0] * (SETTLE - 2) + [1, 1]


def test_a_poll_that_was_sent_before_a_newcomer_came_is_asked_again_from_the_anchor():
    world = World("v2", 50)
    opened(world)
    for _ in range(2 * SETTLE):
        world.poll()
    ask = world.position.next_ask()
    assert ask == Ask(1)
    world.position.opening_began()
    assert world.position.judge(ask, Page([Message(1, 1, b"new", 1, 90)], time_ns=90)) == Ask(0)


def test_a_page_that_shows_the_anchor_ends_the_silence_before_a_probe():
    position = behind_old_queue()
    for _ in range(10):
        for _ in range(FIRST_PROBE - 1):
            assert position.judge(Ask(2), Page()) == Taken()
        assert position.judge(Ask(2), Page(OLD[2:], time_ns=60)) == Taken([])


def test_openings_of_v1_are_made_one_by_one_until_message_0_is_not_the_anchor_any_more():
    world = World("v1", 10)
    assert world.position.must_poll_first()
    world.poll()
    assert not world.position.must_poll_first()
    for _ in range(2):
        assert world.position.opens_one_by_one()
        opened(world)
        world.poll_to_end()
    assert not world.position.opens_one_by_one()


def test_a_client_that_was_accepted_before_a_restart_and_answered_after_it_was_seen_is_told():
    world = World("v2", 50)
    opened(world)
    world.poll_to_end()
    late = world.begin()
    world.execute(late)
    world.restart()
    new = opened(world)
    for _ in range(FIRST_PROBE + 2 * PATIENCE):
        world.poll()
    assert world.restarts == 1
    world.answer(late)
    for _ in range(PATIENCE):
        world.poll()
    assert (late.told, new.told, len(new.received)) == (True, False, 1)


OLD, NEW = [Message(0, nonce, b"old", nonce + 1, 10 + nonce) for nonce in range(3)], Message(1, 0, b"new", 1, 90)


def behind_old_queue(**changes) -> QueuePosition:
    position = QueuePosition()
    position.begin(zero_is_end=False, greets=True)
    position.judge(Ask(0), Page(OLD, time_ns=50))
    position.accepted(b"new", 0)
    return position


@given(st.integers(0, 200))
def test_only_a_newer_certificate_proves_a_restart(time_ns):
    longer = [Message(1, nonce, b"new", nonce + 1, 90 + nonce) for nonce in range(5)]
    for ask, messages in ((Ask(0, "probe"), [NEW]), (Ask(2), longer[2:])):
        position = behind_old_queue()
        decision = position.judge(ask, Page(messages, time_ns=time_ns))
        assert decision == (Restarted(is_certified=True) if time_ns > 50 else Taken())
        assert position.next_nonce == (0 if time_ns > 50 else 3)


@given(st.integers(0, 99), st.integers(100, 200), st.integers(0, 10))
def test_nothing_older_than_the_restart_is_believed_afterwards(older_ns, newer_ns, nonce):
    position = behind_old_queue()
    assert position.judge(Ask(0, "probe"), Page([NEW], time_ns=100)) == Restarted(is_certified=True)
    for purpose in ("poll", "probe", "rest"):
        assert position.judge(Ask(nonce, purpose), Page(OLD, time_ns=older_ns)) == Taken()
    assert position.next_nonce == 0
    assert position.judge(Ask(0), Page([NEW], time_ns=newer_ns)).messages == [NEW]


@given(st.lists(st.integers(0, 30)))
def test_every_nonce_once_and_never_back(nonces):
    position, taken = QueuePosition(), []
    for nonce in nonces:
        before = position.next_nonce
        page = Page([Message(0, nonce, b"client", 1, nonce)])
        decision = position.judge(Ask(before), page)
        if nonce > before:
            assert decision == Missing(before, nonce, is_inside=False)
            assert position.next_nonce == before
            decision = position.judge(Ask(before), page, passing=decision)
        assert position.next_nonce == max(before, nonce + 1)
        assert len(decision.messages) == (nonce >= before)
        assert decision.repeated == (nonce < before)
        assert decision.lost == (max(0, nonce - before) if taken else 0)
        taken += decision.messages
    assert [message.nonce for message in taken] == sorted({message.nonce for message in taken})


@given(st.sets(st.integers(0, 12), min_size=1), st.integers(0, 5))
def test_a_page_with_holes_is_taken_one_believed_hole_after_the_other(nonces, known):
    position = QueuePosition(next_nonce=known)
    position._is_joining = False
    page = Page([Message(0, nonce, b"client", 1, nonce) for nonce in sorted(nonces)], time_ns=1)
    new = sorted(nonce for nonce in nonces if nonce >= known)
    taken, lost = [], 0
    while new[len(taken) :]:
        decision = position.judge(Ask(known), page)
        if isinstance(decision, Missing):
            assert position.next_nonce == decision.expected == (taken[-1] + 1 if taken else known) or decision.is_inside
            assert decision.expected not in nonces
            assert decision.got in nonces
            decision = position.judge(Ask(known), page, passing=decision)
        taken += [message.nonce for message in decision.messages]
        lost += decision.lost
    assert taken == new
    assert lost == (new[-1] + 1 - known - len(new) if new else 0)


@given(st.sets(st.integers(0, 12), min_size=1), st.sets(st.integers(0, 12)), st.integers(0, 5), st.booleans())
def test_messages_that_do_not_decode_are_passed_as_holes_and_named_where_their_client_is_known(
    nonces, unreadable, known, is_known
):
    position = QueuePosition(next_nonce=known)
    position._is_joining = False
    sent = [
        Message(0, nonce, b"client", 1, nonce, problem="junk" if nonce in unreadable else None)
        for nonce in sorted(nonces)
    ]
    new = [message for message in sent if message.nonce >= known]
    taken, lost = [], 0
    for _ in range(2 * len(sent)):
        decision = position.judge(Ask(known), Page(sent, time_ns=1))
        if isinstance(decision, Missing):
            assert (decision.client_key is not None) == (decision.expected in nonces & unreadable)
            believed = decision if is_known else decision._replace(client_key=None)
            decision = position.judge(Ask(known), Page(sent, time_ns=1), passing=believed)
        taken += decision.messages
        lost += decision.lost
    assert [message for message in taken if message.problem is None] == [m for m in new if m.problem is None]
    assert position.next_nonce == (new[-1].nonce + 1 if new else known)
    named = [message for message in taken if message.problem is not None]
    assert len(named) + len([m for m in new if m.problem is None]) + lost == position.next_nonce - known
    if not is_known:
        assert not named


@given(st.integers(0, 100), st.integers(LONGEST_HOLE + 101, (1 << 64) - 1))
def test_a_nonce_beyond_reason_is_refused_and_moves_nothing(known, nonce):
    position = QueuePosition(next_nonce=known)
    with pytest.raises(NonceTooFar, match=f"expected message {known} in the reply, got {nonce}"):
        position.judge(Ask(known), Page([Message(0, nonce, b"client", 1, 1)]))
    assert position.next_nonce == known


@given(st.integers(0, 1 << 63))
def test_polling_starts_where_the_canister_says(nonce):
    position = behind_old_queue()
    position.start_at(nonce)
    assert position.next_ask() == Ask(nonce)


def test_a_message_that_does_not_say_when_it_was_written_proves_nothing():
    position = behind_old_queue()

    class Silent(Message):
        @property
        def frame(self):
            return super().frame.replace(b"timestamp", b"timestomp")

    assert position.judge(Ask(0, "probe"), Page([Silent(1, 0, b"new", 1, 90)], time_ns=100)) == Taken()


@given(st.integers(1, 5), st.integers(0, 5))
def test_clients_are_forgotten_only_within_the_patience_after_a_restart_and_its_openings(in_flight, later):
    position, queue = behind_old_queue(), [NEW]

    def poll() -> Taken:
        queue.append(Message(1, len(queue), b"new", len(queue) + 1, 90 + len(queue)))
        ask = position.next_ask()
        return position.judge(ask, Page(queue[ask.nonce :], time_ns=100 + len(queue)))

    for _ in range(in_flight):
        position.opening_began()
    assert position.judge(Ask(0, "probe"), Page([NEW], time_ns=100)) == Restarted(is_certified=True)
    for _ in range(in_flight):
        position.opening_ended()
    for _ in range(later):
        position.opening_began()
        position.opening_ended()
    for _ in range(PATIENCE):
        poll()
    position.accepted(b"quiet", len(queue))
    assert not any(poll().forgotten for _ in range(2 * PATIENCE))
