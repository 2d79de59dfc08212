"""The doorbell: which canisters something was sent to, so that other nodes poll them at once. A value without I/O.

A message holds the incarnation of its sender and the ids of canisters, and nothing else. Whoever forges one causes
polls, which the budget of polls bounds.
"""

from collections.abc import Iterable, Iterator

from appliance.errors import Malformed
from appliance.ic.principal import Principal

SENDER_BYTES = 8
MAX_BYTES = 32 * 1024
"""Of one message. What does not fit goes into the next."""
MAX_ID = 29
"""Bytes of a principal."""


def encode(sender: bytes, canister_ids: Iterable[bytes]) -> bytes:
    """A message of this sender (``SENDER_BYTES``)."""
    return sender + b"".join(bytes([len(each)]) + each for each in canister_ids)


def decode(message: bytes) -> tuple[bytes, list[Principal]]:
    """Sender and canisters. Raises Malformed."""
    if not SENDER_BYTES <= len(message) <= MAX_BYTES:
        raise Malformed("doorbell", f"it has {len(message)} bytes")
    return message[:SENDER_BYTES], list(_ids(message, SENDER_BYTES))


def _ids(message: bytes, start: int) -> Iterator[Principal]:
    while start < len(message):
        end = start + 1 + message[start]
        if not 1 <= message[start] <= MAX_ID or end > len(message):
            raise Malformed("doorbell", f"there is no principal at byte {start}")
        yield Principal(message[start + 1 : end])
        start = end


class Waiting:
    """Canisters that are to be rung for, each once."""

    def __init__(self) -> None:
        self._ids: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, canister_id: bytes) -> None:
        """Ring for this canister with one of the next messages."""
        self._ids[canister_id] = None

    def take(self, sender: bytes) -> bytes:
        """The next message."""
        room, taken = MAX_BYTES - SENDER_BYTES, list[bytes]()
        for each in self._ids:
            room -= 1 + len(each)
            if room < 0:
                break
            taken.append(each)
        for each in taken:
            del self._ids[each]
        return encode(sender, taken)

    def clear(self) -> None:
        """Ring for none of them."""
        self._ids.clear()
