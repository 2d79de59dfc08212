"""A client of canisters that speak IC-WebSocket, in Python: what `connect` returns is verified, in order and signed."""

from appliance.client.connecting import connect
from appliance.client.connection import Connection, Message
from appliance.client.errors import (
    AckInvalid,
    AckTimeout,
    ClientError,
    ClosedByApplication,
    ClosedByCanister,
    ConnectFailed,
    ConnectionClosed,
    MessageError,
    MessageForOther,
    MessageLate,
    MessageUntrusted,
    NotOpen,
    SequenceGap,
    SequenceRepeated,
    ServiceMessageInvalid,
)
from appliance.client.session import Limits

__all__ = [
    "AckInvalid",
    "AckTimeout",
    "ClientError",
    "ClosedByApplication",
    "ClosedByCanister",
    "ConnectFailed",
    "Connection",
    "ConnectionClosed",
    "Limits",
    "Message",
    "MessageError",
    "MessageForOther",
    "MessageLate",
    "MessageUntrusted",
    "NotOpen",
    "SequenceGap",
    "SequenceRepeated",
    "ServiceMessageInvalid",
    "connect",
]
