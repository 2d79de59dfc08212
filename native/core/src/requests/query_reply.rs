//! Replies to queries, with the signatures of the nodes that made them (interface specification, "Query call" and
//! "Response signature").
//!
//! No certificate proves what a query answers: a node of the subnet signs it, for one request and at one time. The keys
//! of the nodes are in the certified state of the subnet.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::encoding::cbor::{self, Budget, Value};
use crate::encoding::request_id::{Hash, hash_of_fields, hash_of_map, hash_of_value, sha256};
use crate::error::check_limit;
use crate::signatures::public_key::PublicKey;
use crate::{Error, Result, principal};

const WHAT: &str = "reply to a query";
const SEPARATOR: &[u8] = b"\x0bic-response";

/// The largest reply: 3 MiB of answer, which is the limit of the IC, and what stands around it.
const MAX_REPLY: usize = 4 << 20;

/// A few fields, and the signatures of some nodes. Nobody must be made to build more.
const BUDGET: Budget = Budget { depth: 4, items: 1_000 };

/// The keys of the nodes of a subnet, by the nodes' principals. Each is decoded when it is used first, and once.
#[derive(Debug, Default)]
pub struct NodeKeys(BTreeMap<Vec<u8>, NodeKey>);

#[derive(Debug)]
struct NodeKey {
    der: Vec<u8>,
    decoded: OnceLock<Result<PublicKey>>,
}

/// From principals and keys in DER.
impl<'a> FromIterator<(&'a [u8], &'a [u8])> for NodeKeys {
    fn from_iter<T: IntoIterator<Item = (&'a [u8], &'a [u8])>>(keys: T) -> Self {
        let key = |der: &[u8]| NodeKey { der: der.to_vec(), decoded: OnceLock::new() };
        Self(keys.into_iter().map(|(id, der)| (id.to_vec(), key(der))).collect())
    }
}

impl NodeKey {
    fn verify(&self, signature: &[u8], message: &[u8]) -> Result<()> {
        match self.decoded.get_or_init(|| PublicKey::from_der(&self.der)) {
            Ok(key @ PublicKey::Ed25519(_)) => key.verify(signature, message, None),
            Ok(_) => Err(Error::key_unusable("a node has an Ed25519 key")),
            Err(error) => Err(error.clone()),
        }
    }
}

/// What a node of the subnet signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryReply {
    /// What the canister or the replica answered.
    pub outcome: Outcome,
    /// When the node signed, nanoseconds since 1970; the oldest of several signatures.
    pub signed_at_ns: u64,
    /// The node that signed then.
    pub node_id: Vec<u8>,
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The canister replied with these bytes.
    Replied(Vec<u8>),
    /// The canister or the replica rejected the query.
    Rejected {
        /// As in the interface specification, "Reject codes".
        code: u64,
        /// For people.
        message: String,
        /// Of the implementation, e.g. `IC0406`.
        error_code: Option<String>,
    },
}

/// Verifies the body of the HTTP response to a query: every signature in it is that of a known node, over this reply to
/// this request, at a time that is less than `max_age_ns` away from now.
///
/// Fails with [`Error::Malformed`], [`Error::TooLarge`] or one of the errors of query signatures.
pub fn verify_query_reply(
    body: &[u8],
    request_id: &[u8; 32],
    node_keys: &NodeKeys,
    now_ns: u64,
    max_age_ns: u64,
) -> Result<QueryReply> {
    check_limit(WHAT, body.len(), MAX_REPLY, "bytes")?;
    let value = cbor::decode(WHAT, body, BUDGET)?;
    let (outcome, signed) = decode_outcome(&value)?;
    let signatures = decode_signatures(&value, node_keys.0.len())?;
    for signature in &signatures {
        signature.check_time(now_ns, max_age_ns)?;
        signature.verify(&signed, request_id, node_keys)?;
    }
    let oldest = signatures.into_iter().min_by_key(|signature| signature.timestamp_ns);
    let oldest = oldest.ok_or(Error::QuerySignatureMissing)?;
    Ok(QueryReply { outcome, signed_at_ns: oldest.timestamp_ns, node_id: oldest.node_id.to_vec() })
}

/// What such a body says, verifying nothing. Fails with [`Error::Malformed`] or [`Error::TooLarge`].
pub fn read_query_reply_unverified(body: &[u8]) -> Result<Outcome> {
    check_limit(WHAT, body.len(), MAX_REPLY, "bytes")?;
    Ok(decode_outcome(&cbor::decode(WHAT, body, BUDGET)?)?.0)
}

/// The hashes of the fields that nodes sign of an answer. Fields nobody knows are not signed, and not returned.
type Signed = Vec<(&'static str, Hash)>;

fn decode_outcome(value: &Value<'_>) -> Result<(Outcome, Signed)> {
    let text = |name| value.get(name).and_then(Value::as_text).ok_or_else(|| malformed(name, "text"));
    match text("status")? {
        "replied" => {
            let reply = value.get("reply").ok_or_else(|| malformed("reply", "a map"))?;
            let arg = reply.get("arg").and_then(Value::as_bytes).ok_or_else(|| malformed("arg", "a byte string"))?;
            let signed = vec![("status", sha256(b"replied")), ("reply", hash_of_map(reply)?)];
            Ok((Outcome::Replied(arg.to_vec()), signed))
        }
        "rejected" => {
            let code = value.get("reject_code").and_then(Value::as_u64);
            let code = code.ok_or_else(|| malformed("reject_code", "a number below 2^64"))?;
            let message = text("reject_message")?;
            let error_code = value.get_optional("error_code").map(|_| text("error_code")).transpose()?;
            let mut signed = vec![
                ("status", sha256(b"rejected")),
                ("reject_code", hash_of_value(&Value::Unsigned(code))?),
                ("reject_message", sha256(message.as_bytes())),
            ];
            signed.extend(error_code.map(|code| ("error_code", sha256(code.as_bytes()))));
            let error_code = error_code.map(str::to_owned);
            Ok((Outcome::Rejected { code, message: message.to_owned(), error_code }, signed))
        }
        other => Err(Error::malformed(WHAT, format!("status is neither replied nor rejected: {other:.20}"))),
    }
}

struct NodeSignature<'a> {
    timestamp_ns: u64,
    signature: &'a [u8],
    node_id: &'a [u8],
}

/// At least one. More than the subnet has nodes would be work for nothing.
fn decode_signatures<'a>(value: &Value<'a>, nodes: usize) -> Result<Vec<NodeSignature<'a>>> {
    let signatures = match value.get_optional("signatures") {
        Some(signatures) => signatures.as_array().ok_or_else(|| malformed("signatures", "an array"))?,
        None => &[],
    };
    if signatures.is_empty() {
        return Err(Error::QuerySignatureMissing);
    }
    check_limit(WHAT, signatures.len(), nodes.max(1), "signatures")?;
    let decode = |signature: &Value<'a>| {
        let bytes =
            |name| signature.get(name).and_then(Value::as_bytes).ok_or_else(|| malformed(name, "a byte string"));
        let timestamp = signature.get("timestamp").and_then(Value::as_u64);
        let node_id = bytes("identity")?;
        principal::check("identity", node_id)?;
        Ok(NodeSignature {
            timestamp_ns: timestamp.ok_or_else(|| malformed("timestamp", "a number below 2^64"))?,
            signature: bytes("signature")?,
            node_id,
        })
    };
    signatures.iter().map(decode).collect()
}

impl NodeSignature<'_> {
    /// A reply that was true once can be repeated as long as it counts as fresh.
    fn check_time(&self, now_ns: u64, limit_ns: u64) -> Result<()> {
        let signed_at_ns = self.timestamp_ns;
        if signed_at_ns.abs_diff(now_ns) > limit_ns {
            return Err(Error::QuerySignatureStale { signed_at_ns, now_ns, limit_ns });
        }
        Ok(())
    }

    fn verify(&self, signed: &Signed, request_id: &[u8], node_keys: &NodeKeys) -> Result<()> {
        let node = || principal::to_text(self.node_id);
        let key = node_keys.0.get(self.node_id).ok_or_else(|| Error::QuerySignatureUnknownNode(node()))?;
        let of_the_node =
            [("timestamp", hash_of_value(&Value::Unsigned(self.timestamp_ns))?), ("request_id", sha256(request_id))];
        let message = [SEPARATOR, &hash_of_fields(signed.iter().copied().chain(of_the_node))].concat();
        key.verify(self.signature, &message).map_err(|error| {
            let problem = match error {
                Error::SignatureInvalid(problem) | Error::KeyUnusable(problem) => problem,
                other => other.to_string(),
            };
            Error::QuerySignatureInvalid { node: node(), problem }
        })
    }
}

fn malformed(field: &str, kind: &str) -> Error {
    Error::malformed(WHAT, format!("{field} is missing or not {kind}"))
}

#[cfg(test)]
mod tests;
