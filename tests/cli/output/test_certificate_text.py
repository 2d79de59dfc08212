"""Laws of ``cli/certificate_text.py``: any bytes are shown, none break it."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from appliance.cli.output.certificate_text import age_text, label_text, leaf_text, time_text, tree_lines
from appliance.crypto import HashTree, decode_cbor

NAMES = st.sampled_from(
    [b"time", b"canister", b"subnet", b"canister_ranges", b"controllers", b"reject_code", b"public_key", b"reply"]
)
LABELS = st.recursive(
    st.binary(max_size=40),
    lambda below: st.dictionaries(NAMES | st.binary(max_size=40), below, max_size=4),
    max_leaves=12,
).filter(lambda labels: isinstance(labels, dict))


@given(LABELS)
def test_any_tree_is_shown(labels: dict[bytes, object]) -> None:
    tree = HashTree.from_labels(labels)  # type: ignore[arg-type]
    node = decode_cbor(tree.to_cbor())
    text = "\n".join(tree_lines(node))  # type: ignore[arg-type]
    assert text.isprintable() or "\n" in text
    assert all(line.isprintable() for line in text.split("\n"))


@given(st.lists(st.text(max_size=5), max_size=3).map(tuple), st.binary(max_size=300))
def test_labels_and_leaves_are_printable_and_short(path: tuple[str, ...], data: bytes) -> None:
    for text in (label_text(path, data), leaf_text(path, data)):
        assert text.isprintable()
        assert 0 < len(text) < 200


@given(st.integers(0, 2**64 - 1))
def test_any_time_is_shown(time_ns: int) -> None:
    assert str(time_ns % 10**9).zfill(9) in time_text(time_ns) or "ns after 1970" in time_text(time_ns)


def test_times_are_read_by_people() -> None:
    moment = datetime(2025, 11, 22, 7, 34, 56, tzinfo=UTC)
    assert time_text(int(moment.timestamp()) * 10**9 + 5) == "2025-11-22 07:34:56.000000005 UTC"
    assert age_text(0) == "0 seconds ago"
    assert age_text(10**9) == "1 second ago"
    assert age_text(-90 * 10**9) == "in 90 seconds"
    assert age_text(150 * 10**9) == "2 minutes ago"
    assert age_text(3 * 86400 * 10**9) == "3 days ago"
