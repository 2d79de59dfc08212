//! Delegation chains: who may sign for a key, until when, towards which canisters (interface specification,
//! "Authentication").

use std::collections::BTreeSet;

use crate::certification::certificate::Verifier;
use crate::encoding::cbor::Value;
use crate::encoding::request_id;
use crate::signatures::public_key::{self, PublicKey};
use crate::{Error, Result, principal};

/// The longest chain the IC accepts.
pub const MAX_DELEGATIONS: usize = 20;
/// The most targets of one delegation the IC accepts.
pub const MAX_TARGETS: usize = 1000;

pub(crate) const SEPARATOR: &[u8] = b"\x1aic-request-auth-delegation";

/// One signed delegation.
#[derive(Debug, Clone)]
pub struct Delegation<'a> {
    /// The key that is delegated to, in DER.
    pub public_key: &'a [u8],
    /// When it ends, included.
    pub expiration_ns: u64,
    /// The canisters it is limited to.
    pub targets: Option<Vec<&'a [u8]>>,
    /// Whether it excludes update calls.
    pub queries_only: bool,
    /// The hash over every field that was received.
    pub hash: [u8; 32],
    /// By the key before it.
    pub signature: &'a [u8],
}

/// A public key and what was delegated from it, one by one.
#[derive(Debug, Clone)]
pub struct Chain<'a> {
    /// The key the sender is named by, in DER.
    pub sender_key: &'a [u8],
    /// In order; the last one's key signs the request.
    pub delegations: Vec<Delegation<'a>>,
}

impl<'a> Chain<'a> {
    /// Decodes the field `sender_delegation`, if there is one. Fails with [`Error::Malformed`],
    /// [`Error::DelegationInvalid`] for a chain that is too long or permissions nobody knows.
    pub fn decode(sender_key: &'a [u8], field: Option<&Value<'a>>) -> Result<Self> {
        let Some(field) = field else {
            return Ok(Self { sender_key, delegations: Vec::new() });
        };
        let links = field.as_array().ok_or_else(|| malformed("not an array"))?;
        if links.len() > MAX_DELEGATIONS {
            return Err(invalid(format!("{} delegations, {MAX_DELEGATIONS} are allowed", links.len())));
        }
        let delegations = links.iter().map(decode_link).collect::<Result<_>>()?;
        Ok(Self { sender_key, delegations })
    }

    /// Checks everything but the signatures: expiry, cycles and the number of targets, in the order of the replica.
    pub fn check(&self, now_ns: u64) -> Result<()> {
        for (number, link) in (1..).zip(&self.delegations) {
            if link.expiration_ns < now_ns {
                let late_s = (now_ns - link.expiration_ns) / 1_000_000_000;
                return Err(Error::DelegationExpired(format!("delegation {number} ended {late_s} s ago")));
            }
        }
        let mut keys = BTreeSet::from([self.sender_key]);
        for (number, link) in (1..).zip(&self.delegations) {
            if !keys.insert(link.public_key) {
                return Err(invalid(format!("delegation {number} goes back to a key before it")));
            }
        }
        for (number, link) in (1..).zip(&self.delegations) {
            let count = link.targets.as_ref().map_or(0, Vec::len);
            if count > MAX_TARGETS {
                return Err(invalid(format!("delegation {number} has {count} targets, {MAX_TARGETS} are allowed")));
            }
        }
        Ok(())
    }

    /// Verifies every delegation and then the request with the last key. `message` includes its separator.
    ///
    /// A client sends the same delegations with all it sends: they are verified once, by all that a verdict depends on (key,
    /// signature, hash). Expiry, targets and permissions are checked each time, and so is the request's own signature,
    /// which is another one for every request.
    ///
    /// Fails with [`Error::SignatureInvalid`] or [`Error::KeyUnusable`], naming the link.
    pub fn verify(&self, signature: &[u8], message: &[u8], root: &Verifier) -> Result<()> {
        let mut key = self.sender_key;
        for (number, link) in (1..).zip(&self.delegations) {
            let signed = [SEPARATOR, &link.hash].concat();
            root.once(&[key, link.signature, &link.hash], || {
                PublicKey::from_der(key)?.verify(link.signature, &signed, Some(root))
            })
            .map_err(|error| at(&format!("delegation {number}"), error))?;
            key = link.public_key;
        }
        PublicKey::from_der(key)
            .and_then(|key| key.verify(signature, message, Some(root)))
            .map_err(|error| at("request", error))
    }

    /// Whether [`Self::verify`] costs more than one signature of Ed25519, P-256 or secp256k1: a delegation is not known yet,
    /// or the last key is of another scheme. Both are for the client to choose, and twenty links with keys of RSA cost 20 ms.
    pub fn is_costly(&self, root: &Verifier) -> bool {
        let mut key = self.sender_key;
        for link in &self.delegations {
            if !root.knows(&[key, link.signature, &link.hash]) {
                return true;
            }
            key = link.public_key;
        }
        public_key::is_costly(key)
    }

    /// The canisters that every link allows; None without a limit. An intersection: no holder of a key can allow more than
    /// was allowed to it. None and the empty set differ: a link with no targets at all allows nothing.
    pub fn targets(&self) -> Option<BTreeSet<&'a [u8]>> {
        let sets = self.delegations.iter().filter_map(|link| link.targets.as_ref());
        sets.map(|targets| targets.iter().copied().collect::<BTreeSet<_>>())
            .reduce(|all, more| all.intersection(&more).copied().collect())
    }

    /// Whether any link excludes update calls: whoever was given queries cannot hand on more.
    pub fn queries_only(&self) -> bool {
        self.delegations.iter().any(|link| link.queries_only)
    }
}

fn decode_link<'a>(link: &Value<'a>) -> Result<Delegation<'a>> {
    let delegation = link.get("delegation").ok_or_else(|| malformed("no delegation in a link"))?;
    let bytes = |value: Option<&Value<'a>>, what| {
        value.and_then(Value::as_bytes).ok_or_else(|| malformed(format!("{what} is missing or no byte string")))
    };
    let expiration = delegation.get("expiration").and_then(Value::as_u64);
    Ok(Delegation {
        public_key: bytes(delegation.get("pubkey"), "pubkey")?,
        expiration_ns: expiration.ok_or_else(|| malformed("expiration is missing or no 64-bit number"))?,
        targets: delegation.get_optional("targets").map(decode_targets).transpose()?,
        queries_only: decode_permissions(delegation.get_optional("permissions"))?,
        hash: request_id::hash_of_map(delegation)?,
        signature: bytes(link.get("signature"), "signature")?,
    })
}

fn decode_targets<'a>(targets: &Value<'a>) -> Result<Vec<&'a [u8]>> {
    let targets = targets.as_array().ok_or_else(|| malformed("targets is no array"))?;
    let decode = |target: &Value<'a>| {
        let id = target.as_bytes().ok_or_else(|| malformed("a target is no byte string"))?;
        principal::check("target", id).map(|()| id)
    };
    targets.iter().map(decode).collect()
}

fn decode_permissions(permissions: Option<&Value<'_>>) -> Result<bool> {
    match permissions {
        None | Some(Value::Text("all")) => Ok(false),
        Some(Value::Text("queries")) => Ok(true),
        Some(_) => Err(invalid("its permissions are neither \"all\" nor \"queries\"")),
    }
}

fn at(place: &str, error: Error) -> Error {
    match error {
        Error::SignatureInvalid(problem) => Error::SignatureInvalid(format!("{place}: {problem}")),
        Error::KeyUnusable(problem) => Error::KeyUnusable(format!("{place}: {problem}")),
        other => other,
    }
}

fn malformed(problem: impl Into<String>) -> Error {
    Error::malformed("delegation", problem)
}

fn invalid(problem: impl Into<String>) -> Error {
    Error::DelegationInvalid(problem.into())
}
