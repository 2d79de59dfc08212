import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cluster.seal import Seal
from appliance.cluster.shared import entries
from appliance.crypto import SigningKey
from appliance.errors import EntryForged, EntryReplayed, EntryUnknown
from appliance.gateway.sharing import Answer
from appliance.ic.identity import KeyIdentity

SEAL = Seal(KeyIdentity(SigningKey.generate("ed25519")), "main")
QUEUE = entries.queue_of(b"gateway", b"canister")
EPOCH, NEXT = "00" * 8, "ff" * 8
ANSWER = Answer(b"query", b"reply")
ENTRY = entries.seal(SEAL, QUEUE, EPOCH, 7, ANSWER)


@given(st.binary(max_size=50), st.binary(max_size=200), st.integers(1, 2**64 - 1))
def test_an_entry_has_the_answer_as_it_came(query: bytes, body: bytes, number: int) -> None:
    entry = entries.seal(SEAL, QUEUE, EPOCH, number, Answer(query, body))
    assert entries.unseal(SEAL, QUEUE, EPOCH, number, entry) == Answer(query, body)


@pytest.mark.parametrize("place", [(EPOCH, 8), (EPOCH, 6), (NEXT, 7)])
def test_an_entry_counts_at_its_own_place_only(place: tuple[str, int]) -> None:
    with pytest.raises(EntryReplayed):
        entries.unseal(SEAL, QUEUE, *place, ENTRY)


def test_an_entry_of_another_queue_is_forged() -> None:
    with pytest.raises(EntryForged):
        entries.unseal(SEAL, entries.queue_of(b"gateway", b"other"), EPOCH, 7, ENTRY)
    assert entries.queue_of(b"ab", b"c") != entries.queue_of(b"a", b"bc")


@given(st.integers(1, len(ENTRY) - 1), st.integers(1, 255))
def test_no_byte_of_an_entry_can_be_altered(at: int, by: int) -> None:
    altered = ENTRY[:at] + bytes([ENTRY[at] ^ by]) + ENTRY[at + 1 :]
    with pytest.raises(EntryForged):
        entries.unseal(SEAL, QUEUE, EPOCH, 7, altered)


@given(st.binary(max_size=100))
def test_what_no_node_wrote_is_forged_or_of_another_schema(entry: bytes) -> None:
    with pytest.raises((EntryForged, EntryUnknown)):
        entries.unseal(SEAL, QUEUE, EPOCH, 7, entry)


@given(st.integers(0, len(ENTRY) - 1))
def test_an_entry_that_was_cut_is_none(end: int) -> None:
    with pytest.raises((EntryForged, EntryUnknown)):
        entries.unseal(SEAL, QUEUE, EPOCH, 7, ENTRY[:end])


def test_an_entry_of_another_release_says_so() -> None:
    with pytest.raises(EntryUnknown) as error:
        entries.unseal(SEAL, QUEUE, EPOCH, 7, b"\x02" + ENTRY[1:])
    assert (error.value.theirs, error.value.ours) == (2, 1)
