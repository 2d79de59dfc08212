"""Polls that nodes of a cluster share: one asks a canister, and the others take what it got.

An *entry* is an answer of the IC as it came: the signed query and the reply with the signatures of nodes. Whoever takes
it verifies both as it would those of its own poll, so that neither the node that asked nor what carried the entry is
believed.

**Whose position.** Each node has its own `QueuePosition`, and moves it by what it has verified itself, never by what it
is told of the others. They stand at different nonces, and an entry begins where the node stood that asked, so it is not
the answer to what this node would ask. It need not be: a whole page with the messages ``first`` to ``last`` shows each
of them by its own certified place in the queue. With ``next`` the next nonce of this node there are three cases::

    first > next            a gap: what is between was not seen here          ask the canister
    first <= next <= last   from ``next`` on it is what a poll from there     take ``next`` to ``last``
                            would have got, at the replica that answered
    last < next             a reply of a replica that is behind               take nothing

So an entry is a reply of a replica that may be behind, which `QueuePosition` has to expect of each poll anyway.

- *No message is lost*: the position moves only over messages that are in the page, without a hole. What an entry does
  not bring, because it was trimmed, dropped or never written, is a gap for the next entry; and where no entry comes any
  more, the node's own poll finds it (`SharedQueue.audit_s`).
- *None is delivered twice*, nor out of order: nothing below ``next`` is taken, and ``next`` never moves back but for a
  restart that is proved.
- *A restarted queue*: while a newcomer may have a message in the queue, and until the first message was taken after
  polling began, the rules of `QueuePosition` are about what this node asks for and when. Then no entry is taken, and
  the node asks for itself. Otherwise a page that contradicts the anchor, with a newer certificate than all that showed
  the known queue, proves the restart, as that of a probe does. A page with an older certificate than these may be of
  the queue before; it moves nothing.
- *Nothing is concluded from silence.* An entry never counts as the end of the queue: that is for polls that begin after
  what waits for it. So nobody is released, closed as silent or given up because of entries.

What is not that plain (holes, pages that are too large, messages that do not decode) is not shared; it is a gap for the
others, each of which gets over it by its own rules.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from appliance.ic.principal import Principal


class Answer(NamedTuple):
    """An answer of the IC to a poll: the signed query, and what the endpoint sent."""

    query: bytes
    body: bytes


class SharingPoller(Protocol):
    """A poller, as the polls that it shares see it."""

    @property
    def demand(self) -> float:
        """Polls a second that it makes, or would make by itself."""

    @property
    def can_hold(self) -> bool:
        """Whether it can ask for the others: its polls go well, and nobody paused it."""

    def shared_changed(self) -> None:
        """There are entries to take, or another node asks now, or none."""


class SharedQueue(Protocol):
    """The shared polls of one canister, as the poller of this node uses them. Nothing here waits."""

    @property
    def is_followed(self) -> bool:
        """Another node asks. Then this one polls by itself every ``audit_s``, and where it ``must_ask``."""

    @property
    def must_ask(self) -> bool:
        """Something was missed, or may have been: only the canister can tell, when it is asked from now on."""

    @property
    def audit_s(self) -> float:
        """Seconds from one own poll to the next while another node asks."""

    def next(self) -> Answer | None:
        """The next entry that came; None where there is none."""

    def took(self, next_nonce: int) -> None:
        """The entry was verified, and shows the queue up to this nonce."""

    def unclear(self) -> None:
        """The entry was verified, and only the canister can tell what it means."""

    def refused(self, error: Exception) -> None:
        """The entry does not verify."""

    def asks(self) -> None:
        """The canister is about to be asked."""

    def asked(self, next_nonce: int, answer: Answer | None, *, is_plain: bool, has_more: bool) -> None:
        """The canister was asked, and its queue read up to this nonce. ``answer`` had new messages, None where there
        were none; ``is_plain`` unless the others could not take them; ``has_more`` where the queue may go on.
        """

    def restarted(self) -> None:
        """The canister has a new queue, as this node has found by itself."""

    def close(self) -> None:
        """The canister is not polled here any more."""


class Unshared:
    """The polls of a gateway that shares none."""

    is_followed = False
    must_ask = False
    audit_s = 0.0

    def next(self) -> Answer | None:
        """None."""
        return None

    def took(self, next_nonce: int) -> None:
        """Does nothing."""

    def unclear(self) -> None:
        """Does nothing."""

    def refused(self, error: Exception) -> None:
        """Does nothing."""

    def asks(self) -> None:
        """Does nothing."""

    def asked(self, next_nonce: int, answer: Answer | None, *, is_plain: bool, has_more: bool) -> None:
        """Does nothing."""

    def restarted(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


Share = Callable[[Principal, SharingPoller], SharedQueue]
"""Shares the polls of a canister with the other nodes."""


def unshared(_canister_id: Principal, _poller: SharingPoller) -> SharedQueue:
    """Share with nobody."""
    return Unshared()
