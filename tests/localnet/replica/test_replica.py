import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

import pytest

from appliance.crypto import CandidTypes, HashTree, Request, SigningKey, Verifier, decode_cbor, encode_cbor
from appliance.errors import PathUnknown
from appliance.ic.envelope import sign_request
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import MANAGEMENT_CANISTER, Principal
from appliance.localnet.canisters.canister import Environment, ExecutionError, Reject, Trap
from appliance.localnet.canisters.python_canister import PythonCanister
from appliance.localnet.replica.replica import Replica
from appliance.localnet.state.certification import Authority, canister_id
from appliance.localnet.state.clock import ManualClock
from appliance.localnet.state.ingress import KEEP_NS
from appliance.localnet.state.outcome import Rejection, Reply
from tests.localnet.machine import CANISTER, SECOND, START

ALICE = KeyIdentity(SigningKey.from_secret("ed25519", bytes(32)))
TEXT = CandidTypes("(text)")


class Log(PythonCanister):
    """Remembers what it was told, certifies the last, and has a timer."""

    did: ClassVar[str] = """service : {
  append : (text) -> (nat);
  all : () -> (vec text) query;
  proof : () -> (blob) query;
  fail : (text) -> ();
  remind : (nat64) -> ();
}
"""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[int, str] = {}
        self.times: list[int] = []
        self.rings: list[int] = []

    def append(self, env: Environment, line: str) -> int:
        self.times.append(env.time_ns)
        env.set_certified_data(line.encode())
        self.undo_log.put(self.lines, len(self.lines), line)
        return len(self.lines)

    def all(self, env: Environment) -> list[str]:
        return list(self.lines.values())

    def proof(self, env: Environment) -> bytes:
        return env.data_certificate() or b""

    def fail(self, env: Environment, how: str) -> None:
        env.set_certified_data(b"never")
        env.set_timer(1)
        raise (Reject if how == "reject" else Trap)(how)

    def remind(self, env: Environment, after_ns: int) -> tuple[()]:
        env.set_timer(env.time_ns + after_ns)
        return ()

    def timer(self, env: Environment) -> None:
        self.rings.append(env.time_ns)
        if len(self.rings) == 2:
            raise Trap("a timer may fail")


class Host:
    """Breaks the interface: raises what is no ExecutionError."""

    module_hash = bytes(32)
    metadata: ClassVar[dict[str, bytes]] = {}

    def install(self, arg: bytes, env: Environment) -> None:
        if arg:
            raise Trap("not installed")

    def update(self, method: str, arg: bytes, env: Environment) -> bytes:
        raise RuntimeError("a fault of the host")

    query = update

    def on_timer(self, env: Environment) -> None:
        raise RuntimeError("a fault of the host")


class Net:
    """A replica with a hand-moved clock and requests signed by Alice."""

    def __init__(self, *, subnet: bool = False) -> None:
        self.clock = ManualClock(START)
        self.replica = Replica(Authority(seed=b"replica", subnet=subnet), self.clock)
        self.canister = Log()
        self.id = self.replica.create_canister(self.canister)
        self.verifier = Verifier(self.replica.authority.root_key)

    def request(self, kind: str, method: str, arg: bytes = b"DIDL\0\0", target: bytes | None = None) -> Request:
        target = self.id if target is None else target
        now_ns = self.clock.now_ns()
        signed = sign_request(
            ALICE,
            kind,  # type: ignore[arg-type]
            now_ns=now_ns,
            canister_id=target,
            method_name=method,
            arg=arg,
        )
        return self.verifier.open_request(signed.body, now_ns=now_ns)

    def append(self, line: str) -> Request:
        return self.request("call", "append", TEXT.encode(line))


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    made = Net()
    async with made.replica:
        yield made


async def test_messages_are_executed_in_the_order_they_came(net: Net) -> None:
    calls = [net.replica.submit(net.append(str(number))) for number in range(250)]
    assert {call.status for call in calls} == {"received"}
    await net.replica.settle()
    assert {call.status for call in calls} == {"replied"}
    assert list(net.canister.lines.values()) == [str(number) for number in range(250)]
    assert net.canister.times == sorted(set(net.canister.times)), "time is another one in every execution"


async def test_all_outcomes_of_a_round_share_one_signature(net: Net) -> None:
    height = net.replica.state.height
    calls = [net.replica.submit(net.append(str(number))) for number in range(50)]
    await net.replica.settle()
    for call in calls:
        certificate = net.replica.state.certificate([call.path], "sharded")
        tree = net.verifier.verify_certificate(certificate, net.id, now_ns=net.clock.now_ns())
        assert tree.lookup((*call.path, b"status")) == b"replied"
    assert net.replica.state.height == height + 1


async def test_a_request_is_executed_once(net: Net) -> None:
    request = net.append("once")
    first = net.replica.submit(request)
    assert net.replica.submit(request) is first
    await net.replica.settle()
    assert net.replica.submit(request) is first
    await net.replica.settle()
    assert len(net.canister.lines) == 1


async def test_an_outcome_is_certified_and_forgotten_after_a_while(net: Net) -> None:
    call = net.replica.submit(net.append("x"))
    await asyncio.wait_for(call.done.wait(), 5)

    def status() -> bytes | None:
        certificate = net.replica.state.certificate([call.path], "flat")
        tree = net.verifier.verify_certificate(certificate, net.id, now_ns=net.clock.now_ns())
        return tree.lookup((*call.path, b"status"))

    assert status() == b"replied"
    net.clock.advance(KEEP_NS + SECOND)
    net.replica.submit(net.append("y"))
    await net.replica.settle()
    assert status() is None


@pytest.mark.parametrize(
    ("method", "arg", "expected"),
    [
        ("fail", "reject", Rejection(4, "reject", "IC0406")),
        (
            "fail",
            "trap",
            Rejection(5, f"Error from Canister {CANISTER}: Canister called `ic0.trap` with message: 'trap'", "IC0503"),
        ),
        (
            "missing",
            "",
            Rejection(5, f"Error from Canister {CANISTER}: Canister has no update method 'missing'", "IC0536"),
        ),
    ],
)
async def test_failures_are_rejections_without_effect(net: Net, method: str, arg: str, expected: Rejection) -> None:
    call = net.replica.submit(net.request("call", method, TEXT.encode(arg)))
    await net.replica.settle()
    path = (b"request_status", call.request_id)
    assert net.replica.state.get((*path, b"reject_code")) == bytes([expected.code])
    assert net.replica.state.get((*path, b"reject_message")) == expected.message.encode()
    assert net.replica.state.get((*path, b"error_code")) == expected.error_code.encode()
    assert net.replica.state.get((b"canister", net.id, b"certified_data")) == b""
    assert net.canister.rings == []


async def test_a_faulty_host_fails_alone(net: Net) -> None:
    broken = net.replica.create_canister(Host())
    call = net.replica.submit(net.request("call", "x", target=broken))
    after = net.replica.submit(net.append("after"))
    await net.replica.settle()
    assert (call.status, after.status) == ("rejected", "replied")
    assert isinstance(net.replica.query(net.request("query", "x", target=broken), "flat"), Rejection)


def test_what_does_not_exist_is_not_admitted() -> None:
    net = Net()
    nowhere = canister_id(77)
    absent = Rejection(3, f"Canister {nowhere} not found", "IC0301")
    assert net.replica.admit(net.request("call", "append", target=nowhere)) == absent
    assert net.replica.query(net.request("query", "all", target=nowhere), "flat") == absent
    management = net.replica.admit(net.request("call", "raw_rand", target=MANAGEMENT_CANISTER))
    assert management is not None
    assert management.message == "Management canister has no method 'raw_rand'"
    assert net.replica.admit(net.append("x")) is None


async def test_a_query_sees_the_latest_state_and_may_prove_it(net: Net) -> None:
    for line in ("first", "second"):
        net.replica.submit(net.append(line))
        await net.replica.settle()
        outcome = net.replica.query(net.request("query", "proof"), "flat")
        assert isinstance(outcome, Reply)
        certificate = CandidTypes("(blob)").decode(outcome.arg)[0]
        assert isinstance(certificate, bytes)
        tree = net.verifier.verify_certificate(certificate, net.id, now_ns=net.clock.now_ns())
        assert tree.lookup([b"canister", net.id, b"certified_data"]) == line.encode()


def test_the_delegation_in_a_data_certificate_has_the_ranges_of_the_version_that_asked() -> None:
    net = Net(subnet=True)
    subnet_id = net.replica.authority.subnet_id
    flat, sharded = [b"subnet", subnet_id, b"canister_ranges"], [b"canister_ranges", subnet_id, canister_id(0)]
    for ranges, shown, pruned in (("flat", flat, sharded), ("sharded", sharded, flat)):
        outcome = net.replica.query(net.request("query", "proof"), ranges)  # type: ignore[arg-type]
        assert isinstance(outcome, Reply)
        certificate: Any = decode_cbor(CandidTypes("(blob)").decode(outcome.arg)[0])  # type: ignore[arg-type]
        delegation: Any = decode_cbor(certificate["delegation"]["certificate"])
        tree = HashTree.from_cbor(encode_cbor(delegation["tree"]))
        assert tree.lookup(shown)
        with pytest.raises(PathUnknown):
            tree.lookup(pruned)


async def test_an_update_is_not_found_by_a_query(net: Net) -> None:
    outcome = net.replica.query(net.request("query", "append", TEXT.encode("x")), "flat")
    assert isinstance(outcome, Rejection)
    assert "Canister has no query method 'append'" in outcome.message


async def test_a_timer_rings_once_when_its_time_has_come(net: Net) -> None:
    nat64 = CandidTypes("(nat64)")
    for after, rings in ((10 * SECOND, 1), (20 * SECOND, 2)):
        net.replica.submit(net.request("call", "remind", nat64.encode(after)))
        await net.replica.settle()
        net.clock.advance(after - SECOND)
        await net.replica.settle()
        assert len(net.canister.rings) == rings - 1
        net.clock.advance(2 * SECOND)
        await net.replica.settle()
        net.clock.advance(100 * SECOND)
        await net.replica.settle()
        assert len(net.canister.rings) == rings
    call = net.replica.submit(net.append("the failed timer did no harm"))
    await net.replica.settle()
    assert call.status == "replied"


def test_ids_are_given_in_order_and_only_once() -> None:
    replica = Net().replica
    assert str(replica.create_canister(Log())) == "bd3sg-teaaa-aaaaa-qaaba-cai"
    taken = replica.create_canister(Log(), specified_id=canister_id(0x8000000000100003))
    assert replica.create_canister(Log()) == canister_id(0x8000000000100004)
    for wrong in (taken, canister_id(0x9000000000000000), Principal(b"\x04")):
        with pytest.raises(ValueError, match=r"is taken|is not of this subnet"):
            replica.create_canister(Log(), specified_id=wrong)


def test_a_failed_installation_changes_nothing() -> None:
    replica = Net().replica
    with pytest.raises(ExecutionError):
        replica.create_canister(Host(), arg=b"fail")
    assert canister_id(0x8000000000100002) not in replica.canisters


async def test_a_reinstalled_canister_has_an_empty_state(net: Net) -> None:
    net.replica.submit(net.append("x"))
    net.replica.submit(net.request("call", "remind", CandidTypes("(nat64)").encode(SECOND)))
    await net.replica.settle()
    fresh = Log()
    net.replica.reinstall_canister(net.id, fresh)
    net.clock.advance(10 * SECOND)
    await net.replica.settle()
    assert (fresh.rings, net.canister.rings) == ([], [])
    assert net.replica.state.get((b"canister", net.id, b"certified_data")) == b""
    outcome = net.replica.query(net.request("query", "all"), "flat")
    assert outcome == Reply(CandidTypes("(vec text)").encode([]))
    with pytest.raises(KeyError):
        net.replica.reinstall_canister(canister_id(77), Log())


def test_the_state_tells_what_is_installed() -> None:
    net = Net()
    controller = Principal(ALICE.principal)
    chosen = net.replica.create_canister(Log(), controllers=iter([controller]))
    get: Callable[[tuple[bytes, ...]], bytes | None] = net.replica.state.get
    assert get((b"canister", chosen, b"metadata", b"candid:service")) == Log.did.encode()
    assert get((b"canister", chosen, b"controllers")) == b"\xd9\xd9\xf7\x81\x58\x1d" + controller
    assert len(get((b"canister", chosen, b"module_hash")) or b"") == 32
