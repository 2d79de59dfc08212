"""A client of one generation that meets a gateway of another says that the path may be wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.client.errors import OtherGeneration
from appliance.client.sessions.session import Generation, State
from appliance.client.sessions.wrong_generation import detect_wrong_generation
from appliance.errors import GatewayError
from tests.client.canister import HANDSHAKE, NOW_NS, V0, V1, V2, WIRES, Canister, SeedCanister, Wire

FIRST_WORDS: dict[str, list[bytes | str]] = {
    "v0": ["1", SeedCanister().message(b"")],
    "v1": [Canister().open()],
    "v2": [HANDSHAKE],
}
"""What a client may hear of a gateway first."""
MEETINGS = [
    (wire, frame) for wire in WIRES for other in FIRST_WORDS for frame in FIRST_WORDS[other] if other != wire.generation
]


@pytest.mark.parametrize(("wire", "frame"), MEETINGS, ids=lambda value: getattr(value, "generation", ""))
def test_the_first_words_of_another_generation_are_known_for_what_they_are(wire: Wire, frame: bytes | str) -> None:
    session = wire.session()
    session.start(now_ns=NOW_NS)
    with pytest.raises(GatewayError, match="is this the right wire path") as caught:
        session.receive(frame, now_ns=NOW_NS)
    assert session.state is State.CLOSED
    assert wire.generation in str(caught.value) or wire is V2


@pytest.mark.parametrize(
    ("wire", "frame", "named"),
    [
        (V0, HANDSHAKE, "a handshake of v2"),
        (V1, HANDSHAKE, "a handshake of v2"),
        (V0, Canister(sequence_num=1).message(b""), "a message of v1 or v2"),
        (V1, SeedCanister(sequence_num=1).message(b""), "a message of v0"),
        (V2, SeedCanister(sequence_num=1).message(b""), "a message of v0"),
    ],
)
def test_frames_of_another_generation_are_named_before_and_after_the_opening(
    wire: Wire, frame: bytes, named: str
) -> None:
    for session in (wire.session(), wire.opened()):
        with pytest.raises(OtherGeneration) as caught:
            session.receive(frame, now_ns=NOW_NS)
        assert (caught.value.received, caught.value.generation) == (named, wire.generation)


@given(frame=st.binary(), generation=st.sampled_from(["v0", "v1", "v2"]))
def test_what_is_nobodys_is_left_to_the_caller(frame: bytes, generation: Generation) -> None:
    detect_wrong_generation(frame, generation)
