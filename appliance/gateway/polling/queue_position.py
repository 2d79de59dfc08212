"""The place of the gateway in one canister's queue, and whether it still is the same queue.

A value without I/O and without a clock: pages of the queue in, decisions out. `Poller` does what is decided::

    ask = position.next_ask()
    while True:
        decision = position.judge(ask, the page from ask.nonce on)
        Ask       -> get the page from its nonce, and judge that one
        Missing   -> get the page from another endpoint, and judge that one; or judge this one again, passing the hole
        Restarted -> close the clients of before, and begin with next_ask() again
        Taken     -> deliver its messages; this poll is done

A canister that is reinstalled, or upgraded without its state, forgets its clients and begins a new queue at nonce 0.
Nobody reports that. The *anchor* is the message that was taken last::

    queue that we know     0 1 2 3 4 [5]               anchor 5, next nonce 6
    the same, goes on      0 1 2 3 4 [5] 6 7           shows our anchor: 6 and 7 are new
    new one, longer        0 1 2 3 4 (5) 6 7           shows another message at 5: all of it is new
    new one, shorter       0 1 2                       shows nothing from 5 on
    the same, pruned                     6 7           shows nothing at 5: canisters delete old messages
    the same, pruned                                   shows nothing from 5 on: nor does a replica that is behind

A poll from the next nonce cannot distinguish the second line from the third, nor the fourth from silence. So while a
client waits for its first message (only a newcomer can have messages in a new queue) polls begin at the anchor, and
nothing is taken before the anchor was looked for. Thus no message of a new queue is taken for one of the old queue, and
after a restart everything can be read from its beginning without delivering anything twice. A page that shows nothing
is certified by nobody. If that goes on, a *probe* asks further down the queue: a message before the anchor that was
written after it belongs to a new queue. It need not be a newcomer's message, so any page of the new queue will do.

A certificate proves each message of a page, and not that the page leaves out none. So a page with a *hole*, between two
messages or before the first, is not taken on the word of one endpoint. A certified message that does not decode is a
hole, too. Whose message it was stands beside it, which enough endpoints must say alike.

Certificates order all of this: only one that is newer than all that showed the known queue proves a restart, and none
that is older than the proof is believed afterwards. Else a replica that is behind could undo a restart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from appliance.errors import NonceTooFar
from appliance.gateway.polling.page import Message, Page, content_of, written_ns

FIRST_PROBE = 2
LAST_PROBE = 256
"""Polls that show nothing, while an accepted client waits, until the first probe; twice as many before each further
one, up to the last number: clients of v0 may wait for ever, as nothing obliges the application to write to them."""
SETTLE = 2
"""Polls that begin at the anchor after an opening call ended or a client left unanswered: its first message may still
come into the queue, or be there unread."""
LONGEST_HOLE = 1 << 40
"""Messages that may be missing in a row. A canister cannot have written more, and whoever skipped so many would have
nothing to poll for."""
PATIENCE = 32
"""Polls to the end of the queue after which a client that the canister accepted before it restarted gets no more."""


class Ask(NamedTuple):
    """Get the page from this nonce on. ``rest``: what the page before left out; ``probe``: look for a restart."""

    nonce: int
    purpose: Literal["poll", "rest", "probe"] = "poll"


class Missing(NamedTuple):
    """The page goes on with nonce ``got`` where ``expected`` is due; ``is_inside`` it, or before its first message.
    Nothing of it was taken. ``client_key`` is set where one message is there but does not decode: its client, as the
    endpoint says.
    """

    expected: int
    got: int
    is_inside: bool
    client_key: bytes | None = None

    def is_same(self, other: "Missing | None") -> bool:
        """Whether the other one is about the same messages."""
        return other is not None and (self.expected, self.got) == (other.expected, other.got)


class Taken(NamedTuple):
    """The new messages of a page, in order; one with a ``problem`` is lost for its client.

    ``lost`` counts messages that are missing between them and that any client may have waited for, ``repeated`` the
    messages that were taken before, ``forgotten`` are clients that the canister accepted and lost before their first
    message.
    """

    messages: Sequence[Message] = ()
    lost: int = 0
    repeated: int = 0
    forgotten: Sequence[bytes] = ()


class Restarted(NamedTuple):
    """The canister has a new queue. It forgot every client that is open, and nothing of the new queue was taken.
    ``is_certified`` unless the operator has the certificates not enforced.
    """

    is_certified: bool


Decision: TypeAlias = Ask | Missing | Taken | Restarted


@dataclass(slots=True)
class QueuePosition:
    """Outlives the poller. ``next_nonce`` moves back only when the canister restarted its queue."""

    next_nonce: int = 0
    zero_is_end: bool = False
    """Nonce 0 is answered with the end of the queue instead of its beginning (v1)."""
    greets: bool = True
    """The canister writes to every client that it accepts (v1 and v2)."""
    _anchor: bytes = b""
    """The frame of the last message that was taken; empty if none was since polling began at a given nonce."""
    _shown_ns: int = 0
    """The newest certificate that showed the queue we know."""
    _restarted_ns: int = 0
    """The certificate that proved the last restart."""
    _is_joining: bool = True
    """Nothing was taken since polling began: canisters delete old messages, so the first nonce may be any."""
    _was_empty: bool = False
    """The queue was seen empty, so all that it has later is new."""
    _waiting: dict[bytes, int] = field(default_factory=dict)
    """Accepted clients without a message yet, and the lowest nonce that it may have."""
    _openings: int = 0
    """Opening calls under way."""
    _settling: int = 0
    _silent: int = 0
    _probe_at: int = FIRST_PROBE
    _older_openings: int = 0
    """Opening calls that were under way when the canister restarted: they may have been accepted before."""
    _aftermath: int = 0
    _patience: dict[bytes, int] = field(default_factory=dict)
    """Clients that may have been accepted before the restart, and for how many polls they are waited for."""

    # --- what happens beside the queue ------------------------------------------------------------------------------

    def begin(self, *, zero_is_end: bool, greets: bool) -> None:
        """Polling begins, perhaps again."""
        self.zero_is_end, self.greets = zero_is_end, greets
        self._is_joining = True
        self._silent, self._probe_at = 0, FIRST_PROBE

    def start_at(self, nonce: int) -> None:
        """Continue at this nonce, which the canister named, whatever was before."""
        self.next_nonce = nonce
        self._anchor = b""

    def opening_began(self) -> None:
        """An opening call is about to be made: from now on a newcomer may be in the queue."""
        self._openings += 1

    def opening_ended(self) -> None:
        """It was answered, or failed."""
        self._openings -= 1
        self._older_openings = max(0, self._older_openings - 1)
        self._settling = SETTLE

    def accepted(self, client_key: bytes, nonce: int) -> None:
        """The canister accepted a client; its first message has this nonce or a higher one."""
        self._waiting[client_key] = nonce
        if self._aftermath and self.greets:
            self._patience[client_key] = PATIENCE

    def waits(self, client_key: bytes) -> bool:
        """Whether a client was accepted and has got nothing yet."""
        return client_key in self._waiting

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def delivered(self, client_key: bytes, nonce: int) -> None:
        """A client got a message."""
        # One with a lower nonce is for an earlier session with the same key, and says nothing of this one.
        if self._waiting and nonce >= self._waiting.get(client_key, nonce):
            self._forget(client_key)

    def left(self, client_key: bytes) -> None:
        """A client is gone. If it got nothing, its first message is still to be read."""
        if client_key in self._waiting:
            self._settling = SETTLE
        self._forget(client_key)

    def _forget(self, client_key: bytes) -> None:
        self._waiting.pop(client_key, None)
        self._patience.pop(client_key, None)
        if not self._waiting:
            self._silent, self._probe_at = 0, FIRST_PROBE

    # --- the order of opening calls ---------------------------------------------------------------------------------

    def must_poll_first(self) -> bool:
        """Whether the queue must be polled before an opening call. If it is empty then, all that it has later is new;
        if not, the end that was shown is where polling begins.
        """
        return self.zero_is_end and not self.next_nonce and not self._was_empty

    def opens_one_by_one(self) -> bool:
        """Whether opening calls must be made one at a time, each until its messages were polled.

        Nonce 0 shows the end of the queue, so message 0 can be seen only while the queue is not longer than a page.
        That holds for next nonce 1, too: message 0 is the anchor then.
        """
        return self.zero_is_end and self.next_nonce <= 1

    # --- polls ------------------------------------------------------------------------------------------------------

    def next_ask(self) -> Ask:
        """What a poll asks for first."""
        return Ask(self.next_nonce - 1 if self.is_checking and self._anchor else self.next_nonce)

    def judge(self, ask: Ask, page: Page, *, passing: Missing | None = None) -> Decision:
        """What the page that answers ``ask`` means. Not more than five asks in a row lead to `Taken`, unless pages have
        holes. ``passing`` is a hole of it that is believed.

        Raises NonceTooFar for a page that no honest canister writes.
        """
        if page.time_ns is not None and page.time_ns < self._restarted_ns:
            return Taken()  # of before the restart, by a replica that is behind
        if ask.purpose == "probe":
            return self._restart(page) if self._proves_restart(page) else Taken()
        messages = page.messages
        if not messages:
            return self._silence()
        # A page that begins with 1 lacks message 0 alone, which no other nonce shows.
        if self.zero_is_end and self._skips_beginning(ask) and messages[0].nonce > 1:
            return Ask(1, "rest")
        if self.is_checking and self._anchor and ask.purpose == "poll":
            return self._check(ask, page, passing)
        return self._take(page, messages, passing)

    @property
    def is_checking(self) -> bool:
        """Whether a newcomer may have a message in the queue that was not read yet."""
        return bool(self._openings or self._waiting or self._settling)

    @property
    def can_share(self) -> bool:
        """Whether a page that another node got may be taken here (``sharing``)."""
        return not self.is_checking and not self._is_joining

    def judge_shared(self, page: Page) -> Taken | Restarted | None:
        """What a page means that another node got: the reason is in ``sharing``. None: only the canister can tell."""
        messages = page.messages
        if not self.can_share or not page.is_whole or not messages or messages[0].nonce > self.next_nonce:
            return None
        if messages[0].nonce < self.next_nonce and page.time_ns is not None and self._proves_restart(page):
            return self._restart(page)
        known = self.next_nonce - messages[0].nonce
        if known >= len(messages):
            return Taken(repeated=len(messages))
        if page.time_ns is not None and page.time_ns < self._shown_ns:
            return None  # it may be of another queue: ours had less then than what was read of it later, or as much
        self._move(messages[-1].nonce + 1, messages[-1].frame, page)
        return Taken(messages[known:] if known else messages, repeated=known)

    def _skips_beginning(self, ask: Ask) -> bool:
        is_known = self.next_nonce == 1 or self._was_empty
        return ask.nonce == 0 and self.next_nonce <= 1 and is_known

    def _check(self, ask: Ask, page: Page, passing: Missing | None) -> Decision:
        """Look for the anchor before anything is taken."""
        anchor = self.next_nonce - 1
        if ask.nonce > anchor:
            return Ask(anchor)  # asked before a newcomer came
        shown = next((message for message in page.messages if message.nonce == anchor), None)
        if shown is None:
            return self._take(page, page.messages, passing)
        if content_of(shown.frame) != content_of(self._anchor):
            return self._restart(page) if self._is_newer(page) else Taken()
        self._shown_ns = max(self._shown_ns, page.time_ns or 0)
        self._silent = 0
        if len(page.messages) == 1 and not page.is_end_of_queue:
            return Ask(self.next_nonce, "rest")  # a page holds one message
        return self._take(page, [message for message in page.messages if message is not shown], passing)

    def _silence(self) -> Decision:
        """The page has nothing, not even the anchor: the end of our queue, of a shorter one, or a replica behind."""
        if not self.next_nonce:
            self._was_empty = True
        if self._waiting and (lowest := min(self._waiting.values())) < self.next_nonce:
            self._silent += 1
            if self._silent >= self._probe_at:
                self._silent, self._probe_at = 0, min(2 * self._probe_at, LAST_PROBE)
                return Ask(lowest, "probe")
        return Taken(forgotten=self._end_of_queue())

    def _proves_restart(self, page: Page) -> bool:
        return self._is_newer(page) and any(self._contradicts(message) for message in page.messages)

    def _is_newer(self, page: Page) -> bool:
        return page.time_ns is None or page.time_ns > self._shown_ns

    def _contradicts(self, message: Message) -> bool:
        """Whether a message cannot be of the queue that has our anchor."""
        if message.nonce >= self.next_nonce:
            return False
        if not self._anchor:
            return True  # polling began at a nonce that the canister named: its queue had no less then
        anchor, other = content_of(self._anchor), content_of(message.frame)
        if message.nonce == self.next_nonce - 1:
            return anchor != other
        return written_ns(other) > written_ns(anchor)

    def _restart(self, page: Page) -> Restarted:
        self.next_nonce, self._anchor = 0, b""
        self._is_joining = self._was_empty = True
        self._shown_ns = self._restarted_ns = page.time_ns or self._restarted_ns
        self._silent, self._probe_at = 0, FIRST_PROBE
        self._older_openings, self._aftermath = self._openings, PATIENCE
        self._patience = dict.fromkeys(self._waiting, PATIENCE) if self.greets else {}
        return Restarted(page.time_ns is not None)

    def _take(self, page: Page, messages: Sequence[Message], passing: Missing | None) -> Missing | Taken:
        """Move behind the messages that are new, up to a hole that is not believed yet."""
        if page.is_whole and messages and messages[0].nonce == self.next_nonce:
            return self._take_all(page, messages)
        following, lost, last, fresh = self.next_nonce, 0, b"", list[Message]()
        new = [message for message in messages if message.nonce >= following]
        taken = 0
        for message in new:
            hole = self._hole(following, message, page, is_first=not taken)
            if hole is not None and not hole.is_same(passing):
                if passing is None or not taken:
                    return self._believable(hole)
                break  # the hole behind the one that is believed
            is_lost = message.problem is not None and (passing is None or passing.client_key is None)
            # Messages that were deleted before polling began were for clients of an earlier time.
            lost += is_lost + (0 if self._is_joining and not taken else message.nonce - following)
            following, last, taken = message.nonce + 1, message.frame, taken + 1
            if not is_lost:
                fresh.append(message)
        if taken:
            self._move(following, last, page)
        # Canisters of v1 do not say where the queue ends: only a page without new messages shows it.
        is_end = page.is_end_of_queue and taken == len(new) and not (self.zero_is_end and taken)
        return Taken(fresh, lost, len(messages) - len(new), self._end_of_queue() if is_end else ())

    def _take_all(self, page: Page, messages: Sequence[Message]) -> Taken:
        """The same for messages that are due, with no hole: what almost all pages are, at no cost for each message."""
        self._move(messages[-1].nonce + 1, messages[-1].frame, page)
        is_end = page.is_end_of_queue and not self.zero_is_end
        return Taken(messages, forgotten=self._end_of_queue() if is_end else ())

    def _move(self, following: int, last: bytes, page: Page) -> None:
        self.next_nonce, self._anchor, self._is_joining = following, last, False
        self._shown_ns = max(self._shown_ns, page.time_ns or 0)

    def _hole(self, following: int, message: Message, page: Page, *, is_first: bool) -> Missing | None:
        """What is missing before a message, and this one with it where it does not decode."""
        expected = message.nonce if is_first and self._shows_any_beginning else following
        if message.problem is not None:
            client_key = message.client_key if message.nonce == expected else None
            return Missing(expected, message.nonce + 1, is_inside=True, client_key=client_key)
        if message.nonce == expected:
            return None
        return Missing(expected, message.nonce, is_inside=message is not page.messages[0])

    @property
    def _shows_any_beginning(self) -> bool:
        """Whether a page may begin anywhere: nonce 0 of a v1 queue shows its end."""
        return self.zero_is_end and self._is_joining and not self.next_nonce

    def _believable(self, hole: Missing) -> Missing:
        if hole.got - hole.expected > LONGEST_HOLE:
            raise NonceTooFar(hole.expected, hole.got)
        return hole

    def _end_of_queue(self) -> Sequence[bytes]:
        """A poll came to the end of the queue. Returns whom the canister lost before their first message."""
        self._settling = max(0, self._settling - 1)
        if not self._older_openings:
            self._aftermath = max(0, self._aftermath - 1)
        if not self._patience:
            return ()
        self._patience = {key: polls - 1 for key, polls in self._patience.items()}
        # Not `<= 0`: each is reported once, and stays here until its client has left.
        return [key for key, polls in self._patience.items() if polls == 0]
