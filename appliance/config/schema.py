"""Every section and key of ``gateway.yaml`` with its default, unit, bound and reload class. Defaults are nowhere else.

Durations are seconds, sizes are bytes and rates are per second once read; in the file they are written as ``50ms``,
``64KiB`` and ``20/s``. The ``Effect`` in its metadata is its reload class.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from appliance.config.fields.address import TcpAddress, parse_address
from appliance.config.fields.effect import Live, NewSessions, Restart
from appliance.config.fields.units import Duration, Rate, Size
from appliance.config.fields.values import (
    Address,
    CanisterId,
    Endpoint,
    File,
    GenerationName,
    Generations,
    HostName,
    LimitMode,
    Misplaced,
    Mode,
    Origin,
    Proxy,
    one_or_several,
    unordered,
)
from appliance.ic.principal import Principal


def _version(value: object) -> object:
    if value != 1 or isinstance(value, bool):
        raise ValueError(f"{value!r} is no version of this format that is known here; write 1")
    return value


class Section(BaseModel):
    """A part of the configuration: frozen, types as they are written, and an unknown key is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True, use_attribute_docstrings=True
    )


class Log(Section):
    """The log on standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Live()] = "info"
    """The lowest level that is logged; ``debug`` logs every frame."""
    format: Annotated[Literal["text", "json"], Live()] = "text"
    """Readable lines, or one JSON object per line."""


class Tls(Section):
    """A certificate chain and its key, both PEM. Files that change are read again by a reload."""

    certificate: Annotated[File, Live()]
    """File of the certificate chain."""
    key: Annotated[File, Live()]
    """File of the private key."""


class MoreListener(Section):
    """A further address where clients connect, for example for clients that cannot use a path."""

    address: Annotated[Address, Live()]
    """As ``gateway.listen``."""
    generation: Annotated[GenerationName, NewSessions()] = "v2"
    """As ``gateway.generation``."""


def _one_listener_each(listeners: list[MoreListener]) -> list[MoreListener]:
    seen: set[str] = set()
    for position, listener in enumerate(listeners):
        # Port 0 is another port each time, but a reload could not match two such listeners.
        if listener.address in seen:
            raise Misplaced((position, "address"), f"the address {listener.address} is listed twice")
        seen.add(listener.address)
    return listeners


class Gateway(Section):
    """The sockets of clients."""

    listen: Annotated[Address, Live()] = "0.0.0.0:8080"
    """Where clients connect: ``host:port``, ``[v6]:port`` or ``unix:/path``. Port 0 takes a free one."""
    generation: Annotated[GenerationName, NewSessions()] = "v2"
    """The wire generation at the path ``/``. The paths ``/v0``, ``/v1`` and ``/v2`` have their own, and
    ``/canister/NAME`` has that of the listed canister."""
    listeners: Annotated[list[MoreListener], AfterValidator(_one_listener_each), Live()] = []
    """Further addresses."""
    tls: Annotated[Tls | None, Live()] = None
    """Serve ``wss`` with this certificate; otherwise ``ws``."""
    identity: Annotated[File, Restart()] = Path("data/identity.pem")
    """Key of the gateway's principal, created with mode 0600 if absent. Takes PEM, and the reference gateway's
    ``data/key_pair``."""
    origins: Annotated[list[Origin], AfterValidator(unordered), Live()] = ["*"]
    """Origins of the pages that may connect, e.g. ``https://app.example``; ``*`` is any. Programs other than
    browsers send no origin and may connect."""
    trusted_proxies: Annotated[list[Proxy], AfterValidator(unordered), Live()] = []
    """Networks of proxies whose ``X-Forwarded-For`` is trusted; ``unix`` is every client of a Unix socket."""
    max_connections: Annotated[int, Field(ge=1, le=1_000_000), Live()] = 20_000
    """Sockets at the same time; further ones get HTTP 503."""
    max_frame: Annotated[Size, Field(ge=1024, le=16 * 1024**2), NewSessions()] = 2 * 1024**2
    """Bytes of one frame of a client. The IC takes 2 MiB."""
    outbox: Annotated[Size, Field(ge=64 * 1024, le=1024**3), NewSessions()] = 4 * 1024**2
    """Bytes buffered for one client that does not read; beyond, it is closed."""
    relay_queue: Annotated[int, Field(ge=1, le=10_000), NewSessions()] = 128
    """Messages of one client that wait for the IC; beyond, it is closed."""
    ping_interval: Annotated[Duration, Field(ge=1, le=3600), NewSessions()] = 25.0
    """How often a silent client is pinged."""
    ping_timeout: Annotated[Duration, Field(ge=1, le=3600), NewSessions()] = 20.0
    """How long a pong may take."""
    handshake_timeout: Annotated[Duration, Field(ge=1, le=600), NewSessions()] = 30.0
    """From the accepted socket to the client's first message."""
    open_timeout: Annotated[Duration, Field(ge=1, le=600), NewSessions()] = 60.0
    """From the first message to the canister's answer to it."""
    close_timeout: Annotated[Duration, Field(ge=0.1, le=60), NewSessions()] = 5.0
    """How long a client may take to answer a close frame."""


class Drain(Section):
    """How sessions are closed when the gateway stops or a canister is removed, so that clients do not all reconnect at
    once."""

    rate: Annotated[Rate, Field(ge=1, le=100_000), Live()] = 100.0
    """Highest rate of closed sessions."""
    grace: Annotated[Duration, Field(ge=0, le=600), Live()] = 0.0
    """From not being ready to the first close, so that load balancers notice."""
    deadline: Annotated[Duration, Field(ge=0, le=3600), Live()] = 20.0
    """Time for all of it, with the ``ws_close`` calls; sessions that are left then are closed at once."""


class Network(Section):
    """The IC."""

    url: Annotated[list[Endpoint], BeforeValidator(one_or_several), Field(min_length=1, max_length=16), Live()] = [
        "https://icp-api.io"
    ]
    """One or several endpoints of the same network, tried in this order when one fails."""
    root_key: Annotated[str, Field(pattern=r"^(mainnet|fetch|[0-9a-fA-F]{266})$"), Restart()] = "mainnet"
    """``mainnet``, the key as 266 hexadecimal digits, or ``fetch`` to trust the key of the endpoint at the start (for
    local networks only)."""
    timeout: Annotated[Duration, Field(ge=0.1, le=300), Live()] = 15.0
    """For one HTTP request. The IC answers a call within 10 s, if only to accept it."""
    max_reply: Annotated[Size, Field(ge=1024, le=64 * 1024**2), Live()] = 4 * 1024**2
    """Bytes of one reply of the IC."""


class Verification(Section):
    """Verification before a message is passed on."""

    certificates: Annotated[Mode, Live()] = "enforce"
    """Messages of canisters: certificate, tree and content."""
    envelopes: Annotated[Mode, Live()] = "enforce"
    """Messages of clients: signature, delegations, sender and expiry."""
    queries: Annotated[Mode, Live()] = "enforce"
    """Replies to polls: the signature of a node of the subnet, the only proof that a queue is empty. For local networks
    whose nodes sign nothing: ``off``."""
    max_query_age: Annotated[Duration, Field(ge=1, le=3600), Live()] = 30.0
    """How far the time of a node's signature may be from this clock, either way."""
    max_certificate_age: Annotated[Duration, Field(ge=1, le=86400), Live()] = 300.0
    """How far a certificate's time may be from this clock, either way."""


class CanisterPolling(Section):
    """How often one canister is polled, as far as ``polling.budget`` allows."""

    min_interval: Annotated[Duration, Field(ge=0.005, le=60), Live()] = 0.05
    """From one poll to the next while messages flow."""
    max_interval: Annotated[Duration, Field(ge=0.005, le=300), Live()] = 0.1
    """From one poll to the next while nothing happens."""
    max_backoff: Annotated[Duration, Field(ge=0.1, le=300), Live()] = 10.0
    """The longest wait after polls that fail. It begins at ``min_interval`` and doubles each time."""
    timeout: Annotated[Duration, Field(ge=0.1, le=60), Live()] = 5.0
    """For the reply to one poll."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_interval > self.max_interval:
            raise ValueError(f"min_interval ({self.min_interval:g} s) is above max_interval ({self.max_interval:g} s)")
        return self


class Polling(CanisterPolling):
    """How often canisters are polled for messages: those that have clients, and no others."""

    budget: Annotated[Rate, Field(ge=1, le=100_000), Live()] = 200.0
    """Polls of all canisters together. Where they want more they share it: 200/s is every 100 ms for 20 canisters and
    every 5 s for 1,000. One where messages flow gets up to 32 times the share of one where nothing happens."""


class RateLimit(Section):
    """A rate limit. Its counters are kept across a reload."""

    rate: Annotated[Rate, Field(ge=1 / 3600, le=1_000_000), Live()]
    """On average."""
    burst: Annotated[int, Field(ge=1, le=1_000_000), Live()]
    """At once, after a quiet time."""
    mode: Annotated[LimitMode, Live()] = "enforce"
    """Refuse what exceeds the limit, only count it, or do not apply the limit."""


class ConnectionLimit(RateLimit):
    """Connections of one IP address (IPv6: of one /64); beyond, HTTP 429 with ``Retry-After``."""

    rate: Annotated[Rate, Field(ge=1 / 3600, le=1_000_000), Live()] = 20.0
    """On average."""
    burst: Annotated[int, Field(ge=1, le=1_000_000), Live()] = 100
    """At once, after a quiet time."""


class MessageLimit(RateLimit):
    """Messages of one client to its canister; beyond, the session is closed with 4108 and the time to wait."""

    rate: Annotated[Rate, Field(ge=1 / 3600, le=1_000_000), Live()] = 50.0
    """On average."""
    burst: Annotated[int, Field(ge=1, le=1_000_000), Live()] = 200
    """At once, after a quiet time."""


class RateLimits(Section):
    """Rate limits."""

    connections_per_ip: ConnectionLimit = ConnectionLimit()
    messages_per_client: MessageLimit = MessageLimit()


class CanisterLimits(Section):
    """Rate limits of one canister."""

    messages_per_client: MessageLimit = MessageLimit()


class Canister(Section):
    """A canister that is served."""

    id: Annotated[CanisterId, Live()]
    """Its principal."""
    name: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"), Live()] = None
    """Its name in paths and logs."""
    generation: Annotated[Generations, NewSessions()] = ["v2"]
    """The wire generation of its clients; ``[v1, v2]`` serves both."""
    paused: Annotated[bool, Live()] = False
    """Admit no further client and do not poll; sessions stay open."""
    max_clients: Annotated[int | None, Field(ge=1, le=1_000_000), Live()] = None
    """Clients at the same time; no limit of its own if absent."""
    polling: Annotated[CanisterPolling | None, Live()] = None
    """Instead of the general ``polling``."""
    rate_limits: Annotated[CanisterLimits | None, Live()] = None
    """Instead of the general ``rate_limits``."""


class Control(Section):
    """The control plane: the API, the page, and the address for the command line."""

    listen: Annotated[Address | None, Restart()] = "unix:data/control.sock"
    """``unix:path``, whose file permissions are the access control, or ``host:port``, which needs ``tokens``; null for
    no control plane."""
    tokens: Annotated[File | None, Live()] = None
    """File of the tokens, one a line: name, role (``viewer``, ``operator`` or ``admin``) and the token's SHA-256 in
    hexadecimal. Read again by a reload."""
    hosts: Annotated[list[HostName], AfterValidator(unordered), Live()] = []
    """Host names for requests, beside addresses and ``localhost``: lower case, without a port. Others are refused,
    because any site could point a name of its own here."""
    history: Annotated[File | None, Restart()] = Path("data/history")
    """Folder for every applied configuration, each in a file of mode 0600; null keeps them in memory only."""
    keep: Annotated[int, Field(ge=2, le=10_000), Live()] = 50
    """How many configurations are kept."""

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.tokens is None and self.listen is not None and isinstance(parse_address(self.listen), TcpAddress):
            raise Misplaced(("listen",), f"{self.listen} is open to other machines, so that tokens must name a file")
        return self


class Metrics(Section):
    """Metrics."""

    canisters: Annotated[int, Field(ge=0, le=1000), Live()] = 50
    """Canisters with a label of their own, those with the most clients; the others share ``_other``."""


class Plugin(Section):
    """Code of your own that decides on events or observes them, from either ``path`` or ``module``."""

    path: Annotated[File | None, Live()] = None
    """Its file. Read again by a reload if it has changed."""
    module: Annotated[str | None, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"), Live()] = None
    """Its module, if it is installed."""
    name: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"), Live()] = None
    """Its name; that of its file or module if absent."""
    config: Annotated[dict[str, Any], Live()] = {}
    """Settings for the plugin; see its documentation."""
    timeout: Annotated[Duration, Field(ge=0.001, le=10), Live()] = 0.05
    """For one answer; a plugin that is too slow again and again is switched off."""

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
                raise Misplaced((position, key), f"canister {handle} is listed twice")
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

    version: Annotated[Literal[1], BeforeValidator(_version), Live()] = 1
    """Version of this format."""
    watch: Annotated[bool, Restart()] = True
    """Reload when this file, or one that it names, changes. Without it: ``icws reload``, SIGHUP or the API."""
    log: Log = Log()
    gateway: Gateway = Gateway()
    drain: Drain = Drain()
    network: Network = Network()
    verification: Verification = Verification()
    polling: Polling = Polling()
    rate_limits: RateLimits = RateLimits()
    unlisted_canisters: Annotated[Literal["deny", "allow"], Live()] = "deny"
    """Whether clients may name canisters that are not listed; those of ``v0`` never may."""
    canisters: Annotated[list[Canister], AfterValidator(_distinct), Live()] = []
    """The canisters that are served."""
    control: Control = Control()
    metrics: Metrics = Metrics()
    plugins: Annotated[list[Plugin], AfterValidator(_one_plugin_each), Live()] = []
    """Plugins, in the order in which they are called."""

    def canister(self, canister_id: Principal) -> Canister | None:
        """The settings of a canister, or None if it is not served."""
        for canister in self.canisters:
            if canister.id == canister_id:
                return canister
        if self.unlisted_canisters == "deny":
            return None
        return Canister(id=canister_id, generation=["v1", "v2"])

    def named(self, name: str) -> Canister | None:
        """The listed canister with this name or id, or None."""
        return next((canister for canister in self.canisters if name in (canister.name, str(canister.id))), None)

    def polling_of(self, canister_id: Principal) -> CanisterPolling:
        """How a canister is polled."""
        canister = self.canister(canister_id)
        return (canister and canister.polling) or self.polling
