"""Messages of canisters, byte for byte as real ones made them."""

from typing import Any

import pytest

from appliance.crypto import decode_cbor
from appliance.ic.principal import Principal
from appliance.localnet.websocket.wire import ClientKey, ClientPublicKey, message_content
from tests import vectors
from tests.localnet.machine import principal

REAL = vectors.load_json("websocket/certified_messages.json")
V0 = [case["content"] for case in REAL["v0"] if case["verdict"] == "valid"]
V2 = sorted({message["content"] for message in REAL["v2"]})


def _fields(content: str) -> dict[str, Any]:
    decoded = decode_cbor(bytes.fromhex(content))
    assert isinstance(decoded, dict)
    return decoded


@pytest.mark.parametrize("content", V0)
def test_a_message_of_v0_is_what_the_cdk_writes(content: str) -> None:
    told = _fields(content)
    written = message_content(
        ClientPublicKey(told["client_key"]),
        sequence_num=told["sequence_num"],
        timestamp_ns=told["timestamp"],
        content=told["message"],
    )
    assert written.hex() == content


@pytest.mark.parametrize("content", V2)
def test_a_message_of_v1_and_v2_is_what_the_cdk_writes(content: str) -> None:
    told = _fields(content)
    key = told["client_key"]
    written = message_content(
        ClientKey(Principal(key["client_principal"]), key["client_nonce"]),
        sequence_num=told["sequence_num"],
        timestamp_ns=told["timestamp"],
        is_service_message=told["is_service_message"],
        content=told["content"],
    )
    assert written.hex() == content


def test_keys_as_people_read_them() -> None:
    alice = principal("alice")
    assert str(ClientKey(alice, 7)) == f"{alice}_7"
    assert str(ClientPublicKey(b"\1\xff")) == "01ff"
