"""A session through the running gateway, to see all of it work and to have a message."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from appliance.cli.diagnosis.findings import Finding, fault, note, ok
from appliance.cli.output.formatting import duration
from appliance.client import connect
from appliance.config.schema import Config
from appliance.control.models import Status
from appliance.crypto import Verifier
from appliance.errors import GatewayError
from appliance.ic.principal import Principal

PATIENCE_S = 60.0
FIRST_WORDS_S = 5.0
"""For what a canister says by itself to a client that opens."""


@asynccontextmanager
async def opened(
    config: Config, status: Status | None, canister_id: Principal, root_key: bytes
) -> AsyncIterator[list[Finding]]:
    """Open one as a client with a fresh key would, until the block is left, and tell how that went."""
    findings: list[Finding] = []
    async with AsyncExitStack() as stack:
        if status is None:
            findings.append(note("session", "no gateway runs that could open one", "icws run"))
        else:
            findings += await _open(stack, config, status, canister_id, root_key)
        yield findings


async def _open(
    stack: AsyncExitStack, config: Config, status: Status, canister_id: Principal, root_key: bytes
) -> list[Finding]:
    settings = config.canister(canister_id)
    generation = settings.generation[-1] if settings else "v2"
    url = f"{status.url.rstrip('/')}/{generation}"
    age_ns = round(config.verification.max_certificate_age * 1e9)
    opening = connect(
        url,
        canister_id,
        generation=generation,
        verifier=Verifier(root_key, max_age_ns=age_ns, max_ahead_ns=age_ns),
        network_url=config.network.url[0] if generation == "v0" else None,
    )
    started = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE_S):
            session = await stack.enter_async_context(opening)
    except (GatewayError, OSError, TimeoutError) as error:
        return [fault("session", f"{url}: {error or 'no answer in time'}", "`icws explain` tells what the gateway saw")]
    findings = [ok("session", f"open through {url} after {duration(time.monotonic() - started)}")]
    try:
        async with asyncio.timeout(FIRST_WORDS_S):
            first = await session.receive()
    except TimeoutError:
        return [*findings, ok("first words", "the canister says nothing by itself to a new client")]
    except GatewayError as error:
        return [*findings, fault("first words", str(error), "`icws explain` tells what the gateway saw")]
    return [*findings, ok("first words", f"message {first.sequence_num} came and is proven")]
