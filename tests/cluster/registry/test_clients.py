import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.cluster.registry.clients import decode, encode, field_of
from appliance.cluster.registry.ledger import OVERHEAD, Ledger
from appliance.cluster.seal import Seal
from appliance.crypto import SigningKey
from appliance.errors import Malformed
from appliance.gateway.nodes import Known
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import Principal
from tests.cluster.nodes import CANISTER, SEAL

OTHER = Seal(KeyIdentity(SigningKey.generate("ed25519")), "main")
WHO = {"node": "a", "incarnation": "a" * 16}
KNOWN = st.builds(
    Known,
    st.binary(max_size=29).map(Principal),
    st.just(CANISTER),
    st.sampled_from(["v0", "v1", "v2"]),
    st.binary(max_size=70),
    st.text(max_size=40),
    st.binary(max_size=29),
    st.binary(max_size=300),
    st.just(""),
    st.just(""),
)


@given(KNOWN)
def test_what_a_node_writes_is_read_by_the_others(known: Known) -> None:
    value, field = encode(known, SEAL, **WHO), field_of(known.canister_id, known.client_key)
    assert decode(value, [OTHER, SEAL], node="a", field=field) == known._replace(**WHO)


@given(KNOWN, st.data())
def test_what_was_altered_is_not_believed(known: Known, data: st.DataObject) -> None:
    value, field = encode(known, SEAL, **WHO), field_of(known.canister_id, known.client_key)
    position = data.draw(st.integers(0, len(value) - 1))
    altered = bytearray(value)
    altered[position] ^= data.draw(st.integers(1, 255))
    for wrong in (bytes(altered), value[:position], value + b"\0"):
        with pytest.raises(Malformed):
            decode(wrong, [SEAL], node="a", field=field)
    with pytest.raises(Malformed):
        decode(value, [OTHER], node="a", field=field)


@given(KNOWN, KNOWN)
def test_an_entry_counts_for_its_node_its_process_and_its_client_alone(known: Known, other: Known) -> None:
    value, field = encode(known, SEAL, **WHO), field_of(known.canister_id, known.client_key)
    with pytest.raises(Malformed):
        decode(value, [SEAL], node="b", field=field)
    with pytest.raises(Malformed):
        decode(b"b" * 16 + value[16:], [SEAL], node="a", field=field)
    if known.client_key != other.client_key:
        with pytest.raises(Malformed):
            decode(value, [SEAL], node="a", field=field_of(other.canister_id, other.client_key))


# --- the ledger -------------------------------------------------------------------------------------------------------

FIELDS = st.sampled_from([b"x", b"y"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "remove", "reserve", "flush", "restart"]), FIELDS, st.binary(max_size=9))
)


@given(STEPS, st.integers(0, 400))
@example([("remove", b"k", b""), ("reserve", b"k", b"")], 400)
def test_the_engine_has_in_the_end_what_the_ledger_has_and_no_more_than_its_limit(steps, limit):
    ledger, engine, wanted = Ledger(limit), dict[bytes, bytes](), dict[bytes, bytes]()
    for name, field, value in steps:
        match name:
            case "put":
                ledger.put(field, value)
            case "reserve":  # as with a claim, which writes it
                if ledger.reserve(field, value):
                    engine[field] = value
            case "remove":
                ledger.remove(field)
            case "restart":
                ledger.restart(list(wanted.items()))
            case "flush":
                flush(ledger, engine, 2)
        if name in ("put", "reserve") and field in ledger and ledger._sizes[field] == OVERHEAD + 1 + len(value):
            wanted[field] = value
        wanted = {key: each for key, each in wanted.items() if key in ledger}
        assert ledger.bytes <= limit
        assert ledger.bytes == sum(ledger._sizes.values())
    flush(ledger, engine, 1000)
    assert not ledger.waiting
    assert engine.keys() == ledger._sizes.keys()


def flush(ledger: Ledger, engine: dict[bytes, bytes], limit: int) -> None:
    batch = ledger.batch(limit)
    for field, value in batch.items():
        if value is None:
            engine.pop(field, None)
        else:
            engine[field] = value
    ledger.written(batch)


def test_what_changes_while_the_engine_is_told_is_told_again():
    ledger = Ledger(1000)
    ledger.put(b"x", b"1")
    batch = ledger.batch(10)
    ledger.remove(b"x")
    ledger.written(batch)
    assert ledger.batch(10) == {b"x": None}


def test_clients_without_room_are_counted():
    ledger = Ledger(200)
    for number in range(5):
        ledger.put(bytes([number]), b"value")
    assert (len(ledger), ledger.dropped) == (2, 3)


@pytest.mark.parametrize("is_under_way", [False, True])
def test_the_entry_of_a_client_that_returns_before_the_next_batch_stays(is_under_way: bool) -> None:
    ledger, engine = Ledger(1000), {b"x": b"earlier"}
    ledger.remove(b"x")
    batch = ledger.batch(10) if is_under_way else {}
    assert ledger.reserve(b"x", b"later")
    engine[b"x"] = b"later"  # its claim writes the entry
    if is_under_way:  # the engine may make the batch after the claim
        assert batch == {b"x": None}
        del engine[b"x"]
        ledger.written(batch)
    flush(ledger, engine, 10)
    assert engine == {b"x": b"later"}
    assert not ledger.waiting
