"""A gateway in a few lines and without sockets, between the stub's replica and a client."""

from dataclasses import dataclass, field

from appliance.bench.stub.replica import StubReplica
from appliance.bench.testbed import canister
from appliance.bench.wire import PAGE
from appliance.crypto import CandidTypes, PollReply, Verifier, decode_cbor
from appliance.ic.envelope import sign_request
from appliance.ic.identity import KeyIdentity, SigningKey
from appliance.ic.principal import Principal

NOW_NS = 1_800_000_000 * 10**9
CANISTER = canister(0)
GATEWAY = KeyIdentity(SigningKey.from_secret("ed25519", bytes(32)))
_POLL_ARG = CandidTypes("(record {nonce: nat64})")


@dataclass
class Network:
    """A replica at a fixed time. ``version`` is the one of its endpoints that is used."""

    version: int = 3
    gateway: Principal = GATEWAY.principal
    replica: StubReplica = field(default_factory=lambda: StubReplica(seed=bytes(32), clock=lambda: NOW_NS))

    @property
    def verifier(self) -> Verifier:
        return Verifier(self.replica.authority.root_key)

    def call(self, frame: bytes) -> list[bytes]:
        """Relay the payload of a client's frame and make a block; returns the bodies of the replies."""
        replies: list[bytes] = []
        request = self.verifier.open_envelope(frame, now_ns=NOW_NS)
        self.replica.call(request.body, self.version, replies.append)
        self.replica.block()
        return replies

    def poll(self, nonce: int = 0, canister_id: Principal = CANISTER) -> bytes:
        """Poll from this message on; returns the Candid reply."""
        arg = _POLL_ARG.encode({"nonce": nonce})
        request = sign_request(
            GATEWAY, "query", now_ns=NOW_NS, canister_id=canister_id, method_name="ws_get_messages", arg=arg
        )
        response = decode_cbor(self.replica.query(request.body, self.version))
        assert isinstance(response, dict)
        reply: bytes = response["reply"]["arg"]
        return reply

    def opened(self, nonce: int = 0) -> PollReply:
        """Poll and verify."""
        return self.verifier.open_poll_reply(
            self.poll(nonce), CANISTER, generation=2, now_ns=NOW_NS, gateway=self.gateway
        )

    def frames(self, nonce: int = 0) -> list[bytes]:
        """Poll until the end of the queue; returns the WebSocket frames."""
        found: list[bytes] = []
        while True:
            reply = self.opened(nonce + len(found)) if not self.is_empty(nonce + len(found)) else None
            if reply is None:
                return found
            found += [message.frame for message in reply.messages]

    def is_empty(self, nonce: int) -> bool:
        """Whether a poll from here returns nothing."""
        (page,) = PAGE.decode(self.poll(nonce))
        assert isinstance(page, dict)
        return not page["Ok"]["messages"]


def payload_of(frame: bytes) -> bytes:
    """The payload of a frame, whose mask, if any, is zero."""
    head = {126: 4, 127: 10}.get(frame[1] & 0x7F, 2)
    return frame[head + (4 if frame[1] & 0x80 else 0) :]
