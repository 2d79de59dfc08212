"""Errors of the client, each a reason for the end of a connection; all of the package's one tree.

Every fault of a gateway ends the connection: a client that went on would trust what it cannot verify. The close
codes of ClientErrors are those of the JavaScript SDK, so that operators see the same ones from every client.
"""

from collections.abc import Sequence

from appliance.errors import GatewayError, TextFrame

_MAX_SHOWN = 40  # characters of a gateway's text in a sentence


class ClientError(GatewayError, close_code=4000, reason="client"):
    """Root of what the client SDK raises itself."""

    sentence = "the connection to the canister failed"

    @property
    def orderly(self) -> bool:
        """Whether one side closed the session in order."""
        return False


class MessageError(ClientError, reason="message"):
    """A message that the gateway must not have sent. ``expected`` is the next sequence number."""

    expected: int


class MessageUntrusted(MessageError, reason="message_untrusted"):
    """The message is not proven to come from the canister. ``cause`` is a CertificateError or Malformed."""

    cause: GatewayError
    sentence = "message {expected} cannot be trusted: {cause}"


class OtherNetwork(MessageUntrusted, reason="other_network"):
    """The first message is not certified by the mainnet, whose root key applies where no other is given."""

    sentence = (
        "message {expected} cannot be trusted: {cause}; the root key is the mainnet's: "
        "for a canister of a local network give network_url (icws connect: --network), its URL"
    )


class SequenceGap(MessageError, reason="sequence_gap"):
    """Messages were left out or overtaken: ``received`` is larger than ``expected``."""

    received: int
    sentence = "expected sequence number {expected}, got {received}: messages were lost or overtaken"


class SequenceRepeated(MessageError, reason="sequence_repeated"):
    """A message was received a second time."""

    received: int
    sentence = "expected sequence number {expected}, got {received} again"


class MessageForOther(MessageError, reason="message_for_other"):
    """A genuine message of the canister for another client. Both keys as ``<principal>_<nonce>``."""

    client: str
    this_client: str
    sentence = "message {expected} is for client {client}, this one is {this_client}"


class MessageLate(MessageError, reason="message_late"):
    """The canister sent the message longer ago than the client accepts."""

    age_ns: int
    limit_ns: int
    sentence = "message {expected} was sent {age_s:.0f} s ago, the limit is {limit_s:.0f} s; is the clock right?"


class ServiceMessageInvalid(MessageError, reason="service_message"):
    """A service message that does not decode or is out of place."""

    problem: str
    sentence = "message {expected}, a service message: {problem}"


class AckInvalid(MessageError, reason="ack_invalid"):
    """The canister acknowledges what was not sent, or less than before; ``sent`` and ``acked`` are the last of each."""

    last_incoming: int
    acked: int
    sent: int
    sentence = "message {expected} acknowledges {last_incoming}, but {sent} were sent and {acked} acknowledged before"


class OutOfTurn(ClientError, reason="out_of_turn"):
    """The gateway sent ``received`` where the protocol has ``due``. Both as words for the sentence."""

    received: str
    due: str
    sentence = "expected {due}, got {received}"


class OtherGeneration(ClientError, reason="other_generation"):
    """The gateway uses another wire generation than ``generation``, the client's. ``received`` is what it sent."""

    received: str
    generation: str
    sentence = "the gateway sent {received}, but this client speaks {generation}; is this the right wire path?"


class UnexpectedText(TextFrame):
    """The gateway sent a text frame, which the client's wire generation does not have."""

    text: str
    generation: str
    sentence = "the gateway sent text ({_shown}), but {generation} is binary only; is this the right wire path?"

    @property
    def _shown(self) -> str:
        return shown(self.text)


class OpeningRefused(ClientError, reason="opening_refused"):
    """The gateway of v0 answered the first message with "0"."""

    sentence = "the canister did not accept the client; is its key registered there?"


class AckTimeout(ClientError, reason="ack_timeout"):
    """The canister did not acknowledge these messages of the client in time."""

    sequence_nums: Sequence[int]
    limit_ns: int
    sentence = "{_messages} not acknowledged by the canister within {limit_s:g} s"

    @property
    def _messages(self) -> str:
        first, last = self.sequence_nums[0], self.sequence_nums[-1]
        return f"message {first}" if first == last else f"messages {first} to {last}"


class NotOpen(ClientError, reason="not_open"):
    """The session is not open yet, or not any more."""

    state: str
    sentence = "the session is {state}, not open"


class ClosedByCanister(ClientError, reason="closed_by_canister"):
    """The canister ended the session; ``why`` is its reason, e.g. ``KeepAliveTimeout``."""

    why: str
    sentence = "the canister closed the session: {why}"


class ClosedByApplication(ClosedByCanister, close_code=4001, reason="closed_by_application"):
    """The canister ended the session because its application closed it. Not a failure."""

    why: str = "ClosedByApplication"

    @property
    def orderly(self) -> bool:
        """Always."""
        return True


class ConnectionClosed(ClientError, reason="connection_closed"):
    """The socket is closed; ``code`` and ``text`` are those of the close frame (1006 without one)."""

    code: int
    text: str
    sentence = "connection closed ({code}){_text}"

    @property
    def orderly(self) -> bool:
        """Whether it is a normal close (1000, 1001)."""
        return self.code in (1000, 1001)

    @property
    def come_back(self) -> bool:
        """Whether a new connection may succeed: not for 4500 to 4999 and some registered codes."""
        return self.code not in (1002, 1003, 1007, 1008, 1009, 1010) and not 4500 <= self.code <= 4999

    @property
    def _text(self) -> str:
        return f": {self.text}" if self.text else ""


class ConnectFailed(ClientError, reason="connect_failed"):
    """No WebSocket could be opened."""

    url: str
    problem: str
    sentence = "cannot connect to {url}: {problem}"


def shown(text: str) -> str:
    """A text of a gateway, quoted and cut for a sentence."""
    return repr(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…")
