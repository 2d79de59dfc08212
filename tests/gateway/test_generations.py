"""Every wire generation through the whole data plane with nothing faked: sockets, agent, local IC, certificates."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from appliance.client.errors import OpeningRefused
from appliance.crypto import CandidTypes, SigningKey, Verifier, encode_cbor
from appliance.errors import (
    CanisterRefused,
    ClientLeaving,
    DuplicateClient,
    OutOfOrder,
    ReplayedEnvelope,
    SignatureInvalid,
    WrongCanister,
    WrongGeneration,
)
from appliance.ic.agent import Agent
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import AnonymousIdentity, KeyIdentity
from appliance.ic.principal import Principal
from appliance.localnet.websocket.pingpong import PingPong
from tests.gateway.bench import until
from tests.gateway.players import Player, player, playing, register
from tests.network import running

GENERATIONS = ["v0", "v1", "v2"]
EACH = pytest.mark.parametrize("generation", GENERATIONS)
FAST = {"min_interval": 0.005, "max_interval": 0.02}


async def clients_of(network, canister_id=None):
    """How many the canister thinks are connected."""
    async with HttpTransport([network.localnet.url], timeout_s=15, max_reply=1 << 20) as transport:
        agent = Agent(transport, AnonymousIdentity(), Verifier(network.localnet.root_key))
        reply = await agent.query(canister_id or network.canister_id, "clients_connected", CandidTypes("()").encode())
        return CandidTypes("(nat64)").decode(reply)[0]


async def nobody(network):
    """Nothing is left of any client, here or at the canister."""
    gateway = network.gateway
    await until(lambda: not len(network.listener) and not gateway.pending_close_calls and not len(gateway.tasks))
    assert len(gateway.hub) == 0
    assert not gateway.pollers
    assert await clients_of(network) == 0


@asynccontextmanager
async def all_generations(**sections):
    """One gateway with a canister of each generation; yields the network and the canisters' ids."""
    async with running(generation="v2", **sections) as network:
        ids = {"v2": network.canister_id}
        for name in ("v0", "v1"):
            canister = PingPong(generation=name, gateway=network.gateway.principal)
            ids[name] = network.localnet.create_canister(canister)
        listed = [{"id": str(ids[name]), "name": f"chat-{name}", "generation": name} for name in GENERATIONS]
        config = network.gateway.config
        network.gateway.config = type(config).model_validate(
            {"gateway": {"listen": "127.0.0.1:0"}, "polling": FAST, "canisters": listed}
        )
        yield network, ids


async def reconfigure(network, **settings):
    """Follow other settings of the canister."""
    config = network.gateway.config
    canister = type(config.canisters[0]).model_validate({"id": str(network.canister_id), **settings})
    (await network.gateway.prepare(config.model_copy(update={"canisters": [canister]}))).commit()


@EACH
async def test_a_conversation_and_its_end(generation):
    async with running(generation=generation) as network:
        async with playing(network) as client:
            for number in range(20):
                await client.say(f"round {number}")
                assert await client.hear() == f"round {number} ping"
            assert await clients_of(network) == 1
        await nobody(network)
        assert network.gateway.counters.farewells == 1


@EACH
async def test_many_messages_at_once_keep_their_order_both_ways(generation):
    async with running(generation=generation) as network, playing(network) as client:
        for number in range(35):
            await client.say(f"round {number}")
        assert [await client.hear() for _ in range(35)] == [f"round {number} ping" for number in range(35)]
        assert not network.gateway.counters.gaps


@EACH
async def test_many_clients_that_come_at_once_all_open(generation):
    async with running(generation=generation) as network, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(player(network)) for _ in range(12)]
        for client in clients:
            for event in client.session.start(now_ns=client.session.deadline_ns - 60 * 10**9):
                await client.socket.send(event.frame)
        for client in clients:
            assert await client.hear() == "ping"
        for client in clients:
            await client.say("hello")
        assert {await client.hear() for client in clients} == {"hello ping"}


async def test_all_generations_at_once_on_one_gateway():
    async with all_generations() as (network, ids), AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(playing(network, generation=name, canister_id=ids[name]))
            for name in GENERATIONS * 2
        ]
        assert len(network.gateway.pollers) == 3
        for number in range(5):
            for client in clients:
                await client.say(f"{client.generation} {number}")
            for client in clients:
                assert await client.hear() == f"{client.generation} {number} ping"
        assert not network.gateway.counters.undeliverable


async def test_clients_of_v1_and_v2_of_one_canister_share_its_poller():
    def make(gateway):
        return PingPong(generation="v1", gateway=gateway)

    async with running(make, generation="v1") as network:
        canister = {"id": str(network.canister_id), "generation": ["v1", "v2"]}
        config = network.gateway.config
        network.gateway.config = config.model_copy(
            update={"canisters": [type(config.canisters[0]).model_validate(canister)]}
        )
        async with playing(network, generation="v1") as old, playing(network, generation="v2") as new:
            assert len(network.gateway.pollers) == 1
            for client in (old, new):
                await client.say("hello")
                assert await client.hear() == "hello ping"


# --- which generation is spoken --------------------------------------------------------------------------------------


@EACH
async def test_a_path_with_a_canister_speaks_its_generation_and_leads_there_alone(generation):
    async with all_generations() as (network, ids):
        url, canister_id = f"{network.listener.url}/canister/chat-{generation}", ids[generation]
        async with playing(network, generation=generation, canister_id=canister_id, url=url) as client:
            await client.say("hello")
            assert await client.hear() == "hello ping"
        other = Principal(b"\x01\x02")
        async with player(network, generation=generation, canister_id=other, url=url, is_registered=False) as client:
            with pytest.raises(ConnectionClosed) as caught:
                await client.open()
            assert caught.value.rcvd.code == WrongCanister.close_code


async def test_a_path_to_a_canister_of_several_generations_says_where_to_go():
    sections = {"canisters": [{"id": "aaaaa-aa", "name": "both", "generation": ["v2", "v1"]}]}
    async with running(**sections) as network:
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"{network.listener.url}/canister/both"):
                pass
        assert caught.value.response.status_code == 404
        assert b"connect to /v1 or /v2" in caught.value.response.body


@EACH
async def test_the_root_of_a_listener_speaks_what_the_configuration_says(generation):
    async with (
        running(generation=generation, gateway={"listen": "127.0.0.1:0", "generation": generation}) as network,
        playing(network, url=network.listener.url),
    ):
        pass


@EACH
async def test_a_further_listener_speaks_its_own_generation_at_its_root(generation):
    listeners = [{"address": f"127.0.0.{2 + at}:0", "generation": name} for at, name in enumerate(GENERATIONS)]
    async with running(generation=generation, gateway={"listen": "127.0.0.1:0", "listeners": listeners}) as network:
        urls = dict(zip(GENERATIONS, network.listener.urls[1:], strict=True))
        async with playing(network, url=urls[generation]):
            assert network.listener.url == network.listener.urls[0]


@pytest.mark.parametrize(("spoken", "served"), [(one, two) for one in GENERATIONS for two in GENERATIONS if one != two])
async def test_a_canister_of_another_generation_is_named(spoken, served):
    async with all_generations() as (network, ids):
        if spoken == "v0":
            client = player(network, generation=spoken, canister_id=ids[served], is_registered=False)
        else:
            client = player(network, generation=spoken, canister_id=ids[served])
        async with client as it:
            with pytest.raises(ConnectionClosed) as caught:
                await it.open()
        assert caught.value.rcvd.code == WrongGeneration.close_code
        assert caught.value.rcvd.reason == str(WrongGeneration(spoken, served, str(ids[served])))
        assert not network.gateway.counters.joined


@pytest.mark.parametrize(("spoken", "served"), [("v0", "v1"), ("v0", "v2"), ("v1", "v0"), ("v1", "v2")])
async def test_a_client_that_speaks_first_at_the_wrong_address_is_told_where_it_belongs(spoken, served):
    async with running(generation=served) as network:
        url = f"{network.listener.url}/{served}"
        async with player(network, generation=spoken, url=url, is_registered=False) as client:
            for event in client.session.start(now_ns=client.session.deadline_ns - 60 * 10**9):
                await client.socket.send(event.frame)
            code, reason = await client.closed()
        assert code == WrongGeneration.close_code
        assert f"serves clients of {served}" in reason
        assert f"/{spoken}" in reason
        await nobody(network)


@pytest.mark.parametrize("served", ["v0", "v1"])
async def test_a_client_of_v2_that_waits_in_vain_is_told_where_it_belongs(served):
    timeouts = {"listen": "127.0.0.1:0", "handshake_timeout": 1.0}
    async with running(generation=served, gateway=timeouts) as network:
        async with player(network, generation="v2", url=f"{network.listener.url}/{served}") as client:
            code, reason = await client.closed()
        assert (code, reason) == (4105, f"no opening message of {served} (clients of v2 belong at /v2) within 1 s")
        await nobody(network)


# --- what is refused, and hurts nobody else --------------------------------------------------------------------------


async def unharmed(witness: Player) -> None:
    await witness.say("still here")
    assert await witness.hear() == "still here ping"


@EACH
async def test_a_forged_message_is_refused_and_others_are_unaffected(generation):
    async with running(generation=generation) as network:
        async with playing(network) as witness, playing(network) as forger:
            frame = forger.frame("forged")
            at = frame.rindex(b"sig") + 20
            await forger.socket.send(frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :])
            code, reason = await forger.closed()
            assert code == SignatureInvalid.close_code
            assert "signature" in reason
            await unharmed(witness)
        await nobody(network)


@EACH
async def test_a_replayed_message_is_refused_and_others_are_unaffected(generation):
    async with running(generation=generation) as network:
        async with playing(network) as witness, playing(network) as victim:
            frame = victim.frame("once")
            await victim.socket.send(frame)
            assert await victim.hear() == "once ping"
            await victim.socket.send(frame)
            code, reason = await victim.closed()
            refusal = OutOfOrder if generation == "v0" else ReplayedEnvelope
            assert code == refusal.close_code
            assert reason
            await unharmed(witness)
        await nobody(network)
        assert network.gateway.counters.refused[refusal.reason] == 1


@EACH
async def test_reordered_messages_are_refused_and_others_are_unaffected(generation):
    # One call after the other: where they overlap, the gateway may take the fault for its own.
    async with running(generation=generation, relay={"order": "strict"}) as network:
        async with playing(network) as witness, playing(network) as victim:
            first, second = victim.frame("first"), victim.frame("second")
            await victim.socket.send(second)
            await victim.socket.send(first)
            code, reason = await victim.closed()
            assert code == (OutOfOrder if generation == "v0" else CanisterRefused).close_code
            assert "1" in reason
            await unharmed(witness)
        await nobody(network)


@EACH
async def test_the_opening_of_another_client_cannot_be_replayed(generation):
    async with running(generation=generation) as network:
        async with player(network) as victim, player(network) as thief:
            if generation == "v2":
                opening = victim.session.receive(await victim.socket.recv(), now_ns=victim.session.deadline_ns)
                await thief.socket.recv()
            else:
                opening = victim.session.start(now_ns=victim.session.deadline_ns - 60 * 10**9)
            await victim.socket.send(opening[0].frame)
            assert await victim.hear() == "ping"
            await thief.socket.send(opening[0].frame)
            code, reason = await thief.closed()
            assert code == (DuplicateClient if generation == "v0" else ReplayedEnvelope).close_code
            assert reason
            await unharmed(victim)
        await nobody(network)


async def test_a_canister_that_comes_to_speak_another_format_serves_new_clients_while_the_old_ones_are_drained():
    slow = {"drain": {"rate": "1/s", "deadline": "1h"}}
    async with running(generation="v2", **slow) as network, AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(playing(network))
        again = PingPong(generation="v0", gateway=network.gateway.principal)
        network.localnet.reinstall_canister(network.canister_id, again)
        await reconfigure(network, generation="v0")
        async with playing(network, generation="v0") as new:
            await unharmed(new)


# --- v0 alone ---------------------------------------------------------------------------------------------------------


async def test_v0_a_key_that_is_not_registered_gets_a_0_and_the_canisters_words():
    async with running(generation="v0") as network:
        async with player(network, is_registered=False) as client:
            with pytest.raises(OpeningRefused):
                await client.open()
            code, reason = await client.closed()
        assert code == CanisterRefused.close_code
        assert "has not been previously registered" in reason
        await nobody(network)
        assert network.gateway.counters.farewells == 0


async def test_v0_the_registration_ends_with_the_socket_and_a_replay_opens_nothing():
    async with running(generation="v0") as network:
        key = SigningKey.generate("ed25519")
        async with playing(network, key=key):
            pass
        await nobody(network)
        async with player(network, key=key, is_registered=False) as replay:
            with pytest.raises(OpeningRefused):
                await replay.open()


async def test_v0_a_client_that_comes_again_with_its_key_gets_nothing_of_before():
    async with running(generation="v0") as network, playing(network) as witness:
        key = SigningKey.generate("ed25519")
        async with playing(network, key=key) as client:
            await client.say("never heard")
        await until(lambda: not network.gateway.pending_close_calls)
        async with playing(network, key=key) as client:
            await client.say("again")
            assert await client.hear() == "again ping"
        await unharmed(witness)


async def test_v0_a_late_message_of_the_session_before_takes_no_number_of_the_next_one():
    async with running(generation="v0") as network, playing(network) as witness:
        gateway, key, may_open = network.gateway, SigningKey.generate("ed25519"), asyncio.Event()
        poller, relayed = gateway.pollers[network.canister_id], gateway.counters.relayed
        poller.pause()
        async with player(network, key=key) as client:
            await client.open()
            await until(lambda: gateway.counters.relayed == relayed + 2)  # it is announced, so the canister greets it
        await until(lambda: not gateway.pending_close_calls)

        async def decide(_):
            await may_open.wait()

        gateway.hooks.open = decide
        async with player(network, key=key) as client:
            opening = asyncio.ensure_future(client.open())
            await until(lambda: gateway.counters.joined == 3)
            poller.resume()
            await poller.drained()
            may_open.set()
            await opening
            assert await client.hear() == "ping"
            await unharmed(client)
        await unharmed(witness)


async def test_v0_a_canister_that_is_paused_while_its_first_client_opens_is_not_polled():
    async with running(generation="v0") as network, player(network) as client:
        may_open = asyncio.Event()

        async def decide(_):
            await may_open.wait()

        network.gateway.hooks.open = decide
        opening = asyncio.ensure_future(client.open())
        await until(lambda: network.gateway.counters.joined)
        await reconfigure(network, generation="v0", paused=True)
        may_open.set()
        await opening
        assert network.gateway.pollers[network.canister_id].is_paused
        await reconfigure(network, generation="v0")
        assert await client.hear() == "ping"


async def test_v0_polling_begins_where_the_canister_says():
    async with running(generation="v0") as network:
        async with playing(network) as client:
            for number in range(25):
                await client.say(str(number))
                await client.hear()
        await nobody(network)
        polls = network.gateway.counters.polls
        network.gateway.pollers._positions.clear()  # as after a restart of the gateway
        async with playing(network):
            pass
        assert network.gateway.counters.repeated == network.gateway.counters.undeliverable == 0
        assert network.gateway.counters.polls > polls


async def test_v0_a_key_whose_leaving_is_under_way_is_told_to_come_back():
    async with running(generation="v0") as network, playing(network):
        key = SigningKey.generate("ed25519")
        async with playing(network, key=key):
            await network.localnet.stop_http()
        async with player(network, key=key, is_registered=False) as client:
            with pytest.raises(ConnectionClosed) as caught:
                await client.open()
        assert caught.value.rcvd.code == ClientLeaving.close_code
        await network.localnet.start_http()


async def test_v0_a_reinstalled_canister_is_noticed_when_somebody_comes():
    async with running(generation="v0") as network, playing(network) as old:
        for number in range(3):
            await old.say(str(number))
            await old.hear()
        again = PingPong(generation="v0", gateway=network.gateway.principal)
        network.localnet.reinstall_canister(network.canister_id, again)
        async with playing(network) as new:
            await unharmed(new)
            assert (await old.closed())[0] == 4103
            await unharmed(new)
        assert network.gateway.counters.resets == 1


async def test_v0_a_client_that_sends_straight_to_the_canister_is_answered_here():
    async with running(generation="v0") as network:
        key = SigningKey.generate("ed25519")
        async with playing(network, key=key) as client:
            async with HttpTransport([network.localnet.url], timeout_s=15, max_reply=1 << 20) as transport:
                agent = Agent(transport, KeyIdentity(key), Verifier(network.localnet.root_key))
                content = encode_cbor({"text": "straight", "timestamp": 1})
                await agent.call(network.canister_id, "ws_message", client.session.direct(content))
            assert await client.hear() == "straight ping"


async def test_v0_a_client_that_goes_before_it_is_opened_is_still_taken_leave_of():
    async with running(generation="v0") as network:
        key = SigningKey.generate("ed25519")
        await register(network, key)
        async with player(network, key=key, is_registered=False) as client:
            for event in client.session.start(now_ns=0):
                await client.socket.send(event.frame)
            await until(lambda: network.gateway.counters.joined == 1)
        await nobody(network)
        assert network.gateway.counters.farewells == 1


# --- v1 alone ---------------------------------------------------------------------------------------------------------


async def test_v1_a_client_that_comes_again_is_heard_though_its_leaving_is_told_late(monkeypatch):
    async with running(generation="v1") as network, playing(network):
        gateway, key, may_close = network.gateway, SigningKey.generate("ed25519"), asyncio.Event()
        call = gateway.epochs.current.calls._ic.call

        async def late(canister_id, method, arg):
            await may_close.wait()
            return await call(canister_id, method, arg)

        monkeypatch.setattr(gateway.epochs.current.calls._ic, "call", late)
        async with playing(network, key=key):
            pass
        async with player(network, key=key) as again:
            for event in again.session.start(now_ns=again.session.deadline_ns - 60 * 10**9):
                await again.socket.send(event.frame)
            await until(lambda: gateway.counters.joined == 3)
            polls = gateway.counters.polls
            await until(lambda: gateway.counters.polls > polls + 20)  # time enough for an opening that does not wait
            may_close.set()
            assert await again.hear() == "ping"
            await unharmed(again)
        await until(lambda: not gateway.pending_close_calls)
        assert not gateway._close_calls._by_predecessor
