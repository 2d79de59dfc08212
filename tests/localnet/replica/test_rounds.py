import pytest

from appliance.localnet.replica import rounds
from appliance.localnet.replica.rounds import HEARTBEAT_NS
from appliance.localnet.state.outcome import Reply
from tests.localnet.machine import SECOND
from tests.localnet.wasm.modules import COUNTER, module
from tests.localnet.wasm.net import Net


@pytest.fixture
def net() -> Net:
    return Net()


SELF = """(call $canister_self_copy (i32.const 100) (i32.const 0) (i32.const 10))
(call $call_new (i32.const 100) (i32.const 10) (i32.const 110) (i32.const 4)
  (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (drop (call $call_perform))"""
TICKING = f"""(table funcref (elem $rearm)) (data (i32.const 110) "tick")
(func $arm (drop (call $global_timer_set (i64.add (call $time) (i64.const {10 * SECOND})))))
(func $rearm (param i32) (call $arm))
(func (export "canister_init") (call $arm))
(func (export "canister_global_timer") {SELF})
(func (export "canister_update tick")
  (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1))) (call $msg_reply))
(func (export "canister_query ticks")
  (call $msg_reply_data_append (i32.const 0) (i32.const 1)) (call $msg_reply))"""


def test_a_timer_whose_callback_sets_it_again_goes_on(net: Net) -> None:
    canister = net.install(module(TICKING))
    for ticks in range(5):
        assert net.query(canister, "ticks") == Reply(bytes([ticks]))
        net.clock.advance(9 * SECOND)
        net.run()
        assert net.query(canister, "ticks") == Reply(bytes([ticks]))
        net.clock.advance(SECOND + 1000)
        net.run()
    assert not net.replica.canisters[canister].contexts


async def test_a_timer_wakes_the_replica(net: Net) -> None:
    async with net.replica:
        canister = net.install(module(TICKING))
        net.clock.advance(11 * SECOND)
        await net.replica.settle()
        assert net.query(canister, "ticks") == Reply(b"\1")


def test_a_canister_that_does_not_run_has_no_timers_until_it_does(net: Net) -> None:
    canister = net.install(module(TICKING))
    net.replica.stop_canister(canister, lambda done: None)
    net.clock.advance(11 * SECOND)
    net.run()
    net.replica.start_canister(canister)
    assert net.query(canister, "ticks") == Reply(b"\0")
    net.run()
    assert net.query(canister, "ticks") == Reply(b"\1")


BEATING = """(func (export "canister_heartbeat")
  (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
  (if (i64.eq (i64.load (i32.const 0)) (i64.const 3)) (then unreachable)))
(func (export "canister_query beats") (call $msg_reply_data_append (i32.const 0) (i32.const 1)) (call $msg_reply))"""


def test_a_heart_beats_every_second_and_goes_on_after_a_trap(net: Net) -> None:
    canister = net.install(module(BEATING))
    beats = []
    for _ in range(5):
        net.clock.advance(HEARTBEAT_NS)
        net.run()
        beats.append(net.query(canister, "beats"))
    assert beats == [Reply(bytes([number])) for number in (1, 2, 2, 2, 2)]
    net.replica.uninstall_canister(canister)
    assert not net.replica.rounds.is_due()


def test_a_round_ends_after_enough_work_and_the_next_goes_on(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    canister = net.install(module(COUNTER))
    calls = [net.submit(canister, "add") for _ in range(3)]
    monkeypatch.setattr(rounds, "ROUND_INSTRUCTIONS", 1)
    seen = []
    while net.replica.executor:
        net.replica.rounds.run_one()
        seen.append([call.status for call in calls].count("replied"))
    assert seen == [1, 2, 3]
    assert net.replica.executor.instructions > 3
