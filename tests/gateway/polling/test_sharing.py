"""What a page means that another node got."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.polling.queue_position import Ask, QueuePosition, Restarted, Taken
from tests.gateway.polling.queue_model import Message, Page


def page(first: int, last: int, *, time_ns: int = 100, life: int = 0, hole: int | None = None) -> Page:
    """The messages from ``first`` to ``last``, which the IC certified then."""
    nonces = [nonce for nonce in range(first, last + 1) if nonce != hole]
    return Page([Message(life, nonce, b"client", nonce + 1, 1000 * life + nonce) for nonce in nonces], True, time_ns)


def standing_at(next_nonce: int, time_ns: int = 50) -> QueuePosition:
    position = QueuePosition()
    position.begin(zero_is_end=False, greets=True)
    assert isinstance(position.judge(Ask(0), page(0, next_nonce - 1, time_ns=time_ns)), Taken)
    return position


@given(st.integers(1, 12), st.integers(0, 15), st.integers(0, 8))
def test_what_is_taken_is_what_an_own_poll_would_have_got(next_nonce: int, first: int, more: int) -> None:
    last = first + more
    position, alone = standing_at(next_nonce), standing_at(next_nonce)
    taken = position.judge_shared(page(first, last))
    if first > next_nonce:
        assert taken is None
        assert position.next_nonce == next_nonce
        return
    assert isinstance(taken, Taken)
    own = alone.judge(alone.next_ask(), page(next_nonce, last)) if last >= next_nonce else Taken()
    assert isinstance(own, Taken)
    assert list(taken.messages) == list(own.messages)
    assert position.next_nonce == alone.next_nonce == max(next_nonce, last + 1)
    assert not taken.lost
    assert not taken.forgotten


def test_a_page_with_a_hole_is_for_each_node_to_understand() -> None:
    assert standing_at(3).judge_shared(page(2, 6, hole=4)) is None
    assert standing_at(3).judge_shared(Page([], True, 100)) is None


def test_nothing_is_taken_while_a_newcomer_may_have_a_message() -> None:
    position = standing_at(3)
    position.opening_began()
    assert position.judge_shared(page(3, 4)) is None
    position.accepted(b"newcomer", 0)
    position.opening_ended()
    assert position.judge_shared(page(3, 4)) is None
    position.delivered(b"newcomer", 3)
    for _ in range(3):
        position.judge(position.next_ask(), Page([], True, None))
    assert position.judge_shared(page(3, 4)) == Taken(page(3, 4).messages)


def test_nothing_is_taken_before_this_node_has_taken_a_message_itself() -> None:
    position = QueuePosition()
    position.begin(zero_is_end=False, greets=True)
    assert position.judge_shared(page(0, 4)) is None


def test_an_older_certificate_that_shows_more_is_of_the_queue_before() -> None:
    position = standing_at(3, time_ns=100)
    assert position.judge_shared(page(3, 6, time_ns=99, life=1)) is None
    assert position.next_nonce == 3


def test_a_page_of_another_queue_proves_the_restart_where_its_certificate_is_newer() -> None:
    for shown in (page(0, 1, life=1), page(0, 6, life=1)):
        position = standing_at(5)
        assert position.judge_shared(shown) == Restarted(is_certified=True)
        assert position.next_nonce == 0
        assert not position.can_share
    older = standing_at(5, time_ns=200)
    assert older.judge_shared(page(0, 1, life=1)) == Taken(repeated=2)
    assert older.next_nonce == 5


def test_where_nothing_is_certified_nothing_proves_a_restart() -> None:
    position = standing_at(5)
    uncertified = Page(page(0, 1, life=1).messages, True, None)
    assert position.judge_shared(uncertified) == Taken(repeated=2)
