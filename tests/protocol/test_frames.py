from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from appliance.protocol.frames import binary_frame


@given(st.sampled_from([0, 1, 125, 126, 127, 65535, 65536, 70000]) | st.integers(0, 300))
def test_a_client_reads_what_was_framed(size):
    payload = bytes(index % 251 for index in range(size))
    client = ClientProtocol(parse_uri("ws://gateway/"), state=State.OPEN)
    client.receive_data(binary_frame(payload))
    (frame,) = client.events_received()
    assert (frame.opcode, frame.fin, frame.data) == (Opcode.BINARY, True, payload)
    assert client.state is State.OPEN
