//! Keys of authenticators: COSE (RFC 9052, RFC 9053, RFC 8230) of the three kinds the IC takes.

use p256::ecdsa::signature::Verifier as _;
use rsa::{BoxedUint, RsaPublicKey, pkcs1v15};
use sha2::Sha256;

use crate::cbor::{self, Budget, Value};
use crate::public_key::{ed25519, unusable};
use crate::signature::{self, invalid};
use crate::{Error, Result};

/// Real keys have five entries.
const BUDGET: Budget = Budget { depth: 2, items: 64 };
/// In bits, as the replica has it.
const RSA_SIZES: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Negative labels and values -1 - n of COSE.
const MINUS_1: Value<'static> = Value::Negative(0);
const MINUS_2: Value<'static> = Value::Negative(1);
const MINUS_3: Value<'static> = Value::Negative(2);
const ALG_ES256: Value<'static> = Value::Negative(6);
const ALG_EDDSA: Value<'static> = Value::Negative(7);
const ALG_RS256: Value<'static> = Value::Negative(256);

/// The key of an authenticator.
#[derive(Debug, Clone)]
pub enum CoseKey {
    /// ES256 on P-256; signatures are DER.
    P256(p256::ecdsa::VerifyingKey),
    /// RS256: PKCS#1 v1.5 over SHA-256.
    Rsa(Box<pkcs1v15::VerifyingKey<Sha256>>),
    /// EdDSA on Ed25519.
    Ed25519(ed25519_zebra::VerificationKey),
}

impl CoseKey {
    /// Reads the CBOR of a key. Fails with [`Error::KeyUnusable`].
    pub fn parse(data: &[u8]) -> Result<Self> {
        let Ok(key @ Value::Map(_)) = cbor::decode("COSE key", data, BUDGET) else {
            return Err(unusable("not a COSE key in CBOR"));
        };
        if let Some(operations) = entry(&key, &Value::Unsigned(4))
            && !operations.as_array().is_some_and(|all| all.iter().any(is_verify))
        {
            return Err(unusable("its key_ops do not allow to verify"));
        }
        match (entry(&key, &Value::Unsigned(1)), entry(&key, &Value::Unsigned(3))) {
            (Some(Value::Unsigned(1)), Some(&ALG_EDDSA)) => okp(&key),
            (Some(Value::Unsigned(2)), Some(&ALG_ES256)) => ec2(&key),
            (Some(Value::Unsigned(3)), Some(&ALG_RS256)) => rsa(&key),
            _ => Err(unusable("its COSE kty and alg are none of EdDSA, ES256, RS256")),
        }
    }

    /// Verifies the signature of an authenticator. Fails with [`Error::SignatureInvalid`].
    pub fn verify(&self, signature: &[u8], message: &[u8]) -> Result<()> {
        match self {
            Self::P256(key) => signature::verify_p256_der(key, signature, message),
            Self::Ed25519(key) => signature::verify_ed25519(key, signature, message),
            Self::Rsa(key) => pkcs1v15::Signature::try_from(signature)
                .and_then(|signature| key.verify(message, &signature))
                .map_err(|_| invalid("not made by this RSA key for this message")),
        }
    }
}

fn entry<'v>(key: &'v Value<'_>, label: &Value<'_>) -> Option<&'v Value<'v>> {
    match key {
        Value::Map(entries) => entries.iter().find(|(name, _)| name == label).map(|(_, value)| value),
        _ => None,
    }
}

fn is_verify(operation: &Value<'_>) -> bool {
    matches!(operation, Value::Unsigned(2) | Value::Text("verify"))
}

fn bytes<'v>(key: &'v Value<'_>, label: &Value<'_>, what: &str) -> Result<&'v [u8]> {
    entry(key, label)
        .and_then(Value::as_bytes)
        .ok_or_else(|| Error::KeyUnusable(format!("its COSE entry {what} is missing or no byte string")))
}

fn okp(key: &Value<'_>) -> Result<CoseKey> {
    if entry(key, &MINUS_1) != Some(&Value::Unsigned(6)) {
        return Err(unusable("its COSE curve is not Ed25519"));
    }
    Ok(CoseKey::Ed25519(ed25519(bytes(key, &MINUS_2, "x")?)?))
}

fn ec2(key: &Value<'_>) -> Result<CoseKey> {
    if entry(key, &MINUS_1) != Some(&Value::Unsigned(1)) {
        return Err(unusable("its COSE curve is not P-256"));
    }
    let (x, y) = (bytes(key, &MINUS_2, "x")?, bytes(key, &MINUS_3, "y")?);
    if (x.len(), y.len()) != (32, 32) {
        return Err(unusable("its coordinates have not 32 bytes each"));
    }
    let point = [&[4], x, y].concat();
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point);
    key.map(CoseKey::P256).map_err(|_| unusable("the point is not on the curve"))
}

fn rsa(key: &Value<'_>) -> Result<CoseKey> {
    let number = |label, what| -> Result<BoxedUint> {
        let digits = bytes(key, label, what)?;
        let zeros = digits.iter().take_while(|byte| **byte == 0).count();
        if digits.len() - zeros > RSA_SIZES.end() / 8 {
            return Err(unusable("an RSA number is too long"));
        }
        Ok(BoxedUint::from_be_slice_vartime(&digits[zeros..]))
    };
    let (n, e) = (number(&MINUS_1, "n")?, number(&MINUS_2, "e")?);
    let key = RsaPublicKey::new_with_size_limits(n, e, RSA_SIZES)
        .map_err(|error| Error::KeyUnusable(format!("not a usable RSA key: {error}")))?;
    Ok(CoseKey::Rsa(Box::new(pkcs1v15::VerifyingKey::new(key))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing_key::{Scheme, SigningKey};

    fn cose(entries: &[(Value<'_>, Value<'_>)]) -> Vec<u8> {
        cbor::encode(&Value::Map(entries.to_vec()))
    }

    fn refused(entries: &[(Value<'_>, Value<'_>)]) -> bool {
        matches!(CoseKey::parse(&cose(entries)), Err(Error::KeyUnusable(_)))
    }

    /// Each kind with its entries, in the order kty, alg, then those of the kind.
    fn kinds<'a>(ed25519: &'a [u8], point: &'a [u8], n: &'a [u8]) -> [Vec<(Value<'a>, Value<'a>)>; 3] {
        let (kty, alg, one, two) = (Value::Unsigned(1), Value::Unsigned(3), Value::Unsigned(1), Value::Unsigned(2));
        let (x, y) = (Value::Bytes(&point[1..33]), Value::Bytes(&point[33..]));
        [
            vec![
                (kty.clone(), one.clone()),
                (alg.clone(), ALG_EDDSA),
                (MINUS_1, Value::Unsigned(6)),
                (MINUS_2, Value::Bytes(ed25519)),
            ],
            vec![(kty.clone(), two), (alg.clone(), ALG_ES256), (MINUS_1, one), (MINUS_2, x), (MINUS_3, y)],
            vec![
                (kty, Value::Unsigned(3)),
                (alg, ALG_RS256),
                (MINUS_1, Value::Bytes(n)),
                (MINUS_2, Value::Bytes(&[1, 0, 1])),
            ],
        ]
    }

    fn keys() -> (SigningKey, SigningKey, Vec<u8>) {
        let key = |scheme| SigningKey::from_secret(scheme, &[7; 32]).unwrap();
        (key(Scheme::Ed25519), key(Scheme::Prime256v1), vec![0xff; 256])
    }

    #[test]
    fn every_entry_counts() {
        let (ed25519, p256, n) = keys();
        let (ed25519, point) = (ed25519.raw_public_key(), p256.raw_public_key());
        for entries in kinds(&ed25519, &point, &n) {
            assert!(CoseKey::parse(&cose(&entries)).is_ok(), "{entries:?}");
            for at in 0..entries.len() {
                let mut without = entries.clone();
                without.remove(at);
                assert!(refused(&without), "{without:?}");
                for wrong in [Value::Null, Value::Unsigned(77), Value::Bytes(&[4; 31]), Value::Text("x")] {
                    let mut other = entries.clone();
                    other[at].1 = wrong;
                    assert!(refused(&other), "{other:?}");
                }
            }
        }
        assert!(refused(&[]));
        assert!(CoseKey::parse(&[0x80]).is_err());
    }

    #[test]
    fn key_ops_must_allow_to_verify() {
        let (ed25519, p256, n) = keys();
        let (ed25519, point) = (ed25519.raw_public_key(), p256.raw_public_key());
        for entries in kinds(&ed25519, &point, &n) {
            let with = |operations| [&entries[..], &[(Value::Unsigned(4), operations)]].concat();
            assert!(CoseKey::parse(&cose(&with(Value::Array(vec![Value::Unsigned(2)])))).is_ok());
            assert!(CoseKey::parse(&cose(&with(Value::Array(vec![Value::Text("verify")])))).is_ok());
            assert!(refused(&with(Value::Array(vec![Value::Unsigned(1)]))));
            assert!(refused(&with(Value::Unsigned(2))));
        }
    }

    #[test]
    fn rsa_numbers_are_bounded() {
        for (size, fine) in [(255, false), (256, true), (1024, true), (1025, false), (100_000, false)] {
            let n = vec![0xff; size];
            let [.., entries] = kinds(&[], &[0; 65], &n);
            assert_eq!(CoseKey::parse(&cose(&entries)).is_ok(), fine, "{size} bytes");
        }
        let n = [0xff; 256];
        let [.., mut entries] = kinds(&[], &[0; 65], &n);
        entries[3].1 = Value::Bytes(&[0xff; 5]);
        assert!(refused(&entries), "an exponent that would cost too much");
        entries[3].1 = Value::Bytes(&[4]);
        assert!(refused(&entries), "an even exponent");
    }

    #[test]
    fn eddsa_verifies() {
        let (ed25519, ..) = keys();
        let key = ed25519.raw_public_key();
        let [entries, ..] = kinds(&key, &[0; 65], &[]);
        let key = CoseKey::parse(&cose(&entries)).unwrap();
        assert_eq!(key.verify(&ed25519.sign(b"message"), b"message"), Ok(()));
        assert!(key.verify(&ed25519.sign(b"message"), b"another").is_err());
    }
}
