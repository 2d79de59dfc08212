"""Recorded sessions of real clients: the client's frames are genuine, the other side was played by a script."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self, cast

from appliance.crypto import CertifiedMessage, Verifier, decode_cbor
from appliance.ic.principal import Principal
from appliance.localnet.websocket.wire import SERVICE_MESSAGE
from appliance.protocol.generations import SESSIONS
from tests import vectors
from tests.network import Generation

CANISTER_ID = Principal.from_text("bkyz2-fmaaa-aaaaa-qaaaq-cai")
FILES: dict[str, tuple[Generation, str]] = {
    "62dcec3": ("v0", "session_62dcec3.json"),
    "0.1.2": ("v1", "session_0.1.2.json"),
    "0.4.1": ("v2", "session_0.4.1.json"),
    "0.5.0": ("v2", "session_0.5.0.json"),
}
"""By release of the SDK, the first one by its commit."""
LIFETIME_NS = 240 * 10**9
"""From a recorded call to its ingress expiry, at most."""

Frame = dict[str, Any]
"""As recorded: ``dir`` and ``kind`` say what it is, ``what`` what it is for, ``hex`` are its bytes."""


@dataclass(frozen=True)
class Recording:
    """A session from the first frame to the last, with the requests to the replica between them."""

    generation: Generation
    verifier: Verifier
    frames: tuple[Frame, ...]

    @classmethod
    def load(cls, release: str) -> Self:
        """The recording of an SDK."""
        generation, file = FILES[release]
        data = vectors.load_json(f"websocket/{file}")
        return cls(generation, Verifier(bytes.fromhex(data["root_key_der"])), tuple(data["frames"]))

    @cached_property
    def began_ns(self) -> int:
        """A time at which none of its signed calls was too far ahead or expired."""
        return min(self._expiries()) - LIFETIME_NS

    @property
    def gateway(self) -> Principal | None:
        """The gateway's principal, which clients of v2 sign for."""
        for frame in self.frames:
            if frame.get("what") == "handshake":
                return Principal(cast("dict[str, bytes]", decode_cbor(content_of(frame)))["gateway_principal"])
        return None

    @property
    def said(self) -> list[bytes]:
        """The messages of the canister's application."""
        messages = map(self.opened, filter(is_certified, self.frames))
        return [message.content for message in messages if not message.is_service_message]

    def opened(self, frame: Frame) -> CertifiedMessage:
        """A message of the recorded canister, verified."""
        return open_message(self.verifier, content_of(frame), self.generation, now_ns=self.began_ns)

    def with_frame(self, number: int, content: bytes) -> Self:
        """The same with other bytes in one frame."""
        changed = {**self.frames[number], "hex": content.hex()}
        return replace(self, frames=(*self.frames[:number], changed, *self.frames[number + 1 :]))

    def _expiries(self) -> Iterator[int]:
        for frame in self.frames:
            if "ingress_expiry" in frame:
                yield int(frame["ingress_expiry"])
            elif "POST" in frame["kind"]:
                body = cast("dict[str, dict[str, int]]", decode_cbor(content_of(frame)))
                yield body["content"]["ingress_expiry"]


def content_of(frame: Frame) -> bytes:
    """The bytes of a frame or the body of a request."""
    return bytes.fromhex(frame["hex"])


def is_certified(frame: Frame) -> bool:
    """Whether it is a message of the canister."""
    return (frame["dir"], frame["kind"]) == ("gateway->client", "WS binary") and frame["what"] != "handshake"


def open_message(verifier: Verifier, frame: bytes, generation: Generation, *, now_ns: int) -> CertifiedMessage:
    """What a client of the generation verifies. Raises a CertificateError or Malformed."""
    return verifier.open_message(frame, CANISTER_ID, generation=SESSIONS[generation].generation, now_ns=now_ns)


def meaning(message: CertifiedMessage) -> tuple[object, ...]:
    """What a message says, whenever and through whichever gateway it is said."""
    content = SERVICE_MESSAGE.decode(message.content) if message.is_service_message else message.content
    nonce = message.key.rpartition("_")[2]
    return nonce, message.client_key, message.sequence_num, message.is_service_message, content
