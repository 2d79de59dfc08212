"""An IC of many replicas in virtual time. One replica gets a call first and passes it on to the others. A block
takes the calls in the order in which its maker, another replica each time, came to know them.
"""

import asyncio
from collections import defaultdict
from random import Random

from appliance.crypto import Request
from appliance.ic.route import Route
from tests.gateway.fake_ic import MESSAGE, OK, FakeCanister, FakeIc, err

REPLICAS = 13
BLOCK_S = 1.0
ONE_WAY_S = 0.05
GOSSIP_S = (0.02, 0.08)
CERTIFIED_S = 0.5
"""From a block to the certificate of its results, at a replica that keeps up."""


class FakeSubnet(FakeIc):
    """``call_s`` is how much longer the calls of a canister take. ``answered`` has, for each client key and payload,
    when the call was answered.
    """

    def __init__(self, random: Random, *canisters: FakeCanister) -> None:
        super().__init__(*canisters)
        self.random = random
        self.call_s: defaultdict[bytes, float] = defaultdict(float)
        self.answered: dict[tuple[bytes, bytes], float] = {}
        self.serves_v2 = True
        self.lag_s = (0.0, 0.0)
        """How much later the replica knows the results that waits for a call."""
        self._known: list[dict[bytes, float]] = [{} for _ in range(REPLICAS)]
        self._pool: dict[bytes, Request] = {}
        self._results: dict[bytes, asyncio.Future[bytes]] = {}
        self._block: asyncio.TimerHandle | None = None

    async def submit(self, request: Request, /, *, route: Route | None = None) -> bytes | None:
        await self.before_submit(request)
        await asyncio.sleep(self._way_s())
        reply = await asyncio.shield(self._receive(request))
        await asyncio.sleep(self._way_s())
        if request.method_name == "ws_message":
            payload = MESSAGE.decode(request.arg)[0]["msg"]
            self.answered[request.sender, payload] = asyncio.get_running_loop().time()
        return reply

    async def accept(self, request: Request, route: Route, /) -> bool:
        await asyncio.sleep(self._way_s())
        if self.serves_v2:
            self._receive(request)
        await asyncio.sleep(self._way_s())
        return self.serves_v2

    def _way_s(self) -> float:
        return ONE_WAY_S * self.random.uniform(0.8, 1.2)

    def _receive(self, request: Request) -> "asyncio.Future[bytes]":
        """One replica gets the call, and begins to pass it on."""
        now, first = asyncio.get_running_loop().time(), self.random.randrange(REPLICAS)
        for number, known in enumerate(self._known):
            at = now if number == first else now + self.random.uniform(*GOSSIP_S)
            known[request.request_id] = min(at, known.get(request.request_id, at))
        if request.request_id not in self._results:
            self._pool[request.request_id] = request
            self._results[request.request_id] = asyncio.get_running_loop().create_future()
            self._schedule_block()
        return self._results[request.request_id]

    def _schedule_block(self) -> None:
        loop = asyncio.get_running_loop()
        if self._block is None and self._pool:
            self._block = loop.call_at(BLOCK_S * (loop.time() // BLOCK_S + 1), self._make_block)

    def _make_block(self) -> None:
        loop, known = asyncio.get_running_loop(), self.random.choice(self._known)
        self._block = None
        taken = [request_id for request_id in self._pool if known[request_id] <= loop.time()]
        for request_id in sorted(taken, key=lambda request_id: known[request_id]):
            request = self._pool.pop(request_id)
            self.log.append((request.method_name, request.sender))
            reply = self.canisters[request.canister_id].update(request)
            wait_s = CERTIFIED_S + self.random.uniform(*self.lag_s) + self.call_s[request.canister_id]
            loop.call_later(wait_s, self._results[request_id].set_result, reply)
        self._schedule_block()


class OrderedCanister(FakeCanister):
    """Drops a client whose message does not have the next number, as the CDK does. The payload is the number."""

    def __init__(self, *args: object, **options: int) -> None:
        super().__init__(*args, **options)
        self.expected: defaultdict[bytes, int] = defaultdict(int)
        self.lost = 0
        self.on_message = self._check

    def _check(self, key: bytes, payload: bytes) -> bytes:
        if int(payload) != self.expected[key]:
            self.lost += 1
            del self.by_principal[key[:-8]]
            return err(f"Expected incoming sequence number {self.expected[key]} but got {int(payload)}")
        self.expected[key] += 1
        return OK
