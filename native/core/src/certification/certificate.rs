//! Certificates and their verification against a root key (interface specification, "Certificate", "Delegation").

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::certification::bls::{self, PublicKey};
use crate::certification::cache::{Cache, name_of};
use crate::certification::hash_tree::HashTree;
use crate::certification::ranges::{Ranges, Verdict};
use crate::encoding::cbor::{self, Budget, Value};
use crate::encoding::request_id::{Hash, sha256};
use crate::principal;
use crate::{Error, Result};

const WHAT: &str = "certificate";

/// Certificates above this many bytes are verified but not kept, so that the cache is bounded in bytes too. Those of
/// polls have about 3 kB; those of whole subnets, asked for every few minutes, 15 kB.
const MAX_KEPT: usize = 64 * 1024;

/// How many delegations of users are remembered for each certificate that is: every client has its own, and an entry
/// takes 32 bytes only.
const USER_DELEGATIONS: usize = 32;

/// Signatures on replies are verified one at a time, which leaves the other cores to the rest of the process.
const REPLY_TURNS: usize = 1;

/// Those that clients choose are not: one that takes long would hold up the other threads, and with them everybody else.
const CLIENT_TURNS: usize = 64;

/// A certificate as it is encoded. Nothing is verified yet.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// What is certified.
    pub tree: HashTree,
    /// BLS signature over [`root_message`] of the tree's digest.
    pub signature: Vec<u8>,
    /// Who signed, where it was not the root key.
    pub delegation: Option<Delegation>,
}

/// The certificate by which the root subnet vouches for the key of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// The subnet that signs.
    pub subnet_id: Vec<u8>,
    /// A certificate of the root subnet that shows the subnet's key and canister ranges.
    pub certificate: Vec<u8>,
}

impl Certificate {
    /// Decodes a certificate, tagged or not. Fails with [`Error::Malformed`].
    pub fn decode(data: &[u8]) -> Result<Self> {
        let value = cbor::decode(WHAT, data, Budget::TREE)?;
        let tree = value.get("tree").ok_or_else(|| Error::malformed(WHAT, "no tree"))?;
        // Encoders of the field write null for none.
        let given = value.get("delegation").filter(|value| **value != Value::Null);
        Ok(Self {
            tree: HashTree::from_value(tree)?,
            signature: bytes(&value, "signature")?,
            delegation: given.map(Delegation::read).transpose()?,
        })
    }

    /// The certificate as CBOR with the self-describing tag.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = cbor::SELF_DESCRIBED.to_vec();
        cbor::write_head(&mut out, 5, 2 + u64::from(self.delegation.is_some()));
        cbor::write_text(&mut out, "tree");
        self.tree.write_cbor(&mut out);
        cbor::write_text(&mut out, "signature");
        cbor::write_bytes(&mut out, &self.signature);
        if let Some(delegation) = &self.delegation {
            cbor::write_text(&mut out, "delegation");
            cbor::write_head(&mut out, 5, 2);
            cbor::write_text(&mut out, "subnet_id");
            cbor::write_bytes(&mut out, &delegation.subnet_id);
            cbor::write_text(&mut out, "certificate");
            cbor::write_bytes(&mut out, &delegation.certificate);
        }
        out
    }
}

impl Delegation {
    fn read(value: &Value<'_>) -> Result<Self> {
        let subnet_id = bytes(value, "subnet_id")?;
        principal::check("subnet_id", &subnet_id)?;
        Ok(Self { subnet_id, certificate: bytes(value, "certificate")? })
    }
}

fn bytes(value: &Value<'_>, key: &str) -> Result<Vec<u8>> {
    let found = value.get(key).and_then(Value::as_bytes);
    found.map(<[u8]>::to_vec).ok_or_else(|| Error::malformed(WHAT, format!("no {key}")))
}

/// What the signature of a certificate is over: the digest of its tree behind the separator `ic-state-root`.
pub fn root_message(digest: &Hash) -> [u8; 46] {
    let mut message = *b"\x0dic-state-root................................";
    message[14..].copy_from_slice(digest);
    message
}

/// What a certificate is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A canister: the delegated subnet must hold it.
    Canister(&'a [u8]),
    /// A subnet: it must be the one that signed.
    Subnet(&'a [u8]),
}

/// What a verified certificate says: may be trusted.
#[derive(Debug)]
pub struct Certified {
    /// `/time`, nanoseconds since 1970.
    pub time_ns: u64,
    /// The subnet of the delegation; None where the root key signed.
    pub subnet_id: Option<Vec<u8>>,
    /// The certified tree.
    pub tree: HashTree,
}

/// A delegation that has been verified.
struct Delegated {
    key: PublicKey,
    ranges: Ranges,
}

/// A certificate whose signature has been verified, with what its use is checked against.
#[derive(Clone)]
struct Verified {
    certified: Arc<Certified>,
    delegated: Option<Arc<Delegated>>,
}

impl Verified {
    fn new(certificate: Certificate, delegated: Option<Arc<Delegated>>) -> Result<Self> {
        let certified = Certified {
            time_ns: natural("time", certificate.tree.require(&[b"time"])?)?,
            subnet_id: certificate.delegation.map(|delegation| delegation.subnet_id),
            tree: certificate.tree,
        };
        Ok(Self { certified: Arc::new(certified), delegated })
    }
}

impl Delegation {
    /// The length keeps the parts apart: the first bytes of a certificate, an optional tag, could end a subnet id instead.
    fn name(&self) -> Hash {
        sha256(&[&[self.subnet_id.len() as u8][..], &self.subnet_id, &self.certificate].concat())
    }
}

/// Key and digest have a fixed length, so the parts cannot be shifted into each other.
fn signature_name(key: &PublicKey, certificate: &Certificate) -> Hash {
    sha256(&[&key.to_raw()[..], certificate.tree.digest(), &certificate.signature].concat())
}

/// What has been verified. A cache may answer only for exactly what was verified, so each key is the hash of all that
/// the verdict depends on: leave one part out, and whoever has one valid certificate can forge others from it.
struct Caches {
    /// By the bytes of the certificate.
    certificates: Cache<Verified>,
    /// By subnet id and the bytes of the delegation's certificate, which may show the keys of several subnets.
    delegations: Cache<Arc<Delegated>>,
    /// By key, signature and digest: certificates of one subnet and round differ only in what is pruned.
    signatures: Cache<()>,
}

impl Caches {
    fn new(entries: usize, turns: usize) -> Self {
        let (certificates, delegations) = (Cache::new(entries), Cache::new(entries));
        Self { certificates, delegations, signatures: Cache::with_turns(entries, turns) }
    }
}

/// Verifies certificates against one root key. Remembers what it has verified, never what failed; ranges and age are
/// checked each time. Safe to share between threads.
pub struct Verifier {
    root_key: PublicKey,
    root_key_der: Vec<u8>,
    max_age_ns: u64,
    max_ahead_ns: u64,
    /// For replies of the IC, whose age counts.
    replies: Caches,
    /// For canister signatures, whose age does not. Clients choose them: a hostile one with many valid certificates
    /// fills these and evicts other clients', never what replies are verified with.
    canister_signatures: Caches,
    /// By key, signature and hash: delegations of users.
    user_delegations: Cache<()>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Verifier {
    /// `root_key` is DER; `max_age_ns` and `max_ahead_ns` are how far the time of a certificate may be from now;
    /// `cache_entries` bounds each of the caches. Fails with [`Error::KeyUnusable`].
    pub fn new(root_key: &[u8], max_age_ns: u64, max_ahead_ns: u64, cache_entries: usize) -> Result<Self> {
        Ok(Self {
            root_key: PublicKey::from_der(root_key)?,
            root_key_der: root_key.to_vec(),
            max_age_ns,
            max_ahead_ns,
            replies: Caches::new(cache_entries, REPLY_TURNS),
            canister_signatures: Caches::new(cache_entries, CLIENT_TURNS),
            user_delegations: Cache::with_turns(cache_entries * USER_DELEGATIONS, CLIENT_TURNS),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        })
    }

    /// The root key, DER.
    pub fn root_key(&self) -> &[u8] {
        &self.root_key_der
    }

    fn caches(&self, now_ns: Option<u64>) -> &Caches {
        if now_ns.is_some() { &self.replies } else { &self.canister_signatures }
    }

    /// How many BLS verifications were spared.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// How many BLS verifications were made.
    pub fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    /// Verifies signature, delegation, the subject and the age of a certificate. `now_ns` is None for canister signatures:
    /// their age does not count.
    ///
    /// Fails with [`Error::Malformed`] or one of the errors that begin with `Certificate` or `Path`.
    pub fn verify(&self, certificate: &[u8], subject: Subject<'_>, now_ns: Option<u64>) -> Result<Arc<Certified>> {
        let name = sha256(certificate);
        if let Some(known) = self.recall_named(&name, subject, now_ns) {
            return known;
        }
        let verified = self.authenticate(self.caches(now_ns), Certificate::decode(certificate)?)?;
        self.admit_and_keep(verified, name, certificate.len(), subject, now_ns)
    }

    /// The same where no signature has to be verified, because those of the certificate have been before, with this
    /// certificate or another one of its round; None for any other. Costs no more than decoding it.
    pub fn recall(
        &self,
        certificate: &[u8],
        subject: Subject<'_>,
        now_ns: Option<u64>,
    ) -> Option<Result<Arc<Certified>>> {
        let name = sha256(certificate);
        self.recall_named(&name, subject, now_ns).or_else(|| {
            let verified = self.recognise(self.caches(now_ns), Certificate::decode(certificate).ok()?)?;
            Some(verified.and_then(|known| self.admit_and_keep(known, name, certificate.len(), subject, now_ns)))
        })
    }

    fn recall_named(&self, name: &Hash, subject: Subject<'_>, now_ns: Option<u64>) -> Option<Result<Arc<Certified>>> {
        let verified = self.caches(now_ns).certificates.get(name)?;
        self.hits.fetch_add(1 + u64::from(verified.delegated.is_some()), Ordering::Relaxed);
        Some(self.admit(&verified, subject, now_ns).map(|()| verified.certified))
    }

    fn admit_and_keep(
        &self,
        verified: Verified,
        name: Hash,
        length: usize,
        subject: Subject<'_>,
        now_ns: Option<u64>,
    ) -> Result<Arc<Certified>> {
        // Only what could be used is kept, so that a flood of valid but stale certificates evicts nothing.
        self.admit(&verified, subject, now_ns)?;
        if length <= MAX_KEPT {
            self.caches(now_ns).certificates.insert(name, verified.clone());
        }
        Ok(verified.certified)
    }

    /// Checks subject and age. Never cached: the same certificate is asked about other canisters, and grows old.
    fn admit(&self, verified: &Verified, subject: Subject<'_>, now_ns: Option<u64>) -> Result<()> {
        self.check_subject(verified, subject)?;
        now_ns.map_or(Ok(()), |now_ns| self.check_age(verified.certified.time_ns, now_ns))
    }

    /// Checks the signatures, of the delegation first.
    fn authenticate(&self, caches: &Caches, certificate: Certificate) -> Result<Verified> {
        let delegated =
            certificate.delegation.as_ref().map(|delegation| self.delegate(caches, delegation)).transpose()?;
        let key = delegated.as_ref().map_or(&self.root_key, |delegated| &delegated.key);
        self.check_signature(caches, key, &certificate)?;
        Verified::new(certificate, delegated)
    }

    /// The same with signatures that are known; None if one is not.
    fn recognise(&self, caches: &Caches, certificate: Certificate) -> Option<Result<Verified>> {
        let known = |delegation: &Delegation| caches.delegations.get(&delegation.name()).ok_or(());
        let delegated = certificate.delegation.as_ref().map(known).transpose().ok()?;
        let key = delegated.as_ref().map_or(&self.root_key, |delegated| &delegated.key);
        caches.signatures.get(&signature_name(key, &certificate))?;
        self.hits.fetch_add(1 + u64::from(delegated.is_some()), Ordering::Relaxed);
        Some(Verified::new(certificate, delegated))
    }

    fn delegate(&self, caches: &Caches, delegation: &Delegation) -> Result<Arc<Delegated>> {
        let Delegation { subnet_id, certificate } = delegation;
        let name = delegation.name();
        if let Some(delegated) = caches.delegations.get(&name) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(delegated);
        }
        let certificate = Certificate::decode(certificate)?;
        if certificate.delegation.is_some() {
            return Err(Error::CertificateNestedDelegation);
        }
        self.check_signature(caches, &self.root_key, &certificate)?;
        let der = certificate.tree.require(&[b"subnet", subnet_id, b"public_key"])?;
        let key = PublicKey::from_der(der).map_err(bls::key_of_signature)?;
        let delegated = Arc::new(Delegated { key, ranges: Ranges::read(&certificate.tree, subnet_id)? });
        caches.delegations.insert(name, delegated.clone());
        Ok(delegated)
    }

    /// Makes a check of the signature of a user's delegation, unless one of the same parts has passed before.
    pub(crate) fn once(&self, parts: &[&[u8]], check: impl FnOnce() -> Result<()>) -> Result<()> {
        self.user_delegations.once(name_of(parts), check).map(drop)
    }

    /// Whether [`Self::once`] would make no check.
    pub(crate) fn knows(&self, parts: &[&[u8]]) -> bool {
        self.user_delegations.get(&name_of(parts)).is_some()
    }

    fn check_signature(&self, caches: &Caches, key: &PublicKey, certificate: &Certificate) -> Result<()> {
        let is_new = caches.signatures.once(signature_name(key, certificate), || {
            self.misses.fetch_add(1, Ordering::Relaxed);
            key.verify(&certificate.signature, &root_message(certificate.tree.digest()))
        })?;
        self.hits.fetch_add(u64::from(!is_new), Ordering::Relaxed);
        Ok(())
    }

    /// Without a delegation the root key signed: it may speak for every canister, but as a subnet it is itself.
    fn check_subject(&self, verified: &Verified, subject: Subject<'_>) -> Result<()> {
        let subnet_id = || match &verified.certified.subnet_id {
            Some(subnet_id) => subnet_id.clone(),
            None => principal::self_authenticating(&self.root_key_der),
        };
        let (id, verdict) = match (subject, &verified.delegated) {
            (Subject::Canister(id), None) => (id, Verdict::Inside),
            (Subject::Canister(id), Some(delegated)) => (id, delegated.ranges.verdict(id)),
            (Subject::Subnet(id), _) if *id == *subnet_id() => (id, Verdict::Inside),
            (Subject::Subnet(id), _) => (id, Verdict::Outside),
        };
        let subnet = || principal::to_text(&subnet_id());
        match verdict {
            Verdict::Inside => Ok(()),
            Verdict::Outside => {
                Err(Error::CertificateNotAuthorized { subnet: subnet(), subject: principal::to_text(id) })
            }
            // Not shown is not allowed: else a subnet would speak for every canister by pruning its own ranges.
            Verdict::Unknown => Err(Error::CertificateRangesUnknown(subnet())),
        }
    }

    /// Both ways: an old certificate may hide what has happened since, and one from the future would stay fresh for as
    /// long as its time is ahead. One of the two differences is 0.
    fn check_age(&self, time_ns: u64, now_ns: u64) -> Result<()> {
        let (age_ns, ahead_ns) = (now_ns.saturating_sub(time_ns), time_ns.saturating_sub(now_ns));
        if age_ns > self.max_age_ns {
            return Err(Error::CertificateStale { age_ns, limit_ns: self.max_age_ns });
        }
        if ahead_ns > self.max_ahead_ns {
            return Err(Error::CertificateFromFuture { ahead_ns, limit_ns: self.max_ahead_ns });
        }
        Ok(())
    }
}

/// A natural number in LEB128, as certified values have it. Fails with [`Error::Malformed`] beyond 64 bits.
pub fn natural(what: &'static str, leb128: &[u8]) -> Result<u64> {
    let mut number = 0u128;
    for (at, byte) in leb128.iter().enumerate().take(10) {
        number |= u128::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 && at + 1 == leb128.len() {
            return u64::try_from(number).map_err(|_| Error::malformed(what, "a number beyond 64 bits"));
        }
        if byte & 0x80 == 0 {
            break;
        }
    }
    Err(Error::malformed(what, "not a LEB128 number of 64 bits"))
}

#[cfg(test)]
mod tests;
