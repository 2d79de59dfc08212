"""A Python client for IC WebSockets. It verifies the messages that it receives, in order, and signs those it sends.

`appliance.client.sync` has the same for programs without an event loop.
"""

from appliance.client.codec import CandidValue, MessageType
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
    OtherNetwork,
    OutOfTurn,
    SequenceGap,
    SequenceRepeated,
    ServiceMessageInvalid,
    UnexpectedText,
)
from appliance.client.reconnect import Backoff, Change, Lost, Restored, RetryFailed
from appliance.client.sessions.session import Generation, Limits
from appliance.crypto import SigningKey, Verifier
from appliance.errors import (
    CandidError,
    CanisterRefused,
    ConfigError,
    GatewayError,
    IcError,
    KeyUnusable,
    Malformed,
    OpenTimeout,
    TooLarge,
)
from appliance.ic.identity import DelegatedIdentity, Identity, KeyIdentity, delegate
from appliance.ic.key_file import load_identity
from appliance.ic.principal import Principal

__all__ = [
    "AckInvalid",
    "AckTimeout",
    "Backoff",
    "CandidError",
    "CandidValue",
    "CanisterRefused",
    "Change",
    "ClientError",
    "ClosedByApplication",
    "ClosedByCanister",
    "ConfigError",
    "ConnectFailed",
    "Connection",
    "ConnectionClosed",
    "DelegatedIdentity",
    "GatewayError",
    "Generation",
    "IcError",
    "Identity",
    "KeyIdentity",
    "KeyUnusable",
    "Limits",
    "Lost",
    "Malformed",
    "Message",
    "MessageError",
    "MessageForOther",
    "MessageLate",
    "MessageType",
    "MessageUntrusted",
    "NotOpen",
    "OpenTimeout",
    "OpeningRefused",
    "OtherGeneration",
    "OtherNetwork",
    "OutOfTurn",
    "Principal",
    "Restored",
    "RetryFailed",
    "SequenceGap",
    "SequenceRepeated",
    "ServiceMessageInvalid",
    "SigningKey",
    "TooLarge",
    "UnexpectedText",
    "Verifier",
    "connect",
    "delegate",
    "load_identity",
]
