"""Every section and key of ``gateway.yaml`` with its default, unit, bound and reload class; with ``operation`` and
``limits`` the only place of defaults.

Durations are seconds, sizes are bytes and rates are per second once read; in the file they are written as ``50ms``,
``64KiB`` and ``20/s``. The ``Effect`` in the metadata of a field is its reload class.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from appliance.config.cluster import Cluster as Cluster
from appliance.config.fields.effect import Live, NewSessions, Restart
from appliance.config.fields.section import Section as Section
from appliance.config.fields.units import Duration, Rate, Size, format_duration
from appliance.config.fields.values import (
    NAME,
    Address,
    CanisterId,
    Endpoint,
    File,
    GenerationName,
    Generations,
    Key,
    Misplaced,
    Mode,
    Origin,
    Proxy,
    RootKey,
    Workers,
    check_separate,
    distinct,
    known_version,
    one_or_several,
    unordered,
)
from appliance.config.limits import HeldLimits, MessageLimit, RateLimits
from appliance.config.operation import Control as Control
from appliance.config.operation import Metrics as Metrics
from appliance.ic.principal import Principal


class Log(Section):
    """The log on standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Live()] = "info"
    """Lowest level that is logged. ``debug`` logs every frame."""
    format: Annotated[Literal["text", "json"], Live()] = "text"
    """Plain text, or one JSON object per line."""
    refusals: Annotated[Rate, Field(ge=0, le=10_000), Live()] = 10.0
    """Refused connections that are logged and published as events. More are only counted; 0 logs none."""


class Tls(Section):
    """A certificate chain and its key, both in PEM files. A reload reads them again if they have changed."""

    certificate: Annotated[File, Live()]
    """PEM file with the certificate chain."""
    key: Annotated[File, Live()]
    """PEM file with the private key."""


class MoreListener(Section):
    """A further address where clients connect, for example for clients that cannot use a path."""

    address: Annotated[Address, Live()]
    """Like ``gateway.listen``."""
    generation: Annotated[GenerationName, NewSessions()] = "v2"
    """Like ``gateway.generation``, for this address."""


class Gateway(Section):
    """The sockets of clients."""

    listen: Annotated[Address, Live()] = "0.0.0.0:8080"
    """Address for clients: ``host:port``, ``[v6]:port`` or ``unix:/path``. Port 0 picks a free port."""
    generation: Annotated[GenerationName, NewSessions()] = "v2"
    """Wire format at the path ``/``. The paths ``/v0``, ``/v1`` and ``/v2`` select it themselves, and
    ``/canister/NAME`` uses that of the canister."""
    listeners: Annotated[list[MoreListener], Live()] = []
    """More addresses for clients."""
    tls: Annotated[Tls | None, Live()] = None
    """Certificate for ``wss``. Without it the gateway serves ``ws``."""
    identity: Annotated[Key, NewSessions()] = Path("data/identity.pem")
    """The gateway's private key, which determines its principal: a PEM file, which a start creates with mode 0600 if it
    does not exist; ``credential:NAME``, one that systemd passes; or ``env:NAME``, a variable of the environment. The
    reference gateway's ``data/key_pair`` works too. A reload reads it again."""
    journal: Annotated[File | None, Restart()] = None
    """File with the clients that canisters may know, so that after a crash the next start calls ``ws_close`` for them
    and refuses opening messages that were used. null: beside ``identity``, with the ending ``.journal``;
    if that is no file, ``identity.journal`` in the state directory that systemd gives, or none."""
    origins: Annotated[list[Origin], AfterValidator(unordered), Live()] = ["*"]
    """Web origins that may connect, e.g. ``https://app.example``; ``*`` allows all. Programs other than browsers send
    no origin and may always connect."""
    trusted_proxies: Annotated[list[Proxy], AfterValidator(unordered), Live()] = []
    """Networks of proxies whose ``X-Forwarded-For`` is trusted. ``unix`` trusts all clients of Unix sockets."""
    proxy_protocol: Annotated[bool, Live()] = False
    """Whether proxies in ``trusted_proxies`` begin each connection with the header of the PROXY protocol, version 2.
    Their connections without it are reset."""
    health: Annotated[bool, Live()] = False
    """Answer ``/livez``, ``/readyz`` and ``/startupz`` at the addresses of clients too, without details, for load
    balancers and monitors."""
    workers: Annotated[Workers, Restart()] = "1"
    """Processes that serve clients, each on a core of its own; ``auto``: as many as there are cores. With several, a
    supervisor starts them and divides ``max_connections``, ``relay.calls``, ``relay.bytes``, ``polling.budget`` and
    ``limits.memory`` among them. ``icws run --workers`` sets it too. Needs Linux. See scaling.md."""
    max_connections: Annotated[int, Field(ge=1, le=1_000_000), Live()] = 20_000
    """Maximum number of open sockets. Further clients get HTTP 503."""
    max_frame: Annotated[Size, Field(ge=1024, le=16 * 1024**2), NewSessions()] = 2 * 1024**2
    """Maximum size of a client's message. The IC accepts up to 2 MiB."""
    max_opening: Annotated[Size, Field(ge=1024, le=16 * 1024**2), NewSessions()] = 64 * 1024
    """Maximum size of a client's opening message, before which nobody vouches for it. Above this, close code 1009."""
    outbox: Annotated[Size, Field(ge=64 * 1024, le=1024**3), NewSessions()] = 4 * 1024**2
    """Maximum bytes buffered for a client that reads too slowly, or whose ``v0`` canister has not answered its opening
    yet. Above this, its session is closed (4100)."""
    ping_interval: Annotated[Duration, Field(ge=1, le=3600), NewSessions()] = 25.0
    """Time without data from a client until it gets a ping. Clients share timers: it may come 1 % later."""
    ping_timeout: Annotated[Duration, Field(ge=1, le=3600), NewSessions()] = 20.0
    """Time for the pong. Then the session is closed (4106)."""
    handshake_timeout: Annotated[Duration, Field(ge=1, le=600), NewSessions()] = 30.0
    """Time from accepting the socket until the client's opening message is verified."""
    open_timeout: Annotated[Duration, Field(ge=1, le=600), NewSessions()] = 60.0
    """Time from the opening message until the canister has answered it."""
    close_timeout: Annotated[Duration, Field(ge=0.1, le=60), NewSessions()] = 5.0
    """Time for a client to answer a close frame. Then the connection is cut. One that has not read what was sent before
    has ``ping_interval`` and ``ping_timeout`` together."""


class Relay(Section):
    """Messages of clients on their way to their canisters."""

    order: Annotated[Literal["paced", "strict"], NewSessions()] = "paced"
    """When the next of several messages of a client is sent. With ``paced`` as soon as the IC has accepted the one
    before, with ``strict`` once the canister has answered it, which takes 1 to 2 s on the mainnet."""
    window: Annotated[int, Field(ge=1, le=100), NewSessions()] = 16
    """Messages of one client that may be under way together, if ``order`` is ``paced``: as many as it sends while one
    call takes, 2 to 3 s at the pace of the mainnet."""
    queue: Annotated[int, Field(ge=1, le=10_000), NewSessions()] = 128
    """Messages of one client that wait; with so many, its socket is not read for a while."""
    backlog: Annotated[Duration, Field(ge=1, le=240), NewSessions()] = 30.0
    """A client's socket is not read while what waits would take longer than this, by the measured time of its
    canister's calls: keep-alives queue behind messages, and canisters drop clients without them."""
    calls: Annotated[int, Field(ge=16, le=100_000), Live()] = 5_000
    """Calls to the IC under way at the same time, of all clients together. Canisters and clients share them fairly.
    Each has a connection: a quarter of the limit of open files is the most."""
    bytes: Annotated[Size, Field(ge=32 * 1024**2, le=64 * 1024**3), Live()] = 256 * 1024**2
    """Bytes of these calls."""


class Drain(Section):
    """How sessions are closed when the gateway stops or a canister is removed: gradually, so that clients do not all
    reconnect at once."""

    rate: Annotated[Rate, Field(ge=1, le=100_000), Live()] = 100.0
    """Maximum number of sessions closed per second. Raised if ``deadline`` needs it."""
    grace: Annotated[Duration, Field(ge=0, le=600), Live()] = 0.0
    """Wait before the first close, with ``/readyz`` failing, so that load balancers stop sending clients."""
    deadline: Annotated[Duration, Field(ge=0, le=3600), Live()] = 20.0
    """Time after ``grace`` for closing all sessions and for the ``ws_close`` calls. Then the rest is closed at once."""
    return_grace: Annotated[Duration, Field(ge=0, le=600), Live()] = 10.0
    """Wait before the sessions of a canister are closed that a watched change has removed (``watch``). They stay if the
    canister is back by then: the file may have been edited in several steps."""


class Network(Section):
    """Connection to the Internet Computer (IC)."""

    url: Annotated[
        list[Endpoint],
        BeforeValidator(one_or_several),
        Field(min_length=1, max_length=16),
        AfterValidator(distinct),
        Live(),
    ] = ["https://icp-api.io"]
    """One or more API endpoints of the same network. If one fails, the next is used. The environment variables
    ``HTTP_PROXY``, ``HTTPS_PROXY``, ``NO_PROXY`` (none for this machine) and, for TLS, ``SSL_CERT_FILE`` apply.
    A proxy may be at a Unix socket, ``unix:/path``; ``icws outbound`` is one."""
    root_key: Annotated[RootKey, Restart()] = "mainnet"
    """``mainnet``; or the key as 266 hexadecimal digits; or ``fetch`` to trust the key that the endpoint reports at the
    start (for local networks only)."""
    timeout: Annotated[Duration, Field(ge=0.1, le=300), Live()] = 15.0
    """Time limit of an HTTP request. Keep it above 10 s: an endpoint answers a call within that time."""
    max_reply: Annotated[Size, Field(ge=1024, le=64 * 1024**2), Live()] = 4 * 1024**2
    """Maximum size of a reply from the IC."""


class Verification(Section):
    """What the gateway verifies before it passes a message on."""

    certificates: Annotated[Mode, Live()] = "enforce"
    """Messages from canisters with an invalid certificate, hash tree or content: ``enforce`` drops them, ``report``
    passes them on and counts them, ``off`` does not verify."""
    envelopes: Annotated[Mode, Live()] = "enforce"
    """Messages from clients with an invalid signature, delegation, sender or expiry: ``enforce`` closes the session,
    ``report`` passes them on and counts them, ``off`` does not verify."""
    queries: Annotated[Mode, Live()] = "enforce"
    """Replies to polls without a valid signature of a node of the subnet, which alone proves an empty queue.
    ``enforce`` asks another endpoint, ``report`` believes and counts them, ``off`` does not verify."""
    max_query_age: Annotated[Duration, Field(ge=1, le=86400), Live()] = 30.0
    """Maximum difference between the time of a node's signature and the clock of this machine, in either direction."""
    share_per_ip: Annotated[float, Field(gt=0, le=1), Live()] = 0.5
    """Part of one thread's time that messages of one address (IPv6: /64) may take that are dear to verify (delegations
    that are not known yet, keys of RSA, WebAuthn or canisters, and more than 64 KiB). Further ones wait, unread."""
    max_opening_age: Annotated[Duration, Field(ge=0.1, le=300), Live()] = 2.0
    """A session whose first message the canister wrote so long before the client's opening message came here, by the
    times that the IC certifies, was opened elsewhere with the same message. It is closed (4520)."""
    max_certificate_age: Annotated[Duration, Field(ge=1, le=86400), Live()] = 300.0
    """Maximum difference between a certificate's time and the clock of this machine, in either direction."""


class CanisterPolling(Section):
    """How often one canister is polled, as far as ``polling.budget`` allows."""

    min_interval: Annotated[Duration, Field(ge=0.005, le=60), Live()] = 0.05
    """Time between polls while messages arrive."""
    max_interval: Annotated[Duration, Field(ge=0.005, le=300), Live()] = 0.1
    """Time between polls when there are no messages, as far as ``polling.budget`` allows."""
    max_backoff: Annotated[Duration, Field(ge=0.1, le=300), Live()] = 10.0
    """Maximum wait after polls that fail. It begins at ``min_interval`` and doubles each time."""
    timeout: Annotated[Duration, Field(ge=0.1, le=60), Live()] = 5.0
    """Time limit of a poll."""
    max_silence: Annotated[Duration | None, Field(ge=10, le=86400), Live()] = None
    """A client that gets no message for so long is closed (4122); at most twice the interval of acknowledgements."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_interval > self.max_interval:
            least, most = format_duration(self.min_interval), format_duration(self.max_interval)
            raise ValueError(f"min_interval ({least}) is above max_interval ({most}); lower one or raise the other")
        return self


class Polling(CanisterPolling):
    """How often canisters are polled for messages: those that have clients, and no others."""

    budget: Annotated[Rate, Field(ge=1, le=100_000), Live()] = 200.0
    """Polls of all canisters together. Where they want more they share it: 200/s is every 100 ms for 20 canisters and
    every 5 s for 1,000. One where messages flow gets up to 32 times the share of one where nothing happens."""


class CanisterLimits(Section):
    """Rate limits of one canister."""

    messages_per_client: MessageLimit = MessageLimit()


class Canister(Section):
    """A canister that is served."""

    id: Annotated[CanisterId, Live()]
    """Its canister id."""
    name: Annotated[str | None, Field(pattern=NAME), Live()] = None
    """Its name in paths and logs."""
    generation: Annotated[Generations, NewSessions()] = ["v2"]
    """Wire format of its clients. ``[v1, v2]`` serves both."""
    paused: Annotated[bool, Live()] = False
    """Accept no new clients and stop polling. Open sessions stay open."""
    max_clients: Annotated[int | None, Field(ge=1, le=1_000_000), Live()] = None
    """Maximum number of clients connected at the same time. No limit if absent."""
    polling: Annotated[CanisterPolling | None, Live()] = None
    """Replaces the general ``polling`` for this canister."""
    rate_limits: Annotated[CanisterLimits | None, Live()] = None
    """Replaces the general ``rate_limits`` for this canister."""


class Plugin(Section):
    """Your own code that observes events or decides on them. Give either ``path`` or ``module``."""

    path: Annotated[File | None, Live()] = None
    """Python file. A reload loads it again if it has changed."""
    module: Annotated[str | None, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"), Live()] = None
    """Name of an installed module."""
    name: Annotated[str | None, Field(pattern=NAME), Live()] = None
    """Name in logs and metrics. Default: the name of the file or module."""
    config: Annotated[dict[str, Any], Live()] = {}
    """Settings for the plugin; see its documentation."""
    timeout: Annotated[Duration, Field(ge=0.001, le=10), Live()] = 0.05
    """Time limit of a call. A plugin that exceeds it repeatedly is switched off for a while."""
    queue: Annotated[int, Field(ge=1, le=1_000_000), Live()] = 10_000
    """Maximum number of calls that wait for the plugin. Above this, a call fails."""
    queue_bytes: Annotated[Size, Field(ge=64 * 1024, le=1024**3), Live()] = 16 * 1024**2
    """Maximum bytes of messages in these calls. Above this, a call fails, unless it is the only one that waits."""

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if (self.path is None) == (self.module is None):
            raise ValueError("needs either path or module")
        return self

    @property
    def label(self) -> str:
        """Its name in logs, metrics and the API."""
        return self.name or (self.path.stem if self.path is not None else (self.module or "").rpartition(".")[2])


def _distinct(canisters: list[Canister]) -> list[Canister]:
    seen: set[str] = set()
    for position, canister in enumerate(canisters):
        for key, handle in (("id", str(canister.id)), ("name", canister.name)):
            if handle in seen:
                raise Misplaced((position, key), f"canister {handle} is listed twice; remove one")
        seen |= {str(canister.id), canister.name or str(canister.id)}
    return canisters


def _one_plugin_each(plugins: list[Plugin]) -> list[Plugin]:
    labels = [plugin.label for plugin in plugins]
    for position, label in enumerate(labels):
        if label in labels[:position]:
            raise Misplaced((position,), f"a plugin {label} is listed twice; give this one another name")
    return plugins


class Config(Section):
    """The whole of ``gateway.yaml``."""

    version: Annotated[Literal[1], BeforeValidator(known_version), Live()] = 1
    """Version of the format of this file."""
    watch: Annotated[bool, Restart()] = False
    """Reload automatically when this file, or a file that it names, has been written. Then ``icws plan`` shows nothing
    before a change is live. ``icws run --watch`` sets it too."""
    log: Log = Log()
    gateway: Gateway = Gateway()
    relay: Relay = Relay()
    drain: Drain = Drain()
    network: Network = Network()
    verification: Verification = Verification()
    polling: Polling = Polling()
    limits: HeldLimits = HeldLimits()
    rate_limits: RateLimits = RateLimits()
    unlisted_canisters: Annotated[Literal["deny", "allow"], Live()] = "deny"
    """Whether clients may use canisters that are not listed below. Canisters of ``v0`` must be listed."""
    canisters: Annotated[list[Canister], AfterValidator(_distinct), Live()] = []
    """The canisters that clients may use."""
    control: Control = Control()
    metrics: Metrics = Metrics()
    plugins: Annotated[list[Plugin], AfterValidator(_one_plugin_each), Live()] = []
    """Plugins, in the order of their calls."""
    cluster: Annotated[Cluster | None, Restart()] = None
    """Other gateways that serve as one with this."""

    @model_validator(mode="after")
    def _separate_addresses(self) -> Self:
        addresses: dict[tuple[str | int, ...], str] = {("gateway", "listen"): self.gateway.listen}
        for position, more in enumerate(self.gateway.listeners):
            addresses["gateway", "listeners", position, "address"] = more.address
        addresses |= {("control", "listen", position): each for position, each in enumerate(self.control.listen)}
        if self.metrics.listen is not None:
            addresses["metrics", "listen"] = self.metrics.listen
        check_separate(addresses)
        return self

    @model_validator(mode="after")
    def _has_engine(self) -> Self:
        if self.cluster is not None and self.cluster.url is None and self.gateway.workers == "1":
            problem = "is missing: name the engine that the nodes share. Only several gateway.workers need none"
            raise Misplaced(("cluster", "url"), problem)
        return self

    def canister(self, canister_id: Principal) -> Canister | None:
        """The settings of a canister, or None if it is not served."""
        found = next((canister for canister in self.canisters if canister.id == canister_id), None)
        if found is not None or self.unlisted_canisters == "deny":
            return found
        return Canister(id=canister_id, generation=["v1", "v2"])

    @cached_property
    def canister_names(self) -> Mapping[str, str]:
        """The names of canisters that have one, by their ids as text."""
        return {str(canister.id): canister.name for canister in self.canisters if canister.name is not None}

    def canister_label(self, canister: str) -> str:
        """A canister for people, by its id: ``chat (bkyz2-…)``, or the id of one without a name."""
        name = self.canister_names.get(canister)
        return canister if name is None else f"{name} ({canister})"

    def named(self, name: str) -> Canister | None:
        """The listed canister with this name or id, or None."""
        return next((canister for canister in self.canisters if name in (canister.name, str(canister.id))), None)

    def polling_of(self, canister_id: Principal) -> CanisterPolling:
        """How a canister is polled."""
        canister = self.canister(canister_id)
        return (canister and canister.polling) or self.polling
