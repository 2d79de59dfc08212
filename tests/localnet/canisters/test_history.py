from hypothesis import given
from hypothesis import strategies as st

from appliance.ic.principal import Principal
from appliance.localnet.canisters.history import KEPT, History

WHO = Principal(b"alice")


@given(st.lists(st.booleans(), max_size=2 * KEPT), st.integers(0, 3 * KEPT))
def test_all_are_counted_and_the_last_are_kept(users: list[bool], wanted: int) -> None:
    history = History()
    for version, is_user in enumerate(users):
        history.add({"code_uninstall": None}, WHO, is_user=is_user, time_ns=version, canister_version=version)
    assert history.total == len(users)
    found = history.recent(wanted)
    assert [change["canister_version"] for change in found] == list(range(len(users)))[-KEPT:][
        max(0, min(len(users), KEPT) - wanted) :
    ]
    assert ["from_user" in change["origin"] for change in found] == [
        users[change["canister_version"]] for change in found
    ]
    again = History.decode(history.encode(), history.total)
    assert again.total == history.total
    assert [change["timestamp_nanos"] for change in again.recent(wanted)] == [
        change["timestamp_nanos"] for change in found
    ]
