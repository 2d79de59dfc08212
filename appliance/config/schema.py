"""Every section and key of ``gateway.yaml`` with its default, unit and bound. Defaults are nowhere else.

Durations are seconds and sizes are bytes once read; in the file they are written as ``50ms`` and ``64KiB``.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, model_validator

from appliance.config.address import check_url, parse_address
from appliance.config.units import Duration, Size
from appliance.errors import GatewayError
from appliance.ic.principal import Principal

Mode = Literal["enforce", "report", "off"]
"""What verification does: refuse what fails, only count and log it, or not look."""


class Misplaced(ValueError):
    """A fault of a part of a value; ``at`` is the way to that part."""

    def __init__(self, at: tuple[str | int, ...], problem: str) -> None:
        super().__init__(problem)
        self.at = at


def _principal(value: object) -> Principal:
    if isinstance(value, Principal):
        return value
    if not isinstance(value, str):
        raise ValueError("a canister id is text, e.g. bkyz2-fmaaa-aaaaa-qaaaq-cai; put it in quotes")
    try:
        return Principal.from_text(value)
    except GatewayError as error:
        raise ValueError(str(error)) from None


def _one_or_several(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _address(value: str) -> str:
    parse_address(value)
    return value


def _one_kind(generations: list[str]) -> list[str]:
    if "v0" in generations and len(generations) > 1:
        raise ValueError("a canister of v0 answers polls in a format of its own: it serves clients of v0 alone")
    return sorted(set(generations))


def _version(value: object) -> object:
    if value != 1 or isinstance(value, bool):
        raise ValueError(f"{value!r} is no version of this format that is known here; write 1")
    return value


GenerationName = Literal["v0", "v1", "v2"]
"""A wire generation."""
CanisterId = Annotated[Principal, BeforeValidator(_principal)]
Endpoint = Annotated[str, AfterValidator(check_url)]
File = Annotated[Path, Strict(False)]
"""A path. A relative one counts from the folder of the file it is written in."""


class Section(BaseModel):
    """A part of the configuration: frozen, types as they are written, and an unknown key is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True, use_attribute_docstrings=True
    )


class Log(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged; ``debug`` has a line for every frame."""
    format: Literal["text", "json"] = "text"
    """Lines for people or for programs."""


class Tls(Section):
    """A certificate chain and its key, both PEM."""

    certificate: File
    """File of the certificate chain."""
    key: File
    """File of the private key."""


class MoreListener(Section):
    """A further address where clients connect, for example one whose clients cannot be told a path."""

    address: Annotated[str, AfterValidator(_address)]
    """As ``gateway.listen``."""
    generation: GenerationName = "v2"
    """As ``gateway.generation``."""


class Gateway(Section):
    """The sockets of clients."""

    listen: Annotated[str, AfterValidator(_address)] = "0.0.0.0:8080"
    """Where clients connect: ``host:port``, ``[v6]:port`` or ``unix:/path``. Port 0 takes a free one."""
    generation: GenerationName = "v2"
    """The wire generation that is spoken there at the path ``/``. At ``/v0``, ``/v1`` and ``/v2`` it is that one, at
    ``/canister/NAME`` the one of a listed canister."""
    listeners: list[MoreListener] = []
    """Further addresses."""
    tls: Tls | None = None
    """Serve ``wss`` with this certificate; otherwise ``ws``."""
    identity: File = Path("data/identity.pem")
    """Key of the gateway's principal, created with mode 0600 if absent. Takes PEM, and the reference gateway's
    ``data/key_pair``."""
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    """Sockets at the same time; more are answered with HTTP 503."""
    max_frame: Annotated[Size, Field(ge=1024, le=16 * 1024**2)] = 2 * 1024**2
    """Bytes of one frame of a client. The IC takes 2 MiB."""
    outbox: Annotated[Size, Field(ge=64 * 1024, le=1024**3)] = 4 * 1024**2
    """Bytes that may wait for one client that does not read; beyond, it is closed."""
    relay_queue: Annotated[int, Field(ge=1, le=10_000)] = 128
    """Messages of one client that may wait for the IC; beyond, it is closed."""
    ping_interval: Annotated[Duration, Field(ge=1, le=3600)] = 25.0
    """How often a silent client is pinged."""
    ping_timeout: Annotated[Duration, Field(ge=1, le=3600)] = 20.0
    """How long a pong may take."""
    handshake_timeout: Annotated[Duration, Field(ge=1, le=600)] = 30.0
    """From the accepted socket to the client's first message."""
    open_timeout: Annotated[Duration, Field(ge=1, le=600)] = 60.0
    """From the first message to the canister's answer to it."""
    close_timeout: Annotated[Duration, Field(ge=0.1, le=60)] = 5.0
    """How long a client may take to answer a close frame."""
    drain_timeout: Annotated[Duration, Field(ge=0, le=600)] = 20.0
    """How long stopping may take: closing sockets and telling canisters."""


class Network(Section):
    """The IC."""

    url: Annotated[list[Endpoint], BeforeValidator(_one_or_several), Field(min_length=1, max_length=16)] = [
        "https://icp-api.io"
    ]
    """One or several endpoints of the same network, asked in this order when one fails."""
    root_key: Annotated[str, Field(pattern=r"^(mainnet|fetch|[0-9a-fA-F]{266})$")] = "mainnet"
    """``mainnet``, the key as 266 hexadecimal digits, or ``fetch`` to trust what the endpoint says at the start (for
    local networks only)."""
    timeout: Annotated[Duration, Field(ge=0.1, le=300)] = 15.0
    """For one HTTP request. The IC answers a call within 10 s or says that it goes on."""
    max_reply: Annotated[Size, Field(ge=1024, le=64 * 1024**2)] = 4 * 1024**2
    """Bytes of one reply of the IC."""


class Verification(Section):
    """What is checked before anything is passed on."""

    certificates: Mode = "enforce"
    """Messages of canisters: certificate, tree and content."""
    envelopes: Mode = "enforce"
    """Messages of clients: signature, delegations, sender and expiry."""
    max_certificate_age: Annotated[Duration, Field(ge=1, le=86400)] = 300.0
    """How far a certificate's time may be from this clock, either way."""


class Polling(Section):
    """How often a canister is asked for messages."""

    min_interval: Annotated[Duration, Field(ge=0.005, le=60)] = 0.05
    """While messages flow."""
    max_interval: Annotated[Duration, Field(ge=0.005, le=300)] = 1.0
    """While nothing happens, and the most that errors slow it down to is ten times this."""
    timeout: Annotated[Duration, Field(ge=0.1, le=60)] = 5.0
    """For the answer to one poll."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_interval > self.max_interval:
            raise ValueError(f"min_interval ({self.min_interval:g} s) is above max_interval ({self.max_interval:g} s)")
        return self


class Canister(Section):
    """A canister that is served."""

    id: CanisterId
    """Its principal."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")] | None = None
    """What people call it, in logs."""
    generation: Annotated[
        list[GenerationName], BeforeValidator(_one_or_several), AfterValidator(_one_kind), Field(min_length=1)
    ] = ["v2"]
    """The wire generation of its clients; ``[v1, v2]`` serves both."""
    max_clients: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Clients at the same time; no limit of its own if absent."""
    polling: Polling | None = None
    """Instead of the general ``polling``."""


def _distinct(canisters: list[Canister]) -> list[Canister]:
    seen: set[str] = set()
    for position, canister in enumerate(canisters):
        for key, handle in (("id", str(canister.id)), ("name", canister.name)):
            if handle in seen:
                raise Misplaced((position, key), f"canister {handle} is listed twice")
        seen |= {str(canister.id), canister.name or str(canister.id)}
    return canisters


class Config(Section):
    """The whole of ``gateway.yaml``."""

    version: Annotated[Literal[1], BeforeValidator(_version)] = 1
    """Version of this format."""
    log: Log = Log()
    gateway: Gateway = Gateway()
    network: Network = Network()
    verification: Verification = Verification()
    polling: Polling = Polling()
    unlisted_canisters: Literal["deny", "allow"] = "deny"
    """Whether clients may name canisters that are not listed; those of ``v0`` never may."""
    canisters: Annotated[list[Canister], AfterValidator(_distinct)] = []
    """The canisters that are served."""

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

    def polling_of(self, canister_id: Principal) -> Polling:
        """How a canister is polled."""
        canister = self.canister(canister_id)
        return (canister and canister.polling) or self.polling
