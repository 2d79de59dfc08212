//! Keys of authenticators: COSE (RFC 9052, RFC 9053, RFC 8230) of the three kinds the IC takes.

use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};

use crate::encoding::cbor::{self, Budget, Value};
use crate::signatures::signature::{P256Key, ed25519, verify_ed25519};
use crate::{Error, Result};

/// Real keys have five entries.
const BUDGET: Budget = Budget { depth: 2, items: 64 };
/// Of an RSA modulus in bytes, as the replica has it. A key of 2048 bits has its first bit set.
const RSA_SIZES: std::ops::RangeInclusive<usize> = 256..=1024;

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
    P256(P256Key),
    /// RS256: PKCS#1 v1.5 over SHA-256.
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    /// EdDSA on Ed25519.
    Ed25519(ed25519_zebra::VerificationKey),
}

impl CoseKey {
    /// Reads the CBOR of a key. Fails with [`Error::KeyUnusable`].
    pub fn parse(data: &[u8]) -> Result<Self> {
        let Ok(key @ Value::Map(_)) = cbor::decode("COSE key", data, BUDGET) else {
            return Err(Error::key_unusable("not a COSE key in CBOR"));
        };
        if let Some(operations) = entry(&key, &Value::Unsigned(4))
            && !operations.as_array().is_some_and(|all| all.iter().any(is_verify))
        {
            return Err(Error::key_unusable("its key_ops do not allow to verify"));
        }
        match (entry(&key, &Value::Unsigned(1)), entry(&key, &Value::Unsigned(3))) {
            (Some(Value::Unsigned(1)), Some(&ALG_EDDSA)) => okp(&key),
            (Some(Value::Unsigned(2)), Some(&ALG_ES256)) => ec2(&key),
            (Some(Value::Unsigned(3)), Some(&ALG_RS256)) => rsa(&key),
            _ => Err(Error::key_unusable("its COSE kty and alg are none of EdDSA, ES256, RS256")),
        }
    }

    /// Verifies the signature of an authenticator. Fails with [`Error::SignatureInvalid`].
    pub fn verify(&self, signature: &[u8], message: &[u8]) -> Result<()> {
        match self {
            Self::P256(key) => key.verify_der(signature, message),
            Self::Ed25519(key) => verify_ed25519(key, signature, message),
            Self::Rsa(key) => key
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .map_err(|_| Error::signature_invalid("not made by this RSA key for this message")),
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
        return Err(Error::key_unusable("its COSE curve is not Ed25519"));
    }
    Ok(CoseKey::Ed25519(ed25519(bytes(key, &MINUS_2, "x")?)?))
}

fn ec2(key: &Value<'_>) -> Result<CoseKey> {
    if entry(key, &MINUS_1) != Some(&Value::Unsigned(1)) {
        return Err(Error::key_unusable("its COSE curve is not P-256"));
    }
    let (x, y) = (bytes(key, &MINUS_2, "x")?, bytes(key, &MINUS_3, "y")?);
    if (x.len(), y.len()) != (32, 32) {
        return Err(Error::key_unusable("its coordinates have not 32 bytes each"));
    }
    P256Key::from_point(&[&[4], x, y].concat()).map(CoseKey::P256)
}

fn rsa(key: &Value<'_>) -> Result<CoseKey> {
    let number = |label, what| -> Result<Vec<u8>> {
        let digits = bytes(key, label, what)?;
        Ok(digits.iter().copied().skip_while(|digit| *digit == 0).collect())
    };
    let (n, e) = (number(&MINUS_1, "n")?, number(&MINUS_2, "e")?);
    let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    if !RSA_SIZES.contains(&n.len()) || (n.len() == *RSA_SIZES.start() && n[0] < 0x80) || !odd(&n) {
        return Err(Error::key_unusable("its RSA modulus is even or has not 2048 to 8192 bits"));
    }
    if !odd(&e) || e == [1] || e.len() > 5 || (e.len() == 5 && e[0] > 1) {
        return Err(Error::key_unusable("its RSA exponent is even, 1, or has more than 33 bits"));
    }
    Ok(CoseKey::Rsa(RsaPublicKeyComponents { n, e }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signatures::signing_key::{Scheme, SigningKey};

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
        let mut n = [0xff; 256];
        n[0] = 0x7f;
        assert!(refused(&kinds(&[], &[0; 65], &n)[2]), "2047 bits");
        let n = [0xff; 256];
        let [.., mut entries] = kinds(&[], &[0; 65], &n);
        entries[3].1 = Value::Bytes(&[0xff; 5]);
        assert!(refused(&entries), "an exponent that would cost too much");
        entries[3].1 = Value::Bytes(&[4]);
        assert!(refused(&entries), "an even exponent");
        entries[3].1 = Value::Bytes(&[0, 0, 1]);
        assert!(refused(&entries), "an exponent of one signs everything");
        entries[3].1 = Value::Bytes(&[0, 3]);
        assert!(!refused(&entries));
        entries[2].1 = Value::Bytes(&[0xfe; 256]);
        assert!(refused(&entries), "an even modulus");
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
