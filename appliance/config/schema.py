"""Every section and key of ``gateway.yaml`` with its default, unit, bound and reload class; the only
place of defaults.

Durations are seconds, sizes are bytes and rates are per second once read; in the file they are written as ``50ms``,
``64KiB`` and ``20/s``. The ``Effect`` in the metadata of a field is its reload class.
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
    """Lowest level that is logged. ``debug`` logs every frame."""
    format: Annotated[Literal["text", "json"], Live()] = "text"
    """Plain text, or one JSON object per line."""


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
    """Address for clients: ``host:port``, ``[v6]:port`` or ``unix:/path``. Port 0 picks a free port."""
    generation: Annotated[GenerationName, NewSessions()] = "v2"
    """Wire format at the path ``/``. The paths ``/v0``, ``/v1`` and ``/v2`` select it themselves, and
    ``/canister/NAME`` uses that of the canister."""
    listeners: Annotated[list[MoreListener], AfterValidator(_one_listener_each), Live()] = []
    """More addresses for clients."""
    tls: Annotated[Tls | None, Live()] = None
    """Certificate for ``wss``. Without it the gateway serves ``ws``."""
    identity: Annotated[File, Restart()] = Path("data/identity.pem")
    """PEM file with the gateway's private key, which determines its principal. Created with mode 0600 if it does not
    exist. The reference gateway's ``data/key_pair`` works too."""
    origins: Annotated[list[Origin], AfterValidator(unordered), Live()] = ["*"]
    """Web origins that may connect, e.g. ``https://app.example``; ``*`` allows all. Programs other than browsers send
    no origin and may always connect."""
    trusted_proxies: Annotated[list[Proxy], AfterValidator(unordered), Live()] = []
    """Networks of proxies whose ``X-Forwarded-For`` is trusted. ``unix`` trusts all clients of Unix sockets."""
    max_connections: Annotated[int, Field(ge=1, le=1_000_000), Live()] = 20_000
    """Maximum number of open sockets. Further clients get HTTP 503."""
    max_frame: Annotated[Size, Field(ge=1024, le=16 * 1024**2), NewSessions()] = 2 * 1024**2
    """Maximum size of a client's message. The IC accepts up to 2 MiB."""
    outbox: Annotated[Size, Field(ge=64 * 1024, le=1024**3), NewSessions()] = 4 * 1024**2
    """Maximum bytes buffered for a client that reads too slowly. Above this, its session is closed (4100)."""
    relay_queue: Annotated[int | None, Field(ge=1, le=10_000), NewSessions()] = None
    """Deprecated, write ``relay.queue``, which this key replaces where it is written; it goes with the next release."""
    ping_interval: Annotated[Duration, Field(ge=1, le=3600), NewSessions()] = 25.0
    """Time without data from a client until it gets a ping."""
    ping_timeout: Annotated[Duration, Field(ge=1, le=3600), NewSessions()] = 20.0
    """Time for the pong. Then the session is closed (4106)."""
    handshake_timeout: Annotated[Duration, Field(ge=1, le=600), NewSessions()] = 30.0
    """Time from accepting the socket until the client's opening message is verified."""
    open_timeout: Annotated[Duration, Field(ge=1, le=600), NewSessions()] = 60.0
    """Time from the opening message until the canister has answered it."""
    close_timeout: Annotated[Duration, Field(ge=0.1, le=60), NewSessions()] = 5.0
    """Time for a client to answer a close frame. Then the connection is cut."""


class Relay(Section):
    """Messages of clients on their way to their canisters."""

    order: Annotated[Literal["paced", "strict"], NewSessions()] = "paced"
    """When the next of several messages of a client is sent. With ``paced`` as soon as the IC has accepted the one
    before, with ``strict`` once the canister has answered it, which takes 1 to 2 s on the mainnet."""
    window: Annotated[int, Field(ge=1, le=100), NewSessions()] = 8
    """Messages of one client that may be under way together, if ``order`` is ``paced``."""
    queue: Annotated[int, Field(ge=1, le=10_000), NewSessions()] = 128
    """Messages of one client that wait; with so many, its socket is not read for a while."""
    backlog: Annotated[Duration, Field(ge=1, le=240), NewSessions()] = 30.0
    """A client's socket is not read while what waits would take longer than this, by the measured time of its
    canister's calls: keep-alives queue behind messages, and canisters drop clients without them."""
    calls: Annotated[int, Field(ge=16, le=100_000), Live()] = 5_000
    """Calls to the IC under way at the same time, of all clients together. Canisters and clients share them fairly."""
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


class Network(Section):
    """Connection to the Internet Computer (IC)."""

    url: Annotated[list[Endpoint], BeforeValidator(one_or_several), Field(min_length=1, max_length=16), Live()] = [
        "https://icp-api.io"
    ]
    """One or more API endpoints of the same network. If one fails, the next is used. The environment variables
    ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` apply, except to an address of this machine."""
    root_key: Annotated[str, Field(pattern=r"^(mainnet|fetch|[0-9a-fA-F]{266})$"), Restart()] = "mainnet"
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
    max_query_age: Annotated[Duration, Field(ge=1, le=3600), Live()] = 30.0
    """Maximum difference between the time of a node's signature and the clock of this machine, in either direction."""
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
    """A rate limit. A reload keeps its counters."""

    rate: Annotated[Rate, Field(ge=1 / 3600, le=1_000_000), Live()]
    """Average rate."""
    burst: Annotated[int, Field(ge=1, le=1_000_000), Live()]
    """Number at once after a pause."""
    mode: Annotated[LimitMode, Live()] = "enforce"
    """``enforce`` refuses what exceeds the limit, ``shadow`` only counts it, ``off`` disables the limit."""


class ConnectionLimit(RateLimit):
    """New connections per IP address (IPv6: per /64). Above this, HTTP 429 with ``Retry-After``."""

    rate: Annotated[Rate, Field(ge=1 / 3600, le=1_000_000), Live()] = 20.0
    """Average rate."""
    burst: Annotated[int, Field(ge=1, le=1_000_000), Live()] = 100
    """Number at once after a pause."""


class MessageLimit(RateLimit):
    """Messages per client. Above this, the session is closed (4108) with the time to wait in the reason."""

    rate: Annotated[Rate, Field(ge=1 / 3600, le=1_000_000), Live()] = 50.0
    """Average rate."""
    burst: Annotated[int, Field(ge=1, le=1_000_000), Live()] = 200
    """Number at once after a pause."""


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
    """Its canister id."""
    name: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"), Live()] = None
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


class Control(Section):
    """The control plane: API, web page, and the address that ``icws`` commands use."""

    listen: Annotated[Address | None, Restart()] = "unix:data/control.sock"
    """``unix:path`` (whoever may open the socket is an admin) or ``host:port`` (needs ``tokens``); null disables the
    control plane."""
    tokens: Annotated[File | None, Live()] = None
    """File with one token per line: name, role (``viewer``, ``operator`` or ``admin``) and SHA-256 of the token in
    hexadecimal. ``icws tokens`` writes it."""
    hosts: Annotated[list[HostName], AfterValidator(unordered), Live()] = []
    """Host names of the API, in lower case and without port. IP addresses and ``localhost`` always work; other names
    are refused, to protect against DNS rebinding."""
    history: Annotated[File | None, Restart()] = Path("data/history")
    """Folder for the revisions of the configuration (files with mode 0600). null keeps them in memory only."""
    keep: Annotated[int, Field(ge=2, le=10_000), Live()] = 50
    """Number of revisions to keep."""

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.tokens is None and self.listen is not None and isinstance(parse_address(self.listen), TcpAddress):
            raise Misplaced(("listen",), f"{self.listen} is open to other machines, so that tokens must name a file")
        return self


class Metrics(Section):
    """Metrics."""

    canisters: Annotated[int, Field(ge=0, le=1000), Live()] = 50
    """Number of canisters with a label of their own: those with the most clients. The rest shares ``_other``."""


class Plugin(Section):
    """Your own code that observes events or decides on them. Give either ``path`` or ``module``."""

    path: Annotated[File | None, Live()] = None
    """Python file. A reload loads it again if it has changed."""
    module: Annotated[str | None, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"), Live()] = None
    """Name of an installed module."""
    name: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"), Live()] = None
    """Name in logs and metrics. Default: the name of the file or module."""
    config: Annotated[dict[str, Any], Live()] = {}
    """Settings for the plugin; see its documentation."""
    timeout: Annotated[Duration, Field(ge=0.001, le=10), Live()] = 0.05
    """Time limit of a call. A plugin that exceeds it repeatedly is switched off for a while."""

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
    """Version of the format of this file."""
    watch: Annotated[bool, Restart()] = True
    """Reload automatically when this file, or a file that it names, changes."""
    log: Log = Log()
    gateway: Gateway = Gateway()
    relay: Relay = Relay()
    drain: Drain = Drain()
    network: Network = Network()
    verification: Verification = Verification()
    polling: Polling = Polling()
    rate_limits: RateLimits = RateLimits()
    unlisted_canisters: Annotated[Literal["deny", "allow"], Live()] = "deny"
    """Whether clients may use canisters that are not listed below. Canisters of ``v0`` must be listed."""
    canisters: Annotated[list[Canister], AfterValidator(_distinct), Live()] = []
    """The canisters that clients may use."""
    control: Control = Control()
    metrics: Metrics = Metrics()
    plugins: Annotated[list[Plugin], AfterValidator(_one_plugin_each), Live()] = []
    """Plugins, in the order of their calls."""

    @property
    def relay_queue(self) -> int:
        """``relay.queue``, unless its former name is written."""
        return self.relay.queue if self.gateway.relay_queue is None else self.gateway.relay_queue

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
