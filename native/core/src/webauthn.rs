//! Signatures of authenticators over a challenge (interface specification, "Web Authentication").

use std::borrow::Cow;

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::Result;
use crate::cbor::{self, Budget, Value};
use crate::cose::CoseKey;
use crate::signature::invalid;

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
        .map_err(|_| invalid("a WebAuthn signature is a map in CBOR"))?;
    let client_data = field(&fields, "client_data_json")?;
    let signed = [field(&fields, "authenticator_data")?, &Sha256::digest(client_data)].concat();
    key.verify(field(&fields, "signature")?, &signed)?;
    let client_data: ClientData<'_> =
        serde_json::from_slice(client_data).map_err(|_| invalid("its client data is no JSON with a challenge"))?;
    match BASE64URL_NOPAD.decode(client_data.challenge.as_bytes()) {
        Ok(challenge) if challenge == message => Ok(()),
        Ok(_) => Err(invalid("its challenge is another message")),
        Err(_) => Err(invalid("its challenge is not base64url without padding")),
    }
}

/// Bytes, or a text for `client_data_json`: both are seen in the field.
fn field<'v>(fields: &'v Value<'_>, name: &str) -> Result<&'v [u8]> {
    match fields.get(name) {
        Some(Value::Bytes(bytes)) => Ok(bytes),
        Some(Value::Text(text)) if name == "client_data_json" => Ok(text.as_bytes()),
        _ => Err(invalid(format!("its {name} is missing or of another type"))),
    }
}
