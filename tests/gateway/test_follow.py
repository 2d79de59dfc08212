"""A running gateway that follows another configuration: what is not named stays as it is."""

import asyncio
import socket
import ssl

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from appliance.config.schema import Config
from appliance.errors import CanisterPaused, ConfigError
from appliance.gateway.connections import info_of
from appliance.gateway.drain import Pacing
from appliance.gateway.sockets.tls.certificate_expiry import certificate_expiry
from appliance.protocol.session import State
from tests.gateway.bench import Bench, until
from tests.gateway.clients import CANISTER, GATEWAY, OTHER_CANISTER, Client
from tests.gateway.fake_ic import FakeCanister
from tests.gateway.served import served


def config(*canisters, **sections):
    listed = [{"id": str(one)} if not isinstance(one, dict) else one for one in canisters]
    return Config.model_validate({"canisters": listed, "gateway": {"listen": "127.0.0.1:0"}, **sections})


async def follow(part, new, **how):
    change = await part.prepare(new, **how)
    change.commit()
    await change.cleanup()


# --- canisters ------------------------------------------------------------------------------------------------------


async def test_a_canister_that_is_added_is_served_at_once():
    async with Bench() as bench:
        bench.ic.canisters[bytes(OTHER_CANISTER)] = FakeCanister(OTHER_CANISTER, GATEWAY)
        _, before = await bench.opened()
        await follow(bench.gateway, config(CANISTER, OTHER_CANISTER))
        shell = bench.connect()
        shell.receive(Client().open(canister=OTHER_CANISTER))
        await until(lambda: shell.was_opened)
        assert before.error is None


async def test_a_canister_that_is_removed_is_drained_and_the_others_stay():
    async with Bench(canisters=[{"id": str(CANISTER)}, {"id": str(OTHER_CANISTER)}]) as bench:
        bench.ic.canisters[bytes(OTHER_CANISTER)] = FakeCanister(OTHER_CANISTER, GATEWAY)
        _, stays = await bench.opened()
        goes = bench.connect()
        goes.receive(Client().open(canister=OTHER_CANISTER))
        await until(lambda: goes.was_opened)
        await follow(bench.gateway, config(CANISTER))
        await until(lambda: goes.is_gone and not bench.gateway.pending_close_calls)
        assert goes.error.close_code == 4517
        assert stays.error is None
        assert OTHER_CANISTER not in bench.gateway.pollers
        assert not bench.gateway.canister_drains


async def test_a_removed_canister_that_comes_back_keeps_who_is_still_there():
    slow = {"drain": {"rate": "1/s", "deadline": "1h"}}
    async with Bench(**slow) as bench:
        shells = [(await bench.opened())[1] for _ in range(5)]
        await follow(bench.gateway, config(**slow))
        drain = bench.gateway.canister_drains[CANISTER]
        await until(lambda: drain.closed)
        await follow(bench.gateway, config(CANISTER, **slow))
        assert drain.state == "cancelled"
        assert 0 < sum(shell.error is None for shell in shells) == 5 - drain.closed
        assert not bench.gateway.canister_drains


async def test_stopping_does_not_wait_for_the_grace_of_a_drain():
    async with Bench(drain={"return_grace": "10m", "deadline": "10m"}) as bench:
        _, shell = await bench.opened()
        await follow(bench.gateway, config(drain={"return_grace": "10m", "deadline": "10m"}), may_return=True)
        whole = bench.gateway.start_drain(Pacing(1000, 600, 600))
        drain = bench.gateway.canister_drains[CANISTER]
        shell.lose()
        await bench.gateway.stop()
        assert (drain.state, whole.state) == ("cancelled", "cancelled")


async def test_a_canister_that_a_watched_change_removes_may_come_back_within_the_grace():
    policy = {"drain": {"return_grace": "10m"}}
    async with Bench(**policy) as bench:
        _, shell = await bench.opened()
        await follow(bench.gateway, config(**policy), may_return=True)
        drain = bench.gateway.canister_drains[CANISTER]
        await follow(bench.gateway, config(**policy), may_return=True)
        assert bench.gateway.canister_drains[CANISTER] is drain  # another change does not begin the grace anew
        late = bench.connect()
        late.receive(Client().open())
        assert late.error.close_code == 1013
        await follow(bench.gateway, config(CANISTER, **policy), may_return=True)
        assert (drain.state, drain.closed, shell.error) == ("cancelled", 0, None)
        again = bench.connect()
        again.receive(Client().open())
        await until(lambda: again.was_opened)


async def test_after_the_grace_its_clients_are_told_to_come_back():
    policy = {"drain": {"return_grace": "0s"}}
    async with Bench(**policy) as bench:
        _, shell = await bench.opened()
        await follow(bench.gateway, config(drain={"return_grace": "1s"}), may_return=True)
        assert bench.gateway.canister_drains[CANISTER].pacing.grace_s == 1.0
        await until(lambda: shell.is_gone)
        assert shell.error.close_code == 1013


async def test_a_watched_change_of_what_is_unlisted_counts_too():
    async with Bench(canisters=[], unlisted_canisters="allow") as bench:
        _, shell = await bench.opened()
        await follow(bench.gateway, config(drain={"return_grace": "10m"}), may_return=True)
        assert bench.gateway.canister_drains[CANISTER].pacing.grace_s == 600.0
        assert shell.error is None


async def test_a_canister_whose_format_changes_sends_its_clients_away():
    async with Bench() as bench:
        _, shell = await bench.opened()
        await follow(bench.gateway, config({"id": str(CANISTER), "generation": "v0"}))
        await until(lambda: shell.is_gone)
        assert shell.error.close_code == 4517


async def test_clients_of_canisters_that_are_no_longer_let_in_unlisted_are_sent_away():
    async with Bench(canisters=[], unlisted_canisters="allow") as bench:
        _, shell = await bench.opened()
        await follow(bench.gateway, config(unlisted_canisters="allow"))
        assert shell.error is None
        await follow(bench.gateway, config())
        await until(lambda: shell.is_gone)


async def test_a_paused_canister_is_not_polled_takes_nobody_and_keeps_its_sessions():
    async with Bench() as bench:
        client, shell = await bench.opened()
        await follow(bench.gateway, config({"id": str(CANISTER), "paused": True}))
        poller = bench.gateway.pollers[CANISTER]
        assert poller.is_paused
        late = bench.connect()
        late.receive(Client().open())
        assert isinstance(late.error, CanisterPaused)
        shell.receive(client.message(b"still relayed"))
        await until(lambda: bench.canister.received)
        bench.canister.send(client.client_key, b"held at the canister")
        polls = bench.gateway.counters.polls
        for _ in range(50):
            bench.wake_ups[0].set()
            await asyncio.sleep(0)
        assert bench.gateway.counters.polls <= polls + 1  # one may have been under way
        written = len(shell.wire.written)
        await follow(bench.gateway, config(CANISTER))
        await until(lambda: len(shell.wire.written) > written)
        assert shell.error is None


async def test_pollers_keep_the_new_pace():
    async with Bench() as bench:
        await bench.opened()
        await follow(bench.gateway, config(CANISTER, polling={"min_interval": "10ms", "max_interval": "20ms"}))
        assert bench.gateway.pollers[CANISTER].pace.polling.max_interval == 0.02
        await until(lambda: bench.wake_ups[0].waits[-1] <= 0.02)


async def test_verification_follows_for_sessions_that_are_there():
    async with Bench() as bench:
        client, shell = await bench.opened()
        off = {"verification": {"envelopes": "report", "max_certificate_age": "1m"}}
        await follow(bench.gateway, config(CANISTER, **off))
        shell.receive(client.message(break_signature=True))
        await until(lambda: bench.canister.received)
        assert bench.gateway.counters.unverified["signature"] == 1
        await follow(bench.gateway, config(CANISTER))
        shell.receive(client.message(break_signature=True))
        assert shell.error.reason == "signature"


# --- drains ---------------------------------------------------------------------------------------------------------


async def test_a_drain_lets_nobody_in_until_it_is_cancelled():
    async with Bench() as bench:
        bench.gateway.start_drain(Pacing(1000))
        late = bench.connect()
        late.receive(Client().open())
        assert late.error.close_code == 1012
        assert bench.gateway.cancel_drain()
        assert not bench.gateway.cancel_drain()
        await bench.opened()


async def test_a_drain_closes_every_socket_with_the_time_to_come_back():
    async with served() as it, it.session() as (_, one), it.websocket() as two:
        drain = it.gateway.start_drain(Pacing(1000, 0, 1), retry_after_s=30)
        for socket_ in (one, two):
            with pytest.raises(ConnectionClosed) as caught:
                await socket_.recv()
            assert caught.value.rcvd.code == 1012
            assert caught.value.rcvd.reason == "the gateway restarts, open a new connection in 30 s"
        assert (drain.total, drain.closed) == (2, 2)
        with pytest.raises(InvalidStatus) as refused:
            await connect(it.listener.url)
        assert refused.value.response.status_code == 503


async def test_winding_down_closes_everybody_before_stopping():
    async with served(drain={"rate": "1000/s", "grace": "0s", "deadline": "5s"}) as it:
        async with it.session() as (client, socket_):
            winding = asyncio.ensure_future(it.gateway.wind_down())
            with pytest.raises(ConnectionClosed) as caught:
                await socket_.recv()
            assert it.gateway.winding_down
            await winding
            assert caught.value.rcvd.code == 1012
            assert 0 < it.gateway.begin_stop() <= 5
        await until(lambda: it.canister.left == [client.client_key])


# --- addresses ------------------------------------------------------------------------------------------------------


def moved(it, **changes):
    settings = {"listen": f"127.0.0.1:{it.listener.port}", "close_timeout": "30s", **changes}
    return config(CANISTER, gateway=settings)


async def greeted(url, **options):
    async with connect(url, compression=None, **options) as socket_:
        await socket_.recv()


async def test_addresses_come_and_go_and_sockets_stay():
    async with served() as it, it.session() as (client, socket_):
        first = it.listener.url
        await follow(it.listener, moved(it, listeners=[{"address": "127.0.0.2:0", "generation": "v2"}]))
        assert len(it.listener.urls) == 2
        await greeted(it.listener.urls[1])
        second = it.listener.urls[1]
        await follow(it.listener, moved(it, listen="127.0.0.3:0"))
        for gone in (first, second):
            with pytest.raises(OSError, match="Connect"):
                await greeted(gone)
        await greeted(it.listener.url)
        await socket_.send(client.message(b"still here"))
        await until(lambda: it.canister.received)


async def test_an_address_that_is_taken_changes_nothing():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with served() as it:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            listeners = [{"address": "127.0.0.2:0"}, {"address": address}]
            told = rf"gateway\.listeners\[{address}\]\.address: cannot listen on .*: Address already in use"
            with pytest.raises(ConfigError, match=told):
                await it.listener.prepare(moved(it, listeners=listeners))
            assert len(it.listener.urls) == 1
            await greeted(it.listener.url)


async def test_what_was_prepared_and_not_taken_is_released():
    async with served() as it:
        change = await it.listener.prepare(moved(it, listeners=[{"address": "127.0.0.2:0"}]))
        port = change._coming[1].port
        await change.rollback()
        with socket.create_server(("127.0.0.2", port)):
            await greeted(it.listener.url)


async def test_a_unix_socket_comes_and_goes_with_its_file(tmp_path):
    path = tmp_path / "gateway.sock"
    async with served() as it:
        await follow(it.listener, moved(it, listeners=[{"address": f"unix:{path}"}]))
        assert path.is_socket()
        await follow(it.listener, moved(it))
        assert not path.exists()


async def test_tls_is_turned_on_and_its_files_are_read_again_while_sockets_stay(pair, other_pair):
    def serial(port):
        with socket.create_connection(("127.0.0.1", port)) as raw:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(raw) as secured:
                return ssl.DER_cert_to_PEM_cert(secured.getpeercert(binary_form=True))

    async with served() as it, it.session() as (client, socket_):
        tls = {"tls": {"certificate": str(pair[0]), "key": str(pair[1])}}
        await follow(it.listener, moved(it, **tls))
        assert it.listener.url.startswith("wss://")
        before, end = await asyncio.to_thread(serial, it.listener.port), it.listener.tls.expires_at
        assert end == certificate_expiry(pair[0])
        pair[0].write_bytes(other_pair[0].read_bytes())
        with pytest.raises(ConfigError, match=r"gateway\.tls"):
            await it.listener.prepare(moved(it, **tls))
        assert await asyncio.to_thread(serial, it.listener.port) == before
        assert it.listener.tls.expires_at == end  # of what is served, not of the file
        pair[1].write_bytes(other_pair[1].read_bytes())
        await follow(it.listener, moved(it, **tls))
        assert await asyncio.to_thread(serial, it.listener.port) != before
        assert it.listener.tls.expires_at == certificate_expiry(pair[0]) != end
        await socket_.send(client.message(b"still here"))
        await until(lambda: it.canister.received)


async def test_an_unchanged_address_is_left_alone():
    async with served() as it:
        bound = it.listener.bound[0]
        change = await it.listener.prepare(moved(it, listen="127.0.0.1:0", max_connections=1))
        change.commit()
        await change.cleanup()
        assert it.listener.bound == [bound]
        assert it.listener.settings.max_connections == 1


# --- who is let in, and who is here ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origins", "origin", "status"),
    [
        (["*"], "https://anything.example", 101),
        (["https://app.example"], "https://app.example", 101),
        (["https://app.example"], "https://evil.example", 403),
        (["https://app.example"], None, 101),
    ],
)
async def test_pages_of_other_origins_are_refused(origins, origin, status):
    async with served(gateway={"origins": origins}) as it:
        if status == 101:
            await greeted(it.listener.url, origin=origin)
        else:
            with pytest.raises(InvalidStatus) as caught:
                await greeted(it.listener.url, origin=origin)
            assert caught.value.response.status_code == status
        await it.nobody()


async def test_the_roster_knows_everybody_by_what_they_did():
    async with served(gateway={"trusted_proxies": ["127.0.0.0/8"]}) as it:
        headers = {"X-Forwarded-For": "203.0.113.9"}
        async with it.session(additional_headers=headers, path="/v2?x=1") as (client, socket_):
            await socket_.send(client.message(b"hello"))
            await until(lambda: it.canister.received)
            (peer,) = it.gateway.connections
            facts = info_of(peer)
            assert (facts.address, facts.path, facts.generation) == ("203.0.113.9", "/v2", "v2")
            assert (facts.state, facts.canister) == (State.OPEN, str(CANISTER))
            assert facts.client == f"{client.principal}_{client.nonce}"
            assert facts.frames_in == 2
            assert facts.bytes_in > 0 < facts.bytes_out
            assert facts.connected_at_ns <= facts.opened_at_ns
            assert it.gateway.connections.get(facts.id) is peer
        await it.nobody()
        assert len(it.gateway.connections) == 0
