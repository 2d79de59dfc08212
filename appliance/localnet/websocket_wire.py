"""Wire generation v2 of IC WebSockets as a canister writes it: Candid types and the content of messages."""

from typing import NamedTuple, TypedDict

from appliance.crypto import CandidTypes, encode_cbor
from appliance.ic.principal import Principal

CLIENT_KEY = "record {client_principal: principal; client_nonce: nat64}"

SERVICE_MESSAGE = CandidTypes(
    f"""(variant {{
      OpenMessage: record {{client_key: {CLIENT_KEY}}};
      AckMessage: record {{last_incoming_sequence_num: nat64}};
      KeepAliveMessage: record {{last_incoming_sequence_num: nat64}};
      CloseMessage: record {{
        reason: variant {{WrongSequenceNumber; InvalidServiceMessage; KeepAliveTimeout; ClosedByApplication}};
      }};
    }})"""
)
"""What canister and client tell each other beside the application's messages."""

INTERFACE = """type ClientKey = record { client_principal : principal; client_nonce : nat64 };
type WebsocketMessage = record {
  client_key : ClientKey;
  sequence_num : nat64;
  timestamp : nat64;
  is_service_message : bool;
  content : blob;
};
type CanisterOutputMessage = record { client_key : ClientKey; key : text; content : blob };
type CanisterOutputCertifiedMessages = record {
  messages : vec CanisterOutputMessage;
  cert : blob;
  tree : blob;
  is_end_of_queue : bool;
};
type Result = variant { Ok; Err : text };
type GetMessagesResult = variant { Ok : CanisterOutputCertifiedMessages; Err : text };
type AppMessage = %(app_message)s;

service : {
  ws_open : (record { client_nonce : nat64; gateway_principal : principal }) -> (Result);
  ws_close : (record { client_key : ClientKey }) -> (Result);
  ws_message : (record { msg : WebsocketMessage }, opt AppMessage) -> (Result);
  ws_get_messages : (record { nonce : nat64 }) -> (GetMessagesResult) query;%(methods)s
}
"""


def interface(app_message: str, methods: str = "") -> str:
    """The Candid text of a canister whose application messages have the type ``app_message``.

    ``methods`` are further methods, each a line ``name : type;``.
    """
    lines = "".join(f"\n  {line}" for line in methods.splitlines())
    return INTERFACE % {"app_message": app_message, "methods": lines}


class ClientKey(NamedTuple):
    """Who a message is for. As text ``<principal>_<nonce>``."""

    principal: Principal
    nonce: int

    def __str__(self) -> str:
        return f"{self.principal}_{self.nonce}"

    def to_candid(self) -> dict[str, object]:
        """The Candid value."""
        return {"client_principal": self.principal, "client_nonce": self.nonce}


class ClientKeyValue(TypedDict):
    """A client key as decoded from Candid."""

    client_principal: Principal
    client_nonce: int


class WebsocketMessage(TypedDict):
    """A client's message as decoded from Candid."""

    client_key: ClientKeyValue
    sequence_num: int
    timestamp: int
    is_service_message: bool
    content: bytes


def client_key(value: ClientKeyValue) -> ClientKey:
    """From a decoded Candid value."""
    return ClientKey(value["client_principal"], value["client_nonce"])


def message_content(
    key: ClientKey, *, sequence_num: int, timestamp_ns: int, is_service_message: bool, content: bytes
) -> bytes:
    """A message to a client: tagged CBOR, its fields in the order of the CDK."""
    return encode_cbor(
        {
            "client_key": {"client_principal": key.principal, "client_nonce": key.nonce},
            "sequence_num": sequence_num,
            "timestamp": timestamp_ns,
            "is_service_message": is_service_message,
            "content": content,
        }
    )
