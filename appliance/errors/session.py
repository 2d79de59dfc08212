"""Clients that break the protocol of their session."""

from appliance.errors.base import GatewayError


class SessionError(GatewayError, close_code=4510, reason="protocol"):
    """A client did what its protocol does not allow."""

    sentence = "protocol violation"


class TextFrame(SessionError, close_code=1003, reason="text_frame"):
    """A text frame, where the protocol has binary frames only."""

    sentence = "text frames are not part of this protocol, send binary ones"


class WrongCanister(SessionError, close_code=4506, reason="wrong_canister"):
    """A message for another canister than the session's. Principals as text."""

    canister: str
    session_canister: str
    sentence = "the message is for canister {canister}, this session is with {session_canister}"


class WrongMethod(SessionError, close_code=4507, reason="wrong_method"):
    """A call of a method that is not allowed at this point of the session."""

    method: str
    expected: str
    sentence = "a call of {method!r} is not allowed here, expected {expected!r}"


class WrongSender(SessionError, close_code=4504, reason="wrong_sender"):
    """A message signed by another principal than the one that opened the session. Principals as text."""

    sender: str
    session_sender: str
    sentence = "the message is from {sender}, this session was opened by {session_sender}"


class WrongGateway(SessionError, close_code=4513, reason="wrong_gateway"):
    """The client opens with the principal of another gateway. Principals as text."""

    gateway: str
    this_gateway: str
    sentence = "the message names gateway {gateway}, this one is {this_gateway}"


class WrongGeneration(SessionError, close_code=4514, reason="wrong_generation"):
    """A client that speaks another wire generation than the one served here, or than its canister.

    ``spoken`` is what the client speaks and ``served`` what is served, both as words such as ``v1 or v2``; ``canister``
    is a principal as text, None where it is the address that does not fit.
    """

    spoken: str
    served: str
    canister: str | None = None
    sentence = "{_mismatch}"

    @property
    def _mismatch(self) -> str:
        if self.canister is not None:
            return f"canister {self.canister} serves clients of {self.served}, this one speaks {self.spoken}"
        paths = " or ".join(f"/{name}" for name in self.spoken.split(" or "))
        return f"this address serves clients of {self.served}; connect to {paths} for {self.spoken}"


class OutOfOrder(SessionError, close_code=4515, reason="out_of_order"):
    """The sequence number of a client's message is not the next one."""

    expected: int
    received: int
    sentence = "expected sequence number {expected}, got {received}"


class UntimelyMessage(SessionError, close_code=4503, reason="untimely"):
    """A message of the client was signed too long ago, or in the future. All in nanoseconds, times since 1970."""

    timestamp_ns: int
    now_ns: int
    limit_ns: int
    sentence = "the message was signed {_when}, the limit is {limit_s:.0f} s; is the client's clock right?"

    @property
    def _when(self) -> str:
        off_s = (self.now_ns - self.timestamp_ns) / 1e9
        return f"{off_s:.0f} s ago" if off_s >= 0 else f"{-off_s:.0f} s ahead of this clock"


class NotOpenYet(SessionError, close_code=4516, reason="not_open_yet"):
    """A message before the canister accepted the client."""

    waiting_for: str
    sentence = "the session is not open yet, wait for the {waiting_for}"


class DuplicateClient(SessionError, close_code=4508, reason="duplicate_client"):
    """A client key that already has an open connection."""

    client: str
    sentence = "client {client} is already connected"


class ClientLeaving(SessionError, close_code=4107, reason="client_leaving"):
    """The previous session of a client key is still being closed at its canister."""

    client: str
    sentence = "the previous session is still being closed, retry shortly (client {client})"


class NodeGivenUp(SessionError, close_code=4113, reason="node_given_up"):
    """A node that was cut off from its cluster for too long: others have told the canister that its client left."""

    sentence = "this node was cut off, and the canister was told that its clients left; open a new session"


class ReplayedEnvelope(SessionError, close_code=4512, reason="replayed"):
    """A signed message that was used before."""

    request_id: str
    sentence = "the message {request_id:.16}… was used before"


class OpeningClaimed(SessionError, close_code=4519, reason="opening_claimed"):
    """An opening message that was used before, at another node of the cluster or by an earlier process."""

    request_id: str
    sentence = "the opening message {request_id:.16}… was used at another node; sign a new one"


class OpeningOutdated(SessionError, close_code=4520, reason="opening_outdated"):
    """The canister opened the session clearly before the opening message came here, so it was used elsewhere."""

    age_ns: int
    limit_ns: int
    sentence = "the session was opened elsewhere, {age_s:.0f} s before this opening message came; sign a new one"


class CanisterNotServed(SessionError, close_code=4509, reason="canister_not_served"):
    """A canister that the configuration does not serve. A principal as text."""

    canister: str
    sentence = "this gateway does not serve canister {canister}"
