"""The session of wire generations v1 and v2: clients sign IC envelopes for ``ws_open`` and ``ws_message``."""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, TypeVar, cast

from appliance.crypto import CandidTypes, Request
from appliance.errors import (
    NOT_DECODED,
    CanisterRefused,
    GatewayError,
    Malformed,
    ReplayedEnvelope,
    SessionError,
    WrongCanister,
    WrongGeneration,
    WrongMethod,
    WrongSender,
    reply_error,
)
from appliance.ic.principal import Principal
from appliance.protocol.events import Call, Event, Join, Opened, Poll, Relay, Send, VerificationFailed, Verify
from appliance.protocol.frames import Delivery, binary_frame, detect_generation
from appliance.protocol.session import INLINE, Input, Session, SessionContext, State, Step, Table

_OPEN = CandidTypes("(record {client_nonce: nat64; gateway_principal: opt principal})")
"""The argument of either generation: v1 leaves the gateway out."""
_CLOSE = CandidTypes("(record {client_key: record {client_principal: principal; client_nonce: nat64}})")
_ANSWER = CandidTypes("(variant {Ok; Err: text})")

_INPUTS = {"ws_open": Input.OPENING, "ws_message": Input.MESSAGE}

T = TypeVar("T")
Verified = tuple[Request, GatewayError | None]
"""A request and, in mode ``report``, what is wrong with it."""

REMEMBERED = 64
"""Messages of a session whose replay is detected. More are not needed, because the IC executes none twice."""


class Enveloped(Session):
    """A session of a client that signs envelopes. Subclasses define how it opens.

    ``one_for_each_principal``: the canister keeps one client per principal; a ``ws_close`` for any of them removes it.
    """

    one_for_each_principal: ClassVar[bool] = False

    __slots__ = ("_recent", "canister_id", "nonce", "sender")

    def __init__(self, context: SessionContext) -> None:
        super().__init__(context)
        self.canister_id = Principal(b"")
        self.sender = b""
        self.nonce = 0
        self._recent: list[bytes] | tuple[()] = ()  # an empty list takes 56 bytes of each session, a deque 0.7 KiB

    def receive(self, frame: bytes, *, now_ns: int) -> list[Event]:
        """See Session. The envelope is verified first: no field of it is used before."""
        opened = self._read(frame, self.context.envelopes.open_if_cheap, now_ns) if len(frame) <= INLINE else None
        if opened is None:
            return [Verify(partial(self._read, frame, self.context.envelopes.open), len(frame))]
        return self.verified(opened)

    def verified(self, opened: Verified) -> list[Event]:
        """See Session."""
        request, failure = opened
        events = self.step(_INPUTS.get(request.method_name, Input.OTHER), request)
        return events if failure is None else [VerificationFailed(failure), *events]

    def _read(self, frame: bytes, open_frame: Callable[..., T], now_ns: int) -> T:
        """Changes nothing: a thread may call it."""
        try:
            return open_frame(frame, now_ns=now_ns)
        except Malformed:
            if self.state is State.HELLO and (spoken := detect_generation(frame)) == "v0":
                raise WrongGeneration(spoken, self.name) from None
            raise

    def answered(self, method: str, reply: bytes | None) -> list[Event]:
        """See Session."""
        if reply is not None:
            try:
                decoded: Any = _ANSWER.decode(reply)
            except NOT_DECODED as error:
                raise reply_error(error, f"answer of {method}") from error
            if "Err" in (answer := decoded[0]):
                raise CanisterRefused(method, answer["Err"])
        return self.step(Input.ACCEPTED) if method == "ws_open" else []

    def close_call(self) -> Call | None:
        """See Session."""
        if self.state in (State.NEW, State.HELLO):
            return None
        client_key = {"client_principal": Principal(self.sender), "client_nonce": self.nonce}
        return Call(self.canister_id, "ws_close", _CLOSE.encode({"client_key": client_key}))

    def violation(self, what: Input, subject: object) -> SessionError:
        """See Session. For a call the error names the method that is expected."""
        if not isinstance(subject, Request):
            return super().violation(what, subject)
        return WrongMethod(subject.method_name, "ws_open" if self.state is State.HELLO else "ws_message")

    @abstractmethod
    def greeting(self) -> bytes | None:
        """The first frame of the gateway; None where the client begins."""

    @abstractmethod
    def check_gateway(self, named: Principal | None) -> None:
        """The client opens for this gateway, None if it names none. Raises WrongGeneration or WrongGateway."""

    def _greet(self, _: None) -> list[Event]:
        greeting = self.greeting()
        return [] if greeting is None else [Send(binary_frame(greeting))]

    def _join(self, request: Request) -> list[Event]:
        (arg,) = cast("tuple[dict[str, object]]", _OPEN.decode(request.arg))
        self.check_gateway(cast("Principal | None", arg["gateway_principal"]))
        self.canister_id = Principal(request.canister_id)
        self.sender = request.sender
        self.nonce = cast("int", arg["client_nonce"])
        client_key = self.sender + self.nonce.to_bytes(8, "big")
        client = f"{Principal(self.sender)}_{self.nonce}"
        after = self.sender if self.one_for_each_principal else b""
        join = Join(self.name, self.canister_id, client_key, client, request, after, self.sender)
        return [join, Poll(), Relay(request)]

    def _relay(self, request: Request) -> list[Event]:
        if request.canister_id != self.canister_id:
            raise WrongCanister(str(Principal(request.canister_id)), str(self.canister_id))
        if request.sender != self.sender:
            raise WrongSender(str(Principal(request.sender)), str(Principal(self.sender)))
        if (request_id := request.request_id) in self._recent:
            raise ReplayedEnvelope(request_id.hex())
        if not self._recent:
            self._recent = []
        elif len(self._recent) == REMEMBERED:
            del self._recent[0]
        self._recent.append(request_id)
        return [Relay(request)]

    def _open(self, delivery: Delivery) -> list[Event]:
        return [Send(delivery.frame), Opened()]

    def _send(self, delivery: Delivery) -> list[Event]:
        return [Send(delivery.frame)]

    def _stay(self, _: None) -> list[Event]:
        return []

    table: ClassVar[Table] = {
        (State.NEW, Input.CONNECT): Step(_greet, State.HELLO),
        (State.HELLO, Input.OPENING): Step(_join, State.OPENING),
        (State.OPENING, Input.MESSAGE): Step(_relay, State.OPENING),
        (State.OPENING, Input.ACCEPTED): Step(_stay, State.OPENING),
        (State.OPENING, Input.DELIVERY): Step(_open, State.OPEN),
        (State.OPEN, Input.MESSAGE): Step(_relay, State.OPEN),
        (State.OPEN, Input.ACCEPTED): Step(_stay, State.OPEN),
        (State.OPEN, Input.DELIVERY): Step(_send, State.OPEN),
    }
