"""Opens a session through the running gateway, to test the whole path and to get a message."""

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

OPEN_TIMEOUT_S = 60.0
FIRST_MESSAGE_S = 5.0
"""Time for a message that the canister sends without a request."""


@asynccontextmanager
async def opened(
    config: Config, status: Status | None, canister_id: Principal, root_key: bytes
) -> AsyncIterator[list[Finding]]:
    """Keep a session with a new key open for the block, and yield the findings about it."""
    findings: list[Finding] = []
    async with AsyncExitStack() as stack:
        if status is None:
            findings.append(note("session", "no gateway is running", "icws run"))
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
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            session = await stack.enter_async_context(opening)
    except (GatewayError, OSError, TimeoutError) as error:
        return [fault("session", f"{url}: {error or 'no answer in time'}", "`icws explain` shows what the gateway saw")]
    findings = [ok("session", f"open through {url} after {duration(time.monotonic() - started)}")]
    try:
        async with asyncio.timeout(FIRST_MESSAGE_S):
            first = await session.receive()
    except TimeoutError:
        return [*findings, ok("first message", "the canister sends none without a request")]
    except GatewayError as error:
        return [*findings, fault("first message", str(error), "`icws explain` shows what the gateway saw")]
    return [*findings, ok("first message", f"message {first.sequence_num} arrived and is verified")]
