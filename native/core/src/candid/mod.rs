//! Candid: types from text, values to bytes and back. The work is done by the crates `candid` and `candid_parser`; this
//! module adds what they leave to their users: budgets, positions in errors, and types that may cross threads.

mod misfit;
mod schema;
mod text;
mod values;

use std::sync::{Arc, OnceLock};

use ::candid::de::IDLDeserialize;
use ::candid::ser::ValueSerializer;
use ::candid::types::{CandidType, Type, TypeEnv};
use ::candid::{DecoderConfig, IDLArgs, IDLValue};

pub use schema::{Field, Label, Schema, Shape, ShapeId};
pub use text::{Interface, Method};
pub use values::{decode_text, encode_text};

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

/// A tuple of types, e.g. the arguments of a method. Cheap to clone, shared between threads.
#[derive(Debug, Clone)]
pub struct Types {
    schema: Arc<Schema>,
    shapes: Arc<[ShapeId]>,
    header: Arc<OnceLock<Vec<u8>>>,
}

impl Types {
    pub(crate) fn new(schema: Arc<Schema>, shapes: Vec<ShapeId>) -> Self {
        Self { schema, shapes: shapes.into(), header: Arc::default() }
    }

    /// Parses e.g. `(record {nonce: nat64}, opt text)`.
    pub fn parse(source: &str) -> Result<Self> {
        text::parse_types(source)
    }

    /// From types that the crate has checked: every name is bound, none to an endless chain of names.
    pub fn from_candid(env: &TypeEnv, types: &[Type]) -> Result<Self> {
        let mut import = schema::Import::new(env);
        let shapes = import.add_all(types)?;
        Ok(Self::new(Arc::new(import.finish()?), shapes))
    }

    /// What the shapes refer to.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The shape of each value.
    pub fn shapes(&self) -> &[ShapeId] {
        &self.shapes
    }

    /// One of the types, as a tuple of one.
    pub fn nth(&self, index: usize) -> Option<Self> {
        self.shapes.get(index).map(|shape| Self::new(self.schema.clone(), vec![*shape]))
    }

    /// The same types, with what an `opt` holds in its place: one level of it.
    pub fn without_opt(&self) -> Self {
        let inner = |shape: &ShapeId| match self.schema.shape(*shape) {
            Shape::Opt(item) => *item,
            _ => *shape,
        };
        Self::new(self.schema.clone(), self.shapes.iter().map(inner).collect())
    }

    /// Encodes values that have exactly these types; the type table is written once and kept.
    pub fn encode(&self, values: Vec<IDLValue>) -> Result<Vec<u8>> {
        let mut body = ValueSerializer::new();
        for value in &values {
            value.idl_serialize(&mut body).map_err(|problem| explain(&problem))?;
        }
        let body = body.get_result();
        if let Some(header) = self.header.get() {
            return Ok([header, body].concat());
        }
        let (env, types) = self.schema.to_candid(&self.shapes);
        let whole = IDLArgs { args: values }.to_bytes_with_types(&env, &types).map_err(|problem| explain(&problem))?;
        debug_assert!(whole.ends_with(body));
        self.header.get_or_init(|| whole[..whole.len() - body.len()].to_vec());
        Ok(whole)
    }

    /// Decodes with subtyping: one value for each type.
    pub fn decode(&self, data: &[u8]) -> Result<Vec<IDLValue>> {
        let (env, types) = self.schema.to_candid(&self.shapes);
        IDLArgs::from_bytes_with_types_with_config(data, &env, &types, &decoder_config(data.len()))
            .map(|values| values.args)
            .map_err(|problem| misfit::find(self, data).map_or_else(|| explain(&problem), Error::Candid))
    }
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
fn explain(problem: &::candid::Error) -> Error {
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
    use super::*;

    fn number(n: u64) -> IDLValue {
        IDLValue::Nat64(n)
    }

    #[test]
    fn encodes_the_same_with_and_without_a_kept_header() {
        let types = Types::parse("(nat64, opt vec nat8)").unwrap();
        let first = types.encode(vec![number(7), IDLValue::None]).unwrap();
        assert_eq!(types.encode(vec![number(7), IDLValue::None]).unwrap(), first);
        assert_eq!(types.decode(&first).unwrap(), vec![number(7), IDLValue::None]);
    }

    #[test]
    fn a_type_of_a_tuple_stands_alone_and_without_its_opt() {
        let types = Types::parse("(nat64, opt opt nat64)").unwrap();
        let second = types.nth(1).unwrap();
        assert!(types.nth(2).is_none());
        let some = IDLValue::Opt(Box::new(number(7)));
        let alone = Types::parse("(opt nat64)").unwrap().encode(vec![some.clone()]).unwrap();
        assert_eq!(second.without_opt().encode(vec![some]).unwrap(), alone);
        assert_eq!(
            types.without_opt().decode(&types.nth(0).unwrap().encode(vec![number(7)]).unwrap()).unwrap()[0],
            number(7)
        );
    }

    #[test]
    fn decodes_by_the_types_of_the_message() {
        let data = Types::parse("(nat64)").unwrap().encode(vec![number(7)]).unwrap();
        assert_eq!(decode_untyped(&data).unwrap(), vec![number(7)]);
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
