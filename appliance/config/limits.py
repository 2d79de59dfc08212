"""The sections of ``gateway.yaml`` with limits: part of ``schema``."""

from typing import Annotated

from pydantic import AfterValidator, Field

from appliance.config.fields.effect import Live
from appliance.config.fields.section import Section
from appliance.config.fields.units import Bandwidth, Rate, Size, parse_size
from appliance.config.fields.values import LimitMode, LimitScope


def _memory(value: str) -> str:
    if value.endswith("%") and value[:-1].isdecimal() and 1 <= int(value[:-1]) <= 100:
        return value
    try:
        size = parse_size(value)
    except ValueError:
        raise ValueError(f"{value!r} is no memory; write a size, or a percentage such as 60%") from None
    if size < 16 * 1024**2:
        raise ValueError(f"{value} is less than 16MiB, with which no client could be served")
    return value


class RateLimit(Section):
    """A rate limit. A reload keeps its counters."""

    rate: Annotated[Rate, Field(ge=1 / 3600, le=1_000_000), Live()]
    """Average rate."""
    burst: Annotated[int, Field(ge=1, le=1_000_000), Live()]
    """Number at once after a pause."""
    mode: Annotated[LimitMode, Live()] = "enforce"
    """``enforce`` refuses what exceeds the limit, ``shadow`` only counts it, ``off`` disables the limit."""


class ClusterRateLimit(RateLimit):
    """A rate limit that all nodes of a cluster can count together."""

    scope: Annotated[LimitScope, Live()] = "node"
    """Who is counted together: each ``node``, or worker, for itself, or the whole ``cluster`` (scaling.md)."""


class ConnectionLimit(ClusterRateLimit):
    """New connections per IP address (IPv6: per /64). Above this, HTTP 429 with ``Retry-After``."""

    rate: Annotated[Rate, Field(ge=1 / 3600, le=1_000_000), Live()] = 20.0
    """Average rate."""
    burst: Annotated[int, Field(ge=1, le=1_000_000), Live()] = 100
    """Number at once after a pause."""


class MessageLimit(ClusterRateLimit):
    """Messages per client. Above this, the session is closed (4108) with the time to wait in the reason."""

    rate: Annotated[Rate, Field(ge=1 / 3600, le=1_000_000), Live()] = 50.0
    """Average rate."""
    burst: Annotated[int, Field(ge=1, le=1_000_000), Live()] = 200
    """Number at once after a pause."""


class TlsHandshakeLimit(ClusterRateLimit):
    """TLS handshakes per IP address (IPv6: per /64), of clients and not of trusted proxies. Above this, the socket is
    reset before its handshake begins: a handshake costs more than all that a client may do before it."""

    rate: Annotated[Rate, Field(ge=1 / 3600, le=1_000_000), Live()] = 30.0
    """Average rate."""
    burst: Annotated[int, Field(ge=1, le=1_000_000), Live()] = 200
    """Number at once after a pause."""


class ControlRequestLimit(RateLimit):
    """Requests without a valid token to the control plane, per IP address (IPv6: per /64); not those over a Unix
    socket. Above this, HTTP 429 with ``Retry-After``. Health checks are answered all the same, half a second later."""

    rate: Annotated[Rate, Field(ge=1 / 3600, le=1_000_000), Live()] = 20.0
    """Average rate."""
    burst: Annotated[int, Field(ge=1, le=1_000_000), Live()] = 400
    """Number at once after a pause."""


class AddressFrameLimit(ClusterRateLimit):
    """Frames of every kind per IP address (IPv6: per /64), pings and fragments included. Above this, the socket is
    closed (4108)."""

    rate: Annotated[Rate, Field(ge=1 / 3600, le=1_000_000), Live()] = 4000.0
    """Average rate."""
    burst: Annotated[int, Field(ge=1, le=1_000_000), Live()] = 20_000
    """Number at once after a pause."""


class FrameLimit(RateLimit):
    """Frames of every kind per connection, pings and fragments included. Above this, the socket is closed (4108)."""

    rate: Annotated[Rate, Field(ge=1 / 3600, le=1_000_000), Live()] = 500.0
    """Average rate."""
    burst: Annotated[int, Field(ge=1, le=1_000_000), Live()] = 4000
    """Number at once after a pause."""


class BandwidthLimit(RateLimit):
    """Bytes per connection. Above this, the socket is closed (4108)."""

    rate: Annotated[Bandwidth, Field(ge=1024, le=1024**4), Live()] = 16.0 * 1024**2
    """Average bandwidth."""
    burst: Annotated[Size, Field(ge=1024**2, le=1024**4), Live()] = 64 * 1024**2
    """Bytes at once after a pause."""


class SharedMessageLimit(ClusterRateLimit):
    """Messages of several sessions together. Above this, the session whose message is too much is closed (4108)."""

    rate: Annotated[Rate, Field(ge=1 / 3600, le=1_000_000), Live()] = 1000.0
    """Average rate."""
    burst: Annotated[int, Field(ge=1, le=1_000_000), Live()] = 5000
    """Number at once after a pause."""
    mode: Annotated[LimitMode, Live()] = "off"
    """``enforce`` refuses what exceeds the limit, ``shadow`` only counts it, ``off`` disables the limit."""


class HeldPerAddress(Section):
    """What one IP address (IPv6: one /64) may hold at a time. A proxy in ``gateway.trusted_proxies`` is not counted,
    but the clients that it names."""

    connections: Annotated[int, Field(ge=1, le=1_000_000), Live()] = 1000
    """Maximum number of sockets, from their first byte on. Above this, HTTP 429 with ``Retry-After``; where many come
    at once, they are reset."""
    bytes: Annotated[Size, Field(ge=1024**2, le=1024**4), Live()] = 256 * 1024**2
    """Maximum bytes that the gateway keeps for clients of the address, but never more than half of ``limits.memory``.
    Above this, the client that holds most is closed (4123)."""
    mode: Annotated[LimitMode, Live()] = "enforce"
    """``enforce`` refuses what exceeds the limit, ``shadow`` only counts it, ``off`` disables the limit."""


class HeldPerPrincipal(Section):
    """What the sessions of one principal may hold at a time, at all canisters (in v0: those of one client key)."""

    connections: Annotated[int, Field(ge=1, le=1_000_000), Live()] = 100
    """Maximum number of sessions. Above this, a newcomer is closed (1013)."""
    bytes: Annotated[Size, Field(ge=1024**2, le=1024**4), Live()] = 64 * 1024**2
    """Maximum bytes that the gateway keeps for them, but never more than half of ``limits.memory``. Above this, the
    client that holds most is closed (4123)."""
    mode: Annotated[LimitMode, Live()] = "off"
    """``enforce`` refuses what exceeds the limit, ``shadow`` only counts it, ``off`` disables the limit."""


class HeldPerCanister(Section):
    """What the clients of one canister may hold at a time. ``canisters[].max_clients`` is a limit besides."""

    connections: Annotated[int, Field(ge=1, le=1_000_000), Live()] = 10_000
    """Maximum number of clients. Above this, a newcomer is closed (1013)."""
    bytes: Annotated[Size, Field(ge=1024**2, le=1024**4), Live()] = 1024**3
    """Maximum bytes that the gateway keeps for them. Above this, the client that holds most is closed (4123)."""
    mode: Annotated[LimitMode, Live()] = "off"
    """``enforce`` refuses what exceeds the limit, ``shadow`` only counts it, ``off`` disables the limit."""


class HeldLimits(Section):
    """What clients may hold at a time, as opposed to ``rate_limits``."""

    memory: Annotated[str, AfterValidator(_memory), Live()] = "60%"
    """Maximum bytes that the gateway keeps for all clients: messages that wait, and about 20 KiB a socket (76 KiB with
    TLS). A size, or a percentage of the memory of its cgroup or machine. From 80% of this on, newcomers get HTTP 503;
    from 90% on, the clients that hold most are not read; above, they are closed (4123)."""
    held_per_address: HeldPerAddress = HeldPerAddress()
    held_per_principal: HeldPerPrincipal = HeldPerPrincipal()
    held_per_canister: HeldPerCanister = HeldPerCanister()


class RateLimits(Section):
    """Rate limits. A reload keeps what was used up."""

    connections_per_ip: ConnectionLimit = ConnectionLimit()
    tls_handshakes_per_ip: TlsHandshakeLimit = TlsHandshakeLimit()
    control_requests_per_ip: ControlRequestLimit = ControlRequestLimit()
    frames_per_ip: AddressFrameLimit = AddressFrameLimit()
    frames_per_connection: FrameLimit = FrameLimit()
    bytes_per_connection: BandwidthLimit = BandwidthLimit()
    messages_per_client: MessageLimit = MessageLimit()
    messages_per_principal: SharedMessageLimit = SharedMessageLimit()
    """Messages of one principal to all canisters. Above this, the session is closed (4108)."""
    messages_per_canister: SharedMessageLimit = SharedMessageLimit()
    """Messages of all clients to one canister. Above this, the session whose message is too much is closed (4108)."""
    messages_total: SharedMessageLimit = SharedMessageLimit()
    """Messages of all clients to all canisters. Above this, the session whose message is too much is closed (4108)."""
