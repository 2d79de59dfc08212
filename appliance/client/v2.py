"""The client's side of wire generation v2 (IC-PROTOCOL D.2; SDK 0.3.2 to 0.5.0)."""

from collections import deque

from appliance.client.errors import (
    AckInvalid,
    AckTimeout,
    ClosedByApplication,
    ClosedByCanister,
    MessageForOther,
    MessageLate,
    MessageUntrusted,
    NotOpen,
    SequenceGap,
    SequenceRepeated,
    ServiceMessageInvalid,
)
from appliance.client.session import Event, Limits, Opened, Received, Send, State
from appliance.crypto import CandidTypes, CertifiedMessage, Verifier, decode_cbor
from appliance.errors import CandidError, GatewayError, Malformed, OpenTimeout
from appliance.ic.envelope import sign_request
from appliance.ic.identity import Identity
from appliance.ic.principal import Principal

_CLIENT_KEY = "record {client_principal: principal; client_nonce: nat64}"
_OPEN = CandidTypes("(record {client_nonce: nat64; gateway_principal: principal})")
# The second argument tells SDKs the application's type; a value never travels in it.
_MESSAGE = CandidTypes(
    f"(record {{msg: record {{client_key: {_CLIENT_KEY}; sequence_num: nat64; timestamp: nat64; "
    "is_service_message: bool; content: blob}}, opt null)"
)
_SERVICE = CandidTypes(
    f"(variant {{OpenMessage: record {{client_key: {_CLIENT_KEY}}}; "
    "AckMessage: record {last_incoming_sequence_num: nat64}; "
    "KeepAliveMessage: record {last_incoming_sequence_num: nat64}; "
    "CloseMessage: record {reason: variant {WrongSequenceNumber; InvalidServiceMessage; KeepAliveTimeout; "
    "ClosedByApplication}}})"
)
_SELF_DESCRIBED = b"\xd9\xd9\xf7"
_FRAME_HEAD = _SELF_DESCRIBED + b"\xa1\x68envelope"

_FIRST_NEEDS = {State.HANDSHAKE: "handshake of the gateway", State.OPENING: "open message of the canister"}


class SessionV2:
    """One connection of a client to a canister, through a gateway that it does not trust."""

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
        self._canister_id = canister_id
        self._identity = identity
        self._verifier = verifier
        self._limits = limits or Limits()
        self._client_key = {"client_principal": identity.principal, "client_nonce": client_nonce}
        self._key_bytes = identity.principal + client_nonce.to_bytes(8, "big")
        self._state = State.HANDSHAKE
        self._waiting_since_ns = now_ns  # for the handshake, then for the open message
        self._received = 0
        self._sent = 0
        self._acked = 0
        self._waiting: deque[tuple[int, int]] = deque()  # (sequence number, time of sending) without acknowledgement
        self.gateway: Principal | None = None
        """The gateway's principal, as it says; known from the handshake on."""

    @property
    def state(self) -> State:
        """Where the session stands."""
        return self._state

    @property
    def client_key(self) -> bytes:
        """Principal and nonce (8 bytes, big-endian)."""
        return self._key_bytes

    @property
    def unacknowledged(self) -> int:
        """How many sent messages the canister has not confirmed."""
        return len(self._waiting)

    @property
    def deadline_ns(self) -> int | None:
        """When `check` will raise, unless something arrives before."""
        if self._state in (State.HANDSHAKE, State.OPENING):
            return self._waiting_since_ns + self._limits.open_ns
        if self._state is State.OPEN and self._waiting:
            return self._waiting[0][1] + self._limits.ack_ns
        return None

    def check(self, *, now_ns: int) -> None:
        """Raise OpenTimeout or AckTimeout where a limit has passed."""
        deadline_ns = self.deadline_ns
        if deadline_ns is None or now_ns < deadline_ns:
            return
        missing = _FIRST_NEEDS.get(self._state)
        self._state = State.CLOSED
        if missing is not None:
            raise OpenTimeout(self._limits.open_ns / 1e9, missing)
        late = [number for number, sent_ns in self._waiting if sent_ns + self._limits.ack_ns <= now_ns]
        raise AckTimeout(late, self._limits.ack_ns)

    def close(self) -> None:
        """Take and send nothing any more."""
        self._state = State.CLOSED

    def receive(self, frame: bytes, *, now_ns: int) -> list[Event]:
        """Take a binary message of the gateway.

        Raises Malformed (the handshake), a MessageError (which says what is wrong with which message), ClosedByCanister
        or NotOpen (after the end).
        """
        if self._state is State.CLOSED:
            raise NotOpen(self._state.value)
        try:
            if self._state is State.HANDSHAKE:
                return self._handshake(frame, now_ns)
            return self._take(self._verified(frame, now_ns), now_ns)
        except GatewayError:
            self._state = State.CLOSED
            raise

    def send(self, content: bytes, *, now_ns: int) -> Send:
        """Sign the next message for the canister; `content` is Candid. Raises NotOpen."""
        if self._state is not State.OPEN:
            raise NotOpen(self._state.value)
        return self._message(content, now_ns)

    # --- what arrives -------------------------------------------------------------------------------------------

    def _handshake(self, frame: bytes, now_ns: int) -> list[Event]:
        match decode_cbor(frame, what="handshake"):
            case {"gateway_principal": bytes(principal)}:
                self.gateway = Principal(principal)
            case _:
                raise Malformed("handshake", "it does not name the gateway's principal; is this the right wire path?")
        arg = _OPEN.encode({"client_nonce": self._client_key["client_nonce"], "gateway_principal": self.gateway})
        self._state = State.OPENING
        self._waiting_since_ns = now_ns
        return [self._call("ws_open", arg, now_ns)]

    def _verified(self, frame: bytes, now_ns: int) -> CertifiedMessage:
        """Certificate and witness, then whom it is for, order and age: only then the content means anything."""
        due = self._received + 1
        try:
            message = self._verifier.open_message(frame, self._canister_id, generation=2, now_ns=now_ns)
        except GatewayError as error:
            raise MessageUntrusted(due, error) from error
        if message.client_key != self._key_bytes:
            raise MessageForOther(due, _key_text(message.client_key), _key_text(self._key_bytes))
        if message.sequence_num > due:
            raise SequenceGap(due, message.sequence_num)
        if message.sequence_num < due:
            raise SequenceRepeated(due, message.sequence_num)
        age_ns = now_ns - message.timestamp_ns
        if age_ns > self._limits.message_age_ns:
            raise MessageLate(due, age_ns, self._limits.message_age_ns)
        self._received = due
        return message

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

    def _open(self, client_key: object) -> list[Event]:
        if client_key != self._client_key:
            raise ServiceMessageInvalid(self._received, "it opens the session of another client")
        self._state = State.OPEN
        return [Opened()]

    def _acknowledge(self, number: int, now_ns: int) -> list[Event]:
        if not self._acked <= number <= self._sent:
            raise AckInvalid(self._received, number, self._acked, self._sent)
        self._acked = number
        while self._waiting and self._waiting[0][0] <= number:
            self._waiting.popleft()
        keep_alive = _SERVICE.encode({"KeepAliveMessage": {"last_incoming_sequence_num": self._received}})
        return [self._message(keep_alive, now_ns, is_service_message=True)]

    # --- what is sent -------------------------------------------------------------------------------------------

    def _message(self, content: bytes, now_ns: int, *, is_service_message: bool = False) -> Send:
        number = self._sent + 1
        message = {
            "client_key": self._client_key,
            "sequence_num": number,
            "timestamp": now_ns,
            "is_service_message": is_service_message,
            "content": content,
        }
        send = self._call("ws_message", _MESSAGE.encode({"msg": message}, None), now_ns)
        self._sent = number
        self._waiting.append((number, now_ns))
        return send

    def _call(self, method_name: str, arg: bytes, now_ns: int) -> Send:
        request = sign_request(
            self._identity, "call", now_ns=now_ns, canister_id=self._canister_id, method_name=method_name, arg=arg
        )
        return Send(_FRAME_HEAD + request.body.removeprefix(_SELF_DESCRIBED))


def _key_text(client_key: bytes) -> str:
    return f"{Principal(client_key[:-8])}_{int.from_bytes(client_key[-8:], 'big')}"


def _kind(value: object) -> str:
    return str(next(iter(value))) if isinstance(value, dict) else "it"
