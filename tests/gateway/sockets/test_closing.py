from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, CloseCode

from appliance.errors import ClosedByOperator, GatewayError, GatewayStopping, SlowClient
from appliance.gateway.sockets.closing import MAX_REASON, close_of, cut_reason, end_of, reason_of

NO_CODE = Close(CloseCode.NO_STATUS_RCVD, "")


@given(st.text())
def test_reasons_fit_a_control_frame_and_stay_text(text):
    cut = cut_reason(text)
    assert len(cut.encode()) <= MAX_REASON
    assert cut == text or (cut.endswith("…") and text.startswith(cut[:-1]))


@pytest.mark.parametrize(
    ("error", "code", "told", "reason"),
    [
        (
            SlowClient(5, 4),
            4100,
            "the client reads, or its canister answers, too slowly: 5 bytes buffered, limit 4",
            "slow_client",
        ),
        (ClosedByOperator("bye", 4000), 4000, "bye", "closed_by_operator"),
        (ValueError("a secret"), 1011, str(GatewayError()), "internal"),
    ],
)
def test_what_a_client_is_told(error, code, told, reason):
    assert close_of(error) == (code, told)
    assert reason_of(error) == reason


def test_a_client_that_closes_is_no_error():
    assert reason_of(None) is None


@pytest.mark.parametrize(
    ("sent", "received", "cause", "expected"),
    [
        (None, None, None, (1006, "network", "connection lost", None)),
        (
            Close(CloseCode.NO_STATUS_RCVD, ""),
            Close(CloseCode.NO_STATUS_RCVD, ""),
            None,
            (1005, "client", "client", None),
        ),
        (Close(1000, "bye"), Close(1000, "bye"), None, (1000, "client", "client: bye", None)),
        (Close(1012, "x"), None, GatewayStopping(), (1012, "gateway", str(GatewayStopping()), "stopping")),
    ],
)
def test_an_end_is_plain_numbers_and_words(sent, received, cause, expected):
    parser = SimpleNamespace(close_sent=sent, close_rcvd=received, problem=None)
    end = end_of(parser, cause, 7)
    assert end == (7, *expected)
    assert type(end.code) is int  # what the library has would be logged as <CloseCode.NO_STATUS_RCVD: 1005>
