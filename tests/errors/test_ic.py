"""What a client is told of a rejection: the canister's own words, as far as a close frame has room."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import CertifiedReject
from appliance.gateway.sockets.closing import close_of, cut_reason

CANISTER = "Error from Canister bkyz2-fmaaa-aaaaa-qaaaq-cai: "
HINT = (
    ".\nConsider gracefully handling failures from this canister or altering the canister to handle exceptions. See "
    "documentation: https://internetcomputer.org/docs/current/references/execution-errors#trapped-explicitly"
)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (f"{CANISTER}Canister called `ic0.trap` with message: 'no seats left'", "no seats left"),
        (f"{CANISTER}Canister called `ic0.trap` with message: no seats left{HINT}", "no seats left"),
        (f"IC0503: {CANISTER}Canister trapped explicitly: no seats left", "no seats left"),
        (
            f"{CANISTER}Canister called `ic0.trap` with message: 'Panicked at 'no seats left', src/lib.rs:12:5'{HINT}",
            "Panicked at 'no seats left', src/lib.rs:12:5",
        ),
        (f"{CANISTER}Canister did not reply to the call", "Canister did not reply to the call"),
        (
            "Canister bkyz2-fmaaa-aaaaa-qaaaq-cai is out of cycles",
            "Canister bkyz2-fmaaa-aaaaa-qaaaq-cai is out of cycles",
        ),
        (CANISTER, CANISTER),
    ],
)
def test_the_canisters_own_words_come_first(message: str, words: str) -> None:
    error = CertifiedReject(5, message, "IC0503")
    assert close_of(error) == (4102, f"{words} (5, IC0503)")
    assert message in str(error)


@given(st.text(max_size=100))
def test_whatever_it_says_is_there(text: str) -> None:
    reason = close_of(CertifiedReject(5, f"{CANISTER}Canister trapped explicitly: {text}", None))[1]
    assert text.strip().strip(".")[:20] in reason or "Consider" in text or text.count("'") > 1
    assert len(cut_reason(reason).encode()) <= 123
