"""The whole service: a configuration file, a gateway, its control plane, and reloads while people talk."""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from appliance.client import connect
from appliance.config.schema import Config, Log
from appliance.config.source import Source, start
from appliance.control.control import Control
from appliance.control.http.server import Server
from appliance.crypto import Verifier
from appliance.errors import CertificateStale, JournalUnusable
from appliance.gateway.journal import files
from appliance.gateway.journal.journal import NoJournal
from appliance.gateway.sockets.listener import Listener
from appliance.ic.key_file import load_or_create_identity
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import APP_MESSAGE, PingPong
from appliance.log import Logging
from appliance.service import Service, operating, serving
from tests.gateway.bench import until

OTHER = "ryjl3-tyaaa-aaaaa-aaaba-cai"
PATIENCE_S = 90


class House:
    """A service that is looked after by its file."""

    def __init__(self, net: Localnet, canister: Principal, file: Path) -> None:
        self.net = net
        self.canister = canister
        self.file = file
        self.service: Service
        self.control: Control

    def write(self, more: str = "", *, listeners: str = "", canisters: str = "") -> None:
        self.file.write_text(f"""\
gateway:
  listen: 127.0.0.1:0
  listeners: [{listeners}]
network: {{url: '{self.net.url}', root_key: {self.net.root_key.hex()}}}
watch: false
control: {{listen: 'unix:control.sock', history: history}}
canisters:
  - {{id: {self.canister}, name: chat}}
{canisters}
{more}
""")

    async def reload(self) -> bool:
        """Whether the file was taken."""
        return (await self.control.reloads.attempt(trigger="signal", actor="test")).is_good


@asynccontextmanager
async def house(folder: Path, **environment: str) -> AsyncIterator[House]:
    async with Localnet() as net:
        it = House(net, net.create_canister(PingPong()), folder / "gateway.yaml")
        it.write()
        begun = start(Source(it.file, environment, ["rate_limits.connections_per_ip.mode=off"]))
        async with operating(begun, Logging(Log(level="error"))) as (it.service, it.control):
            yield it


class Talker:
    """Sends a number with each turn that it gets, and sees that none is lost, repeated or overtaken."""

    def __init__(self, it: House, verifier: Verifier) -> None:
        self._it = it
        self._verifier = verifier
        self.heard = 0
        self.is_open = asyncio.Event()

    async def talk(self, until: asyncio.Event, places: asyncio.Semaphore, turns: asyncio.Semaphore) -> None:
        async with places:
            opening = connect(
                self._it.service.url, self._it.canister, verifier=self._verifier, message_type=APP_MESSAGE
            )
            session = await opening.__aenter__()
        try:
            assert (await session.receive()).value["text"] == "ping"
            self.is_open.set()
            while await turns.acquire() and not until.is_set():
                await session.send({"text": str(self.heard), "timestamp": 0})
                message = await session.receive()
                assert message.value["text"] == f"{self.heard} ping"
                assert message.session == 1
                self.heard += 1
        finally:
            await opening.__aexit__(None, None, None)


def release(turns: asyncio.Semaphore, count: int) -> None:
    for _ in range(count):
        turns.release()


ACCEPTED = [
    {"more": "polling: {min_interval: 10ms, max_interval: 200ms}"},
    {"more": "polling: {min_interval: 5ms, max_interval: 100ms}\nlog: {level: error}"},
    {"more": "rate_limits: {messages_per_client: {rate: 900/s, burst: 900, mode: enforce}}"},
    {"more": "rate_limits: {messages_per_client: {rate: 800/s, burst: 800, mode: shadow}}"},
    {"listeners": "{address: '127.0.0.2:0', generation: v1}"},
    {"listeners": "{address: '127.0.0.3:0'}, {address: '127.0.0.4:0', generation: v0}"},
    {"canisters": f"  - {{id: {OTHER}, name: other, generation: v1}}"},
    {"canisters": f"  - {{id: {OTHER}, name: another, max_clients: 5, paused: true}}"},
    {"more": "verification: {max_certificate_age: 4m, envelopes: report}\nunlisted_canisters: allow"},
    {"more": "drain: {rate: 10/s, deadline: 1m}\nmetrics: {canisters: 3}"},
]


def rejected(taken: int) -> list[dict[str, str]]:
    return [
        {"more": "polling: {min_interval: 10ms, max_intervall: 200ms}"},
        {"more": "polling: {min_interval: 10s, max_interval: 1s}"},
        {"more": "polling: [half"},
        {"listeners": f"{{address: '127.0.0.5:0'}}, {{address: '127.0.0.1:{taken}'}}"},
        {"more": "plugins: [{path: nowhere.py}]"},
        {"canisters": "  - {id: not-a-principal}"},
        {"more": "control: {}\n"},
    ]


TURNS = 25
"""How many messages are on their way at each reload. Talkers without turns would load every core instead."""


@pytest.mark.timeout(300)
async def test_reloads_under_traffic_lose_no_socket_no_message_and_no_configuration(tmp_path):
    async with house(tmp_path) as it:
        verifier, stop = Verifier(it.net.root_key), asyncio.Event()
        places, turns = asyncio.Semaphore(50), asyncio.Semaphore(0)
        talkers = [Talker(it, verifier) for _ in range(500)]
        tasks = [asyncio.create_task(talker.talk(stop, places, turns)) for talker in talkers]
        for task in tasks:
            task.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.wait_for(asyncio.gather(*(talker.is_open.wait() for talker in talkers)), PATIENCE_S)
        assert not any(task.done() for task in tasks)

        accepted = refused = 0
        with socket.create_server(("127.0.0.1", 0)) as taken:
            bad = itertools.cycle(rejected(taken.getsockname()[1]))
            for good in itertools.islice(itertools.cycle(ACCEPTED), 50):
                heard = sum(talker.heard for talker in talkers)
                it.write(**good)
                release(turns, TURNS)
                assert await it.reload()
                running = it.control.reloads.config
                assert it.service.gateway.config is running
                accepted += 1
                it.write(**next(bad))
                release(turns, TURNS)
                assert not await it.reload()
                assert it.control.reloads.config is it.service.gateway.config is running
                refused += 1
                # every message is answered, whatever was reloaded meanwhile
                await until(lambda heard=heard: sum(talker.heard for talker in talkers) == heard + 2 * TURNS)
        assert (accepted, refused) == (50, 50)

        stop.set()
        release(turns, len(talkers))
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_S)
        assert it.service.gateway.counters.opened == 500
        assert not it.service.gateway.counters.gaps
        assert not it.service.gateway.counters.refused
        assert all(talker.heard for talker in talkers)


async def test_clients_are_accepted_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the control plane bound later and its address taken, clients would have come for nothing."""
    order, accept, serve = list[str](), Listener.open, Server.__aenter__

    def noted_accept(listener: Listener) -> None:
        order.append("clients")
        accept(listener)

    async def noted_serve(server: Server) -> Server:
        order.append("control")
        return await serve(server)

    monkeypatch.setattr(Listener, "open", noted_accept)
    monkeypatch.setattr(Server, "__aenter__", noted_serve)
    async with house(tmp_path):
        assert order == ["control", "clients"]


async def test_a_gateway_alone_needs_no_control_plane(tmp_path):
    async with Localnet() as net:
        canister = net.create_canister(PingPong())
        config = Config.model_validate(
            {
                "gateway": {"listen": "127.0.0.1:0", "identity": str(tmp_path / "identity.pem")},
                "network": {"url": net.url, "root_key": net.root_key.hex()},
                "canisters": [{"id": str(canister)}],
            }
        )
        async with (
            serving(config) as service,
            connect(service.url, canister, root_key=net.root_key, message_type=APP_MESSAGE) as session,
        ):
            assert (await session.receive()).value["text"] == "ping"


async def test_an_endpoint_that_is_replaced_is_asked_from_the_next_request_on(tmp_path):
    async with (
        house(tmp_path) as it,
        connect(it.service.url, it.canister, root_key=it.net.root_key, message_type=APP_MESSAGE) as session,
    ):
        await session.receive()
        text = it.file.read_text().replace(f"'{it.net.url}'", f"['http://127.0.0.1:1', '{it.net.url}']")
        it.file.write_text(text)
        assert await it.reload()
        assert it.service.transport.urls == ["http://127.0.0.1:1", it.net.url]
        await session.send({"text": "hello", "timestamp": 0})
        assert (await session.receive()).value["text"] == "hello ping"


async def test_certificates_of_calls_and_polls_may_be_of_the_age_that_a_reload_sets(tmp_path):
    async with house(tmp_path) as it:
        agent = it.service.agent
        certificate = await agent.fetch_certificate([[b"time"]], it.canister)
        time_ns = (await agent._verify(it.canister, certificate)).time_ns
        for more, limit_s in (("", 300), ("verification: {max_certificate_age: 1m}", 60), ("", 300)):
            it.write(more)
            assert await it.reload()
            for verifier in (agent._verifier, it.service.gateway.verifier):
                for age_s in (limit_s, limit_s + 1):
                    with pytest.raises(CertificateStale) if age_s > limit_s else contextlib.nullcontext():
                        verifier.verify_certificate(certificate, it.canister, now_ns=time_ns + age_s * 10**9)


@pytest.mark.parametrize(
    ("more", "key", "sessions"),
    [
        ("polling: {max_interval: 2s}", "polling.max_interval", 2),
        ("drain: {rate: 7/s}", "drain.rate", 0),
        ("unlisted_canisters: allow", "unlisted_canisters", 0),
    ],
)
async def test_a_plan_says_how_many_sessions_each_key_concerns(tmp_path, more, key, sessions):
    async with house(tmp_path) as it, contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            opening: Any = connect(it.service.url, it.canister, root_key=it.net.root_key, message_type=APP_MESSAGE)
            await stack.enter_async_context(opening)
        it.write(more)
        plan = await it.control.reloads.plan()
        assert {change.key: change.sessions for change in plan} == {key: sessions}


async def test_a_plan_counts_the_sessions_of_a_canister_that_goes(tmp_path):
    async with house(tmp_path) as it:
        it.write(canisters=f"  - {{id: {OTHER}}}")
        assert await it.reload()
        async with connect(it.service.url, it.canister, root_key=it.net.root_key, message_type=APP_MESSAGE):
            it.file.write_text(it.file.read_text().replace(f"  - {{id: {it.canister}, name: chat}}\n", ""))
            plan = await it.control.reloads.plan()
            assert [(change.canister, change.sessions) for change in plan] == [(str(it.canister), 1)]


@pytest.mark.parametrize(("generation", "sessions"), [("v0", 1), ("[v1, v2]", 0)])
async def test_a_plan_counts_the_sessions_that_a_change_to_v0_closes(tmp_path, generation, sessions):
    async with house(tmp_path) as it:
        opening: Any = connect(it.service.url, it.canister, root_key=it.net.root_key, message_type=APP_MESSAGE)
        async with opening:
            it.file.write_text(it.file.read_text().replace("name: chat", f"name: chat, generation: {generation}"))
            plan = await it.control.reloads.plan()
            assert [(change.effect, change.sessions) for change in plan] == [("new sessions", sessions)]


async def test_where_the_identity_is_a_read_only_secret_a_gateway_runs_without_a_journal_unless_it_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(30, "Read-only file system")

    load_or_create_identity(tmp_path / "identity.pem")
    settings = {"listen": "127.0.0.1:0", "identity": tmp_path / "identity.pem"}
    monkeypatch.setattr(files, "make_private_folders", refuse)
    async with Localnet() as net:
        network = {"url": net.url, "root_key": net.root_key.hex()}
        with structlog.testing.capture_logs() as logs:
            async with serving(Config.model_validate({"gateway": settings, "network": network})) as alone:
                assert isinstance(alone.gateway.journal, NoJournal)
        assert any("Read-only file system" in str(line.get("cause")) for line in logs)
        settings["journal"] = tmp_path / "journal"
        with pytest.raises(JournalUnusable, match=r"journal.*Read-only file system"):
            async with serving(Config.model_validate({"gateway": settings, "network": network})):
                pass


async def test_the_journal_is_beside_the_identity(tmp_path: Path) -> None:
    settings = {"listen": "127.0.0.1:0", "identity": tmp_path / "data" / "identity.pem"}
    async with Localnet() as net:
        network = {"url": net.url, "root_key": net.root_key.hex()}
        async with serving(Config.model_validate({"gateway": settings, "network": network})):
            journal = tmp_path / "data" / "identity.journal"
            assert journal.stat().st_mode & 0o777 == 0o600
            assert journal.parent.stat().st_mode & 0o777 == 0o700
