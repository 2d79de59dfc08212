"""Where the polls of one canister's queue are."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Literal, cast

from appliance.crypto import PolledMessage, PollReply, decode_cbor
from appliance.protocol.frames import payload_of

Verdict = Literal["next", "gap", "repeated"]


@dataclass(slots=True)
class Cursor:
    """Outlives the poller. ``next_nonce`` never moves back, except when the canister's queue began anew."""

    next_nonce: int = 0
    time_ns: int = 0
    """Of the newest certificate whose messages were taken."""
    last_frame: bytes = b""
    """Of the message before ``next_nonce``, to know it again."""
    joining: bool = True
    """Nothing was taken since polling began: canisters forget old messages, so the first nonce may be any."""
    was_empty: bool = False
    """The queue was seen without a message: whatever comes then is new."""

    def take(self, message: PolledMessage) -> Verdict:
        """Move behind a message, unless it was there before."""
        nonce = message.nonce
        if nonce < self.next_nonce:
            return "repeated"
        gap = nonce > self.next_nonce and not self.joining
        self.next_nonce = nonce + 1
        self.last_frame = message.frame
        self.joining = False
        return "gap" if gap else "next"

    def follow(self, nonce: int) -> None:
        """Go on from this nonce, whatever was before."""
        self.next_nonce = nonce
        self.last_frame = b""

    def skipped(self, reply: PollReply) -> bool:
        """Whether a reply from nonce 0 left out the beginning of a new queue: canisters of generation v1 answer that
        nonce with the end of the queue (IC-PROTOCOL D.1).
        """
        if self.next_nonce == 0 and not reply.messages:
            self.was_empty = True
        return self.next_nonce == 0 and self.was_empty and any(message.nonce for message in reply.messages[:1])

    def begins_anew(self, reply: PollReply, expecting: Container[bytes]) -> bool:
        """Whether a reply from before the next nonce shows that the canister lost its queue and has a new one.

        It does when it is newer than all we have, ends before the next nonce, does not have the message that we took
        last, and has one for a client that the canister accepted lately and that got nothing yet.
        """
        messages = reply.messages
        newer = reply.time_ns is None or reply.time_ns > self.time_ns
        return (
            newer
            and any(message.client_key in expecting for message in messages)
            and all(message.nonce < self.next_nonce for message in messages)
            and not any(self._is_last(message) for message in messages)
        )

    def restart(self, nonce: int) -> None:
        """Read the new queue from this nonce on, all of which is new."""
        self.next_nonce = nonce
        self.last_frame = b""
        self.joining = True
        self.was_empty = True

    def _is_last(self, message: PolledMessage) -> bool:
        return message.nonce == self.next_nonce - 1 and _content(message.frame) == _content(self.last_frame)


def _content(frame: bytes) -> object:
    """What the canister certified; the certificate and the tree beside it differ from reply to reply."""
    message = cast("dict[str, object]", decode_cbor(payload_of(frame)))
    return {key: value for key, value in message.items() if key not in ("cert", "tree")}
