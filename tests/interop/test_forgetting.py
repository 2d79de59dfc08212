"""A canister on the real CDK that forgets its clients: those that only listen are told, and are taken up again."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from appliance.client import ConnectionClosed
from appliance.crypto import SigningKey
from appliance.ic.identity import KeyIdentity
from appliance.localnet.state.clock import ManualClock
from appliance.localnet.websocket.canister import WsInitParams
from tests import demo
from tests.interop.canisters import RUST
from tests.interop.clients import LIVE_OWN, LIVE_SDKS, Client, Live
from tests.interop.node import PATIENCE_S
from tests.network import Network

INTERVAL_S = 61
THINKING_S = 2
"""From an acknowledgement to its answers: the CDK takes a client for silent that answers in no time, because it looks
60 s after the acknowledgement and a little."""
STEP_S = 30
"""Between two polls: a minute without one is an outage for the gateway, and counts for no silence."""
PARAMS = WsInitParams(send_ack_interval_ms=INTERVAL_S * 1000)
CLIENTS = [live for live in (*LIVE_SDKS[-1:], *LIVE_OWN) if live.generation == "v2"]
every_client = pytest.mark.parametrize("live", CLIENTS, ids=lambda live: live.name)


@pytest.fixture(autouse=True)
def needs(request: pytest.FixtureRequest, project: Callable[[str], Path]) -> None:
    """The canister, and the packages of the test's client."""
    demo.needed_module()
    live = getattr(request.node, "callspec", None) and request.node.callspec.params.get("live")
    if isinstance(live, Live) and live.project is not None:
        project(live.project)


class Moved:
    """The time of the canister and of the gateway's pollers, which the test moves on."""

    def __init__(self) -> None:
        self.clock = ManualClock(time.time_ns())

    async def on(self, network: Network, seconds: int, then: int = 0) -> None:
        """Move it, let the canister do what is due, move it by ``then``, and let the gateway poll."""
        steps = (seconds - 1) // STEP_S
        for _ in range(steps):
            await self._step(network, STEP_S, 0)
        await self._step(network, seconds - steps * STEP_S, then)

    async def _step(self, network: Network, seconds: int, then: int) -> None:
        replica = network.localnet.replica
        self._advance(seconds)
        while replica.executor or replica.rounds.is_due():  # at once: nobody may poll before the second step
            replica.rounds.run_one()
        self._advance(then)
        await polled(network)

    def _advance(self, seconds: int) -> None:
        # Requests have the machine's time, and are good for less than the test takes.
        self.clock.ahead_ns += seconds * 10**9
        self.clock.advance(seconds * 10**9)


async def polled(network: Network) -> None:
    """A poll that began now has ended, or nobody is there any more for whom to poll."""
    if poller := network.gateway.pollers.get(network.canister_id):
        before = poller.facts.polls
        await until(lambda: poller.facts.polls > before + 1 or network.canister_id not in network.gateway.pollers)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - counters have no bell
            await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(network: Network, live: Live) -> AsyncIterator[Client]:
    """A client that was greeted and says nothing."""
    async with live.start(network, network.url) as client:
        await client.opened()
        assert await client.receive() == "ping"
        yield client


async def acknowledged(network: Network, moved: Moved, clients: int) -> None:
    """The next acknowledgement to each client, and its keep-alive."""
    relayed = network.gateway.counters.relayed
    await moved.on(network, INTERVAL_S - THINKING_S, then=THINKING_S)
    await until(lambda: network.gateway.counters.relayed == relayed + clients)


@every_client
async def test_a_listener_is_told_within_two_intervals_and_taken_up_again(live: Live) -> None:
    moved = Moved()
    async with RUST.serve(params=PARAMS, clock=moved.clock) as network:
        network.gateway.epochs.current.pollers._clock = moved.clock.now_ns
        closed = network.gateway.counters.closed
        async with listening(network, live) as one, listening(network, live) as other:
            await moved.on(network, THINKING_S)
            for _ in range(2):  # the second one shows the interval
                await acknowledged(network, moved, clients=2)
            RUST.anew(network)
            await moved.on(network, 2 * INTERVAL_S)
            assert not closed, "the silence is not longer than two intervals"
            await moved.on(network, 1)
            for client in (one, other):
                code, reason = await client.ended()
                assert code == 4122
                assert "has sent nothing for 123 s" in reason
        async with listening(network, live) as again:
            await again.send("back")
            assert await again.receive() == "back ping"
            assert await network.connected() == 1
        assert closed[4122] == 2


@pytest.mark.parametrize("act", ["leaves", "speaks"])
@every_client
async def test_listeners_are_told_at_once_when_another_acts_and_taken_up_again(live: Live, act: str) -> None:
    async with RUST.serve() as network:
        async with listening(network, live) as one, listening(network, live) as other:
            async with listening(network, live) as actor:
                RUST.anew(network)
                if act == "leaves":
                    await actor.close()
                else:
                    await actor.send("are you there?")
                    assert (await actor.ended()).code == 4102
            for client in (one, other):
                assert (await client.ended()).code == 4103
        async with listening(network, live) as again:
            await again.send("back")
            assert await again.receive() == "back ping"
            assert await network.connected() == 1


async def test_a_second_session_of_a_principal_closes_the_first_which_the_canister_forgot() -> None:
    identity = KeyIdentity(SigningKey.generate("ed25519"))
    async with RUST.serve() as network, network.connect(identity=identity) as first:
        await first.receive()
        async with network.connect(identity=identity) as second:
            await second.receive()
            await second.send({"text": "second", "timestamp": 0})
            assert (await second.receive()).value["text"] == "second ping"
            with pytest.raises(ConnectionClosed, match="opened another session") as caught:
                await first.receive()
            assert caught.value.code == 4121
            assert await network.connected() == 1
