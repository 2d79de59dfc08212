"""The wire format of IC WebSocket canisters: Candid types, keys of clients, content of messages."""

from typing import NamedTuple, TypedDict

from appliance.crypto import CandidTypes, encode_cbor
from appliance.ic.principal import Principal

CLIENT_KEY = "record {client_principal: principal; client_nonce: nat64}"
_SERVICE_VARIANTS = f"""
  OpenMessage: record {{client_key: {CLIENT_KEY}}};
  AckMessage: record {{last_incoming_sequence_num: nat64}};
  KeepAliveMessage: record {{last_incoming_sequence_num: nat64}};
"""

SERVICE_MESSAGE = CandidTypes(
    f"""(variant {{{_SERVICE_VARIANTS}
      CloseMessage: record {{
        reason: variant {{WrongSequenceNumber; InvalidServiceMessage; KeepAliveTimeout; ClosedByApplication}};
      }};
    }})"""
)
"""Service messages of v2, between canister and client beside the application's messages."""
SERVICE_MESSAGE_V1 = CandidTypes(f"(variant {{{_SERVICE_VARIANTS}}})")
"""The same of v1."""


class ClientPublicKey(bytes):
    """The client that a message of v0 is for: the client's raw Ed25519 key, 32 bytes once its connection is open."""

    __slots__ = ()

    def __str__(self) -> str:
        return self.hex()

    def to_candid(self) -> bytes:
        """The Candid value."""
        return bytes(self)


class ClientKey(NamedTuple):
    """The client that a message of v1 and v2 is for. As text ``<principal>_<nonce>``."""

    principal: Principal
    nonce: int

    def __str__(self) -> str:
        return f"{self.principal}_{self.nonce}"

    def to_candid(self) -> dict[str, object]:
        """The Candid value."""
        return {"client_principal": self.principal, "client_nonce": self.nonce}


class ClientKeyValue(TypedDict):
    """A client key of v1 and v2 as decoded from Candid."""

    client_principal: Principal
    client_nonce: int


class WebsocketMessage(TypedDict):
    """A client's message of v1 and v2 as decoded from Candid."""

    client_key: ClientKeyValue
    sequence_num: int
    timestamp: int
    is_service_message: bool
    content: bytes


def client_key(value: ClientKeyValue) -> ClientKey:
    """From a decoded Candid value."""
    return ClientKey(value["client_principal"], value["client_nonce"])


def message_content(
    key: ClientKey | ClientPublicKey,
    *,
    sequence_num: int,
    timestamp_ns: int,
    is_service_message: bool = False,
    content: bytes,
) -> bytes:
    """A message to a client: tagged CBOR, its fields in the order of the CDK. The key says of which generation."""
    if isinstance(key, ClientPublicKey):
        return encode_cbor(
            {"client_key": key, "sequence_num": sequence_num, "timestamp": timestamp_ns, "message": content}
        )
    return encode_cbor(
        {
            "client_key": {"client_principal": key.principal, "client_nonce": key.nonce},
            "sequence_num": sequence_num,
            "timestamp": timestamp_ns,
            "is_service_message": is_service_message,
            "content": content,
        }
    )
