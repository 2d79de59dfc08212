"""What only v1 has: the client speaks first, messages have one argument, and acknowledgements come every minute."""

from types import ModuleType

from appliance.client.sessions.session import State
from appliance.crypto import CandidTypes, decode_candid
from tests.client.canister import CANISTER_ID, CLIENT, NONCE, NOW_NS, SECOND_NS, V1, frame_of, sent

CANDID = "websocket/candid_messages.json"
OPEN = CandidTypes("(record {client_nonce: nat64})")


def test_the_client_opens_at_once_and_names_no_gateway() -> None:
    session = V1.session()
    request = sent(frame_of(session.start(now_ns=NOW_NS)))
    assert (request.method_name, request.canister_id, request.sender) == ("ws_open", CANISTER_ID, CLIENT.principal)
    assert request.arg == OPEN.encode({"client_nonce": NONCE})
    assert session.state is State.OPENING


def test_the_arguments_are_those_of_the_javascript_sdk(vectors: ModuleType) -> None:
    messages = vectors.load_json(CANDID)["messages"]
    known = {v["name"]: bytes.fromhex(v["candid_hex"]) for v in messages if v["generation"] == "v1"}
    opening = sent(frame_of(V1.session().start(now_ns=NOW_NS)))
    assert shape(opening.arg) == shape(known["ws_open arguments"])
    message = sent(V1.opened().send(b"", now_ns=NOW_NS).frame)
    assert shape(message.arg) == shape(known["ws_message arguments"])


def test_a_message_is_given_up_when_the_next_acknowledgement_did_not_cover_it() -> None:
    session = V1.opened()
    session.send(b"", now_ns=NOW_NS)
    assert session.deadline_ns == NOW_NS + 90 * SECOND_NS


def shape(arg: bytes) -> object:
    """The fields of all arguments, by their hashes, without the values."""
    return fields(decode_candid(arg))


def fields(value: object) -> object:
    if isinstance(value, dict):
        return {name: fields(inner) for name, inner in value.items()}
    return [fields(inner) for inner in value] if isinstance(value, tuple) else type(value)
