import pytest

from appliance.localnet.canisters.canister import Trap
from appliance.localnet.websocket.candid_canister import CandidCanister
from appliance.localnet.websocket.canister import Environment
from tests.localnet.machine import START
from tests.localnet.websocket.conversation import ALICE, GATEWAY, OK, Echo, Ws, WsV0
from tests.localnet.websocket.talk import Talk

SECOND = 10**9


class Doubling(CandidCanister):
    app_message = "record { number : nat }"

    def on_value(self, env: Environment, client: object, value: dict[str, int]) -> None:
        self.send_value(env, client, {"number": value["number"] * 2})  # type: ignore[arg-type]


def test_values_go_both_ways() -> None:
    talk = Talk(Doubling())
    talk.enter(ALICE)
    assert talk.say(ALICE, {"number": 21}) == OK
    assert talk.heard(ALICE) == [{"number": 42}]


def test_a_message_of_another_type_traps() -> None:
    ws = Ws(Doubling())  # type: ignore[arg-type]
    ws.open(ALICE)
    with pytest.raises(Trap, match=r"the message is no record \{ number : nat \}: "):
        ws.message(ALICE, 1, b"DIDL\0\1\x71\2hi")


# --- wake ---


class Clockwork(Echo):
    """Wakes at the times that it was given, in seconds from the start."""

    def init(self, env: Environment, *arguments: object) -> None:
        super().init(env, *arguments)
        self.woken: list[int] = []

    def on_message(self, env: Environment, client: object, message: bytes) -> None:
        self.wake(env, START + message[0] * SECOND)

    def on_wake(self, env: Environment) -> None:
        self.woken.append((env.time_ns - START) // SECOND)


def test_the_last_time_that_was_set_holds_beside_the_acknowledgements() -> None:
    ws = Ws(Clockwork())
    ws.open(ALICE)
    for number, second in enumerate((3, 2), 1):
        ws.message(ALICE, number, bytes([second]))
    ws.advance(5)
    assert ws.canister.woken == [2]  # type: ignore[attr-defined]
    ws.advance(296)
    acknowledged = [ws.service(m) for m in ws.received(GATEWAY) if m.is_service_message]
    assert acknowledged[-1] == {"AckMessage": {"last_incoming_sequence_num": 2}}


def test_a_canister_without_acknowledgements_wakes_too() -> None:
    canister = Clockwork(generation="v0", gateway=GATEWAY)
    ws = WsV0(canister)
    env = ws._env(ALICE)
    canister.wake(env, START + SECOND)
    ws._keep(env)
    ws.advance(9)
    assert (canister.woken, ws.timer_ns) == ([1], 0)
