"""The checks of readiness: each has a name, and a finding with a sentence."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from appliance.control.health.cluster import ClusterNode, finding_of
from appliance.control.health.health import Check, Finding, Health
from appliance.control.health.loop_lag import LoopLagMonitor
from appliance.control.health.progress import PollProgress
from appliance.crypto import CertifiedTree
from appliance.errors import CertificateError, GatewayError
from appliance.gateway.gateway import Gateway
from appliance.gateway.sockets.listener import Listener

PROBE_CACHE_S = 10.0
"""How long the result of a probe of the IC is reused."""
PROBE_TIMEOUT_S = 2.5
MAX_SKEW_S = 60.0
"""How far this clock may be off. The IC accepts calls that expire within 5 minutes, ours expire after 4: one is
left.
"""
EXPIRY_WARNING_S = 14 * 86400.0
"""A certificate that expires within this time gets a warning."""


class Ic(Protocol):
    """The part of the IC agent that the checks need."""

    async def status(self) -> Mapping[str, object]:
        """The status of an endpoint. Raises GatewayError."""

    async def read_state(
        self, paths: Sequence[Sequence[bytes]], canister_id: bytes, *, timeout_s: float | None = None
    ) -> CertifiedTree:
        """Verified state. Raises GatewayError."""


class IcProbe:
    """Reads the certified time of the IC, once for three checks: is the IC reachable, does its certificate verify
    against our root key, and do the clocks agree.
    """

    def __init__(
        self,
        ic: Ic,
        gateway: Gateway,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        fresh_s: float = PROBE_CACHE_S,
    ) -> None:
        self._ic = ic
        self._gateway = gateway
        self._monotonic = monotonic
        self._fresh_s = fresh_s
        self._lock = asyncio.Lock()
        self._probed_at: float | None = None
        self._error: GatewayError | TimeoutError | None = None
        self._skew_s: float | None = None

    async def is_reachable(self) -> Finding:
        """Whether an endpoint answers."""
        await self._probe()
        if self._error is None or isinstance(self._error, CertificateError):
            return Finding(True, "the IC answers")
        return Finding(False, f"the IC does not answer: {self._error or 'time-out'}")

    async def is_trusted(self) -> Finding:
        """Whether its certificates verify against our root key."""
        await self._probe()
        if isinstance(self._error, CertificateError):
            return Finding(False, str(self._error))
        if self._skew_s is None:
            return Finding(True, "not checked: no canister is listed, or the IC does not answer")
        return Finding(True, "certificates verify against the root key")

    async def agrees_on_time(self) -> Finding:
        """Whether this clock is close enough to the IC's for our calls to be accepted."""
        await self._probe()
        if self._skew_s is None:
            return Finding(True, "not checked: no certified time is known")
        where = "ahead of" if self._skew_s > 0 else "behind"
        return Finding(
            abs(self._skew_s) <= MAX_SKEW_S, f"this clock is {abs(self._skew_s):.1f} s {where} the IC's time"
        )

    async def _probe(self) -> None:
        async with self._lock:  # checks run at the same time, and share one probe
            now = self._monotonic()
            if self._probed_at is not None and now - self._probed_at < self._fresh_s:
                return
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_S):
                    self._skew_s = await self._certified_skew_s()
                self._error = None
            except (GatewayError, TimeoutError) as error:
                self._error, self._skew_s = error, None
            self._probed_at = self._monotonic()

    async def _certified_skew_s(self) -> float | None:
        listed = self._gateway.config.canisters
        if not listed:
            await self._ic.status()
            return None
        tree = await self._ic.read_state([[b"time"]], listed[0].id)
        return (self._gateway.clock() - tree.time_ns) / 1e9


class DataPlane:
    """Checks of the gateway itself."""

    def __init__(self, gateway: Gateway, listener: Listener) -> None:
        self._gateway = gateway
        self._listener = listener

    def has_identity(self) -> Finding:
        """Which principal the gateway has."""
        return Finding(True, f"the gateway is {self._gateway.principal!s}")

    def listens(self) -> Finding:
        """Whether the gateway has an address for clients."""
        urls = self._listener.urls
        return Finding(bool(urls), f"listens at {', '.join(urls)}" if urls else "has no listening socket")

    def accepts(self) -> Finding:
        """Whether the gateway accepts clients."""
        if self._gateway.is_accepting:
            return Finding(True, "clients are accepted")
        return Finding(False, "the gateway is stopping" if self._gateway.stopping else "the gateway is draining")

    def polls(self) -> Finding:
        """Whether polls succeed for at least one canister with clients; one broken canister must not take the gateway
        out. The detail also has what is wrong where polls succeed.
        """
        pollers = self._gateway.pollers
        facts = {str(canister_id): poller.facts for canister_id, poller in pollers.items()}
        degraded = {canister: each for canister, each in facts.items() if each.state == "degraded"}
        failing = {canister: each for canister, each in degraded.items() if each.failures}
        notes = [each.last_error or "" for canister, each in degraded.items() if canister not in failing][:1]
        budget = self._gateway.epochs.poll_budget
        if (waiting := budget.waiting) > 1:
            notes.append(f"{waiting} canisters wait for their turn: polling.budget is {budget.rate:g} polls a second")
        if not failing:
            polled = "1 canister is polled" if len(facts) == 1 else f"{len(facts)} canisters are polled"
            return Finding(True, "; ".join([polled if facts else "no canister has clients", *notes]))
        canister, first = next(iter(failing.items()))
        label = self._gateway.config.canister_label(canister)
        detail = f"no answer from {len(failing)} of {len(facts)} canisters, {label} among them: {first.last_error}"
        return Finding(len(failing) < len(facts), "; ".join([detail, *notes]))

    def has_valid_certificate(self) -> Finding:
        """Whether the TLS certificate that is served has not expired."""
        end = self._listener.tls.expires_at
        if end is None:
            return Finding(True, "no TLS" if self._listener.tls.context is None else "its end is not known")
        left_s = (end - datetime.fromtimestamp(self._gateway.clock() / 1e9, UTC)).total_seconds()
        warning = ", which is soon" if 0 < left_s < EXPIRY_WARNING_S else ""
        verb = "expires" if left_s > 0 else "expired"
        return Finding(left_s > 0, f"the certificate {verb} on {end:%Y-%m-%d}{warning}")


def health_of(
    gateway: Gateway, listener: Listener, ic: Ic, loop_lag: LoopLagMonitor, node: ClusterNode | None = None
) -> Health:
    """The health of a gateway, or of a node of a cluster: alive while its event loop is on time and its pollers make
    progress, ready while every check passes.
    """
    live = {"loop": loop_lag.check, "progress": PollProgress(gateway).check}
    return Health(live, ready_checks(gateway, listener, IcProbe(ic, gateway), loop_lag.check, node))


def ready_checks(
    gateway: Gateway, listener: Listener, probe: IcProbe, loop: Check, node: ClusterNode | None = None
) -> dict[str, Check]:
    """Every check of readiness, by name."""
    plane = DataPlane(gateway, listener)
    return {
        "accepting": plane.accepts,
        "cluster": lambda: finding_of(node),
        "clock": probe.agrees_on_time,
        "ic": probe.is_reachable,
        "identity": plane.has_identity,
        "listener": plane.listens,
        "loop": loop,
        "polling": plane.polls,
        "root_key": probe.is_trusted,
        "tls": plane.has_valid_certificate,
    }
