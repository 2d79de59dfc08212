"""What limits, timelines and histograms add to each message; together below 2 microseconds."""

import time
from itertools import count

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from appliance.config.schema import Config
from appliance.crypto import CandidTypes, read_envelope_unverified
from appliance.gateway.limits.rate_limits import Limits
from appliance.gateway.recording.measurements import Histogram
from appliance.gateway.recording.recorder import Recorder
from appliance.gateway.recording.timeline import PollRecord, Timeline
from appliance.gateway.recording.timestamps import of_frame
from appliance.protocol.events import Call, Relay
from tests.gateway.clients import Client
from tests.native.canister import CANISTER, NOW_NS

GENEROUS = Config.model_validate(
    {"rate_limits": {"messages_per_client": {"rate": "1000000/s", "burst": 1_000_000, "mode": "enforce"}}}
)
MESSAGE = CandidTypes(
    "(record {msg: record {client_key: record {client_principal: principal; client_nonce: nat64}; sequence_num: nat64; "
    "timestamp: nat64; is_service_message: bool; content: blob}})"
)
OPEN_CALL = Call(CANISTER, "ws_open", b"argument")  # type: ignore[arg-type]


@pytest.mark.parametrize("clients", [1, 50_000])
def test_limit(benchmark: BenchmarkFixture, clients: int) -> None:
    limits = Limits(GENEROUS)
    keys = [(CANISTER, f"client {number}") for number in range(clients)]
    for key in keys:
        assert limits.message(key) is None  # type: ignore[arg-type]
    assert benchmark(limits.message, keys[0]) is None


def test_story_of_a_frame(benchmark: BenchmarkFixture) -> None:
    benchmark(Timeline(NOW_NS).frame, NOW_NS, 300)


def test_story_of_a_relay(benchmark: BenchmarkFixture) -> None:
    benchmark(Timeline(NOW_NS).relay, NOW_NS, "ws_message", bytes(32), 300, 1000)


def test_story_of_a_delivery(benchmark: BenchmarkFixture) -> None:
    timeline, numbers = Timeline(NOW_NS), count()
    benchmark(lambda: timeline.deliver(PollRecord(next(numbers), NOW_NS), 7, 1500))


def test_histogram(benchmark: BenchmarkFixture) -> None:
    benchmark(Histogram().observe, 12_345_678)


def test_time_of_a_frame(benchmark: BenchmarkFixture) -> None:
    frame = b"\x82\x7e\x05\xdc" + b"k" * 120 + b"itimestamp\x1b" + NOW_NS.to_bytes(8, "big") + b"c" * 1400
    assert benchmark(of_frame, frame) == NOW_NS


def test_all_that_a_message_up_costs(benchmark: BenchmarkFixture) -> None:
    """Limit, frame, relay, answer and the hop to the IC, as the peer calls them, and the clocks that they read."""
    limits, recorder, timeline, clock = Limits(GENEROUS), Recorder(), Timeline(NOW_NS), time.time_ns
    key = (CANISTER, "client")

    def message() -> None:
        now_ns = clock()
        timeline.frame(now_ns, 300)
        limits.message(key)  # type: ignore[arg-type]
        relaying = (OPEN_CALL, 300, now_ns, clock())
        recorder.relaying(timeline, relaying)
        recorder.answered(timeline, relaying, b"reply", clock())

    benchmark(message)
    assert recorder.latency.gateway_to_ic.count == timeline.relayed > 0


def test_one_message_up_in_so_many_costs_more(benchmark: BenchmarkFixture) -> None:
    argument = MESSAGE.encode(
        {
            "msg": {
                "client_key": {"client_principal": CANISTER, "client_nonce": 7},
                "sequence_num": 1,
                "timestamp": NOW_NS,
                "is_service_message": False,
                "content": bytes(100),
            }
        }
    )
    call = read_envelope_unverified(Client().call("ws_message", argument))
    recorder, events = Recorder(), [Relay(call)]
    assert benchmark(recorder.measured, lambda: events, NOW_NS + 1) == events  # type: ignore[arg-type]
    assert recorder.latency.client_to_gateway.count


@pytest.mark.parametrize("messages", [1, 50])
def test_all_that_messages_down_cost(benchmark: BenchmarkFixture, messages: int) -> None:
    """Of one poll: its record, each delivery, and the hop to the sockets."""
    recorder, clock = Recorder(), time.time_ns
    timelines = [Timeline(NOW_NS) for _ in range(messages)]
    numbers = count()

    class Message:
        timestamp_ns = NOW_NS

    def poll() -> None:
        asked_ns = clock()
        came_ns = clock()
        polled = recorder.polled(
            CANISTER,
            next(numbers),
            [Message()] * messages,
            asked_ns=asked_ns,
            came_ns=came_ns,
            now_ns=clock(),
        )
        for timeline in timelines:
            timeline.deliver(polled, 7, 1500)
        recorder.latency.polled_to_written.observe(clock() - came_ns, messages)

    benchmark(poll)
