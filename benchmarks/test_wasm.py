"""What the host of Wasm takes for a message, on a module that counts and on the demo canister where it is built."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from appliance.crypto import CandidInterface, CandidTypes
from appliance.localnet.state.ingress import Call
from appliance.localnet.state.outcome import Reply
from appliance.localnet.wasm.loader import default_cache
from appliance.localnet.wasm.module import Module
from tests.localnet.machine import SECOND, principal
from tests.localnet.wasm.modules import ALICE, COUNTER, module
from tests.localnet.wasm.net import Net

DEMO = Path(__file__).resolve().parent.parent / "demo" / "canister"
DEMO_WASM = DEMO / "target" / "demo.wasm"
GATEWAY = principal("gateway")
APP_MESSAGE = CandidTypes("(record { text : text; timestamp : nat64 })")
needs_demo = pytest.mark.skipif(not DEMO_WASM.exists(), reason="the demo canister is not built: make demo-canister")


class Counter:
    """A canister that counts."""

    def __init__(self) -> None:
        self.net = Net()
        self.id = self.net.install(module(COUNTER))


class Conversation:
    """A client of the demo canister that says ping whenever it is asked to."""

    def __init__(self) -> None:
        self.net = Net()
        interface = CandidInterface((DEMO / "demo.did").read_text())
        self._methods = interface.methods
        self.id = self.net.install(DEMO_WASM.read_bytes(), interface.init.encode(None))
        self._numbers = itertools.count(1)
        self._call("ws_open", {"client_nonce": 1, "gateway_principal": GATEWAY})

    def _argument(self, method: str, *values: object) -> bytes:
        return self._methods[method].arguments.encode(*values)

    def _call(self, method: str, *values: object) -> None:
        outcome = self.net.call(self.id, method, self._argument(method, *values))
        assert isinstance(outcome, Reply), outcome

    def message(self) -> Call:
        """The next message of the client, taken and not executed."""
        self.net.clock.advance(SECOND // 1000)
        key = {"client_principal": ALICE, "client_nonce": 1}
        content = APP_MESSAGE.encode({"text": "ping", "timestamp": 1})
        message = {
            "client_key": key,
            "sequence_num": next(self._numbers),
            "timestamp": self.net.clock.now_ns(),
            "is_service_message": False,
            "content": content,
        }
        return self.net.submit(self.id, "ws_message", self._argument("ws_message", {"msg": message}, None))

    def poll(self) -> object:
        """What a gateway asks."""
        return self.net.query(self.id, "ws_get_messages", self._argument("ws_get_messages", {"nonce": 0}))


def per_message(benchmark: BenchmarkFixture, net: Net, submit: Callable[[], Call], rounds: int) -> None:
    """Time the execution of messages, each taken before."""

    def execute() -> None:
        net.replica.executor.execute()

    def setup() -> None:
        submit()

    benchmark.pedantic(execute, setup=setup, rounds=rounds)


def test_update_that_counts(benchmark: BenchmarkFixture) -> None:
    counter = Counter()
    per_message(benchmark, counter.net, lambda: counter.net.submit(counter.id, "add"), 500)


def test_query_that_counts(benchmark: BenchmarkFixture) -> None:
    counter = Counter()
    assert isinstance(benchmark(counter.net.query, counter.id, "peek"), Reply)


@needs_demo
def test_update_ping_pong(benchmark: BenchmarkFixture) -> None:
    conversation = Conversation()
    per_message(benchmark, conversation.net, conversation.message, 300)


@needs_demo
def test_query_fifty_messages(benchmark: BenchmarkFixture) -> None:
    conversation = Conversation()
    for _ in range(50):
        conversation.message()
    conversation.net.run()
    assert isinstance(benchmark(conversation.poll), Reply)


@needs_demo
def test_load_compiled_before(benchmark: BenchmarkFixture) -> None:
    data, cache = DEMO_WASM.read_bytes(), default_cache()
    Module(data, cache=cache)
    benchmark(Module, data, cache=cache)
