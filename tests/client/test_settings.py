"""What the arguments of `connect` mean together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.client.errors import ConnectFailed
from appliance.client.sessions.session import Generation
from appliance.client.settings import GENERATIONS, gateways_of, generation_of, registration_of
from appliance.crypto import SigningKey
from appliance.errors import ConfigError

KEY = SigningKey.generate("ed25519")


@pytest.mark.parametrize(
    ("urls", "chosen", "expected"),
    [
        (["ws://a"], None, "v2"),
        (["ws://a/"], None, "v2"),
        (["ws://a/v0"], None, "v0"),
        (["ws://a/v1/"], None, "v1"),
        (["wss://a:1/icws/v1?x=/v2"], None, "v1"),
        (["ws://a/v3"], None, "v2"),
        (["ws://v1"], None, "v2"),
        (["ws://a"], "v0", "v0"),
        (["ws://a/v1"], "v1", "v1"),
        (["ws://a/v1", "ws://b/v1"], None, "v1"),
        (["ws://a/v1", "ws://b"], "v1", "v1"),
    ],
)
def test_the_generation_is_chosen_or_named_by_the_path(
    urls: list[str], chosen: Generation | None, expected: Generation
) -> None:
    assert generation_of(urls, chosen) == expected


@pytest.mark.parametrize(
    ("urls", "chosen", "sentence"),
    [
        (["ws://a/v1"], "v2", "v2 is chosen, but the path of ws://a/v1 is that of v1"),
        (["ws://a", "ws://b/v0"], "v1", "v1 is chosen, but the path of ws://b/v0 is that of v0"),
        (["ws://a/v1", "ws://b/v2"], None, "of different generations by their paths: v1, v2"),
        (["ws://a/v1", "ws://b"], None, "of different generations by their paths: v1, v2"),
        (["ws://a"], "v3", "'v3' is none; there are v0, v1, v2"),
    ],
)
def test_a_contradiction_is_a_sentence(urls: list[str], chosen: Generation, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        generation_of(urls, chosen)


@given(st.lists(st.sampled_from(["/v0", "/v1", "/v2", "", "/", "/x"]), min_size=1), st.sampled_from(GENERATIONS))
def test_what_is_chosen_is_what_is_spoken_or_an_error(paths: list[str], chosen: Generation) -> None:
    named = {path[1:] for path in paths if path in ("/v0", "/v1", "/v2")}
    urls = [f"ws://a{path}" for path in paths]
    if named <= {chosen}:
        assert generation_of(urls, chosen) == chosen
    else:
        with pytest.raises(ConfigError):
            generation_of(urls, chosen)


def test_gateways_are_one_or_a_list() -> None:
    assert gateways_of("ws://a") == ("ws://a",)
    assert gateways_of(["ws://a", "wss://b/v2"]) == ("ws://a", "wss://b/v2")
    with pytest.raises(ConfigError, match="no gateway"):
        gateways_of([])
    with pytest.raises(ConnectFailed, match="http://b"):
        gateways_of(["ws://a", "http://b"])


def test_only_v0_registers_and_needs_to_know_where() -> None:
    assert registration_of("v2", None, None, direct=False) is None
    for generation in ("v1", "v2"):
        with pytest.raises(ConfigError, match=f"client_key.*{generation}"):
            registration_of(generation, "http://a", KEY, direct=False)
        with pytest.raises(ConfigError, match=f"direct.*{generation}"):
            registration_of(generation, "http://a", None, direct=True)
    with pytest.raises(ConfigError, match="network_url"):
        registration_of("v0", None, None, direct=False)


def test_a_session_has_the_given_key_or_one_of_its_own() -> None:
    given_key = registration_of("v0", "http://a", KEY, direct=False)
    fresh = registration_of("v0", "http://a", None, direct=True)
    assert given_key is not None
    assert fresh is not None
    assert given_key.key() is given_key.key() is KEY
    assert fresh.key().public_key != fresh.key().public_key
