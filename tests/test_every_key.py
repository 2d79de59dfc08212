"""Changing any key of the configuration of a running service does what its reload class says.

Live: what runs follows at once. New sessions: those that begin later follow, the one that is there does not. Restart:
it is refused with place and key, or waits for the next start when that is allowed. And the session that is there stays.
"""

import asyncio
import contextlib
import json
import logging
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import InvalidStatus

from appliance.client import Connection, connect
from appliance.config.limits import ClusterRateLimit, RateLimits
from appliance.config.problems import effect_of, field_at, keys_of
from appliance.config.schema import Config, Log
from appliance.config.source import Source, start
from appliance.control.auth.tokens import Grant, hash_token
from appliance.control.control import Control
from appliance.errors import ConfigError, GatewayError, RestartNeeded
from appliance.gateway.peer import Peer
from appliance.gateway.sockets.refusals import Refusal
from appliance.ic.key_file import create_identity, load_or_create_identity
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import APP_MESSAGE, PingPong
from appliance.log import Logging
from appliance.plugins.plugins import Plugins
from appliance.service import Service, operating
from tests.needs import program

PLUGIN = """
from appliance.plugins import Section, hook

class Plugin:
    class Settings(Section):
        word: str = "a"

    def __init__(self, settings):
        self.settings = settings

    @hook
    def event(self, event):
        pass
"""
TOKEN = "icws_of_the_test"


class House:
    """A service that does what its file says, and one session through it."""

    def __init__(self, folder: Path, net: Localnet) -> None:
        self.folder = folder
        self.file = folder / "gateway.yaml"
        self.net = net
        identity = load_or_create_identity(folder / "data" / "identity.pem")
        self.canister, self.other = (
            str(net.create_canister(PingPong(generation="v1", gateway=identity.principal))) for _ in range(2)
        )
        self.values: dict[str, Any] = {
            "watch": False,
            "log": {"level": "error"},
            "gateway": {"listen": "127.0.0.1:0"},
            "network": {"url": net.url, "root_key": net.root_key.hex()},
            "polling": {"min_interval": "5ms", "max_interval": "50ms"},
            "control": {"listen": "unix:control.sock"},
            "canisters": [{"id": self.canister, "name": "chat", "generation": ["v1", "v2"]}],
        }
        self.service: Service
        self.control: Control

    def serve_v2(self) -> None:
        """A canister that any gateway may serve."""
        self.canister = str(self.net.create_canister(PingPong()))
        self.values["canisters"] = [{"id": self.canister, "name": "chat", "generation": "v2"}]

    def set(self, key: str, value: Any) -> None:
        """In the file; a key of something repeated is one of the first."""
        *above, last = key.split(".")
        section = self.values
        for part in above:
            inner = section.setdefault(part, {})
            section = inner[0] if isinstance(inner, list) else inner
        section[last] = value
        self.file.write_text(json.dumps(self.values, indent=1) + "\n")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        logs = Logging(Log(level="error"))
        begun = start(Source(self.file))
        logs.follow(begun.loaded.config)
        async with operating(begun, logs) as (self.service, self.control):
            yield

    @asynccontextmanager
    async def session(
        self, *, generation: Any = "v2", place: int = 0, path: str = ""
    ) -> AsyncIterator[tuple[Connection, Peer]]:
        """An open one at an address, and its peer."""
        url = self.service.listener.urls[place] + path
        here = {peer.id for peer in self.service.gateway.connections}
        opening: Any = connect(
            url,
            self.canister,
            generation=generation,
            root_key=self.net.root_key,
            message_type=APP_MESSAGE,
            ssl=insecure() if url.startswith("wss") else None,
        )
        async with opening as connection:
            assert (await connection.receive()).value["text"] == "ping"
            (peer,) = [peer for peer in self.service.gateway.connections if peer.id not in here]
            yield connection, peer


def insecure() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


# --- what runs, seen from outside or read from the part that does it --------------------------------------------------


async def upgrade(it: House, path: str = "/v2", **headers: str) -> int:
    """The status of a request to open a WebSocket."""
    try:
        async with connect_socket(it.service.url + path, additional_headers=headers):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


async def from_elsewhere(it: House, _: Peer) -> str:
    """Whom the gateway takes for the client where a proxy says that it is another."""
    here = {peer.id for peer in it.service.gateway.connections}
    async with connect_socket(it.service.url, additional_headers={"X-Forwarded-For": "203.0.113.9"}):
        (peer,) = [peer for peer in it.service.gateway.connections if peer.id not in here]
        return peer.source.address.partition(":")[0]


async def opens(it: House, canister: str) -> bool:
    try:
        async with connect(it.service.url, canister, root_key=it.net.root_key):
            return True
    except GatewayError:
        return False


async def certificate(it: House, _: Peer) -> str:
    bound = it.service.listener.bound[0]
    reader, writer = await asyncio.open_connection("127.0.0.1", bound.port, ssl=insecure())
    served = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()
    del reader
    return str(ssl.DER_cert_to_PEM_cert(served))


async def asked(it: House, **headers: str) -> int:
    """The status of what the control plane answers over TCP."""
    async with httpx.AsyncClient(base_url=it.control.url, headers=headers) as client:
        return (await client.get("/v1/status")).status_code


async def renderer(_: House, __: Peer) -> str:
    formatter: Any = logging.getLogger().handlers[0].formatter
    return type(formatter.processors[-1]).__name__


def generation(_: House, peer: Peer) -> str:
    return peer.session.name


def of_connection(name: str) -> Callable[[House, Peer], Any]:
    """What the connection of a peer goes by."""
    return lambda _, peer: getattr(peer._connection._settings, name)


def polling(name: str) -> Callable[[House, Peer], Any]:
    return lambda it, peer: getattr(it.service.gateway.pollers[peer.join.canister_id].pace.polling, name)


def limit(scope: str, name: str) -> Callable[[House, Peer], Any]:
    def terms(it: House, _: Peer) -> Any:
        reports = it.service.gateway.limits.reports()
        return getattr(next(report for report in reports if report.scope == scope).limit, name)

    return terms


def own_limit(it: House, _: Peer) -> Any:
    reports = it.service.gateway.limits.reports()
    return [report.limit.burst for report in reports if str(report.canister) == it.canister]


def policy(name: str) -> Callable[[House, Peer], Any]:
    return lambda it, _: getattr(it.service.gateway.config.drain, name)


def plugin(name: str) -> Callable[[House, Peer], Any]:
    """Of the plugins that are loaded."""

    def entries(it: House, _: Peer) -> list[Any]:
        (plugins,) = [part for part in it.control.reloads._parts if isinstance(part, Plugins)]
        return [getattr(loaded.entry, name) for loaded in plugins._loaded]

    return entries


def label(it: House, _: Peer) -> bool:
    """Whether the canister has one of its own."""
    exported = it.control.metrics().decode()
    return f'canister="{it.canister}"' in exported or 'canister="chat"' in exported


def gateway(look: Callable[[Any], Any]) -> Callable[[House, Peer], Any]:
    return lambda it, _: look(it.service.gateway)


def node(look: Callable[[Any], Any]) -> Callable[[House, Peer], Any]:
    """Of the node of a cluster; None where the gateway is alone."""
    return lambda it, _: look(it.control.node)


def transport(name: str) -> Callable[[House, Peer], Any]:
    return lambda it, _: getattr(it.service.transport, name)


@dataclass(frozen=True)
class Case:
    """Another value for a key, and what shows that it is so. ``given`` are other keys that have to be set before,
    ``new`` is how a session is opened afterwards (None: none can be)."""

    value: Any
    shows: Callable[[House, Peer], Any | Awaitable[Any]]
    given: dict[str, Any] = field(default_factory=dict)
    old: dict[str, Any] = field(default_factory=dict)
    new: dict[str, Any] | None = field(default_factory=dict)

    async def seen(self, it: House, peer: Peer) -> Any:
        found = self.shows(it, peer)
        return await found if isinstance(found, Awaitable) else found


def refusals_logged(it: House, _: Peer) -> float:
    """The limit that the listener follows, after a refusal has made it look."""
    it.service.listener.refusals.reject(Refusal("1", 0, "192.0.2.1", "full", "no"))
    return it.service.listener.refusals._limiter.limit.rate


def other_group() -> int:
    """A group that a socket may be given to, other than that of its own: root may choose any."""
    return next((group for group in os.getgroups() if group != os.getegid()), 12 if os.geteuid() == 0 else os.getegid())


LISTENER = {"gateway.listeners": [{"address": "127.0.0.2:0"}]}
TLS = {"gateway.tls": {"certificate": "a.pem", "key": "a.key"}}
TCP = {"control.listen": "127.0.0.1:0", "control.tokens": "tokens"}
PLUGINS = {"plugins": [{"path": "one.py", "name": "one", "config": {"word": "a"}}]}
DEAD = "http://127.0.0.1:1"
NOWHERE = "redis://127.0.0.1:1"
CLUSTER = {"cluster": {"url": NOWHERE}}

CASES = {
    "watch": Case(True, lambda it, _: it.control.reloads.config.watch),
    "log.level": Case("warning", lambda *_: logging.getLogger().level),
    "log.format": Case("json", renderer),
    "log.refusals": Case("7/s", refusals_logged),
    "gateway.listen": Case("127.0.0.3:0", lambda it, _: it.service.listener.bound[0].listen.address.host),
    "gateway.generation": Case("v1", generation, new={"generation": "v1"}),
    "gateway.listeners": Case(
        [{"address": "127.0.0.2:0"}], lambda it, _: len(it.service.listener.urls), new={"place": 1}
    ),
    "gateway.listeners.address": Case(
        "127.0.0.3:0", lambda it, _: it.service.listener.bound[1].listen.address.host, LISTENER, new={"place": 1}
    ),
    "gateway.listeners.generation": Case(
        "v1", generation, LISTENER, old={"place": 1}, new={"place": 1, "generation": "v1"}
    ),
    "gateway.tls": Case({"certificate": "a.pem", "key": "a.key"}, lambda it, _: it.service.url.partition(":")[0]),
    "gateway.tls.certificate": Case("b.pem", certificate, TLS),
    "gateway.tls.key": Case("same.key", lambda it, _: it.service.listener.settings.tls.key, TLS),
    "gateway.identity": Case("other.pem", lambda it, peer: peer.gateway, new={"generation": "v2"}),
    "gateway.journal": Case("other.journal", lambda it, _: it.service.gateway.journal.file.name, new=None),
    "gateway.origins": Case(["https://good.example"], lambda it, _: upgrade(it, Origin="https://evil.example")),
    "gateway.trusted_proxies": Case(["127.0.0.1"], from_elsewhere),
    "gateway.proxy_protocol": Case(True, lambda it, _: it.service.gateway.config.gateway.proxy_protocol),
    "gateway.health": Case(True, lambda it, _: upgrade(it, "/livez")),
    "gateway.workers": Case("2", lambda it, _: it.control.reloads.config.gateway.workers),  # see tests/supervisor
    "gateway.max_connections": Case(1, lambda it, _: upgrade(it), new=None),
    "gateway.max_frame": Case("1KiB", of_connection("max_frame")),
    "gateway.max_opening": Case("2KiB", of_connection("max_opening")),
    "gateway.outbox": Case("64KiB", lambda _, peer: peer.outbox._limit),
    "gateway.ping_interval": Case("7s", of_connection("ping_interval")),
    "gateway.ping_timeout": Case("7s", of_connection("ping_timeout")),
    "gateway.handshake_timeout": Case("7s", of_connection("handshake_timeout")),
    "gateway.open_timeout": Case("7s", of_connection("open_timeout")),
    "gateway.close_timeout": Case("1s", of_connection("close_timeout")),
    "relay.order": Case("strict", lambda _, peer: peer.relays.window),
    "relay.window": Case(7, lambda _, peer: peer.relays.window),
    "relay.queue": Case(7, lambda _, peer: peer.relays.limit),
    "relay.backlog": Case("7s", lambda _, peer: peer.relays.backlog_s),
    "relay.calls": Case(70, gateway(lambda it: it.budget.scheduler.calls)),
    "relay.bytes": Case("70MiB", gateway(lambda it: it.budget.scheduler.max_bytes)),
    "drain.rate": Case("7/s", policy("rate")),
    "drain.grace": Case("7s", policy("grace")),
    "drain.deadline": Case("7s", policy("deadline")),
    "drain.return_grace": Case("7s", policy("return_grace")),
    "network.url": Case(None, transport("urls")),
    "network.root_key": Case("fetch", lambda it, _: it.control.reloads.config.network.root_key),
    "network.timeout": Case("7s", transport("_timeout_s")),
    "network.max_reply": Case("1MiB", transport("_max_reply")),
    "verification.certificates": Case("report", gateway(lambda it: it.epochs.current.replies.mode)),
    "verification.envelopes": Case("report", gateway(lambda it: it.epochs.envelopes.mode)),
    "verification.queries": Case("report", gateway(lambda it: it.epochs.current.replies.signatures.mode)),
    "verification.max_query_age": Case("7s", gateway(lambda it: it.epochs.current.replies.signatures.max_age_ns)),
    "verification.share_per_ip": Case(0.25, gateway(lambda it: it.verification.share)),
    "verification.max_opening_age": Case("7s", gateway(lambda it: it.config.verification.max_opening_age)),
    "verification.max_certificate_age": Case("7m", gateway(lambda it: id(it.epochs.current.replies.verifier))),
    "polling.min_interval": Case("6ms", polling("min_interval")),
    "polling.max_interval": Case("60ms", polling("max_interval")),
    "polling.max_backoff": Case("7s", polling("max_backoff")),
    "polling.max_silence": Case("77s", polling("max_silence")),
    "polling.timeout": Case("7s", polling("timeout")),
    "polling.budget": Case("70/s", gateway(lambda it: it.pollers.budget.rate)),
    "limits.memory": Case("700MiB", gateway(lambda it: it.limits.holdings.most_bytes)),
    **{
        f"limits.held_per_{by}.{name}": Case(
            value, gateway(lambda it, by=by, name=name: getattr(getattr(it.limits.holdings, by).limit, name))
        )
        for by in ("address", "principal", "canister")
        for name, value in (("bytes", "7MiB"), ("connections", 7), ("mode", "shadow"))
    },
    **{
        f"rate_limits.{scope}.{name}": Case(value, limit(scope, name))
        for scope in RateLimits.model_fields
        for name, value in (("rate", "7/s"), ("burst", 7), ("mode", "shadow"))
    },
    **{
        f"rate_limits.{scope}.scope": Case("cluster", limit(scope, "scope"))
        for scope, field in RateLimits.model_fields.items()
        if isinstance(field.default, ClusterRateLimit)
    },
    "rate_limits.bytes_per_connection.rate": Case("7KiB/s", limit("bytes_per_connection", "rate")),
    "rate_limits.bytes_per_connection.burst": Case("7MiB", limit("bytes_per_connection", "burst")),
    "unlisted_canisters": Case("allow", lambda it, _: opens(it, it.other)),
    "canisters": Case(None, lambda it, _: opens(it, it.other)),
    "canisters.name": Case(
        "talk",
        lambda it, _: upgrade(it, "/canister/talk"),
        {"canisters.generation": ["v1"]},
        old={"generation": "v1", "path": "/v1"},
        new={"generation": "v1", "path": "/v1"},
    ),
    "canisters.generation": Case(["v1"], generation, new={"generation": "v1", "path": "/v1"}),
    "canisters.paused": Case(True, lambda it, _: opens(it, it.canister)),
    "canisters.max_clients": Case(1, lambda it, _: opens(it, it.canister), new=None),
    "canisters.polling": Case({"min_interval": "6ms", "max_interval": "60ms"}, polling("min_interval")),
    "canisters.rate_limits": Case({"messages_per_client": {"burst": 7}}, own_limit),
    "cluster": Case({"url": NOWHERE}, node(lambda it: it and it.name)),
    "cluster.url": Case("redis://127.0.0.1:2", node(lambda it: it and it.settings.url), CLUSTER),
    "cluster.name": Case("other", node(lambda it: it and it.cluster), CLUSTER),
    "cluster.node": Case("other", node(lambda it: it and it.name), CLUSTER),
    "cluster.password_file": Case("other.pem", node(lambda it: it and it.settings.password_file), CLUSTER),
    "cluster.ca": Case("a.pem", node(lambda it: it and it.settings.ca), CLUSTER),
    "cluster.claim_timeout": Case("7ms", node(lambda it: it and it.settings.claim_timeout), CLUSTER),
    "cluster.limit_timeout": Case("7ms", node(lambda it: it and it.settings.limit_timeout), CLUSTER),
    "cluster.limit_interval": Case("7ms", node(lambda it: it and it.settings.limit_interval), CLUSTER),
    "cluster.limit_keys": Case(700, node(lambda it: it and it.settings.limit_keys), CLUSTER),
    "cluster.claims": Case(5000, node(lambda it: it and it.settings.claims), CLUSTER),
    "cluster.timeout": Case("7s", node(lambda it: it and it.timeout_s), CLUSTER),
    "cluster.outgoing": Case("east", node(lambda it: it and it.settings.outgoing), CLUSTER),
    "cluster.peer": Case("unix:/tmp/icws-peer.sock", node(lambda it: it and it.settings.peer), CLUSTER),
    "cluster.give_up_after": Case("7s", node(lambda it: it and it.settings.give_up_after), CLUSTER),
    "cluster.registry": Case("7MiB", node(lambda it: it and it.settings.registry), CLUSTER),
    "cluster.request_timeout": Case("7s", node(lambda it: it and it.settings.request_timeout), CLUSTER),
    "cluster.request_age": Case("7s", node(lambda it: it and it.settings.request_age), CLUSTER),
    "cluster.requests": Case(7, node(lambda it: it and it.settings.requests), CLUSTER),
    "cluster.share_polls": Case("always", node(lambda it: it and it.settings.share_polls), CLUSTER),
    "cluster.memory": Case("70MiB", node(lambda it: it and it.settings.memory), CLUSTER),
    "cluster.audit_interval": Case("7s", node(lambda it: it and it.settings.audit_interval), CLUSTER),
    "cluster.commands": Case(7, node(lambda it: it and it.commands.limit), CLUSTER),
    "control.listen": Case("unix:other.sock", lambda it, _: (it.folder / "other.sock").is_socket()),
    "control.group": Case(str(other_group()), lambda it, _: (it.folder / "control.sock").stat().st_gid),
    "control.mode": Case("600", lambda it, _: (it.folder / "control.sock").stat().st_mode),
    "control.hosts": Case(["gate.example"], lambda it, _: asked(it, Host="gate.example"), TCP),
    "control.tokens": Case("more-tokens", lambda it, _: asked(it, Authorization=f"Bearer {TOKEN}"), TCP),
    "control.history": Case("elsewhere", lambda it, _: it.control.reloads.history.folder),
    "control.keep": Case(7, lambda it, _: it.control.reloads.history.keep),
    "metrics.listen": Case("unix:metrics.sock", lambda it, _: (it.folder / "metrics.sock").is_socket()),
    "metrics.canisters": Case(0, label),
    "metrics.reference_names": Case(True, lambda it, _: "\nclients_connected{" in it.control.metrics().decode()),
    "plugins": Case([{"path": "one.py"}], plugin("label")),
    "plugins.path": Case("two.py", plugin("path"), PLUGINS),
    "plugins.name": Case("uno", plugin("label"), PLUGINS),
    "plugins.config": Case({"word": "b"}, plugin("config"), PLUGINS),
    "plugins.timeout": Case("7ms", plugin("timeout"), PLUGINS),
    "plugins.queue": Case(7, plugin("queue"), PLUGINS),
    "plugins.queue_bytes": Case("7MiB", plugin("queue_bytes"), PLUGINS),
}


# --- the law ----------------------------------------------------------------------------------------------------------


def value_of(key: str, it: House) -> Any:
    """The other value; those that nobody knows beforehand too."""
    if key == "network.url":
        return [it.net.url, DEAD]
    if key == "canisters":
        return [*it.values["canisters"], {"id": it.other, "generation": ["v1", "v2"]}]
    return CASES[key].value


def _files(folder: Path) -> None:
    """What the configurations name."""
    (folder / "one.py").write_text(PLUGIN)
    (folder / "two.py").write_text(PLUGIN + "# another one\n")
    (folder / "tokens").write_text(f"{Grant('somebody', 'admin', hash_token('icws_another'))}\n")
    (folder / "more-tokens").write_text(f"{Grant('me', 'viewer', hash_token(TOKEN))}\n")
    make = [program("openssl"), "req", "-x509", "-new", "-days", "1", "-subj", "/CN=localhost"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "a.key"]
    for command in ([*make, *curve, "-out", "a.pem"], [*make, "-key", "a.key", "-out", "b.pem"]):
        subprocess.run(command, check=True, capture_output=True, cwd=folder)  # noqa: S603
    shutil.copy(folder / "a.key", folder / "same.key")
    create_identity(folder / "other.pem")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("named")
    _files(folder)
    return folder


@pytest.fixture
def logs_kept() -> Iterator[None]:
    """What tests log is theirs again afterwards."""
    root = logging.getLogger()
    handlers, level, configured = list(root.handlers), root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**configured)


@pytest.fixture
async def it(tmp_path: Path, files: Path, logs_kept: None) -> AsyncIterator[House]:
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    async with Localnet() as net:
        yield House(tmp_path, net)


async def reload(it: House) -> bool:
    return (await it.control.reloads.attempt(trigger="signal", actor="SIGHUP")).is_good


async def is_there(connection: Connection) -> bool:
    """Whether a session still goes both ways."""
    await connection.send({"text": "still here", "timestamp": 0})
    return bool((await connection.receive()).value["text"] == "still here ping")


def test_every_key_has_a_case() -> None:
    told = {"version", "canisters.id", "plugins.module"}  # has one value; is which canister it is; is as path
    within = ("canisters.polling.", "canisters.rate_limits.")  # as those outside
    keys = {".".join(path) for path in keys_of(Config) if effect_of(field_at(path)) is not None}
    assert {key for key in keys - told if not key.startswith(within)} == set(CASES)


@pytest.mark.parametrize("key", CASES)
async def test_a_change_does_what_the_class_of_its_key_says(it: House, key: str) -> None:
    case, field_of = CASES[key], field_at(tuple(key.split(".")))
    effect = effect_of(field_of)
    assert effect is not None
    for other, value in case.given.items():
        it.set(other, value)
    if key == "gateway.identity":
        it.serve_v2()
    it.set("log.level", "error")
    law = {"live": _live, "new sessions": _new_sessions, "restart": _restart}[effect.name]
    await law(it, key, case)


async def _live(it: House, key: str, case: Case) -> None:
    async with it.running(), it.session(**case.old) as (connection, peer):
        before = await case.seen(it, peer)
        it.set(key, value_of(key, it))
        changes = await it.control.reloads.plan()
        assert {change.effect for change in changes} == {"live"}
        # what tells something repeated from the others is no change of it: it goes, and another one comes
        section = key.rpartition(".")[0] if key in ("gateway.listeners.address", "plugins.name") else key
        assert {re.sub(r"\[.*?\]", "", change.key) for change in changes} == {section}
        assert await reload(it)
        assert await case.seen(it, peer) != before
        if key == "canisters.paused":
            await _resumed(it, connection)
        assert await is_there(connection)
        if case.new is not None:
            async with it.session(**case.new) as (newer, _):
                assert await is_there(newer)


async def _resumed(it: House, connection: Connection) -> None:
    """What is said meanwhile is answered afterwards."""
    await connection.send({"text": "during", "timestamp": 0})
    it.set("canisters.paused", False)
    assert await reload(it)
    assert (await connection.receive()).value["text"] == "during ping"


async def _new_sessions(it: House, key: str, case: Case) -> None:
    assert case.new is not None
    async with it.running(), it.session(**case.old) as (connection, peer):
        before = await case.seen(it, peer)
        it.set(key, value_of(key, it))
        assert [change.effect for change in await it.control.reloads.plan()] == ["new sessions"]
        assert await reload(it)
        async with it.session(**case.new) as (newer, new_peer):
            assert await case.seen(it, new_peer) != before
            assert await case.seen(it, peer) == before
            assert await is_there(connection)
            assert await is_there(newer)


async def _restart(it: House, key: str, case: Case) -> None:
    async with it.running(), it.session(**case.old) as (connection, peer):
        before = await case.seen(it, peer)
        it.set(key, value_of(key, it))
        with pytest.raises(RestartNeeded, match=rf"^{it.file}:\d+:\d+: {key}: this change needs a restart"):
            await it.control.reloads.apply(trigger="api", actor="test")
        outcome = await it.control.reloads.apply(trigger="api", actor="test", allow_restart=True)
        assert [change.effect for change in outcome.plan] == ["restart"]
        assert [change.key for change in it.control.reloads.pending_restart] == [key]
        assert await case.seen(it, peer) == before
        assert await is_there(connection)
    async with it.running():
        assert not it.control.reloads.pending_restart
        assert await case.seen(it, peer) != before


async def test_a_canister_that_is_another_one_takes_its_sessions_with_it(it: House) -> None:
    it.set("log.level", "error")
    async with it.running(), it.session() as (connection, _):
        it.set("canisters.id", it.other)
        plan = await it.control.reloads.plan()
        assert [(change.canister, change.removes_canister, change.sessions) for change in plan] == [
            (it.canister, True, 1),
            (it.other, False, 0),
        ]
        assert await reload(it)
        with pytest.raises(GatewayError, match="no longer served here"):
            await connection.receive()
        assert await opens(it, it.other)


async def test_a_module_is_a_plugin_as_a_file_is(it: House, monkeypatch: pytest.MonkeyPatch) -> None:
    it.set("log.level", "error")
    async with it.running(), it.session() as (connection, peer):
        monkeypatch.syspath_prepend(str(it.folder))
        it.set("plugins", [{"module": "one"}])
        assert await reload(it)
        assert plugin("module")(it, peer) == ["one"]
        it.set("plugins.module", "no_such_module")
        with pytest.raises(ConfigError, match=rf"^{it.file}:\d+:\d+: plugins\[no_such_module\]"):
            await it.control.reloads.apply(trigger="api", actor="test")
        assert plugin("module")(it, peer) == ["one"]
        assert await is_there(connection)
