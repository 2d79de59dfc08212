"""Messages and new sessions make no cycles: the collector, which the service runs seldom, has nothing to do for
them.
"""

import gc
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from types import CoroutineType, FrameType, FunctionType
from typing import Any

from websockets.server import ServerProtocol

from tests.network import running

SESSIONS = 10
OURS = ("appliance.gateway", "appliance.ic", "appliance.protocol")
MESSAGES = 100


@contextmanager
def cycles() -> Iterator[list[Any]]:
    """Yields a list that has the objects in cycles that became garbage inside the block, when it is left."""
    found: list[Any] = []
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def module_of(found: Any) -> str:
    match found:
        case CoroutineType():
            path = found.cr_code.co_filename
        case FrameType():
            path = found.f_code.co_filename
        case FunctionType():
            path = found.__code__.co_filename
        case _:
            return type(found).__module__
    return "appliance." + path.replace("/", ".").rpartition(".appliance.")[2]


async def test_messages_make_no_cycles() -> None:
    async with running(polling={"min_interval": 0.005, "max_interval": 0.02}) as network, network.connect() as client:
        await client.receive()
        with cycles() as found:
            for number in range(MESSAGES):
                await client.send({"text": str(number), "timestamp": 0})
                await client.receive()
        ours = [each for each in found if module_of(each).startswith(OURS)]
        assert not ours


async def test_new_sessions_make_no_cycles() -> None:
    async with running(polling={"min_interval": 0.005, "max_interval": 0.02}) as network, AsyncExitStack() as stack:
        first = await stack.enter_async_context(network.connect())
        await first.receive()
        with cycles() as found:
            for _ in range(SESSIONS):
                client = await stack.enter_async_context(network.connect())
                await client.receive()
        kinds = [type(each) for each in found]
        # Of the library only the server's side: the clients of this test have another one.
        assert not [each for each in kinds if issubclass(each, ServerProtocol) or each.__module__.startswith(OURS)]
