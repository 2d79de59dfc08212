"""The Candid interface of a WebSocket canister, for each wire generation."""

from appliance.localnet.websocket.dialect import Generation

_V0 = """type ClientPublicKey = blob;
type CanisterIncomingMessage = variant {
  DirectlyFromClient : record { client_key : ClientPublicKey; message : blob };
  RelayedByGateway : record { content : blob; sig : blob };
  IcWebSocketEstablished : ClientPublicKey;
};
type CanisterWsOpenResultValue = record { client_key : ClientPublicKey; canister_id : principal; nonce : nat64 };
type CanisterOutputMessage = record { client_key : ClientPublicKey; key : text; val : blob };
type CanisterOutputCertifiedMessages = record { messages : vec CanisterOutputMessage; cert : blob; tree : blob };
type Result = variant { Ok; Err : text };
type OpenResult = variant { Ok : CanisterWsOpenResultValue; Err : text };
type GetMessagesResult = variant { Ok : CanisterOutputCertifiedMessages; Err : text };

service : {
  ws_register : (record { client_key : ClientPublicKey }) -> (Result);
  ws_open : (record { msg : blob; sig : blob }) -> (OpenResult);
  ws_close : (record { client_key : ClientPublicKey }) -> (Result);
  ws_message : (record { msg : CanisterIncomingMessage }) -> (Result);
"""

_ENVELOPED = """type ClientKey = record { client_principal : principal; client_nonce : nat64 };
type WebsocketMessage = record {
  client_key : ClientKey;
  sequence_num : nat64;
  timestamp : nat64;
  is_service_message : bool;
  content : blob;
};
type CanisterOutputMessage = record { client_key : ClientKey; key : text; content : blob };
type Result = variant { Ok; Err : text };
type GetMessagesResult = variant { Ok : CanisterOutputCertifiedMessages; Err : text };
type AppMessage = %(app_message)s;
type CanisterOutputCertifiedMessages = record {
  messages : vec CanisterOutputMessage;
  cert : blob;
  tree : blob;
"""

_V1 = (
    _ENVELOPED
    + """};

service : {
  ws_open : (record { client_nonce : nat64 }) -> (Result);
  ws_close : (record { client_key : ClientKey }) -> (Result);
  ws_message : (record { msg : WebsocketMessage }) -> (Result);
"""
)

_V2 = (
    _ENVELOPED
    + """  is_end_of_queue : bool;
};

service : {
  ws_open : (record { client_nonce : nat64; gateway_principal : principal }) -> (Result);
  ws_close : (record { client_key : ClientKey }) -> (Result);
  ws_message : (record { msg : WebsocketMessage }, opt AppMessage) -> (Result);
"""
)

_END = """  ws_get_messages : (record { nonce : nat64 }) -> (GetMessagesResult) query;%(methods)s
}
"""

_TEXTS: dict[Generation, str] = {"v0": _V0, "v1": _V1, "v2": _V2}


def interface(generation: Generation, app_message: str, methods: str = "") -> str:
    """The Candid text of a canister whose application messages have the type ``app_message``; those of v0 have none.

    ``methods`` are further methods, each a line ``name : type;``.
    """
    lines = "".join(f"\n  {line}" for line in methods.splitlines())
    return (_TEXTS[generation] + _END) % {"app_message": app_message, "methods": lines}
