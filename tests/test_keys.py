"""Every key of the configuration, in a running gateway: changing it does what its class says, and closes no socket."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from inspect import isawaitable
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
import yaml
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import InvalidStatus

from appliance.client import Connection, connect
from appliance.config.effect import Effect
from appliance.config.problems import field_at, keys_of
from appliance.config.schema import Config
from appliance.config.source import Source, start
from appliance.control.ports import Control
from appliance.errors import RestartNeeded
from appliance.gateway.peer import Peer
from appliance.gateway.routes import route
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from appliance.localnet.pingpong import APP_MESSAGE, PingPong
from appliance.log import Logging
from appliance.service import Service, operating
from tests.gateway.bench import until
from tests.gateway.conftest import other_pair, pair  # noqa: F401 - fixtures

OTHER = Principal.from_text("ryjl3-tyaaa-aaaaa-aaaba-cai")
THIRD = "rrkah-fqaaa-aaaaa-aaaaq-cai"
PLUGIN = """
from appliance.plugins import Section, hook

class Plugin:
    class Settings(Section):
        word: str = "none"

    def __init__(self, settings):
        self.settings = settings

    @hook
    def event(self, event):
        pass
"""


@dataclass
class Seen:
    """What a probe may look at. ``early`` was connected before the change, ``late`` after it."""

    service: Service
    control: Control
    chat: Principal
    early: Peer
    late: Peer | None = None

    @property
    def gateway(self) -> Any:
        return self.service.gateway

    @property
    def peer(self) -> Any:
        return self.late or self.early

    @property
    def listener(self) -> Any:
        return self.service.listener

    @property
    def plugins(self) -> Any:
        return next(part for part in self.control.reloads._parts if type(part).__name__ == "Plugins")

    async def status(self, **headers: str) -> int:
        """What an upgrade with these headers is answered."""
        try:
            async with connect_socket(self.listener.url, additional_headers=headers):
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code

    async def address(self, forwarded_for: str) -> str:
        """Where a client is said to come from."""
        async with connect_socket(self.listener.url, additional_headers={"X-Forwarded-For": forwarded_for}):
            return list(self.gateway.roster)[-1].origin.address

    async def asked_as(self, host: str) -> int:
        """What the control plane answers under another name."""
        transport = httpx.AsyncHTTPTransport(uds=self.control.url.removeprefix("unix:"))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as http:
            return (await http.get("/v1/status")).status_code


def settings_of(name: str) -> Callable[[Seen], Any]:
    """Of the connection itself."""
    return lambda seen: getattr(seen.peer._shell._settings, name)


def polling(name: str) -> Callable[[Seen], Any]:
    return lambda seen: getattr(seen.gateway.pollers[seen.chat].pace.polling, name)


def policy(name: str) -> Callable[[Seen], Any]:
    return lambda seen: getattr(seen.gateway.config.drain, name)


def connections(name: str) -> Callable[[Seen], Any]:
    return lambda seen: getattr(seen.gateway.limits._connections.terms, name)


def messages(name: str) -> Callable[[Seen], Any]:
    return lambda seen: getattr(seen.gateway.limits._messages.terms, name)


def own_messages(name: str) -> Callable[[Seen], Any]:
    return lambda seen: [getattr(limiter.terms, name) for limiter in seen.gateway.limits._own.values()]


def first_plugin(seen: Seen) -> Any:
    return seen.plugins._loaded[0]


Change = Callable[[dict[str, Any], "Files"], object]
Probe = Callable[[Seen], Any | Awaitable[Any]]


@dataclass
class Files:
    folder: Path
    pair: tuple[Path, Path]
    other: tuple[Path, Path]


def put(*path: str | int, value: Any) -> Change:
    def change(config: dict[str, Any], files: Files) -> None:
        target: Any = config
        for part in path[:-1]:
            target = target[part] if isinstance(part, int) else target.setdefault(part, {})
        target[path[-1]] = value(files) if callable(value) else value

    return change


def chat(**keys: Any) -> Change:
    return lambda config, _: config["canisters"][0].update(keys)


def plugin(**keys: Any) -> Change:
    return lambda config, files: config["plugins"][0].update(
        {key: value(files) if callable(value) else value for key, value in keys.items()}
    )


def in_module(config: dict[str, Any], _: Files) -> None:
    config["plugins"] = [{"module": "tests.plugins.quiet", "name": "one"}]


def with_tls(config: dict[str, Any], files: Files) -> None:
    config["gateway"]["tls"] = {"certificate": str(files.pair[0]), "key": str(files.pair[1])}


def other_tls(config: dict[str, Any], files: Files) -> None:
    config["gateway"]["tls"] = {"certificate": str(files.other[0]), "key": str(files.other[1])}


CASES: dict[str, tuple[Change, Probe]] = {
    "watch": (put("watch", value=True), lambda seen: seen.control.reloads.config.watch),
    "log.level": (put("log", "level", value="warning"), lambda _: logging.getLogger().level),
    "log.format": (
        put("log", "format", value="json"),
        lambda _: [type(step).__name__ for step in logging.getLogger().handlers[-1].formatter.processors],
    ),
    "gateway.listen": (put("gateway", "listen", value="127.0.0.9:0"), lambda seen: seen.listener.url.split(":")[1]),
    "gateway.generation": (put("gateway", "generation", value="v1"), lambda seen: seen.peer.session.name),
    "gateway.listeners": (
        lambda config, _: config["gateway"]["listeners"].append({"address": "127.0.0.3:0"}),
        lambda seen: len(seen.listener.urls),
    ),
    "gateway.listeners.address": (
        put("gateway", "listeners", 0, "address", value="127.0.0.4:0"),
        lambda seen: seen.listener.urls[1].split(":")[1],
    ),
    "gateway.listeners.generation": (
        put("gateway", "listeners", 0, "generation", value="v0"),
        lambda seen: seen.listener.bound[1].place.generation if seen.late else "v2",
    ),
    "gateway.tls": (with_tls, lambda seen: seen.listener.url.split(":")[0]),
    "gateway.tls.certificate": (other_tls, lambda seen: seen.listener.tls.digest),
    "gateway.tls.key": (other_tls, lambda seen: seen.listener.settings.tls and seen.listener.settings.tls.key),
    "gateway.identity": (put("gateway", "identity", value="other.pem"), lambda seen: seen.service.principal),
    "gateway.origins": (
        put("gateway", "origins", value=["https://app.example"]),
        lambda seen: seen.status(Origin="https://evil.example"),
    ),
    "gateway.trusted_proxies": (
        put("gateway", "trusted_proxies", value=["127.0.0.0/8"]),
        lambda seen: seen.address("203.0.113.9"),
    ),
    "gateway.max_connections": (put("gateway", "max_connections", value=1), lambda seen: seen.status()),
    "gateway.max_frame": (put("gateway", "max_frame", value="64KiB"), settings_of("max_frame")),
    "gateway.outbox": (put("gateway", "outbox", value="128KiB"), lambda seen: seen.peer.outbox._limit),
    "gateway.relay_queue": (put("gateway", "relay_queue", value=5), lambda seen: seen.peer.relays._limit),
    "gateway.ping_interval": (put("gateway", "ping_interval", value="11s"), settings_of("ping_interval")),
    "gateway.ping_timeout": (put("gateway", "ping_timeout", value="11s"), settings_of("ping_timeout")),
    "gateway.handshake_timeout": (put("gateway", "handshake_timeout", value="11s"), settings_of("handshake_timeout")),
    "gateway.open_timeout": (put("gateway", "open_timeout", value="11s"), settings_of("open_timeout")),
    "gateway.close_timeout": (put("gateway", "close_timeout", value="2s"), settings_of("close_timeout")),
    "drain.rate": (put("drain", "rate", value="7/s"), policy("rate")),
    "drain.grace": (put("drain", "grace", value="1s"), policy("grace")),
    "drain.deadline": (put("drain", "deadline", value="7s"), policy("deadline")),
    "network.url": (
        lambda config, _: config["network"].update(url=[config["network"]["url"], "http://127.0.0.1:9"]),
        lambda seen: seen.service.transport.urls,
    ),
    "network.root_key": (put("network", "root_key", value="fetch"), lambda seen: seen.gateway._verifier.root_key),
    "network.timeout": (put("network", "timeout", value="7s"), lambda seen: seen.service.transport._timeout_s),
    "network.max_reply": (put("network", "max_reply", value="1MiB"), lambda seen: seen.service.transport._max_reply),
    "verification.certificates": (
        put("verification", "certificates", value="report"),
        lambda seen: seen.gateway._replies.mode,
    ),
    "verification.envelopes": (
        put("verification", "envelopes", value="off"),
        lambda seen: seen.early.session.terms.envelopes.mode,
    ),
    "verification.max_certificate_age": (
        put("verification", "max_certificate_age", value="1m"),
        lambda seen: seen.gateway._replies.verifier,
    ),
    "polling.min_interval": (put("polling", "min_interval", value="30ms"), polling("min_interval")),
    "polling.max_interval": (put("polling", "max_interval", value="300ms"), polling("max_interval")),
    "polling.timeout": (put("polling", "timeout", value="3s"), polling("timeout")),
    "rate_limits.connections_per_ip.rate": (
        put("rate_limits", "connections_per_ip", "rate", value="7/s"),
        connections("rate"),
    ),
    "rate_limits.connections_per_ip.burst": (
        put("rate_limits", "connections_per_ip", "burst", value=7),
        connections("burst"),
    ),
    "rate_limits.connections_per_ip.mode": (
        put("rate_limits", "connections_per_ip", "mode", value="shadow"),
        connections("mode"),
    ),
    "rate_limits.messages_per_client.rate": (
        put("rate_limits", "messages_per_client", "rate", value="7/s"),
        messages("rate"),
    ),
    "rate_limits.messages_per_client.burst": (
        put("rate_limits", "messages_per_client", "burst", value=7),
        messages("burst"),
    ),
    "rate_limits.messages_per_client.mode": (
        put("rate_limits", "messages_per_client", "mode", value="shadow"),
        messages("mode"),
    ),
    "unlisted_canisters": (
        put("unlisted_canisters", value="allow"),
        lambda seen: seen.gateway.config.canister(Principal.from_text(THIRD)) is None,
    ),
    "canisters": (
        lambda config, _: config["canisters"].append({"id": THIRD}),
        lambda seen: seen.gateway.config.canister(Principal.from_text(THIRD)) is None,
    ),
    "canisters.id": (
        put("canisters", 1, "id", value=THIRD),
        lambda seen: seen.gateway.config.canister(OTHER) is None,
    ),
    "canisters.name": (
        chat(name="talk"),
        lambda seen: isinstance(route("/canister/talk", "v2", seen.gateway.config), str),
    ),
    "canisters.generation": (
        chat(generation=["v1", "v2"]),
        lambda seen: seen.gateway.config.canister(seen.chat).generation if seen.late else ["v2"],
    ),
    "canisters.paused": (chat(paused=True), lambda seen: seen.gateway.pollers[seen.chat].is_paused),
    "canisters.max_clients": (chat(max_clients=7), lambda seen: seen.gateway.config.canister(seen.chat).max_clients),
    "canisters.polling": (chat(polling={"min_interval": "7ms"}), polling("min_interval")),
    "canisters.polling.min_interval": (chat(polling={"min_interval": "8ms"}), polling("min_interval")),
    "canisters.polling.max_interval": (chat(polling={"max_interval": "80ms"}), polling("max_interval")),
    "canisters.polling.timeout": (chat(polling={"timeout": "3s"}), polling("timeout")),
    "canisters.rate_limits": (
        chat(rate_limits={"messages_per_client": {"rate": "9/s"}}),
        own_messages("rate"),
    ),
    "canisters.rate_limits.messages_per_client.rate": (
        chat(rate_limits={"messages_per_client": {"rate": "9/s"}}),
        own_messages("rate"),
    ),
    "canisters.rate_limits.messages_per_client.burst": (
        chat(rate_limits={"messages_per_client": {"burst": 9}}),
        own_messages("burst"),
    ),
    "canisters.rate_limits.messages_per_client.mode": (
        chat(rate_limits={"messages_per_client": {"mode": "off"}}),
        own_messages("mode"),
    ),
    "control.listen": (put("control", "listen", value="unix:other.sock"), lambda seen: seen.control.url),
    "control.tokens": (
        put("control", "tokens", value="tokens"),
        lambda seen: [grant.name for grant in seen.control.tokens],
    ),
    "control.hosts": (put("control", "hosts", value=["gw.example"]), lambda seen: seen.asked_as("gw.example")),
    "control.history": (put("control", "history", value="elsewhere"), lambda seen: seen.control.reloads.history.folder),
    "control.keep": (put("control", "keep", value=7), lambda seen: seen.control.reloads.history.keep),
    "metrics.canisters": (
        put("metrics", "canisters", value=0),
        lambda seen: b'canister="bkyz2-fmaaa-aaaaa-qaaaq-cai"' in seen.control.metrics(),
    ),
    "plugins": (put("plugins", value=[]), lambda seen: len(seen.control.plugins())),
    "plugins.path": (
        plugin(path=lambda files: str(files.folder / "two.py"), name="one"),
        lambda seen: seen.control.plugins()[0].source,
    ),
    "plugins.module": (in_module, lambda seen: seen.control.plugins()[0].source),
    "plugins.name": (plugin(name="renamed"), lambda seen: seen.control.plugins()[0].name),
    "plugins.config": (plugin(config={"word": "hello"}), lambda seen: first_plugin(seen).entry.config),
    "plugins.timeout": (
        plugin(timeout="70ms"),
        lambda seen: [guard._timeout_s for guard in first_plugin(seen).guards.values()],
    ),
}


def effect_of(key: str) -> str | None:
    return next((fact.name for fact in field_at(tuple(key.split("."))).metadata if isinstance(fact, Effect)), None)


KEYS = [key for key in map(".".join, keys_of(Config)) if effect_of(key)]


def test_every_key_that_can_be_changed_is_tried() -> None:
    assert [key for key in KEYS if key != "version"] == list(CASES)  # a version has one value


@asynccontextmanager
async def running(files: Files) -> AsyncIterator[tuple[Seen, dict[str, Any], Connection, ClientConnection]]:
    (files.folder / "one.py").write_text(PLUGIN)
    (files.folder / "two.py").write_text(PLUGIN)
    (files.folder / "tokens").write_text(f"ann viewer {'0' * 64}\n")
    async with Localnet() as net:
        canister = net.create_canister(PingPong())
        config = {
            "watch": False,
            "log": {"level": "error"},
            "gateway": {"listen": "127.0.0.1:0", "listeners": [{"address": "127.0.0.2:0"}]},
            "network": {"url": net.url, "root_key": net.root_key.hex()},
            "canisters": [{"id": str(canister), "name": "chat"}, {"id": str(OTHER)}],
            "control": {"listen": "unix:control.sock", "history": "history"},
            "plugins": [{"path": str(files.folder / "one.py")}],
        }
        file = files.folder / "gateway.yaml"
        file.write_text(yaml.safe_dump(config))
        begun = start(Source(file))
        async with (
            operating(begun, Logging(begun.loaded.config.log)) as (service, control),
            connect(service.url, canister, root_key=net.root_key, message_type=APP_MESSAGE) as session,
            connect_socket(service.url) as early,
        ):
            assert (await session.receive()).value["text"] == "ping"
            seen = Seen(service, control, canister, list(service.gateway.roster)[-1])
            yield seen, config, session, early


async def value_of(probe: Probe, seen: Seen) -> Any:
    value = probe(seen)
    return await value if isawaitable(value) else value


@pytest.fixture(autouse=True)
def logs_as_before() -> Any:
    """What a running gateway sets for the whole process."""
    root = logging.getLogger()
    handlers, level, config = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**config)


@pytest.mark.parametrize("key", CASES)
async def test_a_change_of_a_key_does_what_its_class_says(key, tmp_path, pair, other_pair):  # noqa: F811
    change, probe = CASES[key]
    files, effect = Files(tmp_path, pair, other_pair), effect_of(key)
    async with running(files) as (seen, config, session, early):
        before = await value_of(probe, seen)
        change(config, files)
        text = yaml.safe_dump(config)
        if effect == "restart":
            with pytest.raises(RestartNeeded, match=key):
                await seen.control.reloads.apply(text, trigger="api", actor="test")
            assert await value_of(probe, seen) == before
            return
        outcome = await seen.control.reloads.apply(text, trigger="api", actor="test")
        assert outcome.result == "applied"
        assert effect in {change.effect for change in outcome.plan}
        if effect == "new sessions":
            assert await value_of(probe, seen) == before
            async with connect_socket(seen.service.url):
                await until(lambda: len(seen.gateway.roster) == 3)
                seen.late = list(seen.gateway.roster)[-1]
                assert await value_of(probe, seen) != before
        else:
            assert await value_of(probe, seen) != before

        await session.send({"text": "still here", "timestamp": 0})
        if key != "canisters.paused":
            assert (await session.receive()).value["text"] == "still here ping"
        await early.ping()
        assert not seen.gateway.stats.refused
