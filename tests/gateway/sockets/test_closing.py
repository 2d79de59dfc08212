import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ClosedByOperator, GatewayError, SlowClient
from appliance.gateway.sockets.closing import MAX_REASON, close_of, cut_reason, reason_of


@given(st.text())
def test_reasons_fit_a_control_frame_and_stay_text(text):
    cut = cut_reason(text)
    assert len(cut.encode()) <= MAX_REASON
    assert cut == text or (cut.endswith("…") and text.startswith(cut[:-1]))


@pytest.mark.parametrize(
    ("error", "code", "told", "reason"),
    [
        (SlowClient(5, 4), 4100, "the client reads too slowly: 5 bytes buffered, limit 4", "slow_client"),
        (ClosedByOperator("bye", 4000), 4000, "bye", "closed_by_operator"),
        (ValueError("a secret"), 1011, str(GatewayError()), "internal"),
    ],
)
def test_what_a_client_is_told(error, code, told, reason):
    assert close_of(error) == (code, told)
    assert reason_of(error) == reason


def test_a_client_that_closes_is_no_error():
    assert reason_of(None) is None
