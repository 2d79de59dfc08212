"""What is read of a page of a canister's queue: a verified reply to one poll."""

from collections.abc import Sequence
from typing import Protocol, cast

from appliance.crypto import decode_cbor
from appliance.errors import GatewayError
from appliance.protocol.frames import payload_of


class Message(Protocol):
    """A message of the queue (`crypto.PolledMessage`)."""

    @property
    def nonce(self) -> int:
        """Its place in the queue."""

    @property
    def client_key(self) -> bytes:
        """The client it is for."""

    @property
    def sequence_num(self) -> int:
        """Its number among the messages for this client, from 1."""

    @property
    def timestamp_ns(self) -> int:
        """When the canister wrote it."""

    @property
    def service_kind(self) -> str | None:
        """Which message of the protocol it is; None for one of the application."""

    @property
    def frame(self) -> bytes:
        """The complete WebSocket frame."""

    @property
    def problem(self) -> str | None:
        """Why its content does not decode."""


class Page(Protocol):
    """A verified reply to a poll (`crypto.PollReply`): consecutive messages with ascending nonces."""

    @property
    def messages(self) -> Sequence[Message]:
        """None where the queue has no message from the nonce on; nobody certifies that."""

    @property
    def is_end_of_queue(self) -> bool:
        """Whether the queue has no more; True also where the wire generation does not say."""

    @property
    def is_whole(self) -> bool:
        """Whether each message follows the one before it, and all of them decode."""

    @property
    def time_ns(self) -> int | None:
        """When the IC certified it; None without messages, and where nothing is verified."""


def content_of(frame: bytes) -> dict[str, object]:
    """What the canister certified; the certificate and the tree beside it differ from reply to reply."""
    message = cast("dict[str, object]", decode_cbor(payload_of(frame)))
    return {key: value for key, value in message.items() if key not in ("cert", "tree")}


def written_ns(content: dict[str, object]) -> int:
    """When the canister wrote a message: in one queue, not before those with lower nonces. 0 where it does not say."""
    certified = content.get("content", content.get("val"))
    try:
        message = decode_cbor(cast("bytes", certified))
    except (GatewayError, TypeError):
        return 0
    at_ns = message.get("timestamp") if isinstance(message, dict) else None
    return at_ns if isinstance(at_ns, int) else 0
