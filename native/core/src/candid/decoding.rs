//! What decoding a message may cost, its errors in one line, and the decoding that needs no types of Candid text.

use ::candid::de::IDLDeserialize;
use ::candid::types::CandidType;
use ::candid::{DecoderConfig, IDLArgs, IDLValue};

use crate::{Error, Result};

/// The longest sentence about a value that does not decode; the crate's own can quote whole types.
const MAX_PROBLEM: usize = 400;

/// What decoding may cost, in the units of the crate's cost model (about one a byte, and 10 to 20 a record or variant).
/// It grows with the message, so that small ones cannot pretend to hold millions of values of no size, and ends where a
/// decoded message would take some hundred megabytes.
pub fn decoding_cost(length: usize) -> usize {
    length.saturating_mul(16).saturating_add(100_000).min(16_000_000)
}

/// The budget for decoding a message of this length.
pub fn decoder_config(length: usize) -> DecoderConfig {
    let mut config = DecoderConfig::new();
    config.set_skipping_quota(decoding_cost(length)).set_full_error_message(false);
    config
}

/// Decodes by the types that the message itself names.
pub fn decode_untyped(data: &[u8]) -> Result<Vec<IDLValue>> {
    IDLArgs::from_bytes_with_config(data, &decoder_config(data.len()))
        .map(|values| values.args)
        .map_err(|problem| explain(&problem))
}

/// Decodes one value into a type of ours; values behind it are skipped, as Candid has it.
pub fn decode_one<'a, T: CandidType + serde::Deserialize<'a>>(data: &'a [u8]) -> Result<T> {
    let decode = || {
        let mut decoder = IDLDeserialize::new_with_config(data, &decoder_config(data.len()))?;
        let value = decoder.get_value::<T>()?;
        decoder.done()?;
        Ok(value)
    };
    decode().map_err(|problem: ::candid::Error| explain(&problem))
}

/// A natural number of any size from little-endian bytes.
pub fn nat_from_le_bytes(bytes: &[u8]) -> IDLValue {
    IDLValue::Nat(::candid::Nat(num_bigint::BigUint::from_bytes_le(bytes)))
}

/// An integer of any size from little-endian bytes in two's complement.
pub fn int_from_le_bytes(bytes: &[u8]) -> IDLValue {
    IDLValue::Int(::candid::Int(num_bigint::BigInt::from_signed_bytes_le(bytes)))
}

/// The crate's error with all of its causes, in one line of bounded length. It quotes what it was given in hexadecimal,
/// and its own source files: neither is for those who read it, and the first may be a secret of somebody.
pub(super) fn explain(problem: &::candid::Error) -> Error {
    let problem = format!("{problem:#}");
    let told = problem.split_whitespace().filter(|word| !word.contains(".rs:"));
    let told = told.map(|word| if is_quoted(word) { "…:" } else { word }).collect::<Vec<_>>();
    let mut text = told.join(" ").replace(" : ", ": ").replace(" at:", ":");
    text.truncate(text.trim_end_matches(" at").len());
    if text.len() > MAX_PROBLEM {
        let end = (0..=MAX_PROBLEM).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    Error::Candid(text)
}

/// Whether a word is bytes in hexadecimal.
fn is_quoted(word: &str) -> bool {
    let digits = word.trim_end_matches(':');
    digits.len() >= 8 && digits.len().is_multiple_of(2) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::super::types::Types;
    use super::*;

    #[test]
    fn decodes_by_the_types_of_the_message() {
        let data = Types::parse("(nat64)").unwrap().encode(vec![IDLValue::Nat64(7)]).unwrap();
        assert_eq!(decode_untyped(&data).unwrap(), vec![IDLValue::Nat64(7)]);
        assert_eq!(decode_one::<u64>(&data).unwrap(), 7);
        assert!(decode_one::<String>(&data).is_err());
    }

    #[test]
    fn errors_are_short_and_in_one_line() {
        let types = Types::parse(&format!("(record {{ {} }})", "field".repeat(200) + ": nat")).unwrap();
        let Err(Error::Candid(problem)) = types.decode(b"DIDL\0\x01\x71\0") else { panic!("no error") };
        assert!(problem.len() < MAX_PROBLEM + 8 && !problem.contains('\n'), "{problem}");
    }

    #[test]
    fn values_of_no_size_are_limited() {
        for bomb in
            [&b"DIDL\x01\x6d\x7f\x01\0\x80\x94\xeb\xdc\x03"[..], b"DIDL\x02\x6d\x01\x6c\0\x01\0\x80\xad\xe2\x04"]
        {
            assert!(decode_untyped(bomb).is_err());
            assert!(decode_one::<u64>(bomb).is_err());
        }
    }

    #[test]
    fn numbers_of_any_size() {
        let types = Types::parse("(nat, int)").unwrap();
        let values = vec![nat_from_le_bytes(&[0xff; 20]), int_from_le_bytes(&[0, 0x80])];
        assert_eq!(types.decode(&types.encode(values.clone()).unwrap()).unwrap(), values);
        assert_eq!(values[1], IDLValue::Int((-32768).into()));
    }
}
