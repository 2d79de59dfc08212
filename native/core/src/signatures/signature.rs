//! The plain signature schemes of requests (interface specification, "Signatures"): Ed25519, and ECDSA over SHA-256 on
//! P-256 and secp256k1.

use p256::ecdsa::signature::Verifier as _;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, EcdsaVerificationAlgorithm, UnparsedPublicKey};

use crate::{Error, Result};

/// An Ed25519 key from its 32 bytes. Fails with [`Error::KeyUnusable`].
pub(crate) fn ed25519(key: &[u8]) -> Result<ed25519_zebra::VerificationKey> {
    ed25519_zebra::VerificationKey::try_from(key).map_err(|_| Error::key_unusable("not a point of Ed25519"))
}

/// Verifies Ed25519 by the rules of ZIP-215, as the replica does: the points may be encoded in a non-canonical way or be
/// of small order, the scalar must be canonical, the equation is the cofactored one. Stricter libraries (RFC 8032, or
/// `verify_strict` of dalek) refuse signatures that the IC takes, and differ among each other: a client would be let in
/// by its canister and refused here.
pub fn verify_ed25519(key: &ed25519_zebra::VerificationKey, signature: &[u8], message: &[u8]) -> Result<()> {
    let signature: [u8; 64] = sized(signature)?;
    key.verify(&signature.into(), message)
        .map_err(|_| Error::signature_invalid("not made by this Ed25519 key for this message"))
}

/// Verifies r and s of 32 bytes each. The crate insists on a low s, the IC does not; negating s keeps the meaning. That
/// makes two signatures of one message, which matters nowhere: requests are told apart by their id, not their signature.
pub fn verify_secp256k1(key: &k256::ecdsa::VerifyingKey, signature: &[u8], message: &[u8]) -> Result<()> {
    let signature = k256::ecdsa::Signature::from_bytes(&sized(signature)?.into())
        .map_err(|_| Error::signature_invalid("r or s is outside the range of the secp256k1 group"))?;
    key.verify(message, &signature.normalize_s())
        .map_err(|_| Error::signature_invalid("not made by this secp256k1 key for this message"))
}

/// A public key on P-256: the curve of browsers and authenticators. `ring` verifies several times faster than the crate
/// of the curve, which signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct P256Key([u8; 65]);

impl P256Key {
    /// From an uncompressed point. Fails with [`Error::KeyUnusable`] for another encoding and off the curve.
    pub fn from_point(point: &[u8]) -> Result<Self> {
        let bytes = match <[u8; 65]>::try_from(point) {
            Ok(bytes) if bytes[0] == 4 => bytes,
            _ => return Err(Error::key_unusable("the point is not an uncompressed one")),
        };
        p256::PublicKey::from_sec1_bytes(point).map_err(|_| Error::key_unusable("the point is not on the curve"))?;
        Ok(Self(bytes))
    }

    /// Verifies r and s of 32 bytes each. A high s is fine: WebCrypto makes them.
    pub fn verify(&self, signature: &[u8], message: &[u8]) -> Result<()> {
        let signature: [u8; 64] = sized(signature)?;
        self.check(&ECDSA_P256_SHA256_FIXED, &signature, message)
    }

    /// Verifies a signature in strict DER, as authenticators make them.
    pub fn verify_der(&self, signature: &[u8], message: &[u8]) -> Result<()> {
        self.check(&ECDSA_P256_SHA256_ASN1, signature, message)
    }

    fn check(&self, form: &'static EcdsaVerificationAlgorithm, signature: &[u8], message: &[u8]) -> Result<()> {
        UnparsedPublicKey::new(form, &self.0)
            .verify(message, signature)
            .map_err(|_| Error::signature_invalid("not made by this P-256 key for this message"))
    }
}

fn sized(signature: &[u8]) -> Result<[u8; 64]> {
    signature
        .try_into()
        .map_err(|_| Error::signature_invalid(format!("{} bytes, a signature of this scheme has 64", signature.len())))
}
