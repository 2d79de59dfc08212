"""What holds for WebSocket canisters of all wire generations, whatever clients and gateways do."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.crypto import CertifiedMessage
from appliance.errors import CandidError
from appliance.localnet.canisters.canister import Environment, Trap
from appliance.localnet.websocket.canister import (
    Client,
    ClientPublicKey,
    Generation,
    WebSocketCanister,
    WsError,
    WsInitParams,
)
from appliance.localnet.websocket.clients import Connection
from tests.localnet.machine import CANISTER, principal
from tests.localnet.websocket.conversation import ALICE, GATEWAY, OK, Echo, Signer, Ws, WsV0, echo

GENERATIONS: list[Generation] = ["v0", "v1", "v2"]
every_generation = pytest.mark.parametrize("generation", GENERATIONS)


class Talk:
    """Clients by number, each opening a connection of its own; the same words for every generation.

    A gateway polls after whatever happened, as it does in life, so that it misses nothing. ``said`` is what the
    canister took, ``heard`` what came out, both by the client's key.
    """

    def __init__(self, generation: Generation, canister: Echo | None = None) -> None:
        self.ws: Any = (WsV0 if generation == "v0" else Ws)(canister or echo(generation))
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
        """What the canister takes if it hears the client, and only then. Who comes for the first time opens first."""
        if client not in self._opened:
            self.open(client)
        is_heard = self._is_heard(client)
        assert (self._message(client, content) == OK) == is_heard
        if is_heard and content != b"close":
            self.said[self._key(client)].append(content)

    def say_and_trap(self, client: int, content: bytes) -> None:
        """Leaves no trace; the next message has the same number."""
        if client in self._opened and self._is_heard(client):
            before = self._certified(), self._connections()
            with pytest.raises(Trap, match="on purpose"):
                self._message(client, b"trap")
            self._numbers[client] -= 1
            assert (self._certified(), self._connections()) == before
            assert self.ws.received(GATEWAY, len(self.messages)) == []
            self.say(client, content)

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
        """In v0 half of the clients speak for themselves, the others through the gateway."""
        self._numbers[client] += 1
        number = self._numbers[client]
        if not isinstance(self.ws, WsV0):
            return self.ws.message(self._who(client), number, content, nonce=self._opened[client])
        signer = self._signer(client)
        return (
            self.ws.relayed(signer, number - 1, content) if client % 2 else self.ws.direct(ALICE, signer.key, content)
        )

    def _is_heard(self, client: int) -> bool:
        """In v1 an open connection is not, once another one of its principal has been forgotten."""
        name = self._signer(client).key if isinstance(self.ws, WsV0) else self._who(client)
        try:
            connection = self.ws.canister._clients.connection_of(name)
        except WsError:
            return False
        return _key_of(connection.key) == self._key(client)

    def _certified(self) -> object:
        return self.ws.state.get((b"canister", CANISTER, b"certified_data"))

    def _connections(self) -> list[Connection]:
        return [replace(connection) for connection in self.ws.canister._clients]

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
    *[lambda talk, client, content: talk.say(client, content)] * 4,
    lambda talk, client, content: talk.say_and_trap(client, content),
    lambda talk, client, _: talk.open(client),
    lambda talk, client, _: talk.leave(client),
    lambda talk, client, _: talk.say(client, b"close"),
    lambda talk, _client, _content: talk.ws.advance(7),  # too little for a gateway of v2 to be deserted
]
CONTENTS = st.binary(max_size=9).filter(lambda content: content not in (b"close", b"trap"))
SCRIPTS = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 2), CONTENTS), min_size=20, max_size=40)


@every_generation
@settings(max_examples=50, deadline=None)
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


class Moody(Echo):
    """Has said its word when it traps in a hook that it was told to trap in."""

    dislikes = ""

    def on_open(self, env: Environment, client: Client) -> None:
        self.send(env, client, b"word")
        if self.dislikes == "open":
            raise Trap("in open")

    def on_close(self, env: Environment, client: Client) -> None:
        if self.dislikes == "close":
            raise Trap("in close")


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_a_trap_while_opening_leaves_no_trace(generation: Generation) -> None:
    canister = Moody(generation=generation, gateway=GATEWAY)
    ws = Ws(canister)
    canister.dislikes = "open"
    with pytest.raises(Trap, match="in open"):
        ws.open(ALICE)
    assert len(canister._clients) == 0
    assert "doesn't have an open connection" in ws.message(ALICE, 1, b"x")["Err"]
    assert ws.poll(GATEWAY, 0).messages == []
    canister.dislikes = ""
    assert ws.open(ALICE) == OK
    assert [m.sequence_num for m in ws.received(GATEWAY)] == [1, 2]


def test_a_trap_at_the_word_that_a_client_of_v0_hears_leaves_no_trace() -> None:
    canister = Moody(generation="v0", gateway=GATEWAY)
    ws, signer = WsV0(canister), Signer("a")
    ws.register(ALICE, signer.key)
    ws.open(signer)
    canister.dislikes = "open"
    with pytest.raises(Trap, match="in open"):
        ws.established(signer.key)
    assert ws.poll(GATEWAY, 0).messages == []
    canister.dislikes = ""
    assert ws.established(signer.key) == OK
    assert [m.sequence_num for m in ws.received(GATEWAY)] == [1]


@every_generation
def test_a_trap_while_closing_leaves_the_connection_open(generation: Generation) -> None:
    canister = Moody(generation=generation, gateway=GATEWAY)
    talk = Talk(generation, canister)
    talk.open(1)
    talk.poll()
    canister.dislikes = "close"
    with pytest.raises(Trap, match="in close"):
        talk.leave(1)
    canister.dislikes = ""
    talk.say(1, b"x")
    talk.poll()
    assert [m.content for m in talk.messages if not m.is_service_message] == [b"word", b"x"]
    talk.leave(1)
    assert len(canister._clients) == 0


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
