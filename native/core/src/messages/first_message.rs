//! The first frame of a client of wire generation v0: an Ed25519 key introduces itself to a canister.

use crate::encoding::cbor::{self, Budget, Value};
use crate::error::check_limit;
use crate::signatures::signature::{ed25519, verify_ed25519};
use crate::{Error, Result, principal};

/// The largest frame; real ones have 156 bytes.
const MAX_FRAME: usize = 4096;
const WHAT: &str = "first message";

/// What a client said and signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstMessage<'a> {
    /// The client's Ed25519 key, 32 bytes.
    pub client_key: &'a [u8],
    /// The canister it wants to talk to.
    pub canister_id: &'a [u8],
    /// The signed bytes.
    pub content: &'a [u8],
    /// Ed25519 over the content, without a separator.
    pub signature: &'a [u8],
}

/// Verifies the frame. Fails with [`Error::Malformed`], [`Error::TooLarge`] or [`Error::SignatureInvalid`].
pub fn open(frame: &[u8]) -> Result<FirstMessage<'_>> {
    check_limit(WHAT, frame.len(), MAX_FRAME, "bytes")?;
    let outer = cbor::decode(WHAT, frame, Budget::REQUEST)?;
    let (content, signature) = (field(&outer, "content")?, field(&outer, "sig")?);
    let inner = cbor::decode(WHAT, content, Budget::REQUEST)?;
    let (client_key, canister_id) = (field(&inner, "client_key")?, field(&inner, "canister_id")?);
    principal::check("canister_id", canister_id)?;
    let key = ed25519(client_key).map_err(|_| Error::malformed(WHAT, "client_key is no Ed25519 key"))?;
    verify_ed25519(&key, signature, content)?;
    Ok(FirstMessage { client_key, canister_id, content, signature })
}

fn field<'a>(map: &Value<'a>, name: &str) -> Result<&'a [u8]> {
    let bytes = map.get(name).and_then(Value::as_bytes);
    bytes.ok_or_else(|| Error::malformed(WHAT, format!("{name} is missing or no byte string")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::cbor::map;
    use crate::signatures::signing_key::{Scheme, SigningKey};

    fn frame(canister_id: &[u8]) -> Vec<u8> {
        let key = SigningKey::from_secret(Scheme::Ed25519, &[7; 32]).unwrap();
        let client_key = key.raw_public_key();
        let content = map(vec![("canister_id", Value::Bytes(canister_id)), ("client_key", Value::Bytes(&client_key))]);
        let content = [&cbor::SELF_DESCRIBED[..], &cbor::encode(&content)].concat();
        let signature = key.sign(&content);
        let outer = map(vec![("content", Value::Bytes(&content)), ("sig", Value::Bytes(&signature))]);
        [&cbor::SELF_DESCRIBED[..], &cbor::encode(&outer)].concat()
    }

    #[test]
    fn what_is_signed_opens() {
        let frame = frame(&[1, 2, 3]);
        let message = open(&frame).unwrap();
        assert_eq!((message.canister_id, message.client_key.len(), message.signature.len()), (&[1, 2, 3][..], 32, 64));
        assert!(message.content.starts_with(&cbor::SELF_DESCRIBED));
    }

    #[test]
    fn every_byte_counts() {
        let frame = frame(&[1, 2, 3]);
        for at in 0..frame.len() {
            let mut forged = frame.clone();
            forged[at] ^= 1;
            let verdict = open(&forged);
            let expected = matches!(verdict, Err(Error::Malformed { .. } | Error::SignatureInvalid(_)));
            assert!(expected, "{at}: {verdict:?}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        assert!(matches!(open(&[0; MAX_FRAME + 1]), Err(Error::TooLarge { .. })));
        assert!(matches!(open(&[0; MAX_FRAME]), Err(Error::Malformed { .. })));
        assert!(matches!(open(&frame(&[0; 30])), Err(Error::TooLarge { what: "canister_id", .. })));
    }
}
