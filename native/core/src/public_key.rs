//! Public keys as they come with requests: DER SubjectPublicKeyInfo of five kinds (interface specification,
//! "Signatures"). DER is read strictly, so that one key has one encoding and therefore one principal.

use pkcs8::ObjectIdentifier;
use pkcs8::der::Decode;
use pkcs8::spki::{SubjectPublicKeyInfoRef, der::asn1::AnyRef};

use crate::canister_signature::CanisterKey;
use crate::certificate::Verifier;
use crate::cose::CoseKey;
use crate::{Error, Result, signature, webauthn};

/// Ed25519, RFC 8410.
pub(crate) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// Keys on elliptic curves, RFC 5480.
pub(crate) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// The curve P-256.
pub(crate) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// The curve secp256k1.
pub(crate) const SECP256K1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.10");
const COSE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.56387.1.1");
const CANISTER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.56387.1.2");

/// A key that can verify.
#[derive(Debug, Clone)]
pub enum PublicKey {
    /// Ed25519.
    Ed25519(ed25519_zebra::VerificationKey),
    /// ECDSA on P-256.
    P256(p256::ecdsa::VerifyingKey),
    /// ECDSA on secp256k1.
    Secp256k1(k256::ecdsa::VerifyingKey),
    /// A key of an authenticator: its signatures are those of WebAuthn.
    WebAuthn(CoseKey),
    /// A canister, and what it knows the user by.
    Canister(CanisterKey),
}

impl PublicKey {
    /// Reads DER. Fails with [`Error::KeyUnusable`].
    pub fn from_der(der: &[u8]) -> Result<Self> {
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| unusable("not a public key in strict DER"))?;
        let key = info.subject_public_key.as_bytes().ok_or_else(|| unusable("its bits are not whole bytes"))?;
        match (info.algorithm.oid, info.algorithm.parameters) {
            (ED25519, None) => Ok(Self::Ed25519(ed25519(key)?)),
            (EC, Some(curve)) => Self::on_curve(curve, key),
            (COSE, None) => Ok(Self::WebAuthn(CoseKey::parse(key)?)),
            (CANISTER, None) => Ok(Self::Canister(CanisterKey::parse(key)?)),
            (oid, _) => Err(unusable(&format!("no scheme of the Internet Computer for requests: {oid}"))),
        }
    }

    fn on_curve(curve: AnyRef<'_>, key: &[u8]) -> Result<Self> {
        if key.len() != 65 || key[0] != 4 {
            return Err(unusable("the point is not an uncompressed one"));
        }
        let off_curve = |_| unusable("the point is not on the curve");
        match curve.decode_as::<ObjectIdentifier>() {
            Ok(P256) => p256::ecdsa::VerifyingKey::from_sec1_bytes(key).map(Self::P256).map_err(off_curve),
            Ok(SECP256K1) => k256::ecdsa::VerifyingKey::from_sec1_bytes(key).map(Self::Secp256k1).map_err(off_curve),
            _ => Err(unusable("the curve is neither P-256 nor secp256k1")),
        }
    }

    /// Verifies a signature over a message that includes its domain separator. A canister signature needs `root`.
    ///
    /// Fails with [`Error::SignatureInvalid`], or [`Error::KeyUnusable`] for a canister's key without `root`.
    pub fn verify(&self, signature: &[u8], message: &[u8], root: Option<&Verifier>) -> Result<()> {
        match (self, root) {
            (Self::Ed25519(key), _) => signature::verify_ed25519(key, signature, message),
            (Self::P256(key), _) => signature::verify_p256(key, signature, message),
            (Self::Secp256k1(key), _) => signature::verify_secp256k1(key, signature, message),
            (Self::WebAuthn(key), _) => webauthn::verify(key, signature, message),
            (Self::Canister(key), Some(root)) => key.verify(signature, message, root),
            (Self::Canister(_), None) => Err(unusable("canister signatures are verified with a root key only")),
        }
    }
}

/// An Ed25519 key from its 32 bytes.
pub(crate) fn ed25519(key: &[u8]) -> Result<ed25519_zebra::VerificationKey> {
    ed25519_zebra::VerificationKey::try_from(key).map_err(|_| unusable("not a point of Ed25519"))
}

/// The error of a key that cannot be used.
pub(crate) fn unusable(problem: &str) -> Error {
    Error::KeyUnusable(problem.into())
}
