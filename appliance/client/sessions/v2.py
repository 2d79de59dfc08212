"""The client's side of wire generation v2 (SDK 0.3.2 to 0.5.0): the gateway sends first."""

from typing import ClassVar

from appliance.client.sessions.enveloped import MESSAGE, EnvelopedSession
from appliance.client.sessions.session import Event, Generation, Limits, State
from appliance.client.sessions.wrong_generation import detect_wrong_generation
from appliance.crypto import CandidTypes, decode_cbor
from appliance.errors import Malformed
from appliance.ic.principal import Principal

_OPEN = CandidTypes("(record {client_nonce: nat64; gateway_principal: principal})")
# SDKs read the application's type from the second argument; it never has a value.
_MESSAGE = CandidTypes(f"({MESSAGE}, opt null)")


class SessionV2(EnvelopedSession):
    """One connection of a client of v2."""

    generation: ClassVar[Generation] = "v2"
    limits = Limits()
    _wire = 2
    _first_state = State.HANDSHAKE
    gateway: Principal | None = None
    """The gateway's principal as the gateway states it, from the handshake on."""

    def _binary(self, frame: bytes, now_ns: int) -> list[Event]:
        return self._handshake(frame, now_ns) if self._state is State.HANDSHAKE else super()._binary(frame, now_ns)

    def _handshake(self, frame: bytes, now_ns: int) -> list[Event]:
        match decode_cbor(frame, what="handshake"):
            case {"gateway_principal": bytes(principal)}:
                self.gateway = Principal(principal)
            case _:
                detect_wrong_generation(frame, self.generation)
                raise Malformed("handshake", "it does not name the gateway's principal; is this the right wire path?")
        arg = _OPEN.encode({"client_nonce": self._client_nonce, "gateway_principal": self.gateway})
        self._state = State.OPENING
        self._waiting_since_ns = now_ns
        return [self._call("ws_open", arg, now_ns)]

    def _message_arg(self, message: dict[str, object]) -> bytes:
        return _MESSAGE.encode({"msg": message}, None)
