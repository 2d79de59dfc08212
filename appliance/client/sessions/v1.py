"""The client's side of wire generation v1 (SDK 0.1 and 0.2): the client sends first."""

from typing import ClassVar

from appliance.client.sessions.enveloped import MESSAGE, EnvelopedSession
from appliance.client.sessions.session import Event, Generation, Limits
from appliance.crypto import CandidTypes

_OPEN = CandidTypes("(record {client_nonce: nat64})")
# Canisters of CDK 0.2 have a second, optional argument: one that is not sent is null to them.
_MESSAGE = CandidTypes(f"({MESSAGE})")


class SessionV1(EnvelopedSession):
    """One connection of a client of v1."""

    generation: ClassVar[Generation] = "v1"
    limits = Limits(ack_ns=90_000_000_000)  # the canister's interval of 60 s and 30 s for the way
    _wire = 1

    def _opening_events(self, now_ns: int) -> list[Event]:
        return [self._call("ws_open", _OPEN.encode({"client_nonce": self._client_nonce}), now_ns)]

    def _message_arg(self, message: dict[str, object]) -> bytes:
        return _MESSAGE.encode({"msg": message})
