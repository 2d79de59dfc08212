//! Public keys as they come with requests: DER SubjectPublicKeyInfo of five kinds (interface specification,
//! "Signatures"). DER is read strictly, so that one key has one encoding and therefore one principal.

use pkcs8::ObjectIdentifier;
use pkcs8::der::Decode;
use pkcs8::spki::{SubjectPublicKeyInfoRef, der::asn1::AnyRef};

use crate::certification::certificate::Verifier;
use crate::signatures::canister_signature::CanisterKey;
use crate::signatures::cose::CoseKey;
use crate::signatures::signature::{self, P256Key, ed25519};
use crate::signatures::webauthn;
use crate::{Error, Result};

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

/// Whether verifying with this key (DER) may cost more than with one on a curve: RSA keys have any size, and a canister's
/// signature has a certificate. False for what is no key: that is refused at once.
pub fn is_costly(der: &[u8]) -> bool {
    SubjectPublicKeyInfoRef::from_der(der).is_ok_and(|info| [COSE, CANISTER].contains(&info.algorithm.oid))
}

/// A key that can verify.
#[derive(Debug, Clone)]
pub enum PublicKey {
    /// Ed25519.
    Ed25519(ed25519_zebra::VerificationKey),
    /// ECDSA on P-256.
    P256(P256Key),
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
        let info = SubjectPublicKeyInfoRef::from_der(der)
            .map_err(|_| Error::key_unusable("not a public key in strict DER"))?;
        let key =
            info.subject_public_key.as_bytes().ok_or_else(|| Error::key_unusable("its bits are not whole bytes"))?;
        match (info.algorithm.oid, info.algorithm.parameters) {
            (ED25519, None) => Ok(Self::Ed25519(ed25519(key)?)),
            (EC, Some(curve)) => Self::on_curve(curve, key),
            (COSE, None) => Ok(Self::WebAuthn(CoseKey::parse(key)?)),
            (CANISTER, None) => Ok(Self::Canister(CanisterKey::parse(key)?)),
            (oid, _) => Err(Error::key_unusable(format!("no scheme of the Internet Computer for requests: {oid}"))),
        }
    }

    fn on_curve(curve: AnyRef<'_>, key: &[u8]) -> Result<Self> {
        match curve.decode_as::<ObjectIdentifier>() {
            Ok(P256) => P256Key::from_point(key).map(Self::P256),
            Ok(SECP256K1) if key.len() == 65 && key[0] == 4 => k256::ecdsa::VerifyingKey::from_sec1_bytes(key)
                .map(Self::Secp256k1)
                .map_err(|_| Error::key_unusable("the point is not on the curve")),
            Ok(SECP256K1) => Err(Error::key_unusable("the point is not an uncompressed one")),
            _ => Err(Error::key_unusable("the curve is neither P-256 nor secp256k1")),
        }
    }

    /// Verifies a signature over a message that includes its domain separator. A canister signature needs `root`.
    ///
    /// Fails with [`Error::SignatureInvalid`], or [`Error::KeyUnusable`] for a canister's key without `root`.
    pub fn verify(&self, signature: &[u8], message: &[u8], root: Option<&Verifier>) -> Result<()> {
        match (self, root) {
            (Self::Ed25519(key), _) => signature::verify_ed25519(key, signature, message),
            (Self::P256(key), _) => key.verify(signature, message),
            (Self::Secp256k1(key), _) => signature::verify_secp256k1(key, signature, message),
            (Self::WebAuthn(key), _) => webauthn::verify(key, signature, message),
            (Self::Canister(key), Some(root)) => key.verify(signature, message, root),
            (Self::Canister(_), None) => {
                Err(Error::key_unusable("canister signatures are verified with a root key only"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signatures::signing_key::{Scheme, SigningKey};

    fn der(scheme: Scheme) -> Vec<u8> {
        SigningKey::from_secret(scheme, &[7; 32]).unwrap().public_key().unwrap()
    }

    fn refused(der: &[u8]) -> bool {
        matches!(PublicKey::from_der(der), Err(Error::KeyUnusable(_)))
    }

    #[test]
    fn one_key_has_one_encoding() {
        for scheme in Scheme::ALL {
            let der = der(scheme);
            assert!(PublicKey::from_der(&der).is_ok());
            let head = der.len() - if scheme == Scheme::Ed25519 { 32 } else { 64 };
            for (at, bit) in (0..head).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
                let mut other = der.clone();
                other[at] ^= 1 << bit;
                assert!(refused(&other), "{scheme:?} byte {at} bit {bit}");
            }
            assert!(refused(&der[..der.len() - 1]));
            assert!(refused(&[&der[..], &[0]].concat()));
            assert!(refused(&[&[0x30, 0x81], &der[1..]].concat()), "a length that is not the shortest");
        }
    }

    #[test]
    fn points_are_on_their_curve() {
        for scheme in [Scheme::Secp256k1, Scheme::Prime256v1] {
            let mut der = der(scheme);
            let last = der.len() - 1;
            der[last] ^= 1;
            assert!(refused(&der));
        }
        // y = 2 is on no point of Ed25519.
        let off = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00, 2][..], &[0; 31]].concat();
        assert!(refused(&off));
    }

    #[test]
    fn other_schemes_are_refused() {
        // RSA outside of COSE: rsaEncryption with NULL.
        let rsa = hex::decode("301c300d06092a864886f70d0101010500030b003008020300c00102010b").unwrap();
        assert!(refused(&rsa));
        assert!(refused(&[]));
    }

    /// A compressed point is another encoding of the same key.
    #[test]
    fn compressed_points_are_refused() {
        let full = der(Scheme::Prime256v1);
        let (x, y) = full[27..].split_at(32);
        let mut der = hex::decode("3039301306072a8648ce3d020106082a8648ce3d030107032200").unwrap();
        der.push(2 + (y[31] & 1));
        der.extend_from_slice(x);
        assert!(refused(&der));
    }

    #[test]
    fn the_key_of_a_canister_needs_a_root() {
        let der = hex::decode("3015300c060a2b0601040183b8430102030500020102ff").unwrap();
        let key = PublicKey::from_der(&der).unwrap();
        assert!(matches!(&key, PublicKey::Canister(key) if key.canister_id() == [1, 2]));
        assert!(matches!(key.verify(&[], &[], None), Err(Error::KeyUnusable(_))));
        assert!(refused(&hex::decode("3014300c060a2b0601040183b8430102030400030102").unwrap()), "the id is cut short");
    }

    /// Half of all signatures of WebCrypto have a high s.
    #[test]
    fn a_high_s_is_fine() {
        let order = |text: &str| hex::decode(text).unwrap();
        for (scheme, order) in [
            (Scheme::Prime256v1, order("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")),
            (Scheme::Secp256k1, order("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")),
        ] {
            let key = SigningKey::from_secret(scheme, &[7; 32]).unwrap();
            let mut signature = key.sign(b"message");
            let mut borrow = 0;
            for (digit, s) in order.iter().zip(&mut signature[32..]).rev() {
                let difference = i16::from(*digit) - i16::from(*s) - borrow;
                borrow = i16::from(difference < 0);
                *s = difference as u8;
            }
            let public = PublicKey::from_der(&key.public_key().unwrap()).unwrap();
            assert_eq!(public.verify(&signature, b"message", None), Ok(()), "{scheme:?}");
        }
    }
}
