"""A network like the mainnet as agents see it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from appliance.crypto import CandidTypes, Verifier, decode_cbor, hash_of_value, verify_signature
from appliance.ic.envelope import SignedRequest, sign_request
from appliance.localnet.net import Localnet
from appliance.localnet.state.certification import QUERY_DOMAIN
from appliance.localnet.state.clock import ManualClock
from appliance.localnet.subnet.conditions import Conditions
from appliance.localnet.websocket.pingpong import PingPong
from tests.localnet.greeter import Greeter
from tests.localnet.machine import SECOND, START
from tests.localnet.subnet.fleet import MS, NOTHING, TEXT, USER, calm
from tests.localnet.wasm.modules import COUNTER, module


class Agents:
    """Posts signed requests, and lets the clock of the network go on until they are answered."""

    def __init__(self, net: Localnet, clock: ManualClock, client: aiohttp.ClientSession) -> None:
        self.net = net
        self.clock = clock
        self.greeter = net.create_canister(Greeter())
        self.verifier = Verifier(net.root_key)
        self.client = client

    def sign(self, kind: Any, method: str | None = None, arg: bytes | None = None, **more: Any) -> SignedRequest:
        canister = None if method is None else self.greeter
        return sign_request(
            USER, kind, now_ns=self.clock.now_ns(), canister_id=canister, method_name=method, arg=arg, **more
        )

    async def post(self, endpoint: str, request: SignedRequest) -> tuple[int, Any]:
        version, name = endpoint.split("/")
        url = f"{self.net.url}/api/{version}/canister/{self.greeter}/{name}"
        headers = {"content-type": "application/cbor"}
        answer = asyncio.ensure_future(self._post(url, request.body, headers))
        while not answer.done():
            self.clock.advance(10 * MS)
            await asyncio.wait([answer], timeout=0.001)
        return answer.result()

    def status(self, certificate: bytes, request: SignedRequest) -> bytes | None:
        """The certified status of a call."""
        tree = self.verifier.verify_certificate(certificate, self.greeter, now_ns=self.clock.now_ns())
        return tree.lookup([b"request_status", request.request_id, b"status"])

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        async with self.client.post(url, data=body, headers=headers) as response:
            answer = await response.read()
            return response.status, decode_cbor(answer) if response.status == 200 and answer else answer


@asynccontextmanager
async def serving(conditions: Conditions) -> AsyncIterator[Agents]:
    clock = ManualClock(START)
    async with Localnet(seed=b"http", clock=clock, conditions=conditions) as net, aiohttp.ClientSession() as client:
        yield Agents(net, clock, client)


async def test_a_call_is_answered_with_a_certificate_of_its_outcome() -> None:
    async with serving(Conditions.like_mainnet(b"http")) as agents:
        for version in ("v3", "v4"):
            request = agents.sign("call", "count", NOTHING)
            status, answer = await agents.post(f"{version}/call", request)
            assert (status, answer["status"]) == (200, "replied")
            assert agents.status(answer["certificate"], request) == b"replied"


async def test_a_call_of_version_2_is_accepted_at_once_and_its_outcome_read_later() -> None:
    async with serving(Conditions.like_mainnet(b"http")) as agents:
        request, started = agents.sign("call", "count", NOTHING), agents.clock.now_ns()
        assert await agents.post("v2/call", request) == (202, b"")
        paths, statuses = [[b"request_status", request.request_id]], list[bytes | None]()
        while b"replied" not in statuses:
            _, answer = await agents.post("v3/read_state", agents.sign("read_state", paths=paths))
            statuses.append(agents.status(answer["certificate"], request))
            assert agents.clock.now_ns() < started + 10 * SECOND
        assert statuses[0] is None  # not even received: no block has it


async def test_a_call_that_takes_too_long_is_accepted_and_its_outcome_comes_by_posting_it_again() -> None:
    async with serving(calm(call_wait_s=0.01)) as agents:
        request = agents.sign("call", "count", NOTHING)
        assert await agents.post("v4/call", request) == (202, b"")
        answer: Any = b""
        while answer == b"":
            status, answer = await agents.post("v4/call", request)
            assert status in (200, 202)
        tree = agents.verifier.verify_certificate(answer["certificate"], agents.greeter, now_ns=agents.clock.now_ns())
        assert tree.lookup([b"request_status", request.request_id, b"reply"]) == CandidTypes("(nat)").encode(1)


async def test_replies_to_queries_are_signed_by_the_nodes_of_the_subnet() -> None:
    async with serving(Conditions.like_mainnet(b"http")) as agents:
        subnet = agents.net.subnet_id
        _, answer = await agents.post("v3/read_state", agents.sign("read_state", paths=[[b"subnet", subnet, b"node"]]))
        tree = agents.verifier.verify_certificate(answer["certificate"], agents.greeter, now_ns=agents.clock.now_ns())
        signers = set()
        for number in range(20):
            request = agents.sign("query", "greet", TEXT.encode(str(number)))
            _, reply = await agents.post("v3/query", request)
            (signature,) = reply.pop("signatures")
            signers.add(signature["identity"])
            key = tree.lookup([b"subnet", subnet, b"node", signature["identity"], b"public_key"])
            signed = {**reply, "timestamp": signature["timestamp"], "request_id": request.request_id}
            assert key is not None
            verify_signature(key, signature["signature"], QUERY_DOMAIN + hash_of_value(signed))
        assert len(signers) > 5


async def test_round_trips_alone_delay_agents_and_not_the_page() -> None:
    async with serving(Conditions(round_trip_s=(0.1, 0.1))) as agents:
        started = agents.clock.now_ns()
        async with agents.client.get(f"{agents.net.url}/_/") as response:
            assert response.status == 200
        assert agents.clock.now_ns() == started
        status, _ = await agents.post("v3/query", agents.sign("query", "greet", TEXT.encode("x")))
        assert status == 200
        assert agents.clock.now_ns() - started >= 100 * MS


async def test_timers_are_executed_when_the_time_is_moved() -> None:
    async with serving(calm()) as agents:
        canister = agents.net.create_canister(PingPong())
        timer_ns = agents.net.replica.canisters[canister].timer_ns
        await agents.net.fast_forward(600)
        assert agents.net.replica.canisters[canister].timer_ns > timer_ns


async def test_a_canister_of_this_program_is_known_to_every_replica_at_once() -> None:
    async with serving(calm()) as agents:
        agents.greeter = agents.net.deploy("counter", module(COUNTER))
        for number in range(30):
            _, answer = await agents.post("v3/query", agents.sign("query", "peek", bytes([number])))
            assert answer["status"] == "replied"


async def test_after_a_moved_clock_calls_of_clients_with_an_unmoved_one_are_executed() -> None:
    """By the clock of the machine, the only one that can be moved ahead of clients."""
    async with Localnet(conditions=Conditions(block_time_s=0.05)) as net, aiohttp.ClientSession() as client:
        greeter = net.create_canister(Greeter())
        await net.fast_forward(60 * 60)
        request = sign_request(
            USER, "call", now_ns=time.time_ns(), canister_id=greeter, method_name="count", arg=NOTHING
        )
        url, headers = f"{net.url}/api/v4/canister/{greeter}/call", {"content-type": "application/cbor"}
        async with client.post(url, data=request.body, headers=headers) as response:
            assert response.status == 200
