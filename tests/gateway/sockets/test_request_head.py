from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import TooLarge
from appliance.gateway.sockets.request_head import MAX_HEAD, Head

REQUEST = b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"


@given(st.lists(st.integers(0, len(REQUEST)), max_size=8), st.binary(max_size=20))
def test_a_request_is_whole_when_its_last_byte_came_however_it_was_cut(cuts: list[int], behind: bytes):
    everything = REQUEST + behind
    edges = [0, *sorted(cuts), len(everything)]
    head, fed = Head(), 0
    for start, end in pairwise(edges):
        whole = head.feed(everything[start:end])
        fed = end
        if whole is not None:
            assert fed >= len(REQUEST)
            assert whole == (REQUEST, everything[len(REQUEST) : fed])
            return
        assert fed < len(REQUEST)
    raise AssertionError("it was never whole")


def test_a_request_that_does_not_end_is_too_large():
    head = Head()
    assert head.feed(b"x" * MAX_HEAD) is None
    with pytest.raises(TooLarge, match=f"HTTP request has {MAX_HEAD + 1} bytes, the limit is {MAX_HEAD}"):
        head.feed(b"x")
