from typing import Any

import pytest

from appliance.crypto import CandidTypes, decode_cbor, encode_cbor
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Environment, Trap
from appliance.localnet.websocket.canister import Client, Generation, WsInitParams
from appliance.localnet.websocket.pingpong import APP_MESSAGE, CLOSE, PingPong
from tests.localnet.machine import START
from tests.localnet.websocket.conversation import ALICE, GATEWAY, OK, Signer, Ws, WsV0

TYPES = CandidTypes(f"({APP_MESSAGE})")
A = Signer("a")
GENERATIONS: list[Generation] = ["v0", "v1", "v2"]


class Guest:
    """Alice with one open connection to a PingPong of any generation."""

    def __init__(self, canister: PingPong) -> None:
        self.in_cbor = canister.dialect.generation == "v0"
        self.ws: Any = (WsV0 if self.in_cbor else Ws)(canister)
        self._number = 0
        if self.in_cbor:
            self.ws.join(A)
        else:
            assert self.ws.open(ALICE) == OK

    def say(self, text: str) -> Any:
        message = {"text": text, "timestamp": 1}
        return self.say_raw(encode_cbor(message) if self.in_cbor else TYPES.encode(message))

    def say_raw(self, content: bytes) -> Any:
        self._number += 1
        if self.in_cbor:
            return self.ws.relayed(A, self._number - 1, content)
        return self.ws.message(ALICE, self._number, content)

    def heard(self, nonce: int = 0) -> list[Any]:
        """What the application said, from a nonce on."""
        contents = [m.content for m in self.ws.received(GATEWAY, nonce) if not m.is_service_message]
        return [decode_cbor(content) if self.in_cbor else TYPES.decode(content)[0] for content in contents]

    @property
    def connected(self) -> int:
        count = self.ws.query("clients_connected", ALICE)
        assert isinstance(count, int)
        return count


@pytest.fixture(params=GENERATIONS)
def guest(request: pytest.FixtureRequest) -> Guest:
    return Guest(PingPong(generation=request.param, gateway=GATEWAY))


def test_twenty_round_trips_as_in_the_reference_test(guest: Guest) -> None:
    text = "ping"
    for _ in range(20):
        assert guest.heard()[-1] == {"text": text, "timestamp": START}
        assert guest.say(text + "-pong") == OK
        text += "-pong ping"
    everything = guest.heard(1) if guest.ws.generation == 1 else guest.heard()
    assert len(everything) == 21


def test_the_word_close_closes(guest: Guest) -> None:
    assert guest.connected == 1
    before = guest.ws.received(GATEWAY)
    assert guest.say(CLOSE) == OK
    assert guest.connected == 0
    told = guest.ws.received(GATEWAY)[len(before) :]
    assert [m.is_service_message for m in told] == ([True] if guest.ws.generation == 2 else [])
    assert "Err" in guest.say("after")


@pytest.mark.parametrize(
    "content",
    [
        CandidTypes("(nat)").encode(1),
        encode_cbor([]),
        encode_cbor({"text": "x"}),
        encode_cbor({"text": 1, "timestamp": 1}),
        b"",
    ],
)
def test_another_type_of_message_traps(guest: Guest, content: bytes) -> None:
    with pytest.raises(Trap, match=r"the message is no (record|CBOR map)|malformed message: "):
        guest.say_raw(content)


class Shouting(PingPong):
    """Overrides what applications override."""

    def on_message(self, env: Environment, client: Client, message: bytes) -> None:
        text = self._read(message)["text"]
        self._send_text(env, client, text.upper())

    def _push(self, env: Environment, client: Any, content: bytes, *, is_service_message: bool) -> None:
        self.undo_log.set(client, "last_sent_num", client.last_sent_num + 1)
        super()._push(env, client, content, is_service_message=is_service_message)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_subclasses_override_hooks_in_every_generation(generation: Generation) -> None:
    guest = Guest(Shouting(generation=generation, gateway=GATEWAY))
    assert guest.say("hello") == OK
    assert guest.heard()[-1] == {"text": "HELLO", "timestamp": START}
    numbers = [m.sequence_num for m in guest.ws.received(GATEWAY)]
    assert numbers == list(range(2, 2 * len(numbers) + 1, 2))


@pytest.mark.parametrize("generation", ["v0", "v1"])
def test_the_old_generations_need_their_gateway(generation: Generation) -> None:
    with pytest.raises(ValueError, match="needs the principal of its one gateway"):
        PingPong(generation=generation)


def test_it_is_v2_with_the_given_parameters_unless_told() -> None:
    canister = PingPong(WsInitParams(send_ack_interval_ms=61_000))
    assert canister.dialect.generation == "v2"
    assert canister.params == WsInitParams(50, 61_000, 60_000)
    assert PingPong(generation="v2", gateway=Principal(b"\1")).gateway is None
