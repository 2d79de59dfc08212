"""Wire generation v2 (IC-PROTOCOL D.2): the gateway greets, the client opens with a signed ``ws_open`` and goes on with
signed ``ws_message`` calls.
"""

from typing import ClassVar, cast

from appliance.crypto import CandidTypes, Request, encode_cbor
from appliance.errors import CanisterRefused, SessionError, WrongCanister, WrongGateway, WrongMethod, WrongSender
from appliance.ic.principal import Principal
from appliance.protocol.events import Call, Doubted, Event, Join, Opened, Relay, Send
from appliance.protocol.frames import binary_frame
from appliance.protocol.session import Generation, Input, Session, State, Step, Table, Terms

_OPEN = CandidTypes("(record {client_nonce: nat64; gateway_principal: principal})")
_CLOSE = CandidTypes("(record {client_key: record {client_principal: principal; client_nonce: nat64}})")
_ANSWER = CandidTypes("(variant {Ok; Err: text})")

_INPUTS = {"ws_open": Input.OPEN_CALL, "ws_message": Input.MESSAGE_CALL}


class V2(Session):
    """The session of a client of generation v2."""

    generation: ClassVar[Generation] = 2

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        self.canister_id = Principal(b"")
        self.sender = b""
        self.nonce = 0

    def receive(self, frame: bytes, *, now_ns: int) -> list[Event]:
        """See Session. The envelope is verified before anything else is looked at."""
        request, doubt = self.terms.envelopes.open(frame, now_ns=now_ns)
        events = self.step(_INPUTS.get(request.method_name, Input.OTHER_CALL), request)
        return events if doubt is None else [Doubted(doubt), *events]

    def answered(self, method: str, reply: bytes | None) -> None:
        """See Session."""
        if reply is not None:
            (answer,) = cast("tuple[dict[str, str]]", _ANSWER.decode(reply))
            if "Err" in answer:
                raise CanisterRefused(method, answer["Err"])

    def close_call(self) -> Call | None:
        """See Session."""
        if self.state in (State.NEW, State.HELLO):
            return None
        client_key = {"client_principal": Principal(self.sender), "client_nonce": self.nonce}
        return Call(self.canister_id, "ws_close", _CLOSE.encode({"client_key": client_key}))

    def violation(self, what: Input, request: Request | None) -> SessionError:
        """See Session: for a call, says which one would have been right."""
        if request is None:
            return super().violation(what, request)
        return WrongMethod(request.method_name, "ws_open" if self.state is State.HELLO else "ws_message")

    def _greet(self, _: None) -> list[Event]:
        return [Send(binary_frame(encode_cbor({"gateway_principal": self.terms.gateway})))]

    def _join(self, request: Request) -> list[Event]:
        (arg,) = cast("tuple[dict[str, object]]", _OPEN.decode(request.arg))
        gateway = cast("Principal", arg["gateway_principal"])
        if gateway != self.terms.gateway:
            raise WrongGateway(str(gateway), str(self.terms.gateway))
        self.canister_id = Principal(request.canister_id)
        self.sender = request.sender
        self.nonce = cast("int", arg["client_nonce"])
        client_key = self.sender + self.nonce.to_bytes(8, "big")
        client = f"{Principal(self.sender)}_{self.nonce}"
        return [Join(self.canister_id, client_key, client, request), Relay(request)]

    def _relay(self, request: Request) -> list[Event]:
        if request.canister_id != self.canister_id:
            raise WrongCanister(str(Principal(request.canister_id)), str(self.canister_id))
        if request.sender != self.sender:
            raise WrongSender(str(Principal(request.sender)), str(Principal(self.sender)))
        return [Relay(request)]

    def _open(self, _: None) -> list[Event]:
        return [Opened()]

    def _stay(self, _: None) -> list[Event]:
        return []

    table: ClassVar[Table] = {
        (State.NEW, Input.CONNECT): Step(_greet, State.HELLO),
        (State.HELLO, Input.OPEN_CALL): Step(_join, State.OPENING),
        (State.OPENING, Input.MESSAGE_CALL): Step(_relay, State.OPENING),
        (State.OPENING, Input.DELIVERY): Step(_open, State.OPEN),
        (State.OPEN, Input.MESSAGE_CALL): Step(_relay, State.OPEN),
        (State.OPEN, Input.DELIVERY): Step(_stay, State.OPEN),
    }
