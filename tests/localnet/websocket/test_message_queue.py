"""Queues and their certified tree, with nothing around them. What canisters make of them is tested with these."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto import HashTree
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.canisters.python_canister import UndoLog
from appliance.localnet.websocket.message_queue import TREE_LABEL, MessageQueues
from tests.localnet.machine import CANISTER, START, principal

GATEWAY, OTHER = principal("gateway"), principal("other gateway")


def environment(time_ns: int = START) -> Environment:
    return Environment(CANISTER, GATEWAY, time_ns)


def queues(max_age_ns: int | None = None) -> MessageQueues:
    made = MessageQueues(UndoLog(), max_age_ns=max_age_ns)
    made.join(GATEWAY)
    made.join(OTHER)
    return made


@given(st.lists(st.tuples(st.sampled_from([GATEWAY, OTHER]), st.binary(max_size=5)), max_size=20), st.integers(0, 25))
def test_a_page_proves_its_messages_to_who_knows_the_certified_data(
    pushed: list[tuple[bytes, bytes]], first: int
) -> None:
    made, env = queues(), environment()
    for gateway, content in pushed:
        made.push(env, principal("gateway") if gateway == GATEWAY else OTHER, b"client", content)
    own = [content for gateway, content in pushed if gateway == GATEWAY]
    assert made.next_nonce(GATEWAY) == len(own)
    page = made.page(GATEWAY, first, 4)
    assert [m.content for m in page.messages] == own[first : first + 4]
    if page.messages:
        tree = HashTree.from_cbor(page.tree)
        assert tree.digest == env.certified_data
        for nonce, message in enumerate(page.messages, first):
            assert message.key == f"{GATEWAY}_{nonce:020}"
            assert tree.lookup([TREE_LABEL, message.key.encode()]) == hashlib.sha256(message.content).digest()


@given(kept=st.integers(1, 40), dropped=st.integers(1, 5))
def test_what_is_rolled_back_leaves_the_tree_as_it_is_certified(kept: int, dropped: int) -> None:
    """Its shape, too: the certified data is not set again."""
    undo_log, env = UndoLog(), environment()
    made = MessageQueues(undo_log, max_age_ns=None)
    made.join(GATEWAY)
    for _ in range(kept):
        made.push(env, GATEWAY, b"client", b"kept")
    undo_log.commit()
    for _ in range(dropped):
        made.push(environment(), GATEWAY, b"client", b"dropped")
    undo_log.roll_back()
    assert HashTree.from_cbor(made.page(GATEWAY, 0, 4).tree).digest == env.certified_data


def test_an_unknown_gateway_has_an_empty_queue_and_takes_no_messages() -> None:
    made = MessageQueues(UndoLog(), max_age_ns=None)
    assert GATEWAY not in made
    assert made.next_nonce(GATEWAY) == 0
    assert made.page(GATEWAY, 0, 10) == ([], b"", True)
    with pytest.raises(KeyError):
        made.push(environment(), GATEWAY, b"client", b"x")


@pytest.mark.parametrize(("max_age_ns", "kept"), [(None, [b"old", b"new"]), (10, [b"new"]), (11, [b"old", b"new"])])
def test_messages_are_kept_for_their_time_or_for_ever(max_age_ns: int | None, kept: list[bytes]) -> None:
    made = queues(max_age_ns)
    made.push(environment(), GATEWAY, b"client", b"old")
    made.push(environment(START + 11), GATEWAY, b"client", b"new")
    assert [m.content for m in made.page(GATEWAY, 0, 10).messages] == kept
    assert made.next_nonce(GATEWAY) == 2


@pytest.mark.parametrize(("max_age_ns", "known"), [(None, True), (10, False), (11, True)])
def test_a_gateway_without_clients_is_kept_for_that_time_too(max_age_ns: int | None, known: bool) -> None:
    made = queues(max_age_ns)
    made.leave(GATEWAY, now_ns=START)
    made.remove_unused(environment(START + 11))
    assert (GATEWAY in made) == known
    assert OTHER in made
