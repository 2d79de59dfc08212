"""What readiness looks at: each check is a name and a finding with a sentence."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from appliance.control.expiry import end_of_certificate
from appliance.control.health import Check, Finding
from appliance.crypto import CertifiedTree
from appliance.errors import CertificateError, GatewayError
from appliance.gateway.gateway import Gateway
from appliance.gateway.sockets.listener import Listener

FRESH_S = 10.0
"""How long what was found out about the IC counts."""
PROBE_TIMEOUT_S = 2.5
MOST_SKEW_S = 60.0
"""What this clock may be off by. The IC takes calls that expire within five minutes, and ours say four."""
SOON_S = 14 * 86400.0
"""When the end of a certificate is near enough to be told."""


class Ic(Protocol):
    """The IC, as far as it is asked how it is."""

    async def status(self) -> Mapping[str, object]:
        """What an endpoint says of itself. Raises GatewayError."""

    async def read_state(
        self, paths: Sequence[Sequence[bytes]], canister_id: bytes, *, timeout_s: float | None = None
    ) -> CertifiedTree:
        """Verified state. Raises GatewayError."""


class IcProbe:
    """Asks the IC for its time, once for all checks that look at the answer: whether it is there, whether it is the one
    whose root key we have, and what time it is.
    """

    def __init__(
        self,
        ic: Ic,
        gateway: Gateway,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        fresh_s: float = FRESH_S,
    ) -> None:
        self._ic = ic
        self._gateway = gateway
        self._monotonic = monotonic
        self._fresh_s = fresh_s
        self._asking = asyncio.Lock()
        self._asked_at: float | None = None
        self._error: GatewayError | TimeoutError | None = None
        self._skew_s: float | None = None

    async def is_reachable(self) -> Finding:
        """An endpoint answers."""
        await self._ask()
        if self._error is None or isinstance(self._error, CertificateError):
            return Finding(True, "the IC answers")
        return Finding(False, f"the IC does not answer: {self._error or 'nothing came in time'}")

    async def is_trusted(self) -> Finding:
        """What it certifies is signed by the root key that we have."""
        await self._ask()
        if isinstance(self._error, CertificateError):
            return Finding(False, str(self._error))
        if self._skew_s is None:
            return Finding(True, "not looked at: no canister to ask about, or no answer")
        return Finding(True, "certificates verify against the root key")

    async def agrees_on_time(self) -> Finding:
        """The clock is right enough for the IC to take our calls."""
        await self._ask()
        if self._skew_s is None:
            return Finding(True, "not looked at: no certified time is known")
        where = "ahead of" if self._skew_s > 0 else "behind"
        return Finding(
            abs(self._skew_s) <= MOST_SKEW_S, f"this clock is {abs(self._skew_s):.1f} s {where} the IC's time"
        )

    async def _ask(self) -> None:
        async with self._asking:
            now = self._monotonic()
            if self._asked_at is not None and now - self._asked_at < self._fresh_s:
                return
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_S):
                    self._skew_s = await self._certified_skew_s()
                self._error = None
            except (GatewayError, TimeoutError) as error:
                self._error, self._skew_s = error, None
            self._asked_at = self._monotonic()

    async def _certified_skew_s(self) -> float | None:
        listed = self._gateway.config.canisters
        if not listed:
            await self._ic.status()
            return None
        tree = await self._ic.read_state([[b"time"]], listed[0].id)
        return (self._gateway.clock() - tree.time_ns) / 1e9


class DataPlane:
    """Looks at the gateway itself."""

    def __init__(self, gateway: Gateway, listener: Listener) -> None:
        self._gateway = gateway
        self._listener = listener

    def has_identity(self) -> Finding:
        """It has a principal."""
        return Finding(True, f"the gateway is {self._gateway.principal!s}")

    def listens(self) -> Finding:
        """Clients have somewhere to connect to."""
        urls = self._listener.urls
        return Finding(bool(urls), f"listens at {', '.join(urls)}" if urls else "listens nowhere")

    def accepts(self) -> Finding:
        """It lets clients in."""
        if self._gateway.is_accepting:
            return Finding(True, "clients are let in")
        return Finding(False, "the gateway stops" if self._gateway.stopping else "clients are drained")

    def polls(self) -> Finding:
        """Not every canister that has clients is without an answer."""
        facts = {canister_id: poller.facts for canister_id, poller in self._gateway.pollers.items()}
        failing = {str(canister_id): each.last_error for canister_id, each in facts.items() if each.state == "degraded"}
        if not failing:
            polled = "1 canister is polled" if len(facts) == 1 else f"{len(facts)} canisters are polled"
            return Finding(True, polled if facts else "no canister has clients")
        canister, error = next(iter(failing.items()))
        told = f"no answer from {len(failing)} of {len(facts)} canisters, {canister} among them: {error}"
        return Finding(len(failing) < len(facts), told)

    def has_valid_certificate(self) -> Finding:
        """The TLS certificate is not over."""
        tls = self._gateway.config.gateway.tls
        if tls is None:
            return Finding(True, "no TLS")
        try:
            end = end_of_certificate(tls.certificate)
        except (OSError, ValueError) as error:
            return Finding(False, f"{tls.certificate} cannot be read: {error}")
        left_s = (end - datetime.fromtimestamp(self._gateway.clock() / 1e9, UTC)).total_seconds()
        warning = ", which is soon" if 0 < left_s < SOON_S else ""
        return Finding(left_s > 0, f"the certificate {'ends' if left_s > 0 else 'ended'} on {end:%Y-%m-%d}{warning}")


def ready_checks(gateway: Gateway, listener: Listener, probe: IcProbe, loop: Check) -> dict[str, Check]:
    """Every check of readiness, by name."""
    plane = DataPlane(gateway, listener)
    return {
        "accepting": plane.accepts,
        "clock": probe.agrees_on_time,
        "ic": probe.is_reachable,
        "identity": plane.has_identity,
        "listener": plane.listens,
        "loop": loop,
        "polling": plane.polls,
        "root_key": probe.is_trusted,
        "tls": plane.has_valid_certificate,
    }
