//! What mutation begins with: good inputs of every target, from `tests/vectors`.

use std::fs;
use std::path::{Path, PathBuf};

use icws_core::candid::encode_text;
use icws_core::cbor::{self, Budget, Value};
use icws_core::message::{Generation, WebsocketMessage};
use icws_core::request_id::hash_of_map;
use icws_core::signing_key::{Scheme, SigningKey};
use serde_json::Value as Json;

use crate::parts::join;

/// The request that replies to queries answer.
pub const REQUEST_ID: [u8; 32] = [7; 32];
/// The node that signs them.
pub const NODE_ID: &[u8] = &[1, 2, 3];

/// The key of that node. It protects nothing.
pub fn node_key() -> SigningKey {
    SigningKey::from_secret(Scheme::Ed25519, &[7; 32]).expect("a secret")
}

/// The root keys of the vectors: of the mainnet, of the replicas of certified messages, of the recorded sessions.
pub fn root_keys() -> Vec<Vec<u8>> {
    vec![
        bytes(&load("certificates/root_key.json"), "der"),
        bytes(&load("websocket/certified_messages.json"), "v2_root_key_der"),
        bytes(&load("websocket/session_0.5.0.json"), "root_key_der"),
    ]
}

/// The good inputs of a target.
///
/// # Panics
///
/// If there is no such target, or a vector is missing.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "candid" => hexes(&["candid.json", "websocket/candid_messages.json"]),
        "candid_text" => candid_texts(),
        "canister_signature" => canister_signatures(),
        "cbor" => hexes(&[
            "envelopes.json",
            "hash_trees.json",
            "websocket/session_0.5.0.json",
            "websocket/first_messages.json",
        ]),
        "certificate" => certificates(),
        "envelope" => envelopes(),
        "first_message" => hexes(&["websocket/first_messages.json"]),
        "hash_tree" => list(&load("hash_trees.json"), "cases").iter().map(|case| bytes(case, "tree")).collect(),
        "key_file" => key_files(),
        "message" => messages(),
        "poll_reply" => poll_replies(),
        "public_key" => public_keys(),
        "query_reply" => query_replies(),
        _ => panic!("no target {target}"),
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(name)
}

fn load(name: &str) -> Json {
    let text = fs::read_to_string(path(name)).unwrap_or_else(|problem| panic!("{name}: {problem}"));
    serde_json::from_str(&text).expect("JSON")
}

fn list<'j>(value: &'j Json, field: &str) -> &'j [Json] {
    value[field].as_array().unwrap_or_else(|| panic!("no list {field}"))
}

fn text<'j>(value: &'j Json, field: &str) -> &'j str {
    value[field].as_str().unwrap_or_else(|| panic!("no text {field}"))
}

fn bytes(value: &Json, field: &str) -> Vec<u8> {
    hex::decode(text(value, field)).expect("hex")
}

fn principal(value: &Json, field: &str) -> Vec<u8> {
    candid::Principal::from_text(text(value, field)).expect("a principal").as_slice().to_vec()
}

/// Every text in hexadecimal in some files.
fn hexes(names: &[&str]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    names.iter().for_each(|name| collect_hexes(&load(name), &mut found));
    found
}

fn collect_hexes(value: &Json, found: &mut Vec<Vec<u8>>) {
    match value {
        Json::String(text) => found.extend(hex::decode(text).ok().filter(|data| data.len() > 4)),
        Json::Array(items) => items.iter().for_each(|item| collect_hexes(item, found)),
        Json::Object(fields) => fields.values().for_each(|field| collect_hexes(field, found)),
        _ => {}
    }
}

fn candid_texts() -> Vec<Vec<u8>> {
    let file = load("candid.json");
    let texts = list(&file, "cases").iter().flat_map(|case| [case["types"].as_str(), case["value"].as_str()]);
    let service =
        "type a = record { b : opt a; c : vec nat8 };\nservice : (a) -> { f : (a) -> (variant { x; y : a }) query }";
    texts.flatten().chain([service, "(0X1_f, 0x1_f, 1_0)"]).map(|text| text.as_bytes().to_vec()).collect()
}

fn canister_signatures() -> Vec<Vec<u8>> {
    let file = load("signatures/canister.json");
    let parts =
        |case| join(&[&[0], &bytes(case, "public_key_der"), &bytes(case, "payload"), &bytes(case, "signature")]);
    list(&file, "cases").iter().map(parts).collect()
}

fn certificates() -> Vec<Vec<u8>> {
    let file = load("certificates/certificates.json");
    let input = |case: &Json| {
        let data = fs::read(path("certificates").join(text(case, "file"))).expect("a certificate");
        let reply = cbor::decode("reply", &data, Budget::REPLY).expect("CBOR");
        let inner = reply.get("certificate").and_then(Value::as_bytes).unwrap_or(&data);
        join(&[&[0], &principal(&list(case, "checks")[0], "effective_id"), inner])
    };
    list(&file, "certificates").iter().map(input).collect()
}

fn envelopes() -> Vec<Vec<u8>> {
    let file = load("envelopes.json");
    let bodies = list(&file, "envelopes").iter().map(|case| bytes(case, "body"));
    let framed =
        |body: &Vec<u8>| [b"\xa1\x68envelope", body.strip_prefix(&cbor::SELF_DESCRIBED).unwrap_or(body)].concat();
    let frames = bodies.clone().map(|body| framed(&body));
    let recorded = frames_of("client->gateway").into_iter().map(|(_, frame)| frame);
    bodies.chain(frames).chain(recorded).map(|input| join(&[&[2], &input])).collect()
}

/// The frames of recorded sessions of one direction, with the generation they are of.
fn frames_of(direction: &str) -> Vec<(u8, Vec<u8>)> {
    let sessions = [(0, "62dcec3"), (1, "0.1.2"), (2, "0.4.1"), (2, "0.5.0")];
    let frames = |(generation, name): &(u8, &str)| {
        let file = load(&format!("websocket/session_{name}.json"));
        let chosen =
            list(&file, "frames").iter().filter(|frame| frame["dir"] == direction && frame["kind"] == "WS binary");
        chosen.map(|frame| (*generation, bytes(frame, "hex"))).collect::<Vec<_>>()
    };
    sessions.iter().flat_map(frames).collect()
}

/// The canister of the recorded sessions.
fn recorded_canister() -> Vec<u8> {
    candid::Principal::from_text("bkyz2-fmaaa-aaaaa-qaaaq-cai").expect("a principal").as_slice().to_vec()
}

fn messages() -> Vec<Vec<u8>> {
    let canister = recorded_canister();
    let recorded = frames_of("gateway->client").into_iter();
    let recorded = recorded.map(|(generation, frame)| join(&[&[2, generation], &canister, &frame]));
    let file = load("websocket/certified_messages.json");
    let contents =
        list(&file, "v2").iter().map(|case| join(&[&[1, 2], &principal(case, "canister_id"), &bytes(case, "content")]));
    recorded.chain(contents).collect()
}

/// Replies as canisters of v2 give them, each with one of the certified messages.
fn poll_replies() -> Vec<Vec<u8>> {
    let file = load("websocket/certified_messages.json");
    let empty = "(variant { Ok = record { messages = vec {}; cert = blob \"\"; tree = blob \"\"; is_end_of_queue = opt true } })";
    let refusal = "(variant { Err = \"no gateway\" })";
    let plain = [empty, refusal].map(|text| join(&[&[1, 2, 0], &[], &encode_text(text).expect("Candid")]));
    let replies = list(&file, "v2").iter().filter_map(|case| {
        let reply = encode_text(&poll_reply(case)?).expect("Candid");
        Some(join(&[&[1, 2, 1], &principal(case, "canister_id"), &reply]))
    });
    plain.into_iter().chain(replies).collect()
}

fn poll_reply(case: &Json) -> Option<String> {
    let content = bytes(case, "content");
    let message = WebsocketMessage::decode(&content, Generation::V2).ok()?;
    let (id, nonce) = message.client_key.split_last_chunk::<8>()?;
    let client = format!(
        "record {{ client_principal = principal \"{}\"; client_nonce = {} : nat64 }}",
        candid::Principal::from_slice(id),
        u64::from_be_bytes(*nonce)
    );
    Some(format!(
        "(variant {{ Ok = record {{ messages = vec {{ record {{ client_key = {client}; key = \"{}\"; content = {} }} }}; \
         cert = {}; tree = {}; is_end_of_queue = opt true }} }})",
        text(case, "key"),
        blob(&content),
        blob(&bytes(case, "cert")),
        blob(&bytes(case, "tree"))
    ))
}

fn blob(data: &[u8]) -> String {
    format!("blob \"{}\"", data.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>())
}

fn public_keys() -> Vec<Vec<u8>> {
    let (keys, authenticators) = (load("signatures/keys.json"), load("signatures/webauthn.json"));
    let signed = list(&keys, "cases").iter().chain(list(&authenticators, "cases"));
    let signed =
        signed.map(|case| join(&[&bytes(case, "public_key_der"), &bytes(case, "signature"), &bytes(case, "message")]));
    let cose = list(&authenticators, "cose_keys").iter();
    let cose = cose.map(|case| join(&[&bytes(case, "cose"), &optional(case, "signature"), &optional(case, "message")]));
    signed.chain(cose).collect()
}

fn optional(case: &Json, field: &str) -> Vec<u8> {
    case[field].as_str().map(|text| hex::decode(text).expect("hex")).unwrap_or_default()
}

fn key_files() -> Vec<Vec<u8>> {
    let pem = "-----BEGIN EC PARAMETERS-----\nBgUrgQQACg==\n-----END EC PARAMETERS-----\n-----BEGIN EC PRIVATE KEY-----\n\
               MHQCAQEEIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8goAcGBSuBBAAK\n\
               oUQDQgAEhL91YiYrvWlACFdI875q+lKuMXFVGB7OMbZjUcz/pLCMxD1jsoWdRp/u\n\
               FfMcnttTJCZub9BAfoc4LWD8RRGs2A==\n-----END EC PRIVATE KEY-----\n";
    let files = Scheme::ALL.iter().map(|scheme| {
        let key = SigningKey::from_secret(*scheme, &[7; 32]).expect("a secret");
        key.to_pkcs8().expect("PKCS#8").to_vec()
    });
    files.chain([pem.as_bytes().to_vec()]).collect()
}

/// Replies that the node signed: one with an answer, and a rejection.
fn query_replies() -> Vec<Vec<u8>> {
    let replied = vec![("status", Value::Text("replied")), ("reply", map(vec![("arg", Value::Bytes(b"DIDL\0\0"))]))];
    let rejected = vec![
        ("status", Value::Text("rejected")),
        ("reject_code", Value::Unsigned(5)),
        ("reject_message", Value::Text("trap")),
        ("error_code", Value::Text("IC0503")),
    ];
    [replied, rejected].into_iter().map(signed_by_the_node).collect()
}

fn signed_by_the_node(fields: Vec<(&'static str, Value<'static>)>) -> Vec<u8> {
    const TIME_NS: u64 = 1_700_000_000_000_000_000;
    let mut signed = fields.clone();
    signed.extend([("timestamp", Value::Unsigned(TIME_NS)), ("request_id", Value::Bytes(&REQUEST_ID))]);
    let hash = hash_of_map(&map(signed)).expect("a hash");
    let signature = node_key().sign(&[&b"\x0bic-response"[..], &hash].concat());
    let entry = vec![
        ("timestamp", Value::Unsigned(TIME_NS)),
        ("signature", Value::Bytes(&signature)),
        ("identity", Value::Bytes(NODE_ID)),
    ];
    let mut fields: Vec<(&str, Value<'_>)> = fields;
    fields.push(("signatures", Value::Array(vec![map(entry)])));
    [&cbor::SELF_DESCRIBED[..], &cbor::encode(&map(fields))].concat()
}

fn map<'a>(fields: Vec<(&'static str, Value<'a>)>) -> Value<'a> {
    Value::Map(fields.into_iter().map(|(name, value)| (Value::Text(name), value)).collect())
}
