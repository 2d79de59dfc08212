"""Replies of the IC's endpoints that no honest endpoint sends, whatever the canister and the client do."""

from appliance.errors.reply import ReplyError


class BadReply(ReplyError, reason="bad_reply"):
    """A reply contradicts itself, or is not what was requested. Another endpoint may have a good one."""


class ClientKeyMismatch(BadReply, reason="client_key_mismatch"):
    """A message is certified for one client, and the reply says another one beside it. ``key`` is the message's."""

    key: str
    sentence = "message {key} was certified for another client than the reply says"


class ForeignQueue(BadReply, reason="foreign_queue"):
    """A message is from the queue of another gateway. ``gateway`` is a principal as text: the one that polled, or that
    of the reply's first message where any gateway would do."""

    key: str
    gateway: str
    sentence = "message {key} is not from the queue of gateway {gateway}"


class HoleInReply(BadReply, reason="hole_in_reply"):
    """Messages are left out between two of a reply. Both are nonces: the first that is missing, the one shown next."""

    expected: int
    got: int
    sentence = "messages are missing in the reply: expected message {expected}, got {got}"


class MessageUnreadable(BadReply, reason="message_unreadable"):
    """A message of a reply does not decode, although the canister certified it."""

    nonce: int
    problem: str
    sentence = "message {nonce} does not decode: {problem}"


class NoncesNotAscending(BadReply, reason="nonces_not_ascending"):
    """The messages of a reply are not in the order of their nonces, or one is there twice."""

    previous: int
    got: int
    sentence = "the messages of the reply are not in order: {got} follows {previous}"


class NonceTooFar(BadReply, reason="nonce_too_far"):
    """A reply jumps ahead by more messages than a canister can have written. Both are nonces."""

    expected: int
    got: int
    sentence = "expected message {expected} in the reply, got {got}: no canister writes so many messages"


class QuerySignatureMissing(BadReply, reason="query_signature_missing"):
    """No node signed the reply to a query."""

    sentence = "no node signed the reply"


class QuerySignatureInvalid(BadReply, reason="query_signature_invalid"):
    """The signature of a node over the reply to a query does not verify, or its key cannot. ``node`` is a principal."""

    node: str
    problem: str
    sentence = "the signature of node {node} does not verify: {problem}"


class QuerySignatureUnknownNode(BadReply, reason="query_signature_unknown_node"):
    """The reply to a query is signed by what is no node of the subnet, or not known as one. A principal as text."""

    node: str
    sentence = "the reply is signed by {node}, which is no known node of the subnet"


class QuerySignatureStale(BadReply, reason="query_signature_stale"):
    """The reply to a query was signed too long ago, or in the future. All in nanoseconds, times since 1970."""

    signed_at_ns: int
    now_ns: int
    limit_ns: int
    sentence = "the reply was signed {_when}, the limit is {limit_s:.0f} s; is the clock right?"

    @property
    def _when(self) -> str:
        off_s = (self.now_ns - self.signed_at_ns) / 1e9
        return f"{off_s:.0f} s ago" if off_s >= 0 else f"{-off_s:.0f} s ahead of this clock"
