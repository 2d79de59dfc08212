"""What single replicas know and answer."""

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.crypto import CandidInterface, SigningKey, hash_of_value, verify_signature
from appliance.ic.identity import KeyIdentity
from appliance.localnet.state.certification import QUERY_DOMAIN
from appliance.localnet.state.outcome import Reply
from appliance.localnet.subnet.node import LaggingNode
from appliance.localnet.wasm.canister import WasmCanister
from appliance.localnet.websocket.pingpong import PingPong
from tests.localnet.machine import SECOND
from tests.localnet.subnet.fleet import MS, USER, Fleet
from tests.localnet.wasm.modules import COUNTER, module

STEPS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 700), st.booleans()), max_size=12)


@settings(max_examples=30)
@given(STEPS)
def test_what_a_replica_knows_is_certified_is_a_beginning_and_grows(steps: list[tuple[int, int, bool]]) -> None:
    fleet = Fleet()
    heights = [node.height for node in fleet.nodes]
    for number, (replica, wait_ms, is_call) in enumerate(steps):
        if is_call:
            fleet.nodes[replica].submit(fleet.add(str(number)))
        fleet.clock.advance(wait_ms * MS)
        everything, height = fleet.journal(), fleet.subnet.latest.state.height
        for node in fleet.nodes[replica::6]:
            known = fleet.journal(node)
            assert known == everything[: len(known)]
            assert max(heights[node.number], height - 2) <= node.height <= height
            heights[node.number] = node.height
    fleet.clock.advance(5 * SECOND)
    posted = [str(number) for number, (_, _, is_call) in enumerate(steps) if is_call]
    assert sorted(fleet.journal(fleet.nodes[0])) == sorted(posted)


def test_replicas_differ_in_what_they_know() -> None:
    fleet = Fleet()
    fleet.nodes[0].submit(fleet.add("x"))
    fleet.clock.advance(2 * SECOND)
    assert {len(fleet.journal(node)) for node in fleet.nodes} == {0, 1}


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_polls_of_lagging_replicas_verify(generation: Literal["v1", "v2"]) -> None:
    """A poll has messages, their tree and a certificate: all of one height, or the gateway refuses it."""
    canister = PingPong(generation=generation, gateway=USER.principal if generation == "v1" else None)
    fleet, seen = Fleet(canister=canister), []
    methods = CandidInterface(canister.did).methods
    poll = methods["ws_get_messages"].arguments.encode({"nonce": 0})
    for client in range(4):
        argument: dict[str, object] = {"client_nonce": 7}
        if generation == "v2":
            argument["gateway_principal"] = USER.principal
        who = KeyIdentity(SigningKey.from_secret("ed25519", bytes([client]) * 32))
        opening = fleet.request("call", "ws_open", methods["ws_open"].arguments.encode(argument), who=who)
        fleet.nodes[client].submit(opening)
        for _ in range(5):
            fleet.clock.advance(300 * MS)
            seen.append([_messages(fleet, node, poll, generation) for node in fleet.nodes])
    assert any(len(set(counts)) > 1 for counts in seen)
    assert max(seen[-1]) == 8  # a service message and a ping for each client


def _messages(fleet: Fleet, node: LaggingNode, poll: bytes, generation: Literal["v1", "v2"]) -> int:
    outcome = node.query(fleet.request("query", "ws_get_messages", poll), "flat")
    assert isinstance(outcome, Reply)
    number: Literal[1, 2] = 1 if generation == "v1" else 2
    reply = fleet.verifier.open_poll_reply(
        outcome.arg, fleet.canister, generation=number, now_ns=fleet.clock.now_ns(), gateway=None
    )
    return len(reply.messages)


def test_wasm_lags_too() -> None:
    fleet = Fleet(canister=WasmCanister(module(COUNTER)))
    fleet.nodes[0].submit(fleet.request("call", "add"))
    fleet.clock.advance(1500 * MS)

    def counted(node: LaggingNode) -> int:
        outcome = node.query(fleet.request("query", "peek"), "flat")
        assert isinstance(outcome, Reply)
        return outcome.arg[0]

    assert {counted(node) for node in fleet.nodes} == {1, 2}  # peek counts itself, in vain
    fleet.clock.advance(2 * SECOND)
    assert {counted(node) for node in fleet.nodes} == {2}


async def test_an_outcome_is_certified_where_it_was_waited_for() -> None:
    fleet = Fleet()
    for number, node in enumerate(fleet.nodes):
        request = fleet.add(str(number))
        assert fleet.status(node, request) is None
        assert await fleet.waiting(node.execute(request, wait_s=10)) == [True]
        assert fleet.status(node, request) == b"replied"
    assert len(fleet.journal()) == 13


async def test_a_slow_call_is_accepted_only_and_posting_it_again_has_no_effect_but_its_outcome() -> None:
    fleet = Fleet()
    request = fleet.add("once")
    first, *others = fleet.nodes
    assert await fleet.waiting(first.execute(request, wait_s=0.05)) == [False]
    assert fleet.journal() == []
    known = await fleet.waiting(*(node.execute(request, wait_s=10) for node in others))
    assert set(known) == {True}
    assert all(fleet.status(node, request) == b"replied" for node in others)
    assert await fleet.waiting(first.execute(request, wait_s=10)) == [True]
    fleet.clock.advance(5 * SECOND)
    assert fleet.journal() == ["once"]


async def test_a_replica_waits_once_for_a_call() -> None:
    fleet = Fleet()
    request, node = fleet.add("once"), fleet.nodes[3]
    assert await fleet.waiting(node.execute(request, wait_s=10), node.execute(request, wait_s=10)) == [True, False]
    assert await fleet.waiting(node.execute(request, wait_s=10)) == [True]
    assert fleet.journal() == ["once"]


async def test_a_replica_that_has_given_up_waits_again() -> None:
    fleet = Fleet()
    request, node = fleet.add("once"), fleet.nodes[3]
    assert await fleet.waiting(node.execute(request, wait_s=0.05)) == [False]
    assert await fleet.waiting(node.execute(request, wait_s=10)) == [True]


def test_a_call_posted_again_before_a_replica_knows_its_outcome_is_not_executed_again() -> None:
    fleet = Fleet()
    request = fleet.add("once")
    fleet.nodes[0].submit(request)
    fleet.clock.advance(1500 * MS)
    assert fleet.journal() == ["once"]
    for node in fleet.nodes:
        node.submit(request)
    fleet.clock.advance(5 * SECOND)
    assert fleet.journal() == ["once"]


def test_what_is_learned_late_does_not_lead_back() -> None:
    fleet = Fleet()
    node, old = fleet.nodes[0], fleet.subnet.latest
    fleet.clock.advance(5 * SECOND)
    height = node.height
    node.learn(old)
    assert node.height == height > old.state.height


def test_every_node_signs_with_its_key_and_the_time_of_its_state() -> None:
    fleet = Fleet()
    fleet.clock.advance(2500 * MS)
    times = set()
    for node in fleet.nodes:
        signature = node.sign({"status": "replied"}, b"r" * 32)
        times.add(signature["timestamp"])
        path = [b"subnet", fleet.replica.authority.subnet_id, b"node", signature["identity"], b"public_key"]
        tree = fleet.verifier.verify_certificate(
            node.certificate([path, [b"time"]], "sharded"), fleet.canister, now_ns=fleet.clock.now_ns()
        )
        assert tree.time_ns == signature["timestamp"]
        signed = {"status": "replied", "timestamp": signature["timestamp"], "request_id": b"r" * 32}
        key = tree.lookup(path)
        assert key is not None
        verify_signature(key, signature["signature"], QUERY_DOMAIN + hash_of_value(signed))
    assert len(times) > 1
