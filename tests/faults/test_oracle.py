from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from appliance.client.errors import (
    AckTimeout,
    ClosedByCanister,
    ConnectFailed,
    ConnectionClosed,
    SequenceGap,
)
from appliance.errors import GatewayError
from appliance.ic.principal import Principal
from tests.faults.oracle import FORBIDDEN, SessionRecord, Tally, problems_of, tally_of

TEXTS = st.lists(st.text(max_size=3), unique=True, max_size=6)
COME_BACK = st.builds(
    ConnectionClosed, st.sampled_from([1001, 1012, 1013, 4000, 4101, 4103, 4499]), st.just("come back")
)


def found(
    *,
    sent: Sequence[str],
    canister_received: Sequence[str],
    canister_sent: Sequence[str],
    received: Sequence[str],
    end: GatewayError | None,
) -> list[str]:
    record = SessionRecord("a client", Principal(b"\x04"), list(sent), list(received), end)
    return list(problems_of(record, canister_received, canister_sent))


@given(TEXTS, TEXTS)
def test_all_is_well_where_everything_arrived_once_and_in_order(there: list[str], back: list[str]) -> None:
    assert not found(sent=there, canister_received=there, canister_sent=back, received=back, end=None)


@given(TEXTS, TEXTS, st.integers(0, 6), st.integers(0, 6), COME_BACK)
def test_a_session_that_was_closed_may_lack_the_end(
    there: list[str], back: list[str], arrived: int, got: int, end: GatewayError
) -> None:
    assert not found(sent=there, canister_received=there[:arrived], canister_sent=back, received=back[:got], end=end)


@given(TEXTS, TEXTS, st.integers(0, 6), st.integers(0, 6), st.none() | COME_BACK)
def test_what_did_not_arrive_is_told_lost_or_silently_lost_by_how_the_session_ended(
    there: list[str], back: list[str], arrived: int, got: int, end: GatewayError | None
) -> None:
    record = SessionRecord("a client", Principal(b"\x04"), there, back[:got], end)
    tally = tally_of(record, there[:arrived], back)
    delivered = len(there[:arrived]) + len(back[:got])
    lost = len(there) + len(back) - delivered
    told, silent = (0, lost) if end is None else (lost, 0)
    assert tally == Tally(len(there) + len(back), delivered, told, silent, 0)


def test_what_arrives_again_is_repeated_and_not_delivered_twice() -> None:
    record = SessionRecord("a client", Principal(b"\x04"), ["a", "b"], ["x", "x"], None)
    assert tally_of(record, ["a", "a"], ["x"]) == Tally(offered=3, delivered=2, silently_lost=1, repeated=2)


@given(TEXTS, TEXTS, st.integers(0, 5), st.integers(0, 5))
def test_an_open_session_may_lack_nothing(there: list[str], back: list[str], arrived: int, got: int) -> None:
    assume(arrived < len(there) or got < len(back))
    problems = found(sent=there, canister_received=there[:arrived], canister_sent=back, received=back[:got], end=None)
    assert len(problems) == (arrived < len(there)) + (got < len(back))
    assert all(problem.startswith("silently lost") for problem in problems)


@given(TEXTS, TEXTS, st.one_of(st.none(), COME_BACK))
def test_whatever_is_no_beginning_is_wrong_even_in_a_session_that_was_closed(
    log: list[str], seen: list[str], end: GatewayError | None
) -> None:
    assume(seen != log[: len(seen)])
    assert found(sent=[], canister_received=[], canister_sent=log, received=seen, end=end)
    assert found(sent=log, canister_received=seen, canister_sent=[], received=[], end=end)


@given(st.lists(st.text(max_size=3), min_size=1, max_size=6), COME_BACK)
def test_a_message_that_is_doubled_is_wrong(log: list[str], end: GatewayError) -> None:
    doubled = [*log, log[-1]]
    assert found(sent=log, canister_received=doubled, canister_sent=[], received=[], end=end)
    assert found(sent=[], canister_received=[], canister_sent=log, received=doubled, end=end)


@pytest.mark.parametrize(
    "end",
    [
        *(ConnectionClosed(code, "") for code in sorted(FORBIDDEN)),
        *(ConnectionClosed(code, "") for code in (4500, 4510, 4999)),
        SequenceGap(1, 3),
        ClosedByCanister("WrongSequenceNumber"),
        ConnectFailed("ws://127.0.0.1:1", "refused"),
        AckTimeout([1], 10**9),
    ],
    ids=repr,
)
def test_no_fault_of_the_network_may_end_a_session_so(end: GatewayError) -> None:
    assert len(found(sent=[], canister_received=[], canister_sent=[], received=[], end=end)) == 1
