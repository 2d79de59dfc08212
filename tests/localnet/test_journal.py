import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto import StateTree
from appliance.localnet.journal import Journal


class Owner:
    value = 0


STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "remove", "set", "leaf", "remove leaf"]), st.integers(0, 4), st.integers(0, 9)),
    max_size=30,
)


Things = tuple[dict[int, int], Owner, StateTree]


def act(journal: Journal, steps: list[tuple[str, int, int]], things: Things) -> None:
    mapping, owner, tree = things
    for step, key, value in steps:
        match step:
            case "put":
                journal.put(mapping, key, value)
            case "remove" if key in mapping:
                assert journal.remove(mapping, key) not in (None, -1)
            case "set":
                journal.set(owner, "value", value)
            case "leaf":
                journal.put_leaf(tree, [b"a", bytes([key])], bytes([value]))
            case "remove leaf":
                journal.remove_leaf(tree, [b"a", bytes([key])])


def seen(things: Things) -> object:
    mapping, owner, tree = things
    leaves = {key: tree.get([b"a", bytes([key])]) for key in range(5)}
    return dict(mapping), owner.value, leaves


@given(STEPS, STEPS)
def test_roll_back_gives_what_was_at_the_last_commit(
    kept: list[tuple[str, int, int]], dropped: list[tuple[str, int, int]]
) -> None:
    journal = Journal()
    things: Things = ({}, Owner(), StateTree())
    act(journal, kept, things)
    journal.commit()
    before = seen(things)
    act(journal, dropped, things)
    journal.roll_back()
    assert seen(things) == before
    journal.roll_back()
    assert seen(things) == before


def test_removing_what_is_not_there() -> None:
    journal, tree = Journal(), StateTree()
    journal.remove_leaf(tree, [b"none"])
    with pytest.raises(KeyError):
        journal.remove({}, "none")
