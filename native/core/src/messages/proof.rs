//! The proof that comes with the messages of a canister: a certificate, and the tree whose digest it certifies.

use std::sync::Arc;

use crate::certification::certificate::{Certified, Subject, Verifier};
use crate::certification::hash_tree::HashTree;
use crate::encoding::cbor;
use crate::encoding::request_id::sha256;
use crate::principal;
use crate::{Error, Result};

/// The label that messages stand below in the tree of a canister.
const ROOT: &[u8] = b"websocket";

/// A verified proof.
pub struct Proof {
    certified: Arc<Certified>,
    tree: HashTree,
}

impl Proof {
    /// Verifies a certificate about a canister, and that the tree is the one it certifies.
    pub fn verify(
        verifier: &Verifier,
        certificate: &[u8],
        tree: &[u8],
        canister_id: &[u8],
        now_ns: u64,
    ) -> Result<Self> {
        Self::new(verifier.verify(certificate, Subject::Canister(canister_id), Some(now_ns))?, tree, canister_id)
    }

    /// The same where the certificate has been verified before; None for another one.
    pub fn recall(
        verifier: &Verifier,
        certificate: &[u8],
        tree: &[u8],
        canister_id: &[u8],
        now_ns: u64,
    ) -> Option<Result<Self>> {
        let known = verifier.recall(certificate, Subject::Canister(canister_id), Some(now_ns))?;
        Some(known.and_then(|certified| Self::new(certified, tree, canister_id)))
    }

    fn new(certified: Arc<Certified>, tree: &[u8], canister_id: &[u8]) -> Result<Self> {
        let certified_data = certified.tree.require(&[b"canister", canister_id, b"certified_data"])?;
        // The digest is computed from what was read, never taken from the message. Both sides are public, so comparing
        // them needs no constant time.
        let tree = HashTree::from_cbor(tree)?;
        if certified_data != tree.digest() {
            return Err(Error::CertifiedDataMismatch(principal::to_text(canister_id)));
        }
        Ok(Self { certified, tree })
    }

    /// When the proof was made, nanoseconds since 1970.
    pub fn time_ns(&self) -> u64 {
        self.certified.time_ns
    }

    /// Checks that the canister certified this content under this key.
    pub fn check(&self, key: &str, content: &[u8]) -> Result<()> {
        if self.tree.require(&[ROOT, key.as_bytes()])? != sha256(content) {
            return Err(Error::MessageNotCertified(key.to_owned()));
        }
        Ok(())
    }

    /// Writes the tree with nothing but one message shown, as tagged CBOR in place of what `out` had.
    pub fn write_witness(&self, key: &str, out: &mut Vec<u8>) {
        out.clear();
        out.extend(cbor::SELF_DESCRIBED);
        self.tree.write_witness(&[ROOT, key.as_bytes()], out);
    }
}
