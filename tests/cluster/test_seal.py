from hypothesis import given
from hypothesis import strategies as st

from appliance.cluster.seal import TAG_BYTES, Seal
from appliance.crypto import SigningKey
from appliance.ic.identity import KeyIdentity

KEY = SigningKey.generate("ed25519")
SEAL = Seal(KeyIdentity(KEY), "main")

parts = st.lists(st.binary(max_size=9), max_size=4)


def test_every_holder_of_the_identity_makes_the_same_seal():
    again = Seal(KeyIdentity(SigningKey.from_pem(KEY.to_pem())), "main")
    assert again.proves(SEAL.tag("close", b"1"), "close", b"1")


def test_another_identity_or_another_cluster_makes_another():
    tag = SEAL.tag("close", b"1")
    assert len(tag) == TAG_BYTES
    assert not Seal(KeyIdentity(SigningKey.generate("ed25519")), "main").proves(tag, "close", b"1")
    assert not Seal(KeyIdentity(KEY), "other").proves(tag, "close", b"1")
    assert not SEAL.proves(tag, "drain", b"1")
    assert not SEAL.proves(b"", "close", b"1")


@given(parts, parts)
def test_a_tag_proves_its_own_parts_only(one: list[bytes], other: list[bytes]):
    assert SEAL.proves(SEAL.tag("close", *one), "close", *other) == (one == other)


def test_nothing_that_is_printed_shows_the_key():
    assert repr(SEAL) == "Seal()"
