"""What one node knows of the shared polls of a queue, step by step."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cluster.seal import Seal
from appliance.cluster.shared import entries
from appliance.cluster.shared.leases import Entries, Lease
from appliance.cluster.shared.stream import MAX_WAITING, OWED_S, RECENT, Stream
from appliance.crypto import SigningKey
from appliance.errors import CertificateStale, GatewayError, HoleInReply, IcUnreachable, SignatureInvalid
from appliance.gateway.sharing import Answer
from appliance.ic.identity import KeyIdentity

SEAL = Seal(KeyIdentity(SigningKey.generate("ed25519")), "main")
QUEUE = b"queue"
OWN, OTHER = "a" * 16, "b" * 16
FIRST, SECOND = "01" * 8, "02" * 8
ANSWER = Answer(b"query", b"reply")


class Poller:
    demand = 1.0
    can_hold = True

    def __init__(self) -> None:
        self.changes = 0

    def shared_changed(self) -> None:
        self.changes += 1


class One:
    """A stream with its clock."""

    def __init__(self, max_entry: int = 1000) -> None:
        self.now = 0.0
        self.counts: Counter[str] = Counter()
        self.poller = Poller()
        self.works = 0
        self.stream = Stream(
            QUEUE,
            self.poller,
            SEAL,
            self.counts,
            new_epoch=lambda: FIRST,
            clock=lambda: self.now,
            has_work=self._work,
            closed=lambda _: None,
            audit_s=lambda: 10.0,
            max_entry=lambda: max_entry,
        )

    def _work(self, _: Stream) -> None:
        self.works += 1

    def leased(self, holder: str, epoch: str = FIRST, last: int = 0, nodes: int = 2) -> bool:
        return self.stream.leased(self.stream.wanted(), Lease(holder, epoch, last, nodes), OWN, self.now + 1.5)

    def came(self, *numbers: int, epoch: str = FIRST, last: int | None = None) -> str | None:
        found = tuple(entries.seal(SEAL, QUEUE, epoch, number, ANSWER) for number in numbers)
        last = (numbers[-1] if numbers else 0) if last is None else last
        asked = (self.stream.epoch, self.stream.number)
        return self.stream.came(asked, Entries(epoch, last, numbers[0] if numbers else last + 1, found))

    def asked(self) -> None:
        self.stream.asks()
        self.stream.asked(0, None, is_plain=True, has_more=False)


def following() -> One:
    it = One()
    it.leased(OTHER)
    it.asked()
    assert it.stream.is_followed
    assert not it.stream.must_ask
    return it


def test_a_node_that_begins_to_follow_asks_the_canister_once() -> None:
    it = One()
    assert it.leased(OTHER, last=5)
    assert it.stream.must_ask
    it.asked()
    assert not it.stream.must_ask


def test_another_epoch_means_to_ask_the_canister() -> None:
    it = following()
    assert not it.leased(OTHER, SECOND)
    assert it.stream.must_ask
    it.asked()
    it.came(epoch=FIRST, last=3)
    assert it.stream.must_ask
    assert it.counts["new epoch"] == 3


def test_a_poll_that_began_before_a_gap_does_not_close_it() -> None:
    it = following()
    it.stream.asks()
    it.came(2)
    it.stream.asked(7, None, is_plain=True, has_more=False)
    assert it.stream.must_ask
    assert it.counts["trimmed"] == 1


@pytest.mark.parametrize(("was_missed", "is_shared"), [(True, True), (False, False)])
def test_entries_owe_what_an_own_poll_finds_unless_something_was_missed(was_missed: bool, is_shared: bool) -> None:
    it = following()
    if was_missed:
        it.came(2)
    it.stream.asks()
    it.stream.asked(7, ANSWER, is_plain=True, has_more=False)
    it.now = OWED_S + 1
    it.leased(OTHER, last=2)
    assert (it.stream.beat() is None) == is_shared
    assert it.stream.is_shared() == is_shared


def test_the_latest_entries_of_an_epoch_are_read_by_whoever_begins_to_follow() -> None:
    it = One()
    it.leased(OTHER, last=100)
    assert it.stream.number == 100 - RECENT


def test_entries_are_taken_in_their_order() -> None:
    it = following()
    assert it.came(1, 2) is None
    assert it.came(3) is None
    assert [it.stream.next() for _ in range(4)] == [ANSWER, ANSWER, ANSWER, None]
    assert it.stream.number == 3


@given(st.integers(-3, 3), st.sampled_from([FIRST, SECOND]))
def test_an_answer_to_another_question_changes_nothing(off: int, epoch: str) -> None:
    it = following()
    it.came(1, 2, 3)
    if (epoch, off) == (FIRST, 0):
        return
    before = (it.stream.number, it.stream.epoch, it.stream.role)
    assert it.stream.came((epoch, 3 + off), Entries(SECOND, 9, 10)) is None
    assert (it.stream.number, it.stream.epoch, it.stream.role) == before


def test_a_lease_that_is_not_confirmed_ends_by_its_time() -> None:
    it = following()
    it.now = 1.4
    it.stream.beat()
    assert it.stream.is_followed
    it.now = 1.5
    it.stream.beat()
    assert not it.stream.is_followed
    assert it.poller.changes


def test_more_entries_than_may_wait_are_dropped_and_asked_for() -> None:
    it = following()
    big = Answer(b"", bytes(MAX_WAITING + 1))
    it.stream.came((FIRST, 0), Entries(FIRST, 1, 1, (entries.seal(SEAL, QUEUE, FIRST, 1, big),)))
    assert it.stream.next() is None
    assert it.stream.must_ask
    assert it.counts["dropped"] == 1


@pytest.mark.parametrize(
    ("error", "counted", "ends"),
    [
        (CertificateStale(9, 5), "stale", False),
        (IcUnreachable("http://ic", "no answer"), "unread", False),
        (ValueError("a fault of ours"), "unread", False),
        (HoleInReply(1, 2), "unverified", True),
        (SignatureInvalid("ed25519"), "unverified", True),
    ],
)
def test_what_is_too_old_is_asked_for_and_what_does_not_verify_ends_the_sharing(
    error: Exception, counted: str, ends: bool
) -> None:
    it = following()
    it.stream.refused(error)
    assert it.counts[counted] == 1
    assert (it.stream.problem is not None) == ends
    assert it.stream.must_ask or ends
    assert isinstance(error, GatewayError) or not ends


def asking(**options: int) -> One:
    it = One(**options)
    it.leased(OWN)
    it.leased(OWN)
    return it


def test_nothing_is_written_that_nobody_reads() -> None:
    it = asking()
    it.leased(OWN, nodes=1)
    it.stream.asked(1, ANSWER, is_plain=True, has_more=False)
    assert it.stream.next_unwritten() is None
    it.leased(OWN, nodes=2)
    assert it.stream.wanted().mode == "renew", "the other may have asked before that"
    it.leased(OWN, SECOND, nodes=2)
    it.stream.asked(2, ANSWER, is_plain=True, has_more=False)
    assert it.stream.next_unwritten() == (1, entries.seal(SEAL, QUEUE, SECOND, 1, ANSWER))


@pytest.mark.parametrize(("is_plain", "max_entry"), [(False, 1000), (True, 5)])
def test_what_others_cannot_take_begins_another_epoch(is_plain: bool, max_entry: int) -> None:
    it = asking(max_entry=max_entry)
    it.stream.asked(1, ANSWER, is_plain=is_plain, has_more=False)
    assert it.stream.next_unwritten() is None
    assert it.stream.wanted().mode == "renew"
    assert it.stream.is_urgent


def test_an_entry_that_was_not_written_begins_another_epoch() -> None:
    it = asking()
    it.stream.asked(1, ANSWER, is_plain=True, has_more=False)
    assert it.stream.next_unwritten() is not None
    it.stream.wrote(FIRST, 1, is_done=True)
    assert it.stream.number == 1
    assert it.stream.next_unwritten() is None
    it.stream.asked(2, ANSWER, is_plain=True, has_more=False)
    it.stream.wrote(FIRST, 2, is_done=False)
    assert it.stream.wanted().mode == "renew"
    assert it.counts == {"written": 1, "lost": 1}


@pytest.mark.parametrize("later", [[], [Answer(b"query", b"later")]])
def test_an_entry_that_was_dropped_while_it_was_written_takes_no_other_with_it(later: list[Answer]) -> None:
    """The engine answers what was asked before: this node has the lease of the same epoch again."""
    it = asking()
    before = it.stream.wanted()
    it.stream.asked(1, ANSWER, is_plain=True, has_more=False)
    assert it.stream.next_unwritten() is not None
    it.stream.asked(2, ANSWER, is_plain=False, has_more=False)
    it.stream.leased(before, Lease(OWN, FIRST, 0, 2), OWN, 1.5)
    for answer in later:
        it.stream.asked(3, answer, is_plain=True, has_more=False)
    it.stream.wrote(FIRST, 1, is_done=True)
    assert it.stream.number == 1
    written = [(2, entries.seal(SEAL, QUEUE, FIRST, 2, answer)) for answer in later]
    assert it.stream.next_unwritten() == (written[0] if written else None)


def test_a_poller_that_cannot_ask_gives_the_lease_up() -> None:
    it = asking()
    it.poller.can_hold = False
    assert it.stream.wanted().mode == "look"


def test_a_node_that_found_a_restart_asks_until_it_has_the_lease() -> None:
    it = following()
    it.stream.restarted()
    it.poller.can_hold = False
    assert it.stream.wanted().mode == "look"
    it.leased(OTHER)
    it.poller.can_hold = True
    assert it.stream.wanted().mode == "seize"
    it.leased(OWN, SECOND)
    assert it.stream.wanted().mode == "hold"


def test_an_engine_that_stood_still_and_gives_the_same_lease_anew_is_none_that_replays() -> None:
    """The lease ended, its holder asked for the same epoch again, and the engine counts from the beginning."""
    it = following()
    it.came(1, 2, 3)
    assert it.came(last=0) is None
    assert it.stream.problem is None
    assert it.stream.must_ask
    assert (it.stream.epoch, it.stream.number) == (FIRST, 0)


@pytest.mark.parametrize("first", [1, 2, 3])
def test_entries_that_were_read_already_are_refused(first: int) -> None:
    it = following()
    it.came(1, 2, 3)
    assert it.came(*range(first, 5)) is not None
    assert it.counts["replayed"] == 1


def test_an_entry_under_another_number_is_refused_after_a_lease_was_given_anew() -> None:
    it = following()
    it.came(1, 2, 3)
    it.came(last=0)
    replayed = entries.seal(SEAL, QUEUE, FIRST, 3, ANSWER)
    assert it.stream.came((FIRST, 0), Entries(FIRST, 1, 1, (replayed,))) is not None
    assert it.counts["replayed"] == 1
