"""Replica, server and commands of the stub IC put together."""

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from appliance.bench.stub.commands import Commands
from appliance.bench.stub.replica import StubReplica
from appliance.bench.stub.server import StubIc


@asynccontextmanager
async def serving(port: int = 0, seed: str | None = None) -> AsyncIterator[StubIc]:
    """Serve a stub IC on this loopback port (0: any). Its keys and delays follow from the seed.

    Raises OSError if the port is taken.
    """
    key = secrets.token_bytes(32) if seed is None else hashlib.sha256(seed.encode()).digest()
    async with StubIc(StubReplica(seed=key), port=port, seed=int.from_bytes(key, "big")) as stub:
        commands = Commands(stub)
        stub.commands = commands
        try:
            yield stub
        finally:
            commands.cancel()
