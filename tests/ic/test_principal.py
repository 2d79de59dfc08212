"""Laws of ``ic/principal.py``."""

from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Malformed
from appliance.ic.principal import ANONYMOUS, MANAGEMENT_CANISTER, Principal

IDS = st.binary(max_size=29).map(Principal)


def test_published_principals_have_their_text(vectors: ModuleType) -> None:
    for case in vectors.load_json("principals.json")["text"]:
        principal = Principal(bytes.fromhex(case["hex"]))
        assert str(principal) == case["text"]
        assert Principal.from_text(case["text"]) == principal


def test_keys_have_the_principals_that_mainnet_gave_them(vectors: ModuleType) -> None:
    for case in vectors.load_json("principals.json")["self_authenticating"]:
        key = bytes.fromhex(case["public_key_der"])
        assert str(Principal.self_authenticating(key)) == case["principal"]


def test_published_wrong_texts_are_refused(vectors: ModuleType) -> None:
    for text in vectors.load_json("principals.json")["reject"]:
        with pytest.raises(Malformed):
            Principal.from_text(text)


def test_upper_case_is_the_same_principal(vectors: ModuleType) -> None:
    for case in vectors.load_json("principals.json")["upper_case"]:
        assert Principal.from_text(case["text"]) == bytes.fromhex(case["hex"])


@given(IDS)
def test_text_and_bytes_mean_the_same(principal: Principal) -> None:
    assert Principal.from_text(str(principal)) == principal
    assert Principal.from_text(str(principal).upper()) == principal


@given(IDS, st.data())
def test_one_wrong_character_is_noticed(principal: Principal, data: st.DataObject) -> None:
    text = str(principal)
    at = data.draw(st.sampled_from([i for i, letter in enumerate(text) if letter != "-"]))
    letter = data.draw(st.sampled_from([c for c in "abcdefghijklmnopqrstuvwxyz234567" if c != text[at]]))
    with pytest.raises(Malformed):
        Principal.from_text(text[:at] + letter + text[at + 1 :])


@given(st.binary(min_size=30, max_size=40))
def test_too_many_bytes_are_no_principal(data: bytes) -> None:
    with pytest.raises(Malformed):
        Principal(data)


@given(st.text(max_size=70))
def test_any_text_is_a_principal_or_malformed(text: str) -> None:
    try:
        principal = Principal.from_text(text)
    except Malformed:
        return
    assert str(principal) == text.lower()


@pytest.mark.parametrize("text", ["", "aaaaaaa", "aaaaa-a-a", "aaaaa-aa-", "2vxsx-fae ", "2vxsx.fae"])
def test_wrongly_written_principals_are_refused(text: str) -> None:
    with pytest.raises(Malformed):
        Principal.from_text(text)


def test_a_principal_is_its_bytes() -> None:
    assert {ANONYMOUS: 1}[b"\x04"] == 1  # type: ignore[index]
    assert str(ANONYMOUS) == "2vxsx-fae"
    assert str(MANAGEMENT_CANISTER) == "aaaaa-aa"
