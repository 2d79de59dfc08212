import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.ic.principal import Principal
from appliance.localnet.canisters.management_types import METHODS, NOT_OFFERED
from appliance.localnet.management.rules import (
    CANISTERS_ONLY,
    EFFECTIVE_ID_FIELDS,
    FOR_EVERYBODY,
    MAX_CONTROLLERS,
    QUERIES,
    CallRejected,
    check_controllers,
    decode,
)


def test_the_tables_are_about_methods_that_there_are() -> None:
    assert {*EFFECTIVE_ID_FIELDS, *FOR_EVERYBODY, *CANISTERS_ONLY, *QUERIES} <= METHODS.keys()
    assert not NOT_OFFERED & METHODS.keys()


@given(st.sampled_from([*METHODS, *sorted(NOT_OFFERED), "nonsense"]), st.binary(max_size=40))
def test_whatever_comes_is_a_record_or_a_refusal(method: str, arg: bytes) -> None:
    try:
        assert isinstance(decode(method, arg), dict)
    except CallRejected as refusal:
        rejection = refusal.rejection
        assert (rejection.code, rejection.error_code) in {(4, "IC0406"), (4, "IC0408"), (5, "IC0536")}


def test_controllers_are_counted_once() -> None:
    some = [Principal(bytes([number])) for number in range(MAX_CONTROLLERS)]
    check_controllers(some * 2)
    with pytest.raises(CallRejected, match="11 controllers, at most 10"):
        check_controllers([*some, Principal(b"one more")])
