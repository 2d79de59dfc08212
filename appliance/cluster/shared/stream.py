"""The shared polls of one queue at one node: who asks, what was read, what is missing. No I/O, and no clock: times are
seconds of a monotonic clock.

The position in the queue is that of the poller, which moves it by what it verifies (``gateway.sharing``). Here is only
where this node stands in the entries: their epoch, and the number of the last one that was read. Both are what the
engine says, and so good for one thing: a number that is missing, and another epoch, mean that the canister must be
asked.

Each node asks the canister itself now and then. What it finds then, the entries have to show within `OWED_S`: else
something on the way from the node that asks to this one is broken or lies, however healthy the engine looks, and this
node shares the polls of this canister no more for `ENDED_S`. That holds because the node that asks begins another epoch
whenever it has read something that it did not write for the others, and because nothing is owed of what a node knows to
have missed.
"""

import math
from collections import Counter, deque
from collections.abc import Callable
from typing import Literal

from appliance.cluster.seal import Seal
from appliance.cluster.shared import entries
from appliance.cluster.shared.leases import Entries, Lease, Mode, Wanted
from appliance.errors import (
    BadReply,
    CandidError,
    CanisterRefused,
    CertificateError,
    CertificateFromFuture,
    CertificateStale,
    EntryForged,
    EntryReplayed,
    EntryUnknown,
    EnvelopeError,
    EnvelopeExpired,
    EnvelopeTooFarAhead,
    Malformed,
    QuerySignatureStale,
    QuerySignatureUnknownNode,
    TooLarge,
)
from appliance.gateway.sharing import Answer, SharingPoller

OWED_S = 10.0
"""Time in which the entries have to show what an own poll has found."""
ENDED_S = 600.0
"""Time without shared polls of a canister after they were found to be broken."""
RECENT = 16
"""Entries that are read of an epoch that is new here: they may have more than the replica that is asked then."""
MAX_WAITING = 8 * 1024**2
"""Bytes of entries of one queue that wait to be written, or to be taken. Beyond, they are dropped, and what they had is
asked for."""

_STALE = (CertificateStale, CertificateFromFuture, QuerySignatureStale, EnvelopeExpired, EnvelopeTooFarAhead)
_FORGED = (BadReply, CertificateError, EnvelopeError, Malformed, CandidError, TooLarge, CanisterRefused)


class Stream:
    """Implements ``gateway.sharing.SharedQueue``. ``counts`` are those of all queues, by what became of an entry."""

    def __init__(
        self,
        queue: bytes,
        poller: SharingPoller,
        seal: Seal,
        counts: Counter[str],
        *,
        new_epoch: Callable[[], str],
        clock: Callable[[], float],
        has_work: Callable[["Stream"], None],
        closed: Callable[["Stream"], None],
        audit_s: Callable[[], float],
        max_entry: Callable[[], int],
    ) -> None:
        """``has_work`` is called where there is something to write, or a lease to ask for at once."""
        self.queue = queue
        self.poller = poller
        self.role: Literal["alone", "asking", "following"] = "alone"
        self.epoch = ""
        self.number = 0
        self.problem: str | None = None
        """Why the polls of this canister are not shared any more: a sentence."""
        self.is_urgent = False
        """The lease is needed before the next beat."""
        self.is_busy = False
        """Entries are being read or written; ``again`` where there is more meanwhile."""
        self.again = False
        self._seal = seal
        self._counts = counts
        self._new_epoch = new_epoch
        self._clock = clock
        self._has_work = has_work
        self._closed = closed
        self._audit_s = audit_s
        self._max_entry = max_entry
        self._mode: Mode = "hold"
        self._others = 0
        self._leased_until = 0.0
        self._ended_until = 0.0
        self._owed: tuple[int, float] | None = None
        self._doubts = self._asked = self._asks = 0
        """How often only the canister could tell, and up to which of these it was asked, or is being asked."""
        self._is_behind = False
        """It was asked, and may have more of what was missed."""
        self._read: deque[Answer] = deque()
        self._unwritten: deque[Answer] = deque()
        self._writing: Answer | None = None
        self._waiting = 0

    # --- the lease ----------------------------------------------------------------------------------------------------

    def is_shared(self) -> bool:
        """Whether the polls of this canister may be shared at this time."""
        if self.problem is not None and self._clock() >= self._ended_until:
            self.problem = None
        return self.problem is None

    def wanted(self) -> Wanted:
        """What to ask the engine for."""
        mode: Mode = self._mode if self.poller.can_hold else "look"
        epoch = self.epoch if self.role == "asking" and mode != "renew" else self._new_epoch()
        return Wanted(self.queue, epoch, mode)

    def leased(self, wanted: Wanted, lease: Lease, incarnation: str, until: float) -> bool:
        """What the engine answered. Returns whether there are entries to read."""
        if not self.is_shared():
            return False
        if wanted.mode == self._mode:
            self._mode = "hold"
        had_others, self._others = self._others, lease.nodes - 1
        self._leased_until, self.is_urgent = until, False
        if lease.holder == incarnation:
            if self.epoch != lease.epoch or self.role != "asking":
                self._ask_for_all(lease)
            elif self._others and not had_others:
                # The other may have asked the canister before this node read what it did not write.
                self._begin_anew("renew")
            return False
        if not lease.holder:
            self.stand_alone()
            return False
        if self.role != "following" or self.epoch != lease.epoch:
            self._follow(lease.epoch, lease.last)
        return lease.last > self.number

    def _ask_for_all(self, lease: Lease) -> None:
        was_following = self.role == "following"
        self.role, self.epoch, self.number = "asking", lease.epoch, lease.last
        self._clear()
        if was_following:
            self.poller.shared_changed()
        self.is_urgent = True  # the others follow once the engine has heard that this node knows
        self._has_work(self)

    def _follow(self, epoch: str, last: int) -> None:
        """Follow a node from its latest entries on. Only the canister can tell what was before."""
        self.role, self.epoch, self.number = "following", epoch, max(0, last - RECENT)
        self._clear()
        self._doubts += 1
        self._counts["new epoch"] += 1
        self.poller.shared_changed()

    def _clear(self) -> None:
        self._read.clear()
        self._unwritten.clear()
        self._waiting, self._owed = 0, None

    def stand_alone(self) -> None:
        """Poll as a gateway does that shares nothing."""
        was_following = self.role == "following"
        if self.role == "asking" and self._mode == "hold":
            # The lease may outlast this, and what is read meanwhile is not written: in the same epoch it would be owed.
            self._mode = "renew"
        self.role, self.epoch = "alone", ""
        self._clear()
        if was_following:
            self.poller.shared_changed()

    @property
    def follows_until(self) -> float:
        """When it follows nobody any more, if it has no other lease by then."""
        return self._leased_until if self.role == "following" else math.inf

    def beat(self) -> str | None:
        """Time has passed. Returns why the polls are not shared any more, where that begins now."""
        now = self._clock()
        if self.role == "following" and now >= self._leased_until:
            self.stand_alone()
        is_due = self._owed is not None and now - self._owed[1] > OWED_S
        # While the poller asks for itself, as for a newcomer, entries wait: what is owed may be in them.
        if self.role == "following" and is_due and not self._read:
            return self._end(f"what the canister had {OWED_S:g} s ago never came from the node that asks it")
        return None

    def _end(self, problem: str) -> str:
        self.problem, self._ended_until = problem, self._clock() + ENDED_S
        self._counts["ended"] += 1
        self.stand_alone()
        return problem

    # --- entries ------------------------------------------------------------------------------------------------------

    def came(self, asked: tuple[str, int], found: Entries) -> str | None:
        """Entries were read, of that epoch and behind that number. Returns why the polls are not shared any more, where
        that begins now.
        """
        if self.role != "following" or asked != (self.epoch, self.number) or not found.epoch:
            return None
        # A lease that ended is given anew with the same epoch, if its holder did not notice: the engine stood still.
        # Entries of earlier numbers are sealed under these all the same.
        if found.epoch != self.epoch or found.last < self.number:
            self._follow(found.epoch, found.last)
            return None
        if found.first <= self.number:
            return self._refuse(EntryReplayed(found.first, self.number + 1))
        if found.first > self.number + 1:
            self._miss("trimmed")
        for number, entry in enumerate(found.entries, found.first):
            try:
                answer = entries.unseal(self._seal, self.queue, self.epoch, number, entry)
            except (EntryForged, EntryReplayed, EntryUnknown) as error:
                return self._refuse(error)
            self.number = number
            self._read.append(answer)
            self._waiting += _size(answer)
        if not found.entries:
            self.number = max(self.number, found.last)
        if self._waiting > MAX_WAITING:
            self._clear()
            self._miss("dropped")
        self.poller.shared_changed()
        return None

    def _refuse(self, error: EntryForged | EntryReplayed | EntryUnknown) -> str:
        self._counts[error.reason.removeprefix("entry_")] += 1
        return self._end(str(error))

    def _miss(self, what: str) -> None:
        """Entries are missing, and what is owed may have been in them."""
        self._counts[what] += 1
        self._doubts += 1
        self._owed = None

    @property
    def has_unwritten(self) -> bool:
        """Whether there is an entry to write."""
        return self.role == "asking" and bool(self._unwritten)

    def next_unwritten(self) -> tuple[int, bytes] | None:
        """The number and the bytes of the next entry to write."""
        if not self.has_unwritten:
            return None
        number, self._writing = self.number + 1, self._unwritten[0]
        return number, entries.seal(self._seal, self.queue, self.epoch, number, self._writing)

    def wrote(self, epoch: str, number: int, *, is_done: bool) -> None:
        """An entry was written, or could not be: nobody may know then, so that the others have to ask once."""
        if epoch != self.epoch or self.role != "asking":
            return
        self._counts["written" if is_done else "lost"] += 1
        if not is_done:
            self._begin_anew("renew")
            return
        self.number = number
        # Not the first in any case: what was being written may have been dropped meanwhile, and this node may have got
        # the lease of the same epoch again, and more to write.
        if self._unwritten and self._unwritten[0] is self._writing:
            self._waiting -= _size(self._unwritten.popleft())

    def _begin_anew(self, mode: Mode) -> None:
        self._clear()
        self._mode, self.is_urgent = mode, True
        self.role = "alone" if self.role == "asking" else self.role
        self._has_work(self)

    # --- for the poller (gateway.sharing.SharedQueue) -----------------------------------------------------------------

    @property
    def is_followed(self) -> bool:
        """See SharedQueue."""
        return self.role == "following"

    @property
    def must_ask(self) -> bool:
        """See SharedQueue."""
        return self._doubts != self._asked

    @property
    def audit_s(self) -> float:
        """See SharedQueue."""
        return self._audit_s()

    def next(self) -> Answer | None:
        """See SharedQueue."""
        if not self._read:
            return None
        answer = self._read.popleft()
        self._waiting -= _size(answer)
        return answer

    def took(self, next_nonce: int) -> None:
        """See SharedQueue."""
        self._counts["taken"] += 1
        if self._owed is not None and next_nonce >= self._owed[0]:
            self._owed = None

    def unclear(self) -> None:
        """See SharedQueue."""
        self._miss("gap")

    def refused(self, error: Exception) -> None:
        """See SharedQueue."""
        if isinstance(error, _STALE):
            self._miss("stale")
        elif isinstance(error, _FORGED) and not isinstance(error, QuerySignatureUnknownNode):
            self._counts["unverified"] += 1
            self._end(f"an entry of a node does not verify: {error}")
        else:  # the keys of the nodes of the IC could not be read, for example
            self._miss("unread")

    def asks(self) -> None:
        """See SharedQueue."""
        self._asks = self._doubts

    def asked(self, next_nonce: int, answer: Answer | None, *, is_plain: bool, has_more: bool) -> None:
        """See SharedQueue."""
        is_behind = self.must_ask or self._is_behind
        self._is_behind = is_behind and has_more
        self._asked = self._asks
        if self._read:
            self.poller.shared_changed()
        if answer is None:
            return
        if self.role == "following":
            # Where something was missed, what the canister has may be just that, and no entry will show it.
            if not is_behind and self._owed is None:
                self._owed = (next_nonce, self._clock())
        elif self.role == "asking" and self._others:
            size = _size(answer)
            if not is_plain or size > self._max_entry() or self._waiting + size > MAX_WAITING:
                self._counts["unshared"] += 1
                self._begin_anew("renew")
                return
            self._unwritten.append(answer)
            self._waiting += size
            self._has_work(self)

    def restarted(self) -> None:
        """See SharedQueue. The node that asks may not find it out, if all its clients are older: this one asks then."""
        if self.role != "alone":
            self._begin_anew("seize")

    def close(self) -> None:
        """See SharedQueue."""
        self.stand_alone()
        self._closed(self)


def _size(answer: Answer) -> int:
    return len(answer.query) + len(answer.body)
