"""The base of client sessions of all wire generations: verifies each message and limits the time to open.

A message is accepted only where it is proven to be the canister's, for this client, the next in order and not too old.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

from appliance.client.errors import (
    MessageForOther,
    MessageLate,
    MessageUntrusted,
    NotOpen,
    SequenceGap,
    SequenceRepeated,
    UnexpectedText,
)
from appliance.client.sessions.session import Event, Generation, Limits, Send, State
from appliance.client.sessions.wrong_generation import detect_wrong_generation
from appliance.crypto import CertifiedMessage, Verifier
from appliance.errors import GatewayError, Malformed, OpenTimeout
from appliance.ic.principal import Principal


class CertifiedSession(ABC):
    """One connection of a client to a canister, through a gateway that it does not trust.

    A subclass for a wire generation defines how sessions open, and how messages are decoded and sent.
    """

    generation: ClassVar[Generation]
    limits: ClassVar[Limits]
    _wire: ClassVar[Literal[0, 1, 2]]
    _first_state: ClassVar[State] = State.OPENING
    _awaited: ClassVar[Mapping[State, str]]
    """What each state before OPEN waits for, as words for OpenTimeout."""

    def __init__(
        self, canister_id: Principal, verifier: Verifier, client_key: bytes, *, now_ns: int, limits: Limits | None
    ) -> None:
        self._canister_id = canister_id
        self._verifier = verifier
        self._client_key = client_key
        self._limits = limits or self.limits
        self._state = self._first_state
        self._waiting_since_ns = now_ns  # for what the state awaits
        self._received = 0  # the sequence number of the last message

    @property
    def state(self) -> State:
        """Where the session stands."""
        return self._state

    @property
    def client_key(self) -> bytes:
        """The address of the canister's messages to this client. v1 and v2: principal and nonce (8 bytes, big-endian);
        v0: the raw Ed25519 key."""
        return self._client_key

    @property
    def unacknowledged(self) -> int:
        """How many sent messages the canister has not confirmed."""
        return 0

    @property
    def deadline_ns(self) -> int | None:
        """When `check` will raise, unless something arrives before."""
        return self._waiting_since_ns + self._limits.open_ns if self._state in self._awaited else None

    def check(self, *, now_ns: int) -> None:
        """Raise OpenTimeout, or AckTimeout where the generation has acknowledgements, when a limit has passed."""
        deadline_ns = self.deadline_ns
        if deadline_ns is None or now_ns < deadline_ns:
            return
        error = self._timeout(now_ns)
        self._state = State.CLOSED
        raise error

    def close(self) -> None:
        """End the session: nothing is received or sent after it."""
        self._state = State.CLOSED

    def start(self, *, now_ns: int) -> list[Event]:
        """Begin, once, when the socket is open. Raises NotOpen after the end."""
        self._refuse_after_end()
        return self._opening_events(now_ns)

    def receive(self, frame: bytes | str, *, now_ns: int) -> list[Event]:
        """Take a message of the gateway: bytes are a binary, a str is a text one.

        Raises a MessageError (with the problem and the message), ClosedByCanister, OutOfTurn,
        OtherGeneration or UnexpectedText, what a generation adds to these, and NotOpen after the end.
        """
        self._refuse_after_end()
        try:
            return self._text(frame) if isinstance(frame, str) else self._binary(frame, now_ns)
        except GatewayError:
            self._state = State.CLOSED
            raise

    def send(self, content: bytes, *, now_ns: int) -> Send:
        """Sign the next message for the canister; `content` is as its application decodes it. Raises NotOpen."""
        self._refuse_unless_open()
        return self._message(content, now_ns)

    # --- defined by a generation --------------------------------------------------------------------------------

    def _opening_events(self, now_ns: int) -> list[Event]:
        """Empty if the gateway sends first."""
        return []

    def _text(self, text: str) -> list[Event]:
        raise UnexpectedText(text, self.generation)

    def _binary(self, frame: bytes, now_ns: int) -> list[Event]:
        return self._take(self._verified(frame, now_ns), now_ns)

    def _timeout(self, now_ns: int) -> GatewayError:
        """Why the deadline has passed."""
        return OpenTimeout(self._limits.open_ns / 1e9, self._awaited[self._state])

    @abstractmethod
    def _take(self, message: CertifiedMessage, now_ns: int) -> list[Event]:
        """Act on the next message of the canister."""

    @abstractmethod
    def _message(self, content: bytes, now_ns: int) -> Send:
        """Sign a message and count it."""

    @staticmethod
    @abstractmethod
    def _readable(client_key: bytes) -> str:
        """A client key as text."""

    # --- the same for all ---------------------------------------------------------------------------------------

    def _verified(self, frame: bytes, now_ns: int) -> CertifiedMessage:
        """Verify certificate and witness first, then recipient, order and age: before that no field may be trusted."""
        due = self._received + 1
        message = self._proven(frame, now_ns)
        if message.client_key != self._client_key:
            raise MessageForOther(due, self._readable(message.client_key), self._readable(self._client_key))
        if message.sequence_num > due:
            raise SequenceGap(due, message.sequence_num)
        if message.sequence_num < due:
            raise SequenceRepeated(due, message.sequence_num)
        age_ns = now_ns - message.timestamp_ns
        if age_ns > self._limits.message_age_ns:
            raise MessageLate(due, age_ns, self._limits.message_age_ns)
        self._received = due
        return message

    def _proven(self, frame: bytes, now_ns: int) -> CertifiedMessage:
        try:
            return self._verifier.open_message(frame, self._canister_id, generation=self._wire, now_ns=now_ns)
        except GatewayError as error:
            if isinstance(error, Malformed):
                detect_wrong_generation(frame, self.generation)
            raise MessageUntrusted(self._received + 1, error) from error

    def _refuse_unless_open(self) -> None:
        if self._state is not State.OPEN:
            raise NotOpen(self._state.value)

    def _refuse_after_end(self) -> None:
        if self._state is State.CLOSED:
            raise NotOpen(self._state.value)
