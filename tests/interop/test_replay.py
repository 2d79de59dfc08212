"""Every recorded session is lived again, and what is not as recorded is noticed."""

import pytest
from websockets.exceptions import ConnectionClosed

from appliance.errors import EnvelopeExpired, SignatureInvalid
from tests.interop.recording import FILES, Recording, content_of, is_certified
from tests.interop.replay import play


@pytest.fixture(params=FILES)
def recording(request: pytest.FixtureRequest) -> Recording:
    """Each recording."""
    return Recording.load(request.param)


def sent(recording: Recording) -> list[int]:
    """The numbers of the client's frames."""
    return [
        number
        for number, frame in enumerate(recording.frames)
        if frame["dir"] == "client->gateway" and frame["kind"] == "WS binary"
    ]


async def test_a_recorded_session_is_lived_again(recording: Recording) -> None:
    await play(recording)


async def test_a_client_frame_with_another_signature_is_refused(recording: Recording) -> None:
    for number in sent(recording):
        frame = recording.frames[number]
        signature = bytes.fromhex(frame["sig"] if "sig" in frame else frame["sender_sig"])
        broken = bytes([signature[0] ^ 1]) + signature[1:]
        changed = recording.with_frame(number, content_of(frame).replace(signature, broken))
        with pytest.raises(ConnectionClosed) as refusal:
            await play(changed)
        assert refusal.value.rcvd is not None
        assert refusal.value.rcvd.code == SignatureInvalid.close_code


@pytest.mark.parametrize("release", [release for release, (generation, _) in FILES.items() if generation != "v0"])
async def test_five_minutes_later_the_calls_have_expired(release: str) -> None:
    with pytest.raises(ConnectionClosed) as refusal:
        await play(Recording.load(release), late_ns=300 * 10**9)
    assert refusal.value.rcvd is not None
    assert refusal.value.rcvd.code == EnvelopeExpired.close_code


async def test_a_message_that_is_not_the_recorded_one_is_noticed(recording: Recording) -> None:
    first, second, *_ = (number for number, frame in enumerate(recording.frames) if is_certified(frame))
    with pytest.raises(AssertionError):
        await play(recording.with_frame(first, content_of(recording.frames[second])))
