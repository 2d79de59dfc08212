"""A scripted endpoint, an agent that knows it, and time that stands still."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from appliance.crypto import SigningKey, Verifier
from appliance.ic.agent import Agent
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import Identity, KeyIdentity
from tests.ic.scripted_ic import ROOT, ScriptedIc, TestTime

try:
    import uvloop
except ImportError:
    uvloop = None

AgentFor = Callable[..., Agent]
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
if uvloop is not None:
    LOOPS["uvloop"] = uvloop.new_event_loop
WITH_BOTH_LOOPS = {"test_exchanges.py", "test_tls.py"}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both loops where there are sockets, asyncio's own elsewhere."""
    return LOOPS if item.path.name in WITH_BOTH_LOOPS else {"asyncio": LOOPS["asyncio"]}


@pytest.fixture
def time() -> TestTime:
    return TestTime()


@pytest.fixture
async def ic(time: TestTime) -> AsyncIterator[ScriptedIc]:
    async with ScriptedIc(time) as endpoint:
        yield endpoint


@pytest.fixture
async def other_ic(time: TestTime) -> AsyncIterator[ScriptedIc]:
    async with ScriptedIc(time) as endpoint:
        yield endpoint


@pytest.fixture
def identity() -> KeyIdentity:
    return KeyIdentity(SigningKey.from_secret("ed25519", bytes(range(32))))


@pytest.fixture
async def transport_for(time: TestTime) -> AsyncIterator[Callable[..., HttpTransport]]:
    """Makes transports that follow the test's time and are closed after it."""
    made: list[HttpTransport] = []

    def make(*urls: str, timeout_s: float = 10.0, max_reply: int = 100_000) -> HttpTransport:
        made.append(HttpTransport(urls, timeout_s=timeout_s, max_reply=max_reply, monotonic_ns=time.clock))
        return made[-1]

    yield make
    for transport in made:
        await transport.close()


@pytest.fixture
def agent_for(transport_for: Callable[..., HttpTransport], time: TestTime, identity: KeyIdentity) -> AgentFor:
    """Makes agents of the test's identity, or another, for endpoints."""

    def make(*urls: str, who: Identity = identity, **options: float) -> Agent:
        return Agent(
            transport_for(*urls, **options),
            who,
            Verifier(ROOT.public_key),
            clock=time.clock,
            sleep=time.sleep,
            chance=lambda: 1.0,
        )

    return make
