//! Envelopes: a content with its signature, as HTTP bodies and as WebSocket frames of clients (interface specification,
//! "Authentication").

use std::ops::Range;

use crate::certification::certificate::Verifier;
use crate::encoding::cbor::{self, Budget, Value, map};
use crate::encoding::request_id::{self, Hash};
use crate::error::check_limit;
use crate::requests::content::{Content, MAX_NONCE, Operation};
use crate::requests::delegation::Chain;
use crate::signatures::public_key::PublicKey;
use crate::signatures::signing_key::SigningKey;
use crate::{Error, Result, principal};

/// The largest envelope: what a subnet takes as one ingress message.
pub const MAX_ENVELOPE: usize = 2 << 20;
/// How far ahead an ingress expiry may be: 5 minutes, and 30 seconds for clocks that differ.
pub const MAX_INGRESS_TTL_NS: u64 = 330_000_000_000;

const SEPARATOR: &[u8] = b"\x0aic-request";
const SENDER_INFO_SEPARATOR: &[u8] = b"\x0eic-sender-info";

/// A request, with copies of what it was decoded from. The argument, which is most of it, is only in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `call`, `query` or `read_state`.
    pub request_type: &'static str,
    /// Over every field that was received.
    pub request_id: [u8; 32],
    /// Who asks.
    pub sender: Vec<u8>,
    /// Until when it is valid.
    pub ingress_expiry_ns: u64,
    /// What makes it different from its likes.
    pub nonce: Option<Vec<u8>>,
    /// Empty for read_state.
    pub canister_id: Vec<u8>,
    /// Empty for read_state.
    pub method_name: String,
    /// Where the argument is in the body. Empty for read_state.
    pub arg: Range<usize>,
    /// Empty but for read_state.
    pub paths: Vec<Vec<Vec<u8>>>,
    /// The canisters the delegations are limited to, sorted.
    pub targets: Option<Vec<Vec<u8>>>,
    /// The sender's own envelope, tagged.
    pub body: Vec<u8>,
}

/// Verifies the body of an HTTP request.
///
/// Fails with [`Error::Malformed`], [`Error::TooLarge`], [`Error::KeyUnusable`] or an error of envelopes.
pub fn open_request(body: &[u8], now_ns: u64, root: &Verifier) -> Result<Request> {
    check_limit("envelope", body.len(), MAX_ENVELOPE, "bytes")?;
    let value = cbor::decode("envelope", body, Budget::REQUEST)?;
    Envelope::decode(&value)?.open(body.strip_prefix(&cbor::SELF_DESCRIBED).unwrap_or(body), now_ns, root)
}

/// Verifies a client's WebSocket frame, `{"envelope": envelope}`: a call that is not anonymous.
///
/// Fails as [`open_request`] does.
pub fn open_frame(frame: &[u8], now_ns: u64, root: &Verifier) -> Result<Request> {
    let (value, raw) = unwrap_frame(frame)?;
    Envelope::relayable(&value)?.open(raw, now_ns, root)
}

/// Verifies a frame as [`open_frame`] does, unless that costs more than one signature of an ordinary scheme: None then,
/// with everything checked but signatures.
pub fn open_frame_if_cheap(frame: &[u8], now_ns: u64, root: &Verifier) -> Result<Option<Request>> {
    let (value, raw) = unwrap_frame(frame)?;
    let envelope = Envelope::relayable(&value)?;
    let chain = envelope.check(now_ns)?;
    if envelope.content.sender_info.is_some() || chain.is_costly(root) {
        return Ok(None);
    }
    envelope.verify(&chain, raw, root).map(Some)
}

/// Decodes a frame as [`open_frame`] does and verifies nothing.
pub fn read_frame_unverified(frame: &[u8]) -> Result<Request> {
    let (value, raw) = unwrap_frame(frame)?;
    let envelope = Envelope::relayable(&value)?;
    let chain = Chain::decode(envelope.sender_pubkey.unwrap_or_default(), envelope.sender_delegation)?;
    Ok(envelope.request(request_id::hash_of_map(envelope.signed)?, &chain, raw))
}

/// A tagged envelope around the CBOR of a content with this request id, which a key signs. `public_key` is that of `key`
/// in DER.
pub fn sign(content: &[u8], request_id: &Hash, key: &SigningKey, public_key: &[u8]) -> Vec<u8> {
    let signature = key.sign(&[SEPARATOR, request_id].concat());
    encode(content, Some(public_key), Some(&signature), &[])
}

/// A tagged envelope around the CBOR of a content.
pub fn encode(
    content: &[u8],
    public_key: Option<&[u8]>,
    signature: Option<&[u8]>,
    delegations: &[SignedDelegation<'_>],
) -> Vec<u8> {
    let mut fields = Vec::new();
    fields.extend(public_key.map(|key| ("sender_pubkey", Value::Bytes(key))));
    if !delegations.is_empty() {
        let links = delegations.iter().map(SignedDelegation::to_value).collect();
        fields.push(("sender_delegation", Value::Array(links)));
    }
    fields.extend(signature.map(|signature| ("sender_sig", Value::Bytes(signature))));
    let mut out = cbor::SELF_DESCRIBED.to_vec();
    cbor::write_head(&mut out, 5, 1 + fields.len() as u64);
    cbor::write_text(&mut out, "content");
    out.extend_from_slice(content.strip_prefix(&cbor::SELF_DESCRIBED).unwrap_or(content));
    for (name, value) in fields {
        cbor::write_text(&mut out, name);
        cbor::write(&mut out, &value);
    }
    out
}

/// A delegation to be encoded.
#[derive(Debug, Clone)]
pub struct SignedDelegation<'a> {
    /// The key that is delegated to, in DER.
    pub public_key: &'a [u8],
    /// When it ends.
    pub expiration_ns: u64,
    /// The canisters it is limited to.
    pub targets: Option<Vec<&'a [u8]>>,
    /// By the key before it.
    pub signature: &'a [u8],
}

impl<'a> SignedDelegation<'a> {
    fn to_value(&self) -> Value<'a> {
        let mut fields =
            vec![("pubkey", Value::Bytes(self.public_key)), ("expiration", Value::Unsigned(self.expiration_ns))];
        let targets = self.targets.as_ref();
        fields.extend(targets.map(|all| ("targets", Value::Array(all.iter().copied().map(Value::Bytes).collect()))));
        map(vec![("delegation", map(fields)), ("signature", Value::Bytes(self.signature))])
    }
}

fn unwrap_frame(frame: &[u8]) -> Result<(Value<'_>, &[u8])> {
    check_limit("frame", frame.len(), MAX_ENVELOPE, "bytes")?;
    let entry = cbor::raw_entry("frame", frame, "envelope", Budget::REQUEST)?;
    entry.ok_or_else(|| Error::malformed("frame", "no envelope in it"))
}

/// The fields of an envelope, decoded but not verified. `signed` is the content with all it has.
struct Envelope<'v, 'a> {
    content: Content<'a>,
    signed: &'v Value<'a>,
    sender_pubkey: Option<&'a [u8]>,
    sender_sig: Option<&'a [u8]>,
    sender_delegation: Option<&'v Value<'a>>,
}

impl<'v, 'a> Envelope<'v, 'a> {
    fn decode(value: &'v Value<'a>) -> Result<Self> {
        let malformed = |problem: String| Error::malformed("envelope", problem);
        let signed = value.get("content").ok_or_else(|| malformed("no content in it".into()))?;
        let bytes = |name| match value.get_optional(name).map(Value::as_bytes) {
            Some(None) => Err(malformed(format!("{name} is no byte string"))),
            found => Ok(found.flatten()),
        };
        Ok(Self {
            content: Content::decode(signed)?,
            signed,
            sender_pubkey: bytes("sender_pubkey")?,
            sender_sig: bytes("sender_sig")?,
            sender_delegation: value.get_optional("sender_delegation"),
        })
    }

    /// One that a gateway relays.
    fn relayable(value: &'v Value<'a>) -> Result<Self> {
        let envelope = Self::decode(value)?;
        match envelope.content.operation {
            Operation::Call(_) if envelope.content.sender != principal::ANONYMOUS => Ok(envelope),
            Operation::Call(_) => Err(Error::malformed("envelope", "its sender is anonymous")),
            _ => Err(Error::malformed("envelope", "it holds no call, which is all that is relayed")),
        }
    }

    /// All checks, in the order of the replica, so that a client reads the same error here as from the IC: one with a
    /// wrong clock learns of its clock, not of its signature. Cheap checks come before expensive ones; nothing is returned
    /// before the last.
    fn open(&self, raw: &[u8], now_ns: u64, root: &Verifier) -> Result<Request> {
        self.verify(&self.check(now_ns)?, raw, root)
    }

    /// The checks before those of signatures. Returns the chain of the sender, which is empty for an anonymous one.
    fn check(&self, now_ns: u64) -> Result<Chain<'a>> {
        let anonymous = self.content.sender == principal::ANONYMOUS;
        // Anonymous queries and reads may be repeated by anybody at any time, so their expiry protects nothing.
        if !anonymous || matches!(self.content.operation, Operation::Call(_)) {
            check_expiry(self.content.ingress_expiry_ns, now_ns)?;
        }
        check_limit("nonce", self.content.nonce.map_or(0, <[u8]>::len), MAX_NONCE, "bytes")?;
        if anonymous {
            self.check_anonymous()?;
            return Ok(Chain { sender_key: &[], delegations: Vec::new() });
        }
        let (sender_key, _) = self.credentials()?;
        check_sender(self.content.sender, sender_key)?;
        let chain = Chain::decode(sender_key, self.sender_delegation)?;
        chain.check(now_ns)?;
        Ok(chain)
    }

    fn verify(&self, chain: &Chain<'a>, raw: &[u8], root: &Verifier) -> Result<Request> {
        let request_id = request_id::hash_of_map(self.signed)?;
        if self.content.sender != principal::ANONYMOUS {
            let (sender_key, signature) = self.credentials()?;
            chain.verify(signature, &[SEPARATOR, &request_id].concat(), root)?;
            self.check_scope(chain)?;
            self.verify_sender_info(sender_key, root)?;
        }
        Ok(self.request(request_id, chain, raw))
    }

    fn check_anonymous(&self) -> Result<()> {
        if self.sender_pubkey.is_some() || self.sender_sig.is_some() || self.sender_delegation.is_some() {
            return Err(Error::signature_invalid("an anonymous request carries no key, signature or delegation"));
        }
        if self.content.sender_info.is_some() {
            return Err(Error::signature_invalid("an anonymous request carries no sender_info"));
        }
        Ok(())
    }

    fn credentials(&self) -> Result<(&'a [u8], &'a [u8])> {
        match (self.sender_pubkey, self.sender_sig) {
            (Some(key), Some(signature)) => Ok((key, signature)),
            (None, _) => Err(Error::signature_invalid("sender_pubkey is missing")),
            (_, None) => Err(Error::signature_invalid("sender_sig is missing")),
        }
    }

    fn check_scope(&self, chain: &Chain<'a>) -> Result<()> {
        if chain.queries_only() && matches!(self.content.operation, Operation::Call(_)) {
            return Err(Error::DelegationInvalid("it permits queries only, this is a call".into()));
        }
        match (self.content.operation.method(), chain.targets()) {
            (Some(method), Some(targets)) if !targets.contains(method.canister_id) => Err(Error::CanisterNotTargeted(
                format!("it does not target canister {}", principal::to_text(method.canister_id)),
            )),
            _ => Ok(()),
        }
    }

    /// The signer is the canister of the sender's key, and the key verifies the signature.
    fn verify_sender_info(&self, sender_key: &[u8], root: &Verifier) -> Result<()> {
        let Some(info) = &self.content.sender_info else {
            return Ok(());
        };
        match PublicKey::from_der(sender_key)? {
            PublicKey::Canister(key) if key.canister_id() == info.signer => key
                .verify(info.signature, &[SENDER_INFO_SEPARATOR, info.info].concat(), root)
                .map_err(|error| match error {
                    Error::SignatureInvalid(problem) => Error::signature_invalid(format!("sender_info: {problem}")),
                    other => other,
                }),
            PublicKey::Canister(_) => {
                Err(Error::signature_invalid("sender_info: its signer is not the canister of sender_pubkey"))
            }
            _ => Err(Error::signature_invalid("sender_info: sender_pubkey is not the key of a canister")),
        }
    }

    fn request(&self, request_id: [u8; 32], chain: &Chain<'a>, raw: &[u8]) -> Request {
        let method = self.content.operation.method();
        let owned = |path: &Vec<&[u8]>| path.iter().map(|label| label.to_vec()).collect();
        Request {
            request_type: self.content.operation.request_type(),
            request_id,
            sender: self.content.sender.to_vec(),
            ingress_expiry_ns: self.content.ingress_expiry_ns,
            nonce: self.content.nonce.map(<[u8]>::to_vec),
            canister_id: method.map_or_else(Vec::new, |method| method.canister_id.to_vec()),
            method_name: method.map_or_else(String::new, |method| method.name.to_owned()),
            arg: method.filter(|method| !method.arg.is_empty()).map_or(0..0, |method| {
                // A part of the same bytes: values are borrowed from what they were decoded from.
                let start = cbor::SELF_DESCRIBED.len() + method.arg.as_ptr() as usize - raw.as_ptr() as usize;
                start..start + method.arg.len()
            }),
            paths: match &self.content.operation {
                Operation::ReadState(paths) => paths.iter().map(owned).collect(),
                _ => Vec::new(),
            },
            targets: chain.targets().map(|targets| targets.into_iter().map(<[u8]>::to_vec).collect()),
            body: [&cbor::SELF_DESCRIBED, raw].concat(),
        }
    }
}

fn check_expiry(expiry_ns: u64, now_ns: u64) -> Result<()> {
    if expiry_ns < now_ns {
        return Err(Error::EnvelopeExpired { expiry_ns, now_ns });
    }
    if expiry_ns > now_ns.saturating_add(MAX_INGRESS_TTL_NS) {
        return Err(Error::EnvelopeTooFarAhead { expiry_ns, now_ns, limit_ns: MAX_INGRESS_TTL_NS });
    }
    Ok(())
}

fn check_sender(sender: &[u8], sender_key: &[u8]) -> Result<()> {
    let principal = principal::self_authenticating(sender_key);
    if sender != principal {
        let (sender, key_principal) = (principal::to_text(sender), principal::to_text(&principal));
        return Err(Error::SenderMismatch { sender, key_principal });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
