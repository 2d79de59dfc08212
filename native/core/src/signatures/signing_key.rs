//! Private keys that sign requests. Secrets are wiped when a key is dropped.

use p256::ecdsa::signature::Signer as _;
use pkcs8::{EncodePrivateKey, EncodePublicKey};
use zeroize::Zeroizing;

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
        let out_of_range = |_| Error::key_unusable("its secret is zero or beyond the order of the group");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signatures::public_key::PublicKey;

    #[test]
    fn what_is_signed_verifies_and_nothing_else() {
        for scheme in Scheme::ALL {
            let key = SigningKey::generate(scheme).unwrap();
            let public = PublicKey::from_der(&key.public_key().unwrap()).unwrap();
            let signature = key.sign(b"message");
            assert_eq!(public.verify(&signature, b"message", None), Ok(()));
            assert!(public.verify(&signature, b"another", None).is_err());
            assert!(public.verify(&signature[1..], b"message", None).is_err());
            for at in 0..64 {
                let mut forged = signature;
                forged[at] ^= 1;
                assert!(public.verify(&forged, b"message", None).is_err(), "{scheme:?} {at}");
            }
        }
    }

    /// RFC 8032, section 7.1, test 1.
    #[test]
    fn ed25519_of_the_rfc() {
        let seed = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let key = SigningKey::from_secret(Scheme::Ed25519, &seed).unwrap();
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(hex::encode(key.raw_public_key()), public);
        assert!(hex::encode(key.sign(b"")).starts_with("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065"));
    }

    /// RFC 8410, sections 10.1 and 10.3.
    #[test]
    fn ed25519_is_encoded_as_in_the_rfc() {
        let seed = hex::decode("d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842").unwrap();
        let key = SigningKey::from_secret(Scheme::Ed25519, &seed).unwrap();
        let encoded = |document: &[u8]| data_encoding::BASE64.encode(document);
        let private = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC";
        let public = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
        assert_eq!(
            (encoded(&key.to_pkcs8().unwrap()), encoded(&key.public_key().unwrap())),
            (private.into(), public.into())
        );
    }

    /// RFC 6979, appendix A.2.5.
    #[test]
    fn ecdsa_is_deterministic() {
        let secret = hex::decode("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721").unwrap();
        let key = SigningKey::from_secret(Scheme::Prime256v1, &secret).unwrap();
        assert!(
            hex::encode(key.sign(b"sample")).starts_with("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea8")
        );
    }

    #[test]
    fn secrets_out_of_range_are_refused() {
        for scheme in Scheme::ALL {
            assert!(SigningKey::from_secret(scheme, &[1; 31]).is_err());
            let zero = SigningKey::from_secret(scheme, &[0; 32]);
            let beyond = SigningKey::from_secret(scheme, &[0xff; 32]);
            assert_eq!((zero.is_ok(), beyond.is_ok()), (scheme == Scheme::Ed25519, scheme == Scheme::Ed25519));
        }
    }

    #[test]
    fn schemes_have_names() {
        for scheme in Scheme::ALL {
            assert_eq!(Scheme::from_name(scheme.name()), Some(scheme));
        }
        assert_eq!(Scheme::from_name("rsa"), None);
    }
}
