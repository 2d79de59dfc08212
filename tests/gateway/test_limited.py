"""Limits where they bite: at the upgrade, at the opening message and at every message after it."""

from appliance.config.schema import Config
from appliance.errors import RateLimited
from appliance.gateway.limits.rate_limits import Limits
from tests.gateway.bench import Bench, until
from tests.gateway.clients import CANISTER, Client
from tests.gateway.served import served

SECOND = 10**9
BINARY = 0x82


def limits(*, connections: str = "1000/s", messages: str = "1000/s", burst: int = 100, mode: str = "enforce") -> dict:
    return {
        "connections_per_ip": {"rate": connections, "burst": burst, "mode": mode},
        "messages_per_client": {"rate": messages, "burst": burst, "mode": mode},
    }


class Clock:
    """The clock of a gateway's limits, which stands still from now on."""

    def __init__(self, gateway) -> None:
        self.now = 0
        gateway.limits = Limits(gateway.config, clock=lambda: self.now)


async def test_too_many_connections_are_answered_with_429():
    async with served(rate_limits=limits(connections="1/m", burst=2)) as it:
        clock = Clock(it.gateway)
        for _ in range(2):
            raw = await it.upgraded()
            raw.close()
        raw = await it.raw()
        status, headers, body = await raw.request("/")
        await raw.end()
        assert status == 429
        assert headers["retry-after"] == "60"
        assert headers["ratelimit-policy"] == '"connections_per_ip";q=2;w=120'
        assert headers["ratelimit"] == '"connections_per_ip";r=0;t=60'
        assert body == b"rate limit exceeded: connections 1/m, burst 2; retry in 60 s\n"
        assert it.counters.rejected_requests == {429: 1}
        clock.now = 60 * SECOND
        raw = await it.upgraded()
        raw.close()
        await it.nobody()
        (timeline,) = it.gateway.timelines.turned_away
        assert [moment.kind for moment in timeline.entries] == ["accepted", "limited", "turned_away"]


async def test_what_is_refused_for_other_reasons_counts_too():
    async with served(rate_limits=limits(connections="1/m", burst=1)) as it:
        Clock(it.gateway)
        assert [await status_at(it, "/nowhere") for _ in range(2)] == [404, 429]
        await it.nobody()


async def test_what_is_no_request_counts_too():
    async with served(rate_limits=limits(connections="1/m", burst=2)) as it:
        Clock(it.gateway)
        told = []
        for data in (b"nonsense\r\n\r\n", b"x" * 70_000, b"\x16\x03\x01"):
            raw = await it.raw()
            raw.writer.write(data)
            told.append((await raw.reader.read()).split()[1])
            raw.close()
        assert told == [b"400", b"431", b"429"]
        await it.nobody()


async def test_a_proxy_that_is_trusted_names_who_is_limited():
    gateway = {"trusted_proxies": ["127.0.0.0/8"]}
    async with served(gateway=gateway, rate_limits=limits(connections="1/m", burst=1)) as it:
        Clock(it.gateway)
        told = []
        for address in ("203.0.113.7", "203.0.113.8", "203.0.113.7", "2001:db8::1", "2001:db8::2"):
            raw = await it.raw()
            raw.writer.write(
                b"GET /nowhere HTTP/1.1\r\nHost: gateway\r\nX-Forwarded-For: %s\r\n\r\n" % address.encode()
            )
            told.append((await raw.reader.read()).split()[1])
            raw.close()
        assert told == [b"404", b"404", b"429", b"404", b"429"]
        await it.nobody()


async def status_at(it, path: str) -> int:
    raw = await it.raw()
    status, _, _ = await raw.request(path)
    raw.close()
    return status


async def test_in_shadow_mode_nobody_is_turned_away_and_all_is_counted():
    async with served(rate_limits=limits(connections="1/m", messages="1/m", burst=1, mode="shadow")) as it:
        Clock(it.gateway)
        for _ in range(2):
            async with it.session() as (client, socket):
                await socket.send(client.message())
                await until(lambda: it.counters.frames % 2 == 0)
        await it.nobody()
        decisions = it.gateway.limits.decisions()
        assert decisions["connections_per_ip", "limited", "shadow"] == 1
        assert decisions["messages_per_client", "limited", "shadow"] == 2
        assert not it.counters.rejected_requests
        assert not it.counters.refused


async def test_too_many_messages_close_with_4108_and_the_delay():
    async with served(rate_limits=limits(messages="30/m", burst=3)) as it:
        clock = Clock(it.gateway)
        raw, client = await it.upgraded(), Client()
        raw.send(BINARY, client.open())
        assert (await raw.frame())[0] == BINARY
        for _ in range(3):
            raw.send(BINARY, client.message())
        assert await raw.close_frame() == (4108, "rate limit exceeded: messages 30/m, burst 3; retry in 2 s")
        raw.close()
        await it.nobody()
        assert len(it.canister.received) == 2
        assert it.counters.refused == {"rate_limited": 1}
        # the same identity has to wait, whatever its new client nonce; then it may
        again = Client(key=client.key)
        raw = await it.upgraded()
        raw.send(BINARY, again.open())
        assert (await raw.close_frame())[0] == 4108
        raw.close()
        await it.nobody()
        clock.now = 2 * SECOND
        async with it.session(again):
            assert it.counters.opened == 2
        await it.nobody()


async def bursts(bench: Bench, client: Client, shell, number: int) -> None:
    for _ in range(number):
        shell.receive(client.message())
        await until(lambda: not len(shell.peer.relays))


async def test_the_message_that_is_too_much_is_not_even_verified():
    async with Bench(rate_limits=limits(messages="1/m", burst=3)) as bench:
        Clock(bench.gateway)
        client, shell = await bench.opened()
        await bursts(bench, client, shell, 2)
        state = shell.peer.session.state
        shell.receive(b"garbage")
        assert isinstance(shell.error, RateLimited)
        assert shell.error.delay_ns == 60 * SECOND
        assert shell.peer.session.state is state
        limited = [moment.facts for moment in shell.peer.timeline.entries if moment.kind == "limited"]
        assert limited == [{"delay_ns": 60 * SECOND, "enforced": True, "scope": "messages_per_client"}]


async def test_opening_counts_as_a_message():
    async with Bench(rate_limits=limits(messages="1/m", burst=1)) as bench:
        Clock(bench.gateway)
        client, shell = await bench.opened()
        again = bench.connect()
        again.receive(Client(key=client.key).open())
        assert isinstance(again.error, RateLimited)
        assert len(bench.gateway.hub) == 1
        assert not shell.error


async def test_a_reload_changes_the_limit_of_sessions_that_are_open():
    async with Bench(rate_limits=limits(messages="1/m", burst=10)) as bench:
        clock = Clock(bench.gateway)
        client, shell = await bench.opened()
        await bursts(bench, client, shell, 4)
        sections = {"canisters": [{"id": str(CANISTER)}], "rate_limits": limits(messages="1/s", burst=6)}
        (await bench.gateway.prepare(Config.model_validate(sections))).commit()
        await bursts(bench, client, shell, 1)
        clock.now = SECOND
        await bursts(bench, client, shell, 1)
        assert not shell.error
        shell.receive(client.message())
        assert shell.error.delay_ns == SECOND


async def test_that_somebody_is_limited_is_news_ever_more_rarely():
    async with Bench(rate_limits=limits(messages="1/m", burst=1, mode="shadow")) as bench:
        Clock(bench.gateway)
        told = []
        bench.gateway.event_bus.subscribe(
            lambda event_bus: told.append(event_bus) if event_bus.kind == "limit" else None
        )
        client, shell = await bench.opened()
        await bursts(bench, client, shell, 9)
        assert [event_bus.facts["times"] for event_bus in told] == [1, 2, 4, 8]
        assert dict(told[0].facts) == {
            "scope": "messages_per_client",
            "key": f"{client.principal} at {CANISTER}",
            "times": 1,
            "delay_s": 60.0,
            "mode": "shadow",
        }


async def test_an_address_that_is_limited_is_news():
    async with served(rate_limits=limits(connections="1/m", burst=1)) as it:
        Clock(it.gateway)
        told = []
        it.gateway.event_bus.subscribe(lambda event_bus: told.append((event_bus.kind, event_bus.facts["key"])))
        assert [await status_at(it, "/nowhere") for _ in range(2)] == [404, 429]
        await it.nobody()
        assert told == [("limit", "127.0.0.1")]


async def test_off_means_that_nothing_is_counted():
    async with Bench(rate_limits=limits(messages="1/m", burst=1, mode="off")) as bench:
        client, shell = await bench.opened()
        await bursts(bench, client, shell, 5)
        assert not shell.error
        counted = {scope for scope, _, _ in bench.gateway.limits.decisions()}
        assert not counted & {"connections_per_ip", "messages_per_client"}


async def test_one_client_does_not_slow_another():
    async with Bench(rate_limits=limits(messages="1/m", burst=2)) as bench:
        Clock(bench.gateway)
        client, shell = await bench.opened()
        await bursts(bench, client, shell, 1)
        shell.receive(client.message())
        other, shell_of_other = await bench.opened()
        await bursts(bench, other, shell_of_other, 1)
        assert shell.error
        assert not shell_of_other.error
