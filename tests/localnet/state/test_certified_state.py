from appliance.crypto import Verifier
from appliance.localnet.state.certification import Authority
from appliance.localnet.state.certified_state import REFRESH_NS, CertifiedState
from appliance.localnet.state.clock import ManualClock
from tests.localnet.machine import CANISTER, START

LEAF = (b"canister", CANISTER, b"certified_data")


def make() -> tuple[CertifiedState, ManualClock, Verifier]:
    authority, clock = Authority(seed=b"state"), ManualClock(START)
    return CertifiedState(authority, clock), clock, Verifier(authority.root_key)


def test_a_certificate_shows_the_latest_state_and_proves_absence() -> None:
    state, _, verifier = make()
    for value in (b"first", b"second"):
        state.set(LEAF, value)
        tree = verifier.verify_certificate(state.certificate([LEAF], "flat"), CANISTER, now_ns=START)
        assert tree.lookup(LEAF) == value
    state.delete(LEAF)
    tree = verifier.verify_certificate(state.certificate([LEAF], "flat"), CANISTER, now_ns=START)
    assert tree.lookup(LEAF) is None


def test_readers_of_one_state_share_a_signature() -> None:
    state, clock, _ = make()
    state.set(LEAF, b"x")
    first = state.leaf_certificate(LEAF, "flat")
    clock.advance(REFRESH_NS)
    assert state.leaf_certificate(LEAF, "flat") is first
    state.certificate([[b"subnet"]], "flat")
    assert state.height == 1


def test_an_unchanged_state_gets_a_new_time_now_and_then() -> None:
    state, clock, verifier = make()
    first = state.leaf_certificate(LEAF, "flat")
    clock.advance(REFRESH_NS + 1)
    second = state.leaf_certificate(LEAF, "flat")
    times = [verifier.verify_certificate(c, CANISTER, now_ns=clock.now_ns()).time_ns for c in (first, second)]
    assert times == [START, START + REFRESH_NS + 1]


def test_time_grows_even_where_the_clock_stands_still() -> None:
    state, clock, _ = make()
    times = [state.next_time() for _ in range(3)]
    clock.advance(10)
    times.append(state.next_time())
    assert times == [START, START + 1, START + 2, START + 10]
