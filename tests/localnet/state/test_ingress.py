import pytest

from appliance.ic.principal import Principal
from appliance.localnet.state.certification import Authority
from appliance.localnet.state.certified_state import CertifiedState
from appliance.localnet.state.clock import ManualClock
from appliance.localnet.state.ingress import KEEP_NS, Call, IngressHistory
from appliance.localnet.state.outcome import Outcome, Rejection, Reply
from tests.localnet.machine import CANISTER, START


def call(number: int = 1) -> Call:
    return Call(bytes([number]) * 32, Principal(b"\x04"), CANISTER, "greet", b"")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def state(clock: ManualClock) -> CertifiedState:
    return CertifiedState(Authority(seed=b"ingress"), clock)


@pytest.mark.parametrize(
    ("outcome", "leaves"),
    [
        (Reply(b"DIDL"), {b"status": b"replied", b"reply": b"DIDL", b"reject_code": None}),
        (
            Rejection(4, "no", "IC0406"),
            {
                b"status": b"rejected",
                b"reply": None,
                b"reject_code": b"\x04",
                b"reject_message": b"no",
                b"error_code": b"IC0406",
            },
        ),
    ],
)
def test_a_call_is_received_processed_and_has_an_outcome(
    state: CertifiedState, outcome: Outcome, leaves: dict[bytes, bytes | None]
) -> None:
    history, one = IngressHistory(state), call()
    history.add(one)
    assert state.get((*one.path, b"status")) == b"received"
    history.start(one)
    assert state.get((*one.path, b"status")) == b"processing"
    assert not one.done.is_set()
    history.finish(one, outcome)
    assert one.done.is_set()
    assert {name: state.get((*one.path, name)) for name in leaves} == leaves


def test_outcomes_are_kept_for_five_minutes_at_least(state: CertifiedState, clock: ManualClock) -> None:
    history = IngressHistory(state)
    calls = [call(number) for number in range(3)]
    for number, one in enumerate(calls):
        history.add(one)
        if number < 2:
            history.finish(one, Reply(b""))
            clock.advance(1)
    assert KEEP_NS >= 330 * 10**9
    clock.advance(KEEP_NS - 2)
    history.prune()
    assert all(history.get(one.request_id) is one for one in calls)
    clock.advance(1)
    history.prune()
    assert [history.get(one.request_id) for one in calls] == [None, calls[1], calls[2]]
    assert state.get((*calls[0].path, b"status")) is None
    clock.advance(10 * KEEP_NS)
    history.prune()
    assert history.get(calls[2].request_id) is calls[2], "what has no outcome is not forgotten"
