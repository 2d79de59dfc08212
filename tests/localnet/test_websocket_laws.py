"""What holds for WebSocket canisters of all wire generations, whatever clients and gateways do."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.crypto import CertifiedMessage
from appliance.errors import CandidError
from appliance.localnet.canister import Trap
from appliance.localnet.websocket_canister import ClientPublicKey, Generation, WebSocketCanister, WsInitParams
from tests.localnet.machine import CANISTER, principal
from tests.localnet.websocket import ALICE, GATEWAY, OK, Echo, Signer, Ws, WsV0, echo

GENERATIONS: list[Generation] = ["v0", "v1", "v2"]
every_generation = pytest.mark.parametrize("generation", GENERATIONS)


class Talk:
    """Clients by number, each opening a connection of its own; the same words for every generation.

    A gateway polls after whatever happened, as it does in life, so that it misses nothing. ``said`` is what the
    canister took, ``heard`` what came out, both by the client's key.
    """

    def __init__(self, generation: Generation) -> None:
        canister = echo(generation)
        self.ws: Any = (WsV0 if generation == "v0" else Ws)(canister)
        self.messages: list[CertifiedMessage] = []
        self.said: dict[bytes, list[bytes]] = {}
        self._opened: dict[int, int] = {}
        self._numbers: dict[int, int] = {}

    def open(self, client: int) -> None:
        self._opened[client] = self._opened.get(client, 0) + 1
        self._numbers[client] = 0
        if isinstance(self.ws, WsV0):
            self.ws.join(self._signer(client))
        else:
            assert self.ws.open(self._who(client), self._opened[client]) == OK
        self.said[self._key(client)] = []

    def say(self, client: int, content: bytes) -> None:
        """In v0 half of the clients speak for themselves, the others through the gateway."""
        if client not in self._opened:
            return
        answer = self._message(client, content)
        if answer == OK and content != b"close":
            self.said[self._key(client)].append(content)

    def say_and_trap(self, client: int, _: bytes) -> None:
        before = self.ws.state.get((b"canister", CANISTER, b"certified_data")), len(self.ws.canister._clients)
        if client in self._opened and self._is_open(client):
            with pytest.raises(Trap, match="on purpose"):
                self._message(client, b"trap")
            self._numbers[client] -= 1
        assert (self.ws.state.get((b"canister", CANISTER, b"certified_data")), len(self.ws.canister._clients)) == before
        assert self.ws.received(GATEWAY, len(self.messages) or 1) == []

    def leave(self, client: int) -> None:
        if client in self._opened:
            key = self._signer(client).key if isinstance(self.ws, WsV0) else None
            close = self.ws.close(key) if key else self.ws.close(GATEWAY, self._who(client), self._opened[client])
            assert close == OK or "Err" in close

    def poll(self) -> None:
        self.messages += self.ws.received(GATEWAY, len(self.messages))

    def of(self, key: bytes) -> list[CertifiedMessage]:
        return [message for message in self.messages if message.client_key == key]

    def _message(self, client: int, content: bytes) -> Any:
        self._numbers[client] += 1
        number = self._numbers[client]
        if not isinstance(self.ws, WsV0):
            return self.ws.message(self._who(client), number, content, nonce=self._opened[client])
        signer = self._signer(client)
        return (
            self.ws.relayed(signer, number - 1, content) if client % 2 else self.ws.direct(ALICE, signer.key, content)
        )

    def _is_open(self, client: int) -> bool:
        return any(self._key(client) == _key_of(connection.key) for connection in self.ws.canister._clients)

    def _key(self, client: int) -> bytes:
        if isinstance(self.ws, WsV0):
            return self._signer(client).key
        return self._who(client) + self._opened[client].to_bytes(8, "big")

    def _who(self, client: int) -> Any:
        return principal(f"client {client}")

    def _signer(self, client: int) -> Signer:
        return Signer(f"client {client}, key {self._opened[client]}")


def _key_of(key: Any) -> bytes:
    return key if isinstance(key, ClientPublicKey) else key.principal + key.nonce.to_bytes(8, "big")


STEPS: list[Callable[[Talk, int, bytes], None]] = [
    lambda talk, client, _: talk.open(client),
    lambda talk, client, content: talk.say(client, content),
    lambda talk, client, content: talk.say_and_trap(client, content),
    lambda talk, client, _: talk.say(client, b"close"),
    lambda talk, client, _: talk.leave(client),
    lambda talk, _client, _: talk.ws.advance(5),
]
SCRIPTS = st.lists(
    st.tuples(
        st.sampled_from(STEPS), st.integers(0, 3), st.binary(max_size=9).filter(lambda c: c not in (b"close", b"trap"))
    ),
    max_size=40,
)


@every_generation
@settings(max_examples=25, deadline=None)
@given(script=SCRIPTS)
def test_everything_verifies_and_every_number_follows_the_one_before(
    generation: Generation, script: list[tuple[Callable[[Talk, int, bytes], None], int, bytes]]
) -> None:
    talk = Talk(generation)
    for step, client, content in script:
        step(talk, client, content)
        talk.poll()
    assert [m.key for m in talk.messages] == [f"{GATEWAY}_{nonce:020}" for nonce in range(len(talk.messages))]
    assert {m.client_key for m in talk.messages} <= set(talk.said)
    for key, said in talk.said.items():
        own = talk.of(key)
        assert [m.sequence_num for m in own] == list(range(1, len(own) + 1))
        assert [m.content for m in own if not m.is_service_message] == said


@every_generation
def test_a_new_installation_forgets_everything(generation: Generation) -> None:
    talk = Talk(generation)
    talk.open(0)
    talk.say(0, b"x")
    env = talk.ws._env(CANISTER)
    talk.ws.canister.install(b"", env)
    talk.ws._keep(env)
    assert talk.ws.poll(GATEWAY, 0).messages == []
    assert len(talk.ws.canister._clients) == 0
    talk.open(0)
    talk.say(0, b"y")
    talk.poll()
    assert [m.content for m in talk.messages if not m.is_service_message] == [b"y"]


@every_generation
def test_polling_replicated_traps(generation: Generation) -> None:
    talk = Talk(generation)
    talk.open(0)
    talk.say(0, b"x")
    with pytest.raises(Trap, match="data certificate"):
        talk.ws.call("ws_get_messages", GATEWAY, {"nonce": 0})


def test_what_v0_writes_is_not_taken_for_what_v2_writes() -> None:
    talk = Talk("v0")
    talk.open(0)
    talk.say(0, b"x")
    with pytest.raises(CandidError):
        talk.ws.poll(GATEWAY, 0, generation=2)


@pytest.mark.parametrize("generation", ["v0", "v1"])
def test_one_gateway_has_to_be_named(generation: Generation) -> None:
    with pytest.raises(
        ValueError, match=f"a canister of generation {generation} needs the principal of its one gateway"
    ):
        Echo(generation=generation)


def test_v2_takes_any_gateway_whoever_is_named() -> None:
    ws = Ws(Echo(generation="v2", gateway=GATEWAY))
    assert ws.open(ALICE, 1, principal("somebody")) == OK
    assert len(ws.poll(principal("somebody"), 0).messages) == 1


def test_every_generation_has_its_own_parameters_and_each_may_be_given() -> None:
    assert echo("v0").params == WsInitParams(10, None, None)
    assert echo("v1").params == WsInitParams(10, 60_000, 10_000)
    assert echo("v2").params == WsInitParams(50, 300_000, 60_000)
    assert echo("v1", WsInitParams(send_ack_interval_ms=11_000)).params == WsInitParams(10, 11_000, 10_000)
    assert echo("v2", WsInitParams(max_number_of_returned_messages=0)).params == WsInitParams(0, 300_000, 60_000)


@pytest.mark.parametrize("params", [WsInitParams(send_ack_interval_ms=1), WsInitParams(keep_alive_timeout_ms=1)])
def test_v0_has_no_acknowledgements_to_set(params: WsInitParams) -> None:
    with pytest.raises(ValueError, match="generation v0 has no acknowledgements"):
        echo("v0", params)


@every_generation
def test_hooks_are_optional(generation: Generation) -> None:
    canister = WebSocketCanister(generation=generation, gateway=GATEWAY)
    ws: Any = (WsV0 if generation == "v0" else Ws)(canister)
    if generation == "v0":
        ws.join(Signer("a"))
        assert ws.direct(ALICE, Signer("a").key, b"x") == OK
    else:
        assert ws.open(ALICE) == OK
        assert ws.message(ALICE, 1, b"x") == OK
    assert len(ws.received(GATEWAY)) == (0 if generation == "v0" else 1)
