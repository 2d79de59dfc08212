//! Signatures of authenticators over a challenge (interface specification, "Web Authentication").

use std::borrow::Cow;

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::encoding::cbor::{self, Budget, Value};
use crate::signatures::cose::CoseKey;
use crate::{Error, Result};

/// Real ones have three entries.
const BUDGET: Budget = Budget { depth: 1, items: 16 };

/// The one field of the client data that means something to the IC: origin and flags are between user and browser.
#[derive(Deserialize)]
struct ClientData<'a> {
    #[serde(borrow)]
    challenge: Cow<'a, str>,
}

/// Verifies that an authenticator signed client data whose challenge is the message.
///
/// Fails with [`crate::Error::SignatureInvalid`].
pub fn verify(key: &CoseKey, signature: &[u8], message: &[u8]) -> Result<()> {
    let fields = cbor::decode("WebAuthn signature", signature, BUDGET)
        .map_err(|_| Error::signature_invalid("a WebAuthn signature is a map in CBOR"))?;
    let client_data = field(&fields, "client_data_json")?;
    let signed = [field(&fields, "authenticator_data")?, &Sha256::digest(client_data)].concat();
    // The signature first: what follows parses JSON, and only of whoever holds the key.
    key.verify(field(&fields, "signature")?, &signed)?;
    let client_data: ClientData<'_> = serde_json::from_slice(client_data)
        .map_err(|_| Error::signature_invalid("its client data is no JSON with a challenge"))?;
    match BASE64URL_NOPAD.decode(client_data.challenge.as_bytes()) {
        Ok(challenge) if challenge == message => Ok(()),
        Ok(_) => Err(Error::signature_invalid("its challenge is another message")),
        Err(_) => Err(Error::signature_invalid("its challenge is not base64url without padding")),
    }
}

/// Bytes, or a text for `client_data_json`: both are seen in the field.
fn field<'v>(fields: &'v Value<'_>, name: &str) -> Result<&'v [u8]> {
    match fields.get(name) {
        Some(Value::Bytes(bytes)) => Ok(bytes),
        Some(Value::Text(text)) if name == "client_data_json" => Ok(text.as_bytes()),
        _ => Err(Error::signature_invalid(format!("its {name} is missing or of another type"))),
    }
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::signature::Signer as _;

    use super::*;
    use crate::encoding::cbor::map;
    use crate::signatures::signature::P256Key;

    fn authenticator() -> (p256::ecdsa::SigningKey, CoseKey) {
        let secret = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let point = secret.verifying_key().to_sec1_point(false);
        let public = CoseKey::P256(P256Key::from_point(point.as_bytes()).unwrap());
        (secret, public)
    }

    fn sign(client_data: &str, as_text: bool) -> Vec<u8> {
        let signed = [&b"authenticator"[..], &Sha256::digest(client_data)].concat();
        let signature: p256::ecdsa::DerSignature = authenticator().0.sign(&signed);
        let json = if as_text { Value::Text(client_data) } else { Value::Bytes(client_data.as_bytes()) };
        cbor::encode(&map(vec![
            ("authenticator_data", Value::Bytes(b"authenticator")),
            ("client_data_json", json),
            ("signature", Value::Bytes(signature.as_bytes())),
        ]))
    }

    fn verdict(client_data: &str) -> Result<()> {
        let (text, bytes) = (sign(client_data, true), sign(client_data, false));
        let key = authenticator().1;
        assert_eq!(verify(&key, &text, b"message"), verify(&key, &bytes, b"message"));
        verify(&key, &text, b"message")
    }

    #[test]
    fn the_challenge_is_the_message() {
        assert_eq!(verdict(r#"{"type": "webauthn.get", "challenge": "bWVzc2FnZQ", "origin": "https://a.b"}"#), Ok(()));
        assert_eq!(verdict(r#"{"challenge": "bWVz\u0063\u0032FnZQ"}"#), Ok(()));
        for bad in [
            r#"{"challenge": "bWVzc2FnZR"}"#,
            r#"{"challenge": "b3RoZXI"}"#,
            r#"{"challenge": "bWVzc2FnZQ=="}"#,
            r#"{"challenge": "bWVzc2FnZQ", "challenge": "bWVzc2FnZQ"}"#,
            r#"{"challenge": 1}"#,
            r#"{}"#,
            "",
            "[",
        ] {
            assert!(matches!(verdict(bad), Err(Error::SignatureInvalid(_))), "{bad}");
        }
    }

    #[test]
    fn every_byte_is_signed() {
        let signature = sign(r#"{"challenge": "bWVzc2FnZQ"}"#, true);
        let key = authenticator().1;
        assert_eq!(verify(&key, &signature, b"message"), Ok(()));
        for at in 0..signature.len() {
            let mut forged = signature.clone();
            forged[at] ^= 1;
            assert!(matches!(verify(&key, &forged, b"message"), Err(Error::SignatureInvalid(_))), "{at}");
        }
    }
}
