from typing import Any

import pytest

from appliance.crypto import CandidTypes
from appliance.localnet.canister import Trap
from appliance.localnet.pingpong import APP_MESSAGE, CLOSE, PingPong
from tests.localnet.machine import START, principal
from tests.localnet.test_websocket_canister import Ws

ALICE, GATEWAY = principal("alice"), principal("gateway")
TYPES = CandidTypes(f"({APP_MESSAGE})")


def say(text: str) -> bytes:
    return TYPES.encode({"text": text, "timestamp": 1})


@pytest.fixture
def ws() -> Ws:
    machine = Ws(PingPong())
    machine.open(ALICE)
    return machine


def heard(ws: Ws) -> list[Any]:
    return [TYPES.decode(m.content)[0] for m in ws.received(GATEWAY) if not m.is_service_message]


def test_twenty_round_trips_as_in_the_reference_test(ws: Ws) -> None:
    text = "ping"
    for number in range(1, 21):
        assert heard(ws)[-1] == {"text": text, "timestamp": START}
        assert ws.message(ALICE, number, say(text + "-pong")) == {"Ok": None}
        text += "-pong ping"
    assert len(heard(ws)) == 21


def test_the_word_close_closes(ws: Ws) -> None:
    assert ws.query("clients_connected", ALICE) == 1
    assert ws.message(ALICE, 1, say(CLOSE)) == {"Ok": None}
    assert ws.query("clients_connected", ALICE) == 0
    assert ws.received(GATEWAY)[-1].is_service_message


def test_another_type_of_message_traps(ws: Ws) -> None:
    with pytest.raises(Trap, match="the message is no record"):
        ws.message(ALICE, 1, CandidTypes("(nat)").encode(1))
