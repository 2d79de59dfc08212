"""What a canister has queued for a client, before its socket closes."""

import asyncio
import contextlib
from collections.abc import Callable

from appliance.gateway.polling.poller import Poller

MAX_POLLS = 3
"""Polls for a refused client before its socket closes. One is not enough: the replica that answers a query may be a
block behind the one that refused the call."""


async def flush(poller: Callable[[], Poller | None], delivered: Callable[[], int], timeout_s: float) -> None:
    """Poll until one more message is delivered, ``MAX_POLLS`` times and for so long at most. ``poller`` is None where
    polling has ended.
    """
    before = delivered()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            for _ in range(MAX_POLLS):
                polling = poller()
                if polling is None or delivered() > before:
                    return
                await polling.drained()
