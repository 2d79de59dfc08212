import pytest

from appliance import errors
from appliance.localnet.http.errors import http_error_of, utc

NOW = 1_746_143_718_005_285_297


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (NOW, "2025-05-01 23:55:18.005285297 UTC"),
        (1_746_144_048_000_000_000, "2025-05-02 00:00:48 UTC"),
        (1_652_112_029_709_000_000, "2022-05-09 16:00:29.709 UTC"),
        (1_652_112_029_709_100_000, "2022-05-09 16:00:29.709100 UTC"),
    ],
)
def test_times_are_written_as_the_replica_does(time_ns: int, text: str) -> None:
    assert utc(time_ns) == text


def test_agents_find_the_words_they_look_for() -> None:
    expired = errors.EnvelopeExpired(expiry_ns=NOW - 10**9, now_ns=NOW)
    ahead = errors.EnvelopeTooFarAhead(expiry_ns=NOW + 10**12, now_ns=NOW, limit_ns=330 * 10**9)
    assert http_error_of(expired, now_ns=NOW).text == (
        "Invalid request expiry: Specified ingress_expiry not within expected range: "
        "Minimum allowed expiry: 2025-05-01 23:55:18.005285297 UTC, "
        "Maximum allowed expiry: 2025-05-02 00:00:48.005285297 UTC, "
        "Provided expiry:        2025-05-01 23:55:17.005285297 UTC"
    )
    assert http_error_of(ahead, now_ns=NOW).text.startswith(
        "Invalid request expiry: Specified ingress_expiry not within"
    )


@pytest.mark.parametrize(
    ("error", "status", "start"),
    [
        (errors.SignatureInvalid("bad"), 400, "Invalid signature: "),
        (errors.KeyUnusable("bad"), 400, "Invalid signature: Invalid public key: "),
        (errors.SenderMismatch("a", "b"), 400, "The user id a does not match the public key"),
        (errors.DelegationExpired("old"), 400, "Invalid delegation expiry: "),
        (errors.DelegationInvalid("long"), 400, "Invalid delegation: "),
        (errors.CanisterNotTargeted("other"), 400, "Canister is not one of the delegation targets"),
        (errors.Malformed("envelope", "no map"), 400, "Failed to deserialize cbor request: "),
        (errors.TooLarge("nonce", 33, 32), 413, "Malformed request: nonce has 33 bytes"),
        (errors.TooLarge("read_state", 1001, 1000, "paths"), 400, "Malformed request: read_state has 1001 paths"),
    ],
)
def test_every_refusal_has_a_status_and_words(error: errors.GatewayError, status: int, start: str) -> None:
    answer = http_error_of(error, now_ns=NOW)
    assert answer.status == status
    assert answer.text.startswith(start)
