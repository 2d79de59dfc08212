"""Messages that a client of v0 cannot get yet: its canister has not answered the opening. They are counted like those
that it does not read.
"""

import asyncio

import pytest

from appliance.crypto import CandidTypes
from appliance.errors import SlowClient
from appliance.gateway.limits.holdings import Holdings
from appliance.gateway.recording.timeline import PollRecord
from appliance.protocol.frames import text_frame
from appliance.protocol.v0 import V0
from tests.gateway.bench import Bench, Shell, until
from tests.gateway.clients import CANISTER, ClientV0

LIMIT = 64 * 1024
OPENED = CandidTypes(
    "(variant {Ok: record {client_key: blob; canister_id: principal; nonce: nat64}; Err: text})",
)
POLLED = PollRecord(0, 0)
V0_ONLY = {"canisters": [{"id": str(CANISTER), "generation": "v0"}]}
FRAME = b"\x82" + bytes(1000)


class Opening:
    """A client of v0 whose canister answers ``ws_open`` when it is told to, and what the client holds."""

    def __init__(self, bench: Bench) -> None:
        self.client = ClientV0()
        self.answer = asyncio.Event()
        self.holding = Holdings(bench.gateway.config.limits, 1 << 30).hold("192.0.2.1")
        self.shell = Shell(bench.gateway, outbox=LIMIT)
        bench.shells.append(self.shell)
        self.shell.peer.session = V0(bench.gateway.epochs.current.context)
        self.shell.peer.session.connect()
        self.shell.peer.outbox._holder = self
        bench.ic.call = self.call

    def hold(self, number: int) -> None:
        self.holding.add(number)

    @property
    def held(self) -> int:
        return self.holding.bytes - self.holding.base

    async def call(self, canister_id, method, arg):
        if method == "ws_open":
            await self.answer.wait()
            return OPENED.encode({"Ok": {"client_key": self.client.client_key, "canister_id": CANISTER, "nonce": 5}})
        return CandidTypes("(variant {Ok; Err: text})").encode({"Ok": None})

    async def begin(self) -> None:
        self.shell.receive(self.client.first())
        await until(lambda: self.shell.peer.first_nonce == 1 << 64)

    def deliver(self, nonce: int, sequence_num: int) -> bool:
        return self.shell.peer.deliver(FRAME, nonce, sequence_num, POLLED)


async def test_what_is_kept_until_the_canister_answers_counts_for_the_client_and_in_the_metric():
    async with Bench(**V0_ONLY) as bench:
        it = Opening(bench)
        await it.begin()
        assert it.deliver(4, 1)
        assert it.deliver(5, 1)
        assert it.held == it.shell.peer.outbox.waiting == 2 * len(FRAME)
        it.answer.set()
        await until(lambda: it.shell.was_opened)
        assert it.held == it.shell.peer.outbox.waiting == 0
        assert it.shell.wire.written[-2:] == [text_frame("1"), FRAME]


async def test_above_the_outbox_of_the_configuration_the_client_is_closed_and_nothing_more_is_kept():
    async with Bench(**V0_ONLY) as bench:
        it = Opening(bench)
        await it.begin()
        most = LIMIT // len(FRAME)
        assert all(it.deliver(number, number) for number in range(1, most + 1))
        assert not it.deliver(most + 1, most + 1)
        assert isinstance(it.shell.error, SlowClient)
        assert it.held == most * len(FRAME) <= LIMIT
        it.shell.peer.outbox.seal(drop=True)  # as the connection does
        assert it.held == most * len(FRAME), "the session still has them"
        assert not it.deliver(most + 2, most + 2)
        it.shell.peer.outbox.end()
        assert it.held == 0
        it.answer.set()


@pytest.mark.parametrize("answers", [False, True])
async def test_what_is_kept_for_a_client_that_leaves_is_given_back(answers):
    async with Bench(**V0_ONLY) as bench:
        it = Opening(bench)
        await it.begin()
        assert it.deliver(7, 1)
        it.shell.peer.outbox.end()
        it.shell.lose()
        if answers:
            it.answer.set()
            await until(lambda: not bench.gateway.pending_close_calls)
        assert it.held == it.shell.peer.outbox.waiting == 0
        it.answer.set()
