from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.polling.claims import ENOUGH, Claims
from appliance.gateway.polling.queue_position import Missing

names = st.integers(0, 3).map(str)


@given(st.lists(st.tuples(names, st.integers(11, 14)), min_size=1, max_size=ENOUGH - 1), st.booleans())
def test_a_hole_is_believed_as_far_as_enough_endpoints_show_it(claims, is_inside):
    it, got = Claims(), {}
    for number, (endpoint, nonce) in enumerate(claims, 1):
        got[endpoint] = nonce
        needed = 4 if is_inside else 2
        believed = it.confirm(Missing(10, nonce, is_inside), endpoint, 4) is not None
        assert believed == (len(got) >= needed and nonce == min(got.values()))
        assert not (believed and number == 1)


@given(st.booleans())
def test_a_single_endpoint_must_answer_twice(is_inside):
    it = Claims()
    assert not it.confirm(Missing(10, 12, is_inside), "one", 1)
    assert it.confirm(Missing(10, 12, is_inside), "one", 1)


def test_claims_about_another_place_count_for_nothing():
    it = Claims()
    assert not it.confirm(Missing(10, 12, is_inside=False), "one", 2)
    assert not it.confirm(Missing(12, 14, is_inside=False), "two", 2)
    assert not it.confirm(Missing(10, 12, is_inside=False), "two", 2)


def test_an_endpoint_that_is_down_does_not_stop_the_queue_for_ever():
    it = Claims()
    believed = [it.confirm(Missing(10, 12, is_inside=True), "one", 2) for _ in range(ENOUGH)]
    assert [hole is not None for hole in believed] == [False] * (ENOUGH - 1) + [True]


def unreadable(client_key):
    return Missing(10, 11, is_inside=True, client_key=client_key)


def test_a_message_that_does_not_decode_is_of_the_client_that_all_endpoints_name():
    it = Claims()
    assert it.confirm(unreadable(b"one"), "one", 3) is None
    assert it.confirm(unreadable(b"one"), "two", 3) is None
    assert it.confirm(unreadable(b"one"), "three", 3) == unreadable(b"one")


def test_where_endpoints_name_different_clients_or_leave_it_out_it_may_have_been_anybodys():
    for other in (unreadable(b"other"), Missing(10, 11, is_inside=True)):
        it = Claims()
        assert it.confirm(unreadable(b"one"), "one", 2) is None
        assert it.confirm(other, "two", 2) == unreadable(None)
