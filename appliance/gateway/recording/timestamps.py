"""Finds the timestamps that clients and canisters write into their messages, without decoding the whole message.

They are for measuring only: whoever wrote them may be wrong, and nothing is decided by them.
"""

from struct import Struct
from typing import cast

from appliance.crypto import CandidTypes, Request
from appliance.errors import CandidError
from appliance.protocol.events import Call

_MESSAGE = CandidTypes("(record {msg: record {timestamp: nat64}})")
_NUMBER = Struct(">Q")
_KEY = b"itimestamp\x1b"
"""In CBOR: the text ``timestamp``, and the head of a number of eight bytes, as all times since 1970 are."""
_LENGTH = len(_KEY) + _NUMBER.size


def of_frame(frame: bytes) -> int | None:
    """When a canister wrote the message of a frame (ns since 1970), None if that is not to be found."""
    at = frame.find(_KEY)
    if at < 0 or at + _LENGTH > len(frame):
        return None
    time_ns: int = _NUMBER.unpack_from(frame, at + len(_KEY))[0]
    return time_ns


def of_call(call: Request | Call) -> int | None:
    """When a client wrote the message that is relayed (ns since 1970), None if that is not to be found."""
    if call.method_name != "ws_message":
        return None
    if isinstance(call, Call):
        return of_frame(call.arg)  # v0: a blob with the CBOR that the client signed
    try:
        (arg,) = cast("tuple[dict[str, dict[str, int]]]", _MESSAGE.decode(call.arg))
    except CandidError:
        return None
    return arg["msg"]["timestamp"]
