"""Client sessions of wire generations v1 and v2: calls in signed envelopes, the open message of the canister,
acknowledgements and keep-alive messages.
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Mapping
from typing import ClassVar

from appliance.client.errors import (
    AckInvalid,
    AckTimeout,
    ClosedByApplication,
    ClosedByCanister,
    ServiceMessageInvalid,
)
from appliance.client.sessions.certified import CertifiedSession
from appliance.client.sessions.session import Event, Limits, Opened, Received, Send, State
from appliance.crypto import CandidTypes, CertifiedMessage, Verifier
from appliance.errors import CandidError, GatewayError
from appliance.ic.envelope import sign_request
from appliance.ic.identity import Identity
from appliance.ic.principal import Principal

_CLIENT_KEY = "record {client_principal: principal; client_nonce: nat64}"
MESSAGE = (
    f"record {{msg: record {{client_key: {_CLIENT_KEY}; sequence_num: nat64; timestamp: nat64; "
    "is_service_message: bool; content: blob}}"
)
"""The Candid type of a message to the canister: the first argument of `ws_message`."""

# CDKs of v1 know no CloseMessage, but some between 0.2 and 0.3 sent one: what arrives is read by the wider type.
_SERVICE = CandidTypes(
    f"(variant {{OpenMessage: record {{client_key: {_CLIENT_KEY}}}; "
    "AckMessage: record {last_incoming_sequence_num: nat64}; "
    "KeepAliveMessage: record {last_incoming_sequence_num: nat64}; "
    "CloseMessage: record {reason: variant {WrongSequenceNumber; InvalidServiceMessage; KeepAliveTimeout; "
    "ClosedByApplication}}})"
)
# A variant of this alone is a subtype of every CDK's service messages, with CloseMessage and without.
_KEEP_ALIVE = CandidTypes("(variant {KeepAliveMessage: record {last_incoming_sequence_num: nat64}})")
_SELF_DESCRIBED = b"\xd9\xd9\xf7"
_FRAME_HEAD = _SELF_DESCRIBED + b"\xa1\x68envelope"


class EnvelopedSession(CertifiedSession):
    """A session that opens with a signed `ws_open` and goes on with signed `ws_message` calls."""

    _awaited: ClassVar[Mapping[State, str]] = {
        State.HANDSHAKE: "handshake of the gateway (is this the right wire path?)",
        State.OPENING: "open message of the canister",
    }

    def __init__(
        self,
        canister_id: Principal,
        identity: Identity,
        verifier: Verifier,
        *,
        client_nonce: int,
        now_ns: int,
        limits: Limits | None = None,
    ) -> None:
        """`client_nonce` is a fresh random number below 2^64: with the principal it is the client's key. `now_ns` is
        when the socket was opened."""
        client_key = identity.principal + client_nonce.to_bytes(8, "big")
        super().__init__(canister_id, verifier, client_key, now_ns=now_ns, limits=limits)
        self._identity = identity
        self._client_nonce = client_nonce
        self._client = {"client_principal": identity.principal, "client_nonce": client_nonce}
        self._sent = 0
        self._acked = 0
        self._waiting: deque[tuple[int, int]] = deque()  # (sequence number, time of sending) without acknowledgement

    @property
    def unacknowledged(self) -> int:
        """How many sent messages the canister has not confirmed."""
        return len(self._waiting)

    @property
    def deadline_ns(self) -> int | None:
        """When `check` will raise, unless something arrives before."""
        if self._state is State.OPEN and self._waiting:
            return self._waiting[0][1] + self._limits.ack_ns
        return super().deadline_ns

    # --- what a generation says ---------------------------------------------------------------------------------

    @abstractmethod
    def _message_arg(self, message: dict[str, object]) -> bytes:
        """The Candid argument of `ws_message`."""

    # --- what arrives -------------------------------------------------------------------------------------------

    def _timeout(self, now_ns: int) -> GatewayError:
        if self._state is not State.OPEN:
            return super()._timeout(now_ns)
        late = [number for number, sent_ns in self._waiting if sent_ns + self._limits.ack_ns <= now_ns]
        return AckTimeout(late, self._limits.ack_ns)

    def _take(self, message: CertifiedMessage, now_ns: int) -> list[Event]:
        if message.is_service_message:
            return self._service(message.content, now_ns)
        if self._state is State.OPENING:
            raise ServiceMessageInvalid(self._received, "the first message of a canister must be its open message")
        return [Received(message.content, message.sequence_num, message.timestamp_ns, message.certified_at_ns)]

    def _service(self, content: bytes, now_ns: int) -> list[Event]:
        try:
            (value,) = _SERVICE.decode(content)
        except CandidError as error:
            raise ServiceMessageInvalid(self._received, str(error)) from error
        match value:
            case {"CloseMessage": {"reason": {"ClosedByApplication": _}}}:
                raise ClosedByApplication
            case {"CloseMessage": {"reason": dict(why)}}:
                raise ClosedByCanister(next(iter(why)))
            case {"OpenMessage": {"client_key": key}} if self._state is State.OPENING:
                return self._open(key)
            case {"AckMessage": {"last_incoming_sequence_num": int(number)}} if self._state is State.OPEN:
                return self._acknowledge(number, now_ns)
        raise ServiceMessageInvalid(
            self._received, f"{_kind(value)} has no place here: the session is {self._state.value}"
        )

    def _open(self, client: object) -> list[Event]:
        if client != self._client:
            raise ServiceMessageInvalid(self._received, "it opens the session of another client")
        self._state = State.OPEN
        return [Opened()]

    def _acknowledge(self, number: int, now_ns: int) -> list[Event]:
        if not self._acked <= number <= self._sent:
            raise AckInvalid(self._received, number, self._acked, self._sent)
        self._acked = number
        while self._waiting and self._waiting[0][0] <= number:
            self._waiting.popleft()
        keep_alive = _KEEP_ALIVE.encode({"KeepAliveMessage": {"last_incoming_sequence_num": self._received}})
        return [self._message(keep_alive, now_ns, is_service_message=True)]

    @staticmethod
    def _readable(client_key: bytes) -> str:
        return f"{Principal(client_key[:-8])}_{int.from_bytes(client_key[-8:], 'big')}"

    # --- what is sent -------------------------------------------------------------------------------------------

    def _message(self, content: bytes, now_ns: int, *, is_service_message: bool = False) -> Send:
        number = self._sent + 1
        message = {
            "client_key": self._client,
            "sequence_num": number,
            "timestamp": now_ns,
            "is_service_message": is_service_message,
            "content": content,
        }
        send = self._call("ws_message", self._message_arg(message), now_ns)
        self._sent = number
        self._waiting.append((number, now_ns))
        return send

    def _call(self, method_name: str, arg: bytes, now_ns: int) -> Send:
        request = sign_request(
            self._identity, "call", now_ns=now_ns, canister_id=self._canister_id, method_name=method_name, arg=arg
        )
        return Send(_FRAME_HEAD + request.body.removeprefix(_SELF_DESCRIBED))


def _kind(value: object) -> str:
    return str(next(iter(value))) if isinstance(value, dict) else "it"
