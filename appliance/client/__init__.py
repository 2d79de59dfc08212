"""A Python client for IC WebSockets. It verifies the messages that it receives, in order, and signs those it sends.

`appliance.client.sync` has the same for programs without an event loop.
"""

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
    OpeningRefused,
    OtherGeneration,
    OutOfTurn,
    SequenceGap,
    SequenceRepeated,
    ServiceMessageInvalid,
    UnexpectedText,
)
from appliance.client.reconnect import Backoff, Change, Lost, Restored, RetryFailed
from appliance.client.sessions.session import Generation, Limits
from appliance.crypto import SigningKey
from appliance.errors import GatewayError
from appliance.ic.identity import DelegatedIdentity, Identity, KeyIdentity, delegate
from appliance.ic.key_file import load_identity
from appliance.ic.principal import Principal

__all__ = [
    "AckInvalid",
    "AckTimeout",
    "Backoff",
    "Change",
    "ClientError",
    "ClosedByApplication",
    "ClosedByCanister",
    "ConnectFailed",
    "Connection",
    "ConnectionClosed",
    "DelegatedIdentity",
    "GatewayError",
    "Generation",
    "Identity",
    "KeyIdentity",
    "Limits",
    "Lost",
    "Message",
    "MessageError",
    "MessageForOther",
    "MessageLate",
    "MessageUntrusted",
    "NotOpen",
    "OpeningRefused",
    "OtherGeneration",
    "OutOfTurn",
    "Principal",
    "Restored",
    "RetryFailed",
    "SequenceGap",
    "SequenceRepeated",
    "ServiceMessageInvalid",
    "SigningKey",
    "UnexpectedText",
    "connect",
    "delegate",
    "load_identity",
]
