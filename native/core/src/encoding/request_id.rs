//! Representation-independent hashes (interface specification, "Representation-independent hashing of structured data"),
//! taken over what was received: fields nobody here knows count too.

use sha2::{Digest, Sha256};

use crate::encoding::cbor::Value;
use crate::{Error, Result};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The hash of a map with text keys, e.g. the request id of a content. Entries that are null count as absent.
///
/// Fails with [`Error::Malformed`] for another value, and for what has no hash: booleans, nulls outside of maps, keys
/// that are no text.
pub fn hash_of_map(value: &Value<'_>) -> Result<Hash> {
    match value {
        Value::Map(_) => hash_of_value(value),
        _ => Err(Error::malformed("content", "not a map")),
    }
}

/// The hash of any value that has one. Fails as [`hash_of_map`] does.
pub fn hash_of_value(value: &Value<'_>) -> Result<Hash> {
    match value {
        Value::Bytes(bytes) => Ok(sha256(bytes)),
        Value::Text(text) => Ok(sha256(text.as_bytes())),
        Value::Unsigned(n) => Ok(sha256(&leb128(&n.to_be_bytes()))),
        Value::Bignum(digits) => Ok(sha256(&leb128(digits))),
        Value::Negative(n) => Ok(hash_of_int(-1 - i128::from(*n))),
        Value::Array(items) => {
            let mut hasher = Sha256::new();
            for item in items {
                hasher.update(hash_of_value(item)?);
            }
            Ok(hasher.finalize().into())
        }
        Value::Map(entries) => {
            let present = entries.iter().filter(|(_, value)| *value != Value::Null);
            let fields = present.map(|(key, value)| match key {
                Value::Text(key) => Ok((*key, hash_of_value(value)?)),
                _ => Err(Error::malformed("content", "a key that is no text has no hash")),
            });
            Ok(hash_of_fields(fields.collect::<Result<Vec<_>>>()?))
        }
        Value::Bool(_) | Value::Null => Err(Error::malformed("content", "booleans and null have no hash")),
    }
}

/// The hash of an integer that is signed by its type: over its shortest signed LEB128.
pub fn hash_of_int(n: i128) -> Hash {
    let mut bytes = Vec::with_capacity(19);
    let mut rest = n;
    loop {
        let group = (rest & 0x7f) as u8;
        rest >>= 7;
        if (rest == 0 && group & 0x40 == 0) || (rest == -1 && group & 0x40 != 0) {
            bytes.push(group);
            return sha256(&bytes);
        }
        bytes.push(group | 0x80);
    }
}

/// The hash of a map whose values are hashed already.
pub fn hash_of_fields<'a>(fields: impl IntoIterator<Item = (&'a str, Hash)>) -> Hash {
    let mut pairs: Vec<_> = fields.into_iter().map(|(key, hash)| (sha256(key.as_bytes()), hash)).collect();
    pairs.sort_unstable();
    let mut hasher = Sha256::new();
    for (key, hash) in pairs {
        hasher.update(key);
        hasher.update(hash);
    }
    hasher.finalize().into()
}

/// SHA-256 of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// The shortest unsigned LEB128 of a big-endian number.
fn leb128(digits: &[u8]) -> Vec<u8> {
    let mut groups = Vec::with_capacity(digits.len() * 8 / 7 + 1);
    let (mut buffer, mut bits) = (0u16, 0);
    for byte in digits.iter().rev() {
        buffer |= u16::from(*byte) << bits;
        bits += 8;
        while bits >= 7 {
            groups.push((buffer & 0x7f) as u8);
            buffer >>= 7;
            bits -= 7;
        }
    }
    groups.push(buffer as u8);
    while groups.len() > 1 && groups.last() == Some(&0) {
        groups.pop();
    }
    let last = groups.len() - 1;
    groups[..last].iter_mut().for_each(|group| *group |= 0x80);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(key: &'static str) -> Value<'static> {
        Value::Text(key)
    }

    /// The worked example of the specification.
    #[test]
    fn the_id_of_the_specification() {
        let content = Value::Map(vec![
            (text("request_type"), text("call")),
            (text("sender"), Value::Bytes(&[4])),
            (text("ingress_expiry"), Value::Unsigned(1_685_570_400_000_000_000)),
            (text("canister_id"), Value::Bytes(&[0, 0, 0, 0, 0, 0, 4, 0xd2])),
            (text("method_name"), text("hello")),
            (text("arg"), Value::Bytes(b"DIDL\x00\xFD*")),
        ]);
        let id = hash_of_map(&content).unwrap();
        let expected = "1d1091364d6bb8a6c16b203ee75467d59ead468f523eb058880ae8ec80e2b101";
        assert_eq!(hex::encode(id), expected);
    }

    #[test]
    fn the_order_of_fields_and_null_fields_do_not_count() {
        let (a, b) = ((text("a"), Value::Unsigned(1)), (text("b"), Value::Bytes(&[2])));
        let hash = hash_of_map(&Value::Map(vec![a.clone(), b.clone()])).unwrap();
        assert_eq!(hash_of_map(&Value::Map(vec![b.clone(), (text("c"), Value::Null), a.clone()])).unwrap(), hash);
        assert_ne!(hash_of_map(&Value::Map(vec![a])).unwrap(), hash);
    }

    #[test]
    fn numbers_hash_by_their_value() {
        for (digits, groups) in [
            (&[][..], &[0][..]),
            (&[0, 0], &[0]),
            (&[127], &[127]),
            (&[128], &[0x80, 1]),
            (&[0, 0x3f, 0xff], &[0xff, 0x7f]),
            (&[1, 0, 0, 0, 0, 0, 0, 0, 0], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2]),
        ] {
            assert_eq!(leb128(digits), groups);
        }
        let big = Value::Bignum(&[0, 1, 0]);
        assert_eq!(hash_of_value(&big).unwrap(), hash_of_value(&Value::Unsigned(256)).unwrap());
        assert_eq!(hash_of_value(&Value::Negative(0)).unwrap(), sha256(&[0x7f]));
        assert_eq!(hash_of_value(&Value::Negative(127)).unwrap(), sha256(&[0x80, 0x7f]));
        assert_eq!(hash_of_int(64), sha256(&[0xc0, 0]));
    }

    #[test]
    fn what_has_no_hash_is_refused() {
        let keyed = |key| Value::Map(vec![(key, Value::Unsigned(1))]);
        for value in [Value::Null, Value::Bool(true), Value::Array(vec![Value::Null]), keyed(Value::Bytes(b"a"))] {
            assert!(hash_of_value(&value).is_err(), "{value:?}");
        }
        assert!(hash_of_map(&Value::Array(vec![])).is_err());
    }
}
