//! BLS signatures on BLS12-381 as the Internet Computer uses them (interface specification, "Certificate"): signatures
//! in G1, keys in G2, the basic scheme over the whole message.

use blst::min_sig;
use blst::{BLST_ERROR, Pairing, blst_fp12, blst_p1_affine, blst_p2_affine};

use crate::{Error, Result};

/// What precedes the 96 bytes of a key in DER, 37 bytes: lengths, both object identifiers, the bit string's head.
pub const DER_PREFIX: [u8; 37] = *b"\x30\x81\x82\x30\x1d\x06\x0d\x2b\x06\x01\x04\x01\x82\xdc\x7c\x05\x03\x01\x02\x01\
    \x06\x0c\x2b\x06\x01\x04\x01\x82\xdc\x7c\x05\x03\x02\x01\x03\x61\x00";

/// The length of a public key: a compressed point of G2.
pub const KEY_LENGTH: usize = 96;

/// The length of a signature: a compressed point of G1.
pub const SIGNATURE_LENGTH: usize = 48;

const SUITE: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";

/// A public key that has been checked: a point of the prime-order subgroup and not the identity.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(min_sig::PublicKey);

impl PublicKey {
    /// From DER, 133 bytes. Fails with [`Error::KeyUnusable`].
    pub fn from_der(der: &[u8]) -> Result<Self> {
        match der.strip_prefix(&DER_PREFIX) {
            Some(raw) => Self::from_raw(raw),
            None => Err(unusable("not a DER-encoded BLS12-381 key")),
        }
    }

    /// From the compressed point, 96 bytes. Fails with [`Error::KeyUnusable`].
    pub fn from_raw(raw: &[u8]) -> Result<Self> {
        if raw.len() != KEY_LENGTH {
            return Err(unusable(&format!("{} bytes instead of {KEY_LENGTH}", raw.len())));
        }
        let key = min_sig::PublicKey::uncompress(raw).map_err(|error| unusable(point_problem(error)))?;
        key.validate().map_err(|error| unusable(point_problem(error)))?;
        Ok(Self(key))
    }

    /// The compressed point.
    pub fn to_raw(&self) -> [u8; KEY_LENGTH] {
        self.0.compress()
    }

    /// DER, 133 bytes.
    pub fn to_der(&self) -> Vec<u8> {
        [&DER_PREFIX[..], &self.to_raw()].concat()
    }

    /// Verifies a signature over a message. Fails with [`Error::CertificateSignatureInvalid`].
    ///
    /// Works in the calling thread: the crate's own `verify` hands over to a pool of threads, which does not survive a
    /// fork of the process.
    pub fn verify(&self, signature: &[u8], message: &[u8]) -> Result<()> {
        let signature = point_of_signature(signature)?;
        let key: &blst_p2_affine = (&self.0).into();
        let mut pairing = Pairing::new(true, SUITE);
        // No signature in here: `()` is no point, and the key has been validated.
        if pairing.aggregate(key, false, &(), false, message, &[]) != BLST_ERROR::BLST_SUCCESS {
            return Err(invalid("the message cannot be hashed to the curve"));
        }
        pairing.commit();
        let mut expected = blst_fp12::default();
        Pairing::aggregated(&mut expected, &signature);
        if pairing.finalverify(Some(&expected)) { Ok(()) } else { Err(invalid("it is not by this key")) }
    }
}

/// The point of a signature: on the curve, in the prime-order subgroup and not the identity.
fn point_of_signature(signature: &[u8]) -> Result<blst_p1_affine> {
    if signature.len() != SIGNATURE_LENGTH {
        return Err(invalid(&format!("{} bytes instead of {SIGNATURE_LENGTH}", signature.len())));
    }
    let point = min_sig::Signature::uncompress(signature).map_err(|error| invalid(point_problem(error)))?;
    point.validate(true).map_err(|error| invalid(point_problem(error)))?;
    Ok(point.into())
}

/// A secret key. Wiped from memory when dropped.
#[derive(Clone)]
pub struct SecretKey(min_sig::SecretKey);

impl SecretKey {
    /// Derives a key from at least 32 secret bytes (draft-irtf-cfrg-bls-signature, KeyGen). Fails with
    /// [`Error::KeyUnusable`] if there are fewer.
    pub fn from_seed(seed: &[u8]) -> Result<Self> {
        min_sig::SecretKey::key_gen(seed, &[]).map(Self).map_err(|_| unusable("a seed of less than 32 bytes"))
    }

    /// From 32 bytes, big-endian. Fails with [`Error::KeyUnusable`] for zero and from the group's order on.
    pub fn from_scalar(scalar: &[u8]) -> Result<Self> {
        min_sig::SecretKey::from_bytes(scalar)
            .map(Self)
            .map_err(|_| unusable("not 32 bytes between zero and the group's order"))
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.sk_to_pk())
    }

    /// The signature of a message.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LENGTH] {
        self.0.sign(message, SUITE, &[]).compress()
    }
}

/// The same problem of a key, where it is the key of a signature that is verified.
pub fn key_of_signature(error: Error) -> Error {
    match error {
        Error::KeyUnusable(problem) => invalid(&format!("its key: {problem}")),
        other => other,
    }
}

fn point_problem(error: BLST_ERROR) -> &'static str {
    match error {
        BLST_ERROR::BLST_POINT_NOT_ON_CURVE => "a point that is not on the curve",
        BLST_ERROR::BLST_POINT_NOT_IN_GROUP => "a point outside of the prime-order subgroup",
        BLST_ERROR::BLST_PK_IS_INFINITY => "the identity",
        _ => "not the encoding of a compressed point",
    }
}

fn unusable(problem: &str) -> Error {
    Error::KeyUnusable(problem.into())
}

fn invalid(problem: &str) -> Error {
    Error::CertificateSignatureInvalid(problem.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_seed(&[7; 32]).unwrap()
    }

    #[test]
    fn what_is_signed_verifies_and_nothing_else() {
        let (signature, public) = (key().sign(b"message"), key().public_key());
        assert_eq!(public.verify(&signature, b"message"), Ok(()));
        assert!(public.verify(&signature, b"massage").is_err());
        assert!(SecretKey::from_seed(&[8; 32]).unwrap().public_key().verify(&signature, b"message").is_err());
        for at in 0..SIGNATURE_LENGTH {
            let mut bent = signature;
            bent[at] ^= 1;
            assert!(public.verify(&bent, b"message").is_err(), "byte {at}");
        }
    }

    #[test]
    fn points_that_prove_nothing_are_refused() {
        let mut identity = [0; KEY_LENGTH];
        identity[0] = 0xc0;
        assert_eq!(PublicKey::from_raw(&identity).err(), Some(unusable("the identity")));
        assert_eq!(key().public_key().verify(&identity[..SIGNATURE_LENGTH], b""), Err(invalid("the identity")));
        assert!(PublicKey::from_raw(&[0; KEY_LENGTH]).is_err());
        assert!(PublicKey::from_raw(&[0; 2 * KEY_LENGTH]).is_err());
        assert!(key().public_key().verify(&[], b"").is_err());
    }

    #[test]
    fn keys_have_one_encoding() {
        let der = key().public_key().to_der();
        assert_eq!(der.len(), 133);
        assert!(PublicKey::from_der(&der).unwrap() == key().public_key());
        for at in 0..DER_PREFIX.len() {
            let mut bent = der.clone();
            bent[at] ^= 1;
            assert!(PublicKey::from_der(&bent).is_err(), "byte {at}");
        }
        assert!(PublicKey::from_der(&[&der[..], &[0]].concat()).is_err());
    }

    #[test]
    fn scalars_are_within_the_order() {
        let mut scalar = [0; 32];
        assert!(SecretKey::from_scalar(&scalar).is_err());
        scalar[31] = 1;
        assert!(SecretKey::from_scalar(&scalar).is_ok());
        assert!(SecretKey::from_scalar(&[0xff; 32]).is_err());
        assert!(SecretKey::from_scalar(&scalar[1..]).is_err());
        assert!(SecretKey::from_seed(&[1; 31]).is_err());
    }
}
