//! Private keys that sign requests. Secrets are wiped when a key is dropped.

use p256::ecdsa::signature::Signer as _;
use pkcs8::{EncodePrivateKey, EncodePublicKey};
use zeroize::Zeroizing;

use crate::public_key::unusable;
use crate::{Error, Result};

/// DER of an Ed25519 public key before its 32 bytes.
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// PKCS#8 v1 of an Ed25519 private key before its 32 bytes.
const ED25519_PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// A signature scheme that a request can be signed with by software.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Ed25519.
    Ed25519,
    /// ECDSA on secp256k1.
    Secp256k1,
    /// ECDSA on P-256.
    Prime256v1,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ed25519, Self::Secp256k1, Self::Prime256v1];

    /// The name that OpenSSL and the IC's tools use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Secp256k1 => "secp256k1",
            Self::Prime256v1 => "prime256v1",
        }
    }

    /// The scheme of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name() == name)
    }
}

/// A private key.
pub enum SigningKey {
    /// Ed25519.
    Ed25519(Zeroizing<ed25519_zebra::SigningKey>),
    /// ECDSA on secp256k1.
    Secp256k1(k256::ecdsa::SigningKey),
    /// ECDSA on P-256.
    Prime256v1(p256::ecdsa::SigningKey),
}

impl SigningKey {
    /// A new key from the randomness of the operating system.
    pub fn generate(scheme: Scheme) -> Result<Self> {
        let mut secret = Zeroizing::new([0; 32]);
        loop {
            getrandom::fill(secret.as_mut())
                .map_err(|error| Error::KeyUnusable(format!("the system has no randomness: {error}")))?;
            // Fails for a scalar of zero or beyond the order only, which is rarer than failing hardware.
            if let Ok(key) = Self::from_secret(scheme, secret.as_ref()) {
                return Ok(key);
            }
        }
    }

    /// From 32 bytes: the seed of Ed25519, the scalar (big-endian) of ECDSA.
    pub fn from_secret(scheme: Scheme, secret: &[u8]) -> Result<Self> {
        let Ok(secret) = <&[u8; 32]>::try_from(secret) else {
            return Err(Error::KeyUnusable(format!("its secret has {} bytes, 32 are needed", secret.len())));
        };
        let out_of_range = |_| unusable("its secret is zero or beyond the order of the group");
        match scheme {
            Scheme::Ed25519 => Ok(Self::Ed25519(Zeroizing::new((*secret).into()))),
            Scheme::Secp256k1 => k256::ecdsa::SigningKey::from_slice(secret).map(Self::Secp256k1).map_err(out_of_range),
            Scheme::Prime256v1 => {
                p256::ecdsa::SigningKey::from_slice(secret).map(Self::Prime256v1).map_err(out_of_range)
            }
        }
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Ed25519(_) => Scheme::Ed25519,
            Self::Secp256k1(_) => Scheme::Secp256k1,
            Self::Prime256v1(_) => Scheme::Prime256v1,
        }
    }

    /// The public half in DER.
    pub fn public_key(&self) -> Result<Vec<u8>> {
        let document = match self {
            Self::Ed25519(key) => return Ok([&ED25519_PREFIX[..], &self::raw_ed25519(key)].concat()),
            Self::Secp256k1(key) => key.verifying_key().to_public_key_der(),
            Self::Prime256v1(key) => key.verifying_key().to_public_key_der(),
        };
        document.map(|der| der.into_vec()).map_err(|error| Error::KeyUnusable(error.to_string()))
    }

    /// The public half as files carry it beside the secret: 32 bytes, or an uncompressed point.
    pub(crate) fn raw_public_key(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => raw_ed25519(key).to_vec(),
            Self::Secp256k1(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            Self::Prime256v1(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
        }
    }

    /// Signs a message that includes its domain separator. ECDSA is deterministic (RFC 6979), over SHA-256.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        match self {
            Self::Ed25519(key) => key.sign(message).to_bytes(),
            Self::Secp256k1(key) => {
                let signature: k256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().into()
            }
            Self::Prime256v1(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().into()
            }
        }
    }

    /// PKCS#8 v1. Secret.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>> {
        let document = match self {
            Self::Ed25519(key) => {
                let seed: &[u8] = key.as_ref();
                return Ok(Zeroizing::new([&ED25519_PKCS8_PREFIX, seed].concat()));
            }
            Self::Secp256k1(key) => key.to_pkcs8_der(),
            Self::Prime256v1(key) => key.to_pkcs8_der(),
        };
        document.map(|document| document.to_bytes()).map_err(|error| Error::KeyUnusable(error.to_string()))
    }
}

fn raw_ed25519(key: &ed25519_zebra::SigningKey) -> [u8; 32] {
    ed25519_zebra::VerificationKey::from(key).into()
}
