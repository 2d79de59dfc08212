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
