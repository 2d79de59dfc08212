"""Wire generation v0 (the original design of July 2023): the client shows an Ed25519 key that it has
registered with the canister, and the gateway makes all calls in its own name.
"""

from functools import partial
from typing import ClassVar, cast

from appliance.crypto import CandidTypes
from appliance.errors import (
    CanisterRefused,
    GatewayError,
    Malformed,
    NotOpenYet,
    OutOfOrder,
    SessionError,
    UntimelyMessage,
    WrongGeneration,
    WrongSender,
    reading_reply,
)
from appliance.ic.principal import Principal
from appliance.protocol.events import Call, Deliver, Event, Join, Opened, Poll, Relay, Send, VerificationFailed, Verify
from appliance.protocol.frames import Delivery, detect_generation, text_frame
from appliance.protocol.session import INLINE, Generation, Input, Session, SessionContext, State, Step, Table
from appliance.protocol.signed import FirstMessage, SignedMessage, open_first, open_message, read_first, read_message

_OPEN = CandidTypes("(record {msg: blob; sig: blob})")
_OPENED = CandidTypes(
    "(variant {Ok: record {client_key: blob; canister_id: principal; nonce: nat64}; Err: text})",
)
_MESSAGE = CandidTypes(
    "(record {msg: variant {DirectlyFromClient: record {client_key: blob; message: blob}; "
    "RelayedByGateway: record {content: blob; sig: blob}; IcWebSocketEstablished: blob}})"
)
_CLOSE = CandidTypes("(record {client_key: blob})")
_ANSWER = CandidTypes("(variant {Ok; Err: text})")

Verified = tuple[FirstMessage | SignedMessage, GatewayError | None]
"""A message and, in mode ``report``, what is wrong with it."""

MAX_AGE_NS = 300 * 10**9
"""Of a client's message, in the past or the future. Without a limit old messages could be replayed: signatures do not
expire, and sequence numbers start again in each session."""


class V0(Session):
    """The session of a client of generation v0."""

    name: ClassVar[str] = "v0"
    generation: ClassVar[Generation] = 0
    opens_with: ClassVar[str] = "opening message of v0 (clients of v2 belong at /v2)"

    __slots__ = ("_held", "_next_num", "canister_id", "client_key")

    def __init__(self, context: SessionContext) -> None:
        super().__init__(context)
        self.canister_id = Principal(b"")
        self.client_key = b""
        self._next_num = 0
        self._held: list[Delivery] = []

    def receive(self, frame: bytes, *, now_ns: int) -> list[Event]:
        """See Session. The signature is verified first: no field of the message is used before."""
        verify = partial(self._open_first if self.state is State.HELLO else self._open, frame)
        # Every signature is Ed25519: only the size is for the client to choose.
        return self.verified(verify(now_ns)) if len(frame) <= INLINE else [Verify(verify, len(frame))]

    def verified(self, opened: Verified) -> list[Event]:
        """See Session."""
        message, failure = opened
        events = self.step(Input.OPENING if isinstance(message, FirstMessage) else Input.MESSAGE, message)
        return events if failure is None else [VerificationFailed(failure), *events]

    def answered(self, method: str, reply: bytes | None) -> list[Event]:
        """See Session. The answer to ``ws_open`` opens the session."""
        if method == "ws_open":
            return self.step(Input.ACCEPTED, _opened_at(reply))
        if reply is not None:
            with reading_reply(f"answer of {method}"):
                (answer,) = cast("tuple[dict[str, str]]", _ANSWER.decode(reply))
            if "Err" in answer:
                raise CanisterRefused(method, answer["Err"])
        return []

    def refused(self) -> list[Event]:
        """See Session."""
        return [Send(text_frame("0"))]

    def close_call(self) -> Call | None:
        """See Session."""
        if self.state in (State.NEW, State.HELLO):
            return None
        return Call(self.canister_id, "ws_close", _CLOSE.encode({"client_key": self.client_key}))

    def violation(self, what: Input, subject: object) -> SessionError:
        """See Session."""
        if what is Input.MESSAGE:
            return NotOpenYet("text frame 1")
        return super().violation(what, subject)

    def _open(self, frame: bytes, now_ns: int) -> Verified:
        message, failure = self.context.envelopes.check(lambda: open_message(frame), lambda: read_message(frame))
        return message, failure or self._untimely(message, now_ns)

    def _open_first(self, frame: bytes, _: int) -> Verified:
        verifier = self.context.envelopes.verifier
        try:
            return self.context.envelopes.check(lambda: open_first(verifier, frame), lambda: read_first(frame))
        except Malformed:
            if (spoken := detect_generation(frame)) not in (None, self.name):
                raise WrongGeneration(spoken, self.name) from None
            raise

    def _untimely(self, message: SignedMessage, now_ns: int) -> GatewayError | None:
        mode = self.context.envelopes.mode
        if mode == "off" or abs(now_ns - message.timestamp_ns) <= MAX_AGE_NS:
            return None
        error = UntimelyMessage(message.timestamp_ns, now_ns, MAX_AGE_NS)
        if mode == "enforce":
            raise error
        return error

    def _wait(self, _: None) -> list[Event]:
        return []

    def _join(self, first: FirstMessage) -> list[Event]:
        self.canister_id = Principal(first.canister_id)
        self.client_key = first.client_key
        call = Call(self.canister_id, "ws_open", _OPEN.encode({"msg": first.content, "sig": first.signature}))
        return [Join(self.name, self.canister_id, self.client_key, self.client_key.hex(), call), Relay(call)]

    def _hold(self, delivery: Delivery) -> list[Event]:
        """Keep it until the canister has answered: until then it may be for an earlier session of the same key. How
        many bytes is for the caller to bound.
        """
        self._held.append(delivery)
        return []

    def _establish(self, nonce: int) -> list[Event]:
        held, self._held = self._held, []
        kept: list[Event] = [Deliver(delivery) for delivery in held if delivery.nonce >= nonce]
        established = Call(
            self.canister_id, "ws_message", _MESSAGE.encode({"msg": {"IcWebSocketEstablished": self.client_key}})
        )
        return [Poll(nonce), Send(text_frame("1")), *kept, Relay(established), Opened()]

    def _relay(self, message: SignedMessage) -> list[Event]:
        if message.client_key != self.client_key:
            raise WrongSender(message.client_key.hex(), self.client_key.hex())
        if message.sequence_num != self._next_num:
            raise OutOfOrder(self._next_num, message.sequence_num)
        self._next_num += 1
        relayed = {"content": message.content, "sig": message.signature}
        return [Relay(Call(self.canister_id, "ws_message", _MESSAGE.encode({"msg": {"RelayedByGateway": relayed}})))]

    def _send(self, delivery: Delivery) -> list[Event]:
        return [Send(delivery.frame)]

    table: ClassVar[Table] = {
        (State.NEW, Input.CONNECT): Step(_wait, State.HELLO),
        (State.HELLO, Input.OPENING): Step(_join, State.OPENING),
        (State.OPENING, Input.DELIVERY): Step(_hold, State.OPENING),
        (State.OPENING, Input.ACCEPTED): Step(_establish, State.OPEN),
        (State.OPEN, Input.MESSAGE): Step(_relay, State.OPEN),
        (State.OPEN, Input.DELIVERY): Step(_send, State.OPEN),
    }


def _opened_at(reply: bytes | None) -> int:
    """The nonce that ``ws_open`` answered. Raises CanisterRefused, and ReplyMalformed without an answer."""
    with reading_reply("answer of ws_open"):
        (answer,) = cast("tuple[dict[str, dict[str, object] | str]]", _OPENED.decode(reply or b""))
    match answer:
        case {"Ok": {"nonce": int(nonce)}}:
            return nonce
    raise CanisterRefused("ws_open", str(answer["Err"]))
