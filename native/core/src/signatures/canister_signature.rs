//! Canister signatures (interface specification, "Canister signatures"): a canister certifies that it signed.

use crate::certification::certificate::{Certificate, Subject, Verifier};
use crate::certification::hash_tree::{HashTree, Lookup};
use crate::encoding::cbor::{self, Budget, Value};
use crate::encoding::request_id::sha256;
use crate::error::check_limit;
use crate::{Error, Result, principal};

const WHAT: &str = "canister signature";
/// Real ones have up to 20 kB, most of it the delegation of a subnet with many canister ranges.
const MAX_SIGNATURE: usize = 256 * 1024;
const BUDGET: Budget = Budget { items: 20_000, ..Budget::REPLY };

/// Subnets of this type serve others than the public; their canisters sign for nobody.
const UNTRUSTED_SUBNET_TYPE: &[u8] = b"cloud_engine";

/// The key of a canister signature: a canister, and what it calls the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanisterKey {
    canister_id: Vec<u8>,
    seed: Vec<u8>,
}

impl CanisterKey {
    /// Reads the length and bytes of the canister id, then the seed. Fails with [`Error::KeyUnusable`].
    pub fn parse(data: &[u8]) -> Result<Self> {
        let parts = data.split_first().and_then(|(length, rest)| rest.split_at_checked(usize::from(*length)));
        let (canister_id, seed) =
            parts.ok_or_else(|| Error::key_unusable("the key of a canister signature is cut short"))?;
        Ok(Self { canister_id: canister_id.to_vec(), seed: seed.to_vec() })
    }

    /// The canister that signs.
    pub fn canister_id(&self) -> &[u8] {
        &self.canister_id
    }

    /// Verifies that the canister certified the payload. The age of the certificate does not count: such signatures are
    /// kept for days, and what they sign has an end of its own.
    ///
    /// Fails with [`Error::SignatureInvalid`].
    pub fn verify(&self, signature: &[u8], payload: &[u8], root: &Verifier) -> Result<()> {
        self.check(signature, payload, root)
            .map_err(|error| Error::signature_invalid(format!("canister signature: {}", reason(error))))
    }

    fn check(&self, signature: &[u8], payload: &[u8], root: &Verifier) -> Result<()> {
        // The decoder takes untagged CBOR too; the replica insists on the tag of canister signatures.
        if !signature.starts_with(&cbor::SELF_DESCRIBED) {
            return Err(malformed("it does not begin with the self-describing tag"));
        }
        check_limit(WHAT, signature.len(), MAX_SIGNATURE, "bytes")?;
        let fields = cbor::decode(WHAT, signature, BUDGET)?;
        let certificate = fields.get("certificate").and_then(Value::as_bytes);
        let certificate = certificate.ok_or_else(|| malformed("it has no certificate"))?;
        let tree = HashTree::from_value(fields.get("tree").ok_or_else(|| malformed("it has no tree"))?)?;
        // Certificate, then certified data, then the signature tree: nothing in the tree means anything before that.
        let certified = root.verify(certificate, Subject::Canister(&self.canister_id), None)?;
        check_subnet_type(certificate)?;
        if certified.tree.require(&[b"canister", &self.canister_id, b"certified_data"])? != tree.digest() {
            return Err(Error::CertifiedDataMismatch(principal::to_text(&self.canister_id)));
        }
        match tree.require(&[b"sig", &sha256(&self.seed), &sha256(payload)])? {
            [] => Ok(()),
            _ => Err(malformed("the leaf of the signed payload is not empty")),
        }
    }
}

/// Refuses a type of subnet that must not sign for users. Subnets of old and local networks show none, which is fine.
fn check_subnet_type(certificate: &[u8]) -> Result<()> {
    let Some(delegation) = Certificate::decode(certificate)?.delegation else {
        return Ok(());
    };
    let shown = Certificate::decode(&delegation.certificate)?.tree;
    match shown.lookup(&[b"subnet", &delegation.subnet_id, b"type"])? {
        Lookup::Found(kind) if kind == UNTRUSTED_SUBNET_TYPE => {
            Err(malformed("its canister is on a subnet of type cloud_engine"))
        }
        _ => Ok(()),
    }
}

fn malformed(problem: &str) -> Error {
    Error::malformed(WHAT, problem)
}

/// The sentence for an error inside of a signature. As an error of its own it would blame the IC, not the sender.
fn reason(error: Error) -> String {
    match error {
        Error::Malformed { what: WHAT, problem } => problem,
        Error::Malformed { what, problem } => format!("malformed {what}: {problem}"),
        Error::TooLarge { size, limit, unit, .. } => format!("{size} {unit}, the limit is {limit}"),
        Error::PathUnknown(path) => format!("the tree neither shows {path} nor proves its absence"),
        Error::PathAbsent(path) => format!("the tree has no {path}"),
        Error::CertifiedDataMismatch(canister) => format!("the tree is not the one that canister {canister} certified"),
        Error::CertificateNotAuthorized { subnet, subject } => format!("subnet {subnet} may not certify for {subject}"),
        Error::CertificateRangesUnknown(subnet) => {
            format!("the delegation to subnet {subnet} shows no canister ranges")
        }
        Error::CertificateSignatureInvalid(problem) => format!("its certificate is not valid: {problem}"),
        Error::CertificateNestedDelegation => "the certificate of its delegation has a delegation itself".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
