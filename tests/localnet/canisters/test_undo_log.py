import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.localnet.canisters.undo_log import Journal


class Owner:
    value = 0


STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "remove", "set"]), st.integers(0, 4), st.integers(0, 9)),
    max_size=30,
)


Things = tuple[dict[int, int], Owner]


def act(journal: Journal, steps: list[tuple[str, int, int]], things: Things) -> None:
    mapping, owner = things
    for step, key, value in steps:
        match step:
            case "put":
                journal.put(mapping, key, value)
            case "remove" if key in mapping:
                assert journal.remove(mapping, key) not in (None, -1)
            case "set":
                journal.set(owner, "value", value)


def seen(things: Things) -> object:
    mapping, owner = things
    return dict(mapping), owner.value


@given(STEPS, STEPS)
def test_roll_back_gives_what_was_at_the_last_commit(
    kept: list[tuple[str, int, int]], dropped: list[tuple[str, int, int]]
) -> None:
    journal = Journal()
    things: Things = ({}, Owner())
    act(journal, kept, things)
    journal.commit()
    before = seen(things)
    act(journal, dropped, things)
    journal.roll_back()
    assert seen(things) == before
    journal.roll_back()
    assert seen(things) == before


def test_removing_what_is_not_there() -> None:
    with pytest.raises(KeyError):
        Journal().remove({}, "none")
