"""Where a client goes after an end, and how long it waits: laws of values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.client.errors import (
    AckInvalid,
    AckTimeout,
    ClosedByApplication,
    ClosedByCanister,
    ConnectFailed,
    ConnectionClosed,
    MessageForOther,
    MessageLate,
    MessageUntrusted,
    OpeningRefused,
    OtherGeneration,
    OutOfTurn,
    SequenceGap,
    SequenceRepeated,
    ServiceMessageInvalid,
    UnexpectedText,
)
from appliance.client.reconnect import Backoff, ReconnectState, Verdict, verdict
from appliance.errors import (
    CanisterRefused,
    CertificateSignatureInvalid,
    GatewayError,
    IcUnreachable,
    KeyUnusable,
    Malformed,
    OpenTimeout,
)

LIES: list[GatewayError] = [
    SequenceGap(2, 4),
    SequenceRepeated(2, 1),
    MessageForOther(2, "a", "b"),
    MessageLate(2, 10, 5),
    MessageUntrusted(2, CertificateSignatureInvalid("")),
    ServiceMessageInvalid(2, ""),
    AckInvalid(2, 5, 1, 3),
    OutOfTurn("a", "b"),
    OtherGeneration("a", "v1"),
    UnexpectedText("1", "v2"),
    Malformed("handshake", ""),
]
ACCIDENTS: list[GatewayError] = [
    ConnectFailed("ws://a", "refused"),
    OpenTimeout(60, "handshake"),
    AckTimeout([1], 1),
    OpeningRefused(),
    IcUnreachable("http://a", "down"),
    CanisterRefused("ws_register", "no"),
    ConnectionClosed(1006, ""),
]
ENDS: list[GatewayError] = [
    ClosedByCanister("KeepAliveTimeout"),
    ClosedByApplication(),
    ConnectionClosed(1000, ""),
    ConnectionClosed(4508, ""),
    KeyUnusable(""),
]


@pytest.mark.parametrize(
    ("causes", "expected"),
    [(LIES, Verdict.ELSEWHERE), (ACCIDENTS, Verdict.COME_BACK), (ENDS, Verdict.STAY_AWAY)],
)
def test_every_end_is_a_lie_an_accident_or_meant(causes: list[GatewayError], expected: Verdict) -> None:
    assert {type(cause).__name__: verdict(cause) for cause in causes} == {
        type(cause).__name__: expected for cause in causes
    }


@given(st.integers(4000, 4999))
def test_the_range_of_a_code_says_whether_to_come_back(code: int) -> None:
    expected = Verdict.COME_BACK if code < 4500 else Verdict.STAY_AWAY
    assert verdict(ConnectionClosed(code, "")) is expected


@pytest.mark.parametrize(
    ("code", "comes_back"),
    [
        *((code, True) for code in (1001, 1005, 1006, 1011, 1012, 1013, 1014)),
        *((code, False) for code in (1000, 1002, 1003, 1007, 1008, 1009, 1010)),
    ],
)
def test_registered_codes(code: int, comes_back: bool) -> None:
    expected = Verdict.COME_BACK if comes_back else Verdict.STAY_AWAY
    assert verdict(ConnectionClosed(code, "")) is expected


CHANCES = st.floats(0, 1)
BACKOFFS = st.builds(
    lambda first, more, factor, jitter: Backoff(first, factor, first + more, jitter),
    first=st.floats(0, 100),
    more=st.floats(0, 1000),
    factor=st.floats(1, 100),
    jitter=st.floats(0, 1),
)


@given(BACKOFFS, st.integers(0, 10**6), CHANCES)
def test_a_wait_lies_between_what_chance_may_take_off_and_the_longest(
    backoff: Backoff, tries: int, chance: float
) -> None:
    whole = backoff.wait_s(tries, chance=0)
    assert backoff.first <= whole <= backoff.longest
    assert 0 <= whole * (1 - backoff.jitter) <= backoff.wait_s(tries, chance=chance) <= whole


@given(BACKOFFS, st.integers(0, 1000))
def test_waits_do_not_shrink(backoff: Backoff, tries: int) -> None:
    assert backoff.wait_s(tries, chance=0) <= backoff.wait_s(tries + 1, chance=0)


def test_waits_grow_by_the_factor_up_to_the_longest() -> None:
    backoff = Backoff(first=1, factor=3, longest=20, jitter=0.5)
    assert [backoff.wait_s(tries, chance=0) for tries in range(5)] == [1, 3, 9, 20, 20]
    assert [backoff.wait_s(tries, chance=1) for tries in range(5)] == [0.5, 1.5, 4.5, 10, 10]


@pytest.mark.parametrize(
    "policy",
    [
        {"first": -1},
        {"first": 31},
        {"first": float("nan")},
        {"factor": 0.5},
        {"factor": 101},
        {"jitter": 1.5},
        {"jitter": -0.1},
        {"attempts": 0},
    ],
)
def test_what_cannot_be_a_policy(policy: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="backoff"):
        Backoff(**policy)  # type: ignore[arg-type]


# --- a reconnect state, whatever happens to it -----------------------------------------------------------------------

GATEWAYS = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=5, unique=True).map(tuple)
HAPPENINGS = st.lists(
    st.tuples(st.sampled_from(["loss", "failure", "success"]), st.sampled_from([*LIES, *ACCIDENTS, *ENDS])),
    max_size=30,
)


def after(state: ReconnectState, what: str, cause: GatewayError) -> ReconnectState | None:
    if what == "success":
        return state.after_success()
    return state.after_failure(cause) if what == "failure" else state.after_loss(cause, lasted_s=0)


@given(GATEWAYS, HAPPENINGS)
def test_a_liar_is_never_asked_again_and_nobody_else_is_forgotten(
    gateways: tuple[str, ...], happenings: list[tuple[str, GatewayError]]
) -> None:
    state: ReconnectState | None = ReconnectState(gateways, Backoff())
    liars: set[str] = set()
    for what, cause in happenings:
        assert state is not None
        if what != "success" and cause in LIES:
            liars.add(state.gateway)
        state = after(state, what, cause)
        if state is None:
            assert liars == set(gateways) or cause in ENDS
            return
        assert set(state.gateways) == set(gateways) - liars


@given(GATEWAYS, st.sampled_from(ACCIDENTS), st.integers(0, 20))
def test_gateways_are_asked_in_turn(gateways: tuple[str, ...], cause: GatewayError, failures: int) -> None:
    state: ReconnectState | None = ReconnectState(gateways, Backoff())
    for number in range(failures):
        assert state is not None
        assert state.gateway == gateways[number % len(gateways)]
        state = state.after_failure(cause)


@given(st.sampled_from(ACCIDENTS), st.integers(1, 10))
def test_attempts_are_counted_from_the_last_open_session(cause: GatewayError, attempts: int) -> None:
    start = ReconnectState(("a",), Backoff(attempts=attempts))
    state: ReconnectState | None = start
    for _ in range(attempts - 1):
        assert state is not None
        state = state.after_failure(cause)
    assert state is not None
    assert state.after_failure(cause) is None
    assert state.after_success().failures == 0
    lost = state.after_success().after_loss(cause, lasted_s=0)
    assert lost is not None
    assert lost.failures == 0


@given(BACKOFFS, st.integers(0, 20), st.floats(0, 10_000))
def test_only_a_session_that_lasted_makes_the_waits_short_again(backoff: Backoff, tries: int, lasted_s: float) -> None:
    state = ReconnectState(("a",), backoff, tries=tries).after_success()
    lost = state.after_loss(ConnectionClosed(1006, ""), lasted_s=lasted_s)
    assert lost is not None
    assert lost.tries == (0 if lasted_s > backoff.longest else tries + 1)


def test_the_first_loss_of_all_waits_the_first_time_only() -> None:
    state = ReconnectState(("a",), Backoff(first=1, jitter=0)).after_loss(ConnectionClosed(1006, ""), lasted_s=0)
    assert state is not None
    assert state.wait_s(chance=0) == 1
