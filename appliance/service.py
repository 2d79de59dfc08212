"""The composition root: from a configuration to a running gateway. The one module that knows everybody."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from appliance.config.schema import Config
from appliance.crypto import Verifier
from appliance.gateway.gateway import Gateway
from appliance.gateway.listener import Listener
from appliance.ic.agent import Agent
from appliance.ic.identity import identity_file_problem, load_or_create_identity
from appliance.ic.network import resolve_root_key, root_key_warning
from appliance.ic.principal import Principal
from appliance.ic.transport import HttpTransport

_log = structlog.get_logger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Service:
    """A gateway that takes connections."""

    gateway: Gateway
    listener: Listener

    @property
    def principal(self) -> Principal:
        """Who the gateway is to canisters."""
        return self.gateway.principal

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self.listener.url


@asynccontextmanager
async def serving(config: Config) -> AsyncIterator[Service]:
    """Run a gateway until the block is left, then close its sockets and tell the canisters.

    Raises ConfigError, KeyUnusable, an IcError where the root key is to be fetched and cannot be, and OSError where the
    address is taken.
    """
    identity = load_or_create_identity(config.gateway.identity)
    _warn(config)
    network = config.network
    async with HttpTransport(network.url, timeout_s=network.timeout, max_reply=network.max_reply) as transport:
        age_ns = round(config.verification.max_certificate_age * 1e9)
        root_key = await resolve_root_key(network.root_key, transport)
        verifier = Verifier(root_key, max_age_ns=age_ns, max_ahead_ns=age_ns)
        agent = Agent(transport, identity, verifier)
        gateway = Gateway(config, ic=agent, verifier=verifier, principal=identity.principal)
        async with gateway, Listener(gateway) as listener:
            yield Service(gateway, listener)


async def run(config: Config) -> None:
    """Serve until SIGINT or SIGTERM. A second signal ends it at once, by cancelling the task this runs in.

    Raises what `serving` raises.
    """
    stop = asyncio.Event()
    task = asyncio.current_task()

    def on_signal() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        async with serving(config) as service:
            # worded as the reference gateway words it, for people and scripts that look for it
            _log.info(f"Gateway Agent principal: {service.principal!s}")
            await stop.wait()
            _log.info("stopping", connections=len(service.listener))
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _warn(config: Config) -> None:
    warnings = [
        identity_file_problem(config.gateway.identity),
        root_key_warning(config.network.root_key, config.network.url),
    ]
    if not config.canisters and config.unlisted_canisters == "deny":
        warnings.append("no canister is listed and unlisted ones are denied: no client can open a session")
    for subject in ("certificates", "envelopes"):
        mode = getattr(config.verification, subject)
        if mode != "enforce":
            warnings.append(f"verification.{subject} is {mode}: what does not verify is passed on")
    for warning in filter(None, warnings):
        _log.warning(warning)
