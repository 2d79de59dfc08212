from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.schema import Config
from appliance.control.http.encoding import timestamp
from appliance.control.http.problems import Invalid, NotFound
from appliance.control.models import SessionFilter
from appliance.control.routes.selection import Selection, canister_id_of, cursor, listed_canister, page
from appliance.gateway.connections import ConnectionInfo
from appliance.protocol.session import State

CHAT = "bkyz2-fmaaa-aaaaa-qaaaq-cai"
CONFIG = Config.model_validate({"canisters": [{"id": CHAT, "name": "chat"}]})


def facts(**more: Any) -> ConnectionInfo:
    values: dict[str, Any] = {
        "id": "9f86d081",
        "address": "10.1.2.3",
        "path": "/",
        "generation": "v2",
        "state": State.OPEN,
        "canister": CHAT,
        "client": "2vxsx-fae_1",
        "connected_at_ns": 10**9,
        "opened_at_ns": None,
    }
    numbers = dict.fromkeys(("frames_in", "bytes_in", "delivered", "bytes_out", "waiting_bytes", "waiting_calls"), 0)
    return ConnectionInfo(**values | numbers | more)


def is_meant(found: ConnectionInfo, *, now_ns: int = 10**9, **wanted: Any) -> bool:
    return found in Selection(SessionFilter(**wanted), CONFIG, now_ns=now_ns)


@pytest.mark.parametrize(
    ("address", "wanted", "expected"),
    [
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3/8", True),
        ("10.1.2.3", "::/0", False),
        ("::ffff:10.1.2.3", "10.0.0.0/8", True),
        ("2001:db8::1", "2001:db8::/32", True),
        ("fe80::1%eth0", "fe80::/10", True),
        ("2001:db8::1", "0.0.0.0/0", False),
        ("unix", "unix", True),
        ("unix", "0.0.0.0/0", False),
        ("10.1.2.3", "unix", False),
        ("", "0.0.0.0/0", False),
    ],
)
def test_addresses_are_of_a_network_or_not(address: str, wanted: str, expected: bool) -> None:
    assert is_meant(facts(address=address), address=wanted) is expected


def test_who_has_not_joined_is_of_no_canister_and_no_client() -> None:
    found = facts(canister=None, client=None, state=State.HELLO)
    assert is_meant(found, state="hello")
    assert not is_meant(found, canister="chat")
    assert not is_meant(found, client="2vxsx")


def test_an_age_is_reached_to_the_nanosecond() -> None:
    assert is_meant(facts(connected_at_ns=0), now_ns=5 * 10**9, min_age_s=5)
    assert not is_meant(facts(connected_at_ns=1), now_ns=5 * 10**9, min_age_s=5)


@given(st.dictionaries(st.sampled_from(["canister", "client", "address", "generation", "state"]), st.booleans()))
def test_all_that_is_given_must_hold(given: dict[str, bool]) -> None:
    right = {"canister": "chat", "client": "2vxsx", "address": "10.0.0.0/8", "generation": "v2", "state": "open"}
    wrong = {"canister": "x", "client": "2vxsy", "address": "11.0.0.0/8", "generation": "v1", "state": "new"}
    wanted = {key: (right if holds else wrong)[key] for key, holds in given.items()}
    assert is_meant(facts(), **wanted) is all(given.values())


def test_a_name_stands_for_its_canister() -> None:
    assert canister_id_of("chat", CONFIG) == canister_id_of(CHAT, CONFIG) == CHAT
    assert canister_id_of("talk", CONFIG) == "talk"
    assert listed_canister("chat", CONFIG) is listed_canister(CHAT, CONFIG) is CONFIG.canisters[0]
    with pytest.raises(NotFound, match="talk"):
        listed_canister("talk", CONFIG)


TIMES = st.lists(
    st.tuples(st.integers(0, 3500).map(lambda at: 10**18 + at), st.uuids().map(str)),
    max_size=12,
    unique_by=lambda pair: pair[1],
)


@given(TIMES, st.integers(1, 4), st.data())
def test_pages_have_everybody_who_stays_once_and_in_order(
    pairs: list[tuple[int, str]], limit: int, data: st.DataObject
) -> None:
    here = {identifier: facts(id=identifier, connected_at_ns=at_ns) for at_ns, identifier in pairs}
    stay = set(here)
    seen: list[ConnectionInfo] = []
    after = None
    while True:
        items, after = page(here.values(), after=after, limit=limit)
        assert len(items) <= limit
        seen += items
        if after is None:
            break
        for gone in data.draw(st.sets(st.sampled_from(sorted(here)), max_size=2)) if here else ():
            del here[gone]
            stay.discard(gone)
    keys = [(each.connected_at_ns // 1000, each.id) for each in seen]
    assert keys == sorted(set(keys))
    assert stay <= {each.id for each in seen}


@given(TIMES, st.integers(1, 4))
def test_a_session_is_its_own_cursor(pairs: list[tuple[int, str]], limit: int) -> None:
    """Pages of several nodes are put together from what they answer, where times are microseconds."""
    here = [facts(id=identifier, connected_at_ns=at_ns) for at_ns, identifier in pairs]
    items, after = page(here, after=None, limit=limit)
    assert after in (None, cursor(timestamp(items[-1].connected_at_ns), items[-1].id) if items else None)


@pytest.mark.parametrize("after", ["", ".", "x", "1", "-1.x", "1.5", "٣.x", "9" * 40 + ".x"])
def test_what_no_page_gave_is_refused_or_is_a_place(after: str) -> None:
    if after == "1.5":
        assert page([facts(connected_at_ns=1, id="4")], after=after, limit=1) == ([], None)
        return
    with pytest.raises(Invalid) as refused:
        page([], after=after, limit=1)
    assert [(fault.place, fault.key) for fault in refused.value.errors or ()] == [("query", "after")]
