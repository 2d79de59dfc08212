"""Which version of the HTTP interface is asked, where requests overlap."""

import asyncio
from itertools import permutations

import pytest

from appliance.errors import IcRefused
from appliance.ic.api import VERSIONS, Api
from appliance.ic.endpoints import Endpoint
from appliance.ic.http.responses import Reply
from tests.gateway.bench import until

CANISTER = bytes(10)


class OlderEndpoint:
    """A transport to one endpoint that serves a version of calls alone. What it answers waits until it is released."""

    def __init__(self, served: set[int]) -> None:
        self.served = served
        self.endpoint = Endpoint("http://127.0.0.1:1")
        self.urls = [self.endpoint.url]
        self.waiting: list[tuple[int, asyncio.Future[Reply]]] = []
        self.asked: list[int] = []

    def order(self, *, after: str | None = None) -> list[Endpoint]:
        return [self.endpoint]

    async def send(
        self, endpoint: Endpoint, path: str, body: bytes | None = None, *, timeout_s: float | None = None
    ) -> Reply:
        version = int(path.split("/")[2].removeprefix("v"))
        self.asked.append(version)
        reply = asyncio.get_running_loop().create_future()
        self.waiting.append((version, reply))
        return await reply

    def answer(self, place: int) -> None:
        version, reply = self.waiting.pop(place)
        if version in self.served:
            reply.set_result(Reply(200, b"answer"))
        else:
            reply.set_exception(IcRefused(self.endpoint.url, 404, "not found"))

    def failed(self, endpoint: Endpoint, error: Exception) -> None:
        raise AssertionError("it serves what it is asked for") from error

    def succeeded(self, endpoint: Endpoint) -> None:
        pass


@pytest.mark.parametrize("served", [{3, 2}, {2}, {3}])
@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_requests_that_overlap_find_the_best_version_that_is_served(
    served: set[int], order: tuple[int, ...]
) -> None:
    transport = OlderEndpoint(served)
    api = Api(transport, lambda: 0)

    async def version(endpoint: Endpoint, version: int, reply: Reply) -> int:
        return version

    asking = [asyncio.ensure_future(api.ask("call", CANISTER, b"", version)) for _ in order]
    await until(lambda: len(transport.waiting) == len(order))
    for each in order:  # one is answered at all versions before the next gets its first answer
        first = transport.waiting[each - sum(other < each for other in order[: order.index(each)])]
        place = transport.waiting.index(first)
        while not asking[each].done():
            transport.answer(place)
            asked, place = len(transport.asked), -1
            await until(lambda: asking[each].done() or len(transport.asked) > asked)  # noqa: B023
    best = next(each for each in VERSIONS["call"] if each in served)
    assert [each.result() for each in asking] == [best] * len(order)
    again = asyncio.ensure_future(api.ask("call", CANISTER, b"", version))
    await until(lambda: bool(transport.waiting))
    transport.answer(0)
    assert await again == best
