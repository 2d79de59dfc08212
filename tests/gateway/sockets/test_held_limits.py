"""What a principal and a canister may hold: sessions above it are refused with a code that says "come back"."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from websockets.exceptions import ConnectionClosed

from appliance.ic.principal import Principal
from tests.gateway.clients import CANISTER, GATEWAY, OTHER_CANISTER, Client
from tests.gateway.fake_ic import FakeCanister
from tests.gateway.served import Served, served

THIRD_CANISTER = Principal.from_text("aaaaa-aa")
CANISTERS = (CANISTER, OTHER_CANISTER, THIRD_CANISTER)


class Place:
    """Clients that count for one principal, or for one canister."""

    def __init__(self, it: Served, by: str) -> None:
        self.account = getattr(it.gateway.limits.holdings, by)
        self._it = it
        self._by = by
        self._key = Client().key

    def client(self, number: int) -> tuple[Client, Principal]:
        """A client, and its canister, which has one session of a principal at a time."""
        if self._by == "principal":
            return Client(key=self._key), CANISTERS[number]
        return Client(), CANISTER

    async def join(self, number: int, stack: AsyncExitStack) -> None:
        client, canister = self.client(number)
        socket = await stack.enter_async_context(self._it.websocket())
        await socket.send(client.open(canister=canister))
        await socket.recv()

    async def refused(self, number: int) -> tuple[int, str]:
        """The close code and reason of a newcomer."""
        async with AsyncExitStack() as stack:
            with pytest.raises(ConnectionClosed) as caught:
                await self.join(number, stack)
        return caught.value.rcvd.code, caught.value.rcvd.reason


@asynccontextmanager
async def placed(by: str, **limit: object) -> AsyncIterator[tuple[Served, Place]]:
    served_ones = [{"id": str(each)} for each in CANISTERS]
    async with served(limits={f"held_per_{by}": limit}, canisters=served_ones) as it:
        for canister in CANISTERS[1:]:
            it.ic.canisters[bytes(canister)] = FakeCanister(canister, GATEWAY)
        yield it, Place(it, by)


@pytest.mark.parametrize("by", ["principal", "canister"])
async def test_one_session_too_many_is_refused_until_another_has_left(by):
    async with placed(by, connections=2, mode="enforce") as (it, place):
        for _ in range(2):
            async with AsyncExitStack() as stack:
                await place.join(0, stack)
                await place.join(1, stack)
                code, reason = await place.refused(2)
                assert code == 1013
                assert "2 sessions (limits.held_per_principal" in reason or "limit of 2 clients" in reason
            await it.nobody()
        assert place.account.connections_exceeded == {"enforce": 2}


@pytest.mark.parametrize("by", ["principal", "canister"])
async def test_in_shadow_it_is_granted_and_counted(by):
    async with placed(by, connections=1, mode="shadow") as (it, place):
        async with AsyncExitStack() as stack:
            await place.join(0, stack)
            await place.join(1, stack)
            assert place.account.largest() == 2
        await it.nobody()
        assert place.account.connections_exceeded == {"shadow": 1}


@pytest.mark.parametrize("by", ["principal", "canister"])
async def test_others_come_in(by):
    async with placed(by, connections=1, mode="enforce") as (it, place):
        async with AsyncExitStack() as stack:
            await place.join(0, stack)
            stranger, canister = Client(), OTHER_CANISTER
            socket = await stack.enter_async_context(it.websocket())
            await socket.send(stranger.open(canister=canister))
            await socket.recv()
        await it.nobody()
