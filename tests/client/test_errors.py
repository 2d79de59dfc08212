"""Each sentence once, and what ranges of close codes mean."""

import pytest

from appliance.client import errors
from appliance.client.errors import (
    AckInvalid,
    AckTimeout,
    ClientError,
    ClosedByApplication,
    ClosedByCanister,
    ConnectFailed,
    ConnectionClosed,
    MessageForOther,
    MessageLate,
    MessageUntrusted,
    NotOpen,
    OpeningRefused,
    OtherGeneration,
    OtherNetwork,
    OutOfTurn,
    SequenceGap,
    SequenceRepeated,
    ServiceMessageInvalid,
    UnexpectedText,
)
from appliance.errors import GatewayError, Malformed

SENTENCES = [
    (MessageUntrusted(4, Malformed("tree", "no map")), "message 4 cannot be trusted: malformed tree: no map"),
    (
        OtherNetwork(1, Malformed("tree", "no map")),
        "message 1 cannot be trusted: malformed tree: no map; the root key is the mainnet's: "
        "for a canister of a local network give network_url (icws connect: --network), its URL",
    ),
    (SequenceGap(4, 7), "expected sequence number 4, got 7: messages were lost or overtaken"),
    (SequenceRepeated(4, 2), "expected sequence number 4, got 2 again"),
    (MessageForOther(4, "a_1", "b_2"), "message 4 is for client a_1, this one is b_2"),
    (
        MessageLate(4, 400_000_000_000, 300_000_000_000),
        "message 4 was sent 400 s ago, the limit is 300 s; is the clock right?",
    ),
    (ServiceMessageInvalid(4, "it is empty"), "message 4, a service message: it is empty"),
    (AckInvalid(4, 9, 5, 7), "message 4 acknowledges 9, but 7 were sent and 5 acknowledged before"),
    (AckTimeout([3], 330_000_000_000), "message 3 not acknowledged by the canister within 330 s"),
    (AckTimeout([3, 4, 5], 1_500_000_000), "messages 3 to 5 not acknowledged by the canister within 1.5 s"),
    (NotOpen("closed"), "the session is closed, not open"),
    (ClosedByCanister("KeepAliveTimeout"), "the canister closed the session: KeepAliveTimeout"),
    (ClosedByApplication(), "the canister closed the session: ClosedByApplication"),
    (ConnectionClosed(1006, ""), "connection closed (1006)"),
    (ConnectionClosed(4503, "too late"), "connection closed (4503): too late"),
    (OutOfTurn("the text '1'", "message 3"), "expected message 3, got the text '1'"),
    (OpeningRefused(), "the canister did not accept the client; is its key registered there?"),
    (
        OtherGeneration("a handshake of v2", "v1"),
        "the gateway sent a handshake of v2, but this client speaks v1; is this the right wire path?",
    ),
    (
        UnexpectedText("1", "v1"),
        "the gateway sent text ('1'), but v1 is binary only; is this the right wire path?",
    ),
    (
        UnexpectedText("x" * 41, "v1"),
        f"the gateway sent text ('{'x' * 40}…'), but v1 is binary only; is this the right wire path?",
    ),
    (ConnectFailed("ws://127.0.0.1:1", "refused"), "cannot connect to ws://127.0.0.1:1: refused"),
]


@pytest.mark.parametrize(("error", "sentence"), SENTENCES)
def test_the_sentence_holds_the_facts(error: GatewayError, sentence: str) -> None:
    assert str(error) == sentence


def test_every_error_has_its_sentence_here_and_its_own_reason() -> None:
    classes = {c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, GatewayError)}
    classes = {c for c in classes if c.__module__ == errors.__name__}
    bases = {ClientError, errors.MessageError}
    assert {type(error) for error, _ in SENTENCES} == classes - bases
    assert len({c.reason for c in classes}) == len(classes)


@pytest.mark.parametrize(
    ("code", "orderly", "come_back"),
    [
        (1000, True, True),
        (1001, True, True),
        (1006, False, True),
        (1008, False, False),
        (1009, False, False),
        (1012, False, True),
        (1013, False, True),
        (4100, False, True),
        (4499, False, True),
        (4500, False, False),
        (4999, False, False),
    ],
)
def test_close_codes_say_whether_to_come_back(code: int, orderly: bool, come_back: bool) -> None:
    closed = ConnectionClosed(code, "")
    assert (closed.orderly, closed.come_back) == (orderly, come_back)
