from hypothesis import given
from hypothesis import strategies as st

from appliance.localnet.canisters.calls import Cycles

AMOUNT = st.integers(0, 2**128 - 1)


@given(balance=AMOUNT, available=AMOUNT, wanted=AMOUNT)
def test_cycles_are_accepted_as_far_as_they_are_there_and_none_is_lost(
    balance: int, available: int, wanted: int
) -> None:
    cycles = Cycles(balance, available)
    taken = cycles.accept(wanted)
    assert taken == min(wanted, available)
    assert (cycles.balance, cycles.available) == (balance + taken, available - taken)


@given(balance=AMOUNT, wanted=AMOUNT)
def test_no_more_is_burnt_than_there_is(balance: int, wanted: int) -> None:
    cycles = Cycles(balance)
    assert cycles.burn(wanted) == min(wanted, balance)
    assert cycles.balance == balance - min(wanted, balance)
